"""The load generator: a process of its own that keeps N connections busy with prepared requests.

No pipelining: each connection sends its next request when the last one has been answered whole.
The load is closed, so latencies are those of a full house, not of a buyer in a steady stream.
`python -m loadtests.bench.loadgen` reads a `Plan` as JSON and prints a `Load`.
"""

import gc
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, repeat
from typing import Literal

import msgspec

from loadtests.bench import requests
from loadtests.bench.polling import READABLE, make_poller

Kind = Literal["reserve", "batch", "stock", "order"]

READ_BYTES = 1 << 18
WAIT_MAX_S = 10
PATIENCE = 5
"""How many times as long as planned the first answer may take to come."""
DRAIN_S = 3.0
"""How long answers that are due at the end are waited for, so that no request is cut off."""
HEAD_END = b"\r\n\r\n"
LENGTH_MARK = b"\r\ncontent-length: "
ACCEPTED_MARK = b'"status":201'
SETTLED_MARK = b'"state":"settled"'


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send where, for how long; counting begins after `warm_s`.

    tag: sets this run's keys and buyers apart from all others. size: reservations a batch.
    prepared: requests made beforehand; the run ends early when they are used up, unless they
    are sent again and again (`endless`), which only a server without memory takes.
    """

    port: int
    kind: Kind
    sku: str
    tag: str
    connections: int
    warm_s: float
    measure_s: float
    prepared: int
    size: int = 1
    endless: bool = False


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What came back while it counted.

    answers: requests answered. done: what they achieved: reservations accepted, orders settled,
    reads. statuses: of every answer, warming up included. lost: connections that broke.
    busy: share of one core that the generator itself used.
    """

    seconds: float
    answers: int
    done: int
    p50_ms: float
    p99_ms: float
    statuses: dict[str, int]
    lost: int
    used_up: bool
    busy: float


class Lane:
    """One connection with at most one request in flight."""

    __slots__ = ("begun_s", "buffer", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_MAX_S)
        # Blocking, with the kernel's limits: Python's own timeouts cost a system call each.
        self.socket.settimeout(None)
        limit = struct.pack("ll", WAIT_MAX_S, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.begun_s = 0.0


class Generator:
    """Runs a plan once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._requests = prepare(plan)
        self._poller = make_poller()
        self._incoming = memoryview(bytearray(READ_BYTES))  # one for all: a new one costs more
        self._lanes: dict[int, Lane] = {}
        self._latencies_s: list[float] = []
        self._statuses: Counter[bytes] = Counter()
        self._done = 0
        self._lost = 0

    def run(self) -> Load:
        """Connect, warm up, measure, drain."""
        plan = self._plan
        self._connect()
        self._pump(plan.warm_s)
        self._latencies_s, self._done = [], 0
        begun_s, cpu_begun_s = time.perf_counter(), time.process_time()
        for _ in range(PATIENCE):
            self._pump(plan.measure_s)
            if self._latencies_s or not self._lanes:
                break
        taken_s = time.perf_counter() - begun_s
        busy = (time.process_time() - cpu_begun_s) / taken_s
        used_up = next(self._requests, None) is None
        latencies_ms, done = sorted(each * 1000 for each in self._latencies_s), self._done
        self._requests = iter(())
        self._pump(DRAIN_S)
        return Load(
            seconds=taken_s,
            answers=len(latencies_ms),
            done=done,
            p50_ms=percentile(latencies_ms, 50),
            p99_ms=percentile(latencies_ms, 99),
            statuses={status.decode(): times for status, times in self._statuses.items()},
            lost=self._lost,
            used_up=used_up,
            busy=busy,
        )

    def _connect(self) -> None:
        for _ in range(self._plan.connections):
            lane = Lane(self._plan.port)
            number = lane.socket.fileno()
            self._lanes[number] = lane
            self._poller.register(number, READABLE)
        for lane in list(self._lanes.values()):
            self._send_next(lane)

    def _pump(self, seconds: float) -> None:
        """Let answers in and requests out for a time, or until no lane is left."""
        lanes, wait, clock = self._lanes, self._poller.wait, time.perf_counter
        until_s = clock() + seconds
        while lanes and clock() < until_s:
            for number, _ in wait():
                lane = lanes.get(number)
                if lane is not None:
                    try:
                        self._read(lane)
                    except OSError:
                        self._lost += 1
                        self._retire(lane)

    def _read(self, lane: Lane) -> None:
        size = lane.socket.recv_into(self._incoming)
        if not size:
            raise ConnectionError("the server hung up")
        data = lane.buffer + self._incoming[:size]
        if is_whole(data):
            lane.buffer = b""
            self._take(lane, data)
        else:
            lane.buffer = data

    def _take(self, lane: Lane, answer: bytes) -> None:
        """A whole answer: note it, and go on."""
        status = answer[9:12]
        self._statuses[status] += 1
        if self._plan.kind == "order" and status == b"201":
            lane.socket.sendall(requests.confirm(answer))
            return
        self._latencies_s.append(time.perf_counter() - lane.begun_s)
        self._done += achieved(self._plan.kind, status, answer)
        self._send_next(lane)

    def _send_next(self, lane: Lane) -> None:
        request = next(self._requests, None)
        if request is None:
            self._retire(lane)
            return
        lane.begun_s = time.perf_counter()
        lane.socket.sendall(request)

    def _retire(self, lane: Lane) -> None:
        number = lane.socket.fileno()
        self._poller.unregister(number)
        del self._lanes[number]
        lane.socket.close()


def probe(port: int, request: bytes) -> bytes:
    """The answer to one request, on a connection of its own."""
    lane = Lane(port)
    with lane.socket:
        lane.socket.sendall(request)
        answer = b""
        while not is_whole(answer):
            data = lane.socket.recv(READ_BYTES)
            if not data:
                raise ConnectionError("the server hung up")
            answer += data
    return answer


def prepare(plan: Plan) -> Iterator[bytes]:
    """The plan's requests, made before the run."""
    if plan.kind == "stock":
        return repeat(requests.stock(plan.sku))
    if plan.kind == "batch":
        made = list(requests.batch(plan.sku, plan.tag, plan.prepared, plan.size))
    else:
        made = list(requests.reserve(plan.sku, plan.tag, plan.prepared))
    return cycle(made) if plan.endless else iter(made)


def is_whole(data: bytes) -> bool:
    """Whether an answer has come in full; it must state its length."""
    head = data.find(HEAD_END)
    if head < 0:
        return False
    at = data.find(LENGTH_MARK, 0, head)
    if at < 0:
        raise ConnectionError("an answer without content-length")
    length = int(data[at + len(LENGTH_MARK) : data.index(b"\r", at + 2)])
    return len(data) >= head + len(HEAD_END) + length


def achieved(kind: Kind, status: bytes, answer: bytes) -> int:
    """What one answer counts for: reservations accepted, orders settled, reads answered."""
    if kind == "batch":
        return answer.count(ACCEPTED_MARK)
    if kind == "order":
        return int(status == b"200" and SETTLED_MARK in answer)
    return int(status == (b"201" if kind == "reserve" else b"200"))


def percentile(ordered: list[float], percent: int) -> float:
    """The value below which that share of the ordered values lies; 0 when there are none."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def main() -> None:
    """Run the plan on standard input, print the load."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    generator = Generator(plan)
    gc.freeze()
    gc.disable()
    print(msgspec.json.encode(generator.run()).decode())


if __name__ == "__main__":
    main()
