"""Idle connections are closed, busy ones are not, and who does not read is not written to for ever:
the protocol on a clock of the test's own.
"""

import heapq
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
import uvicorn

from gateway.api.direct import Wire
from gateway.runtime.protocol import HEAD_TIMEOUT_S, Protocol

KEEP_ALIVE_S = 65
REQUEST = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n"
STOCK = b"GET /v1/stock/phone HTTP/1.1\r\nhost: a\r\n\r\n"


class Timer:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.cancelled = False

    def __lt__(self, other: "Timer") -> bool:
        return self.at < other.at

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Time that a test advances; applications are kept, not run."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []
        self.tasks = 0

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer(self.now + seconds, call)
        heapq.heappush(self.timers, timer)
        return timer

    def create_task(self, work: Any, **_: Any) -> Mock:
        self.tasks += 1
        work.close()
        return Mock()

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self.timers and self.timers[0].at <= until:
            timer = heapq.heappop(self.timers)
            self.now = timer.at
            if not timer.cancelled:
                timer.call()
        self.now = until


class Transport:
    def __init__(self) -> None:
        self.closed_at: float | None = None
        self.loop: Loop
        self.written = b""

    def is_closing(self) -> bool:
        return self.closed_at is not None

    def close(self) -> None:
        self.closed_at = self.loop.now

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Peer:
    """A connection and both its ends."""

    def __init__(self) -> None:
        self.loop, self.transport = Loop(), Transport()
        self.transport.loop = self.loop
        config = uvicorn.Config(
            lambda _scope: None,
            loop="none",
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        config.load()
        loop: Any = self.loop
        transport: Any = self.transport
        self.protocol = Protocol(config, uvicorn.Server(config).server_state, {}, loop)
        self.protocol.connection_made(transport)

    def ask(self) -> None:
        self.protocol.data_received(REQUEST)

    def answer(self) -> None:
        cycle: Any = self.protocol.cycle
        cycle.response_complete = True
        self.protocol.on_response_complete()


@pytest.fixture
def peer() -> Peer:
    return Peer()


def test_a_connection_without_a_request_is_closed(peer: Peer) -> None:
    peer.loop.advance(KEEP_ALIVE_S + 1)
    assert peer.transport.closed_at == KEEP_ALIVE_S


def test_idleness_counts_from_the_last_answer(peer: Peer) -> None:
    for _ in range(5):
        peer.loop.advance(KEEP_ALIVE_S - 5)
        peer.ask()
        peer.loop.advance(1)
        peer.answer()
    answered_at = peer.loop.now
    peer.loop.advance(KEEP_ALIVE_S - 0.01)
    assert peer.transport.closed_at is None
    peer.loop.advance(0.02)
    assert peer.transport.closed_at == pytest.approx(answered_at + KEEP_ALIVE_S)


def test_a_connection_that_waits_for_its_answer_is_not_idle(peer: Peer) -> None:
    peer.ask()
    peer.loop.advance(KEEP_ALIVE_S * 10)
    assert peer.transport.closed_at is None
    peer.answer()
    peer.loop.advance(KEEP_ALIVE_S * 2)
    assert peer.transport.closed_at is not None


def test_a_head_that_never_ends_is_given_up_long_before(peer: Peer) -> None:
    peer.loop.advance(KEEP_ALIVE_S - 1)
    peer.protocol.data_received(REQUEST[:10])
    peer.loop.advance(HEAD_TIMEOUT_S - 1)
    assert peer.transport.closed_at is None, "a request has begun: the connection is not idle"
    peer.loop.advance(2)
    assert peer.transport.closed_at == KEEP_ALIVE_S - 1 + HEAD_TIMEOUT_S


def test_requests_set_no_timers(peer: Peer) -> None:
    for _ in range(1000):
        peer.ask()
        peer.answer()
    assert len(peer.loop.timers) == 1


def test_a_lost_connection_leaves_no_timer_behind(peer: Peer) -> None:
    peer.protocol.connection_lost(ConnectionResetError())
    assert all(timer.cancelled for timer in peer.loop.timers)


def test_answers_pile_up_for_nobody(peer: Peer) -> None:
    """What is answered without a task has nothing to wait with; the application has."""
    app: Any = Mock(spec=["direct_stock"])
    app.direct_stock.read.return_value = Wire(200, b"content-length: 2\r\n", b"{}")
    peer.protocol.app = app
    peer.protocol.data_received(STOCK * 2)
    assert (peer.transport.written.count(b" 200 "), peer.loop.tasks) == (2, 0)
    peer.protocol.pause_writing()
    peer.protocol.data_received(STOCK * 50)
    assert (peer.transport.written.count(b" 200 "), peer.loop.tasks) == (2, 1)
