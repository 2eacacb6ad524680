"""The load generator's parts: what it sends, and how it reads what comes back."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.config import Config
from gateway.core.ids import make_id
from gateway.runtime.server import _Server
from loadtests.bench import requests
from loadtests.bench.echo import Echo, payload, settings, sink
from loadtests.bench.link import command_us
from loadtests.bench.loadgen import Generator, Kind, Plan, achieved, is_whole, percentile

ANSWER = b"HTTP/1.1 201 Created\r\ndate: now\r\ncontent-length: 11\r\n\r\n"


def body_of(request: bytes) -> Any:
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    return json.loads(body)


def test_every_reservation_has_a_key_and_a_buyer_of_its_own() -> None:
    made = list(requests.reserve("phone", "t", 3))
    assert len({body_of(request)["buyer"] for request in made}) == 3
    keys = {request.split(b"idempotency-key: ")[1].split(b"\r\n")[0] for request in made}
    assert len(keys) == 3
    assert body_of(made[0])["lines"] == [{"sku": "phone", "quantity": 1}]


def test_batches_share_nothing() -> None:
    entries = [
        entry
        for made in requests.batch("phone", "t", 2, 5)
        for entry in body_of(made)["reservations"]
    ]
    assert len({entry["key"] for entry in entries}) == 10
    assert len({entry["buyer"] for entry in entries}) == 10


def test_a_confirm_names_the_reservation_that_was_granted() -> None:
    name = make_id(1_700_000_000_000, 0, "0123456789ABCD")
    answer = ANSWER + b'{"id":"%s","state":"held"}' % name.encode()
    request = requests.confirm(answer)
    assert request.startswith(f"POST /v1/reservations/{name}/confirm HTTP/1.1\r\n".encode())
    assert body_of(request) == {"payment_ref": name}


@pytest.mark.parametrize("cut", [1, 20, len(ANSWER), len(ANSWER) + 10])
def test_an_answer_is_whole_when_its_length_has_come(cut: int) -> None:
    whole = ANSWER + b'{"id":"o1"}'
    assert is_whole(whole)
    assert not is_whole(whole[:cut])


def test_an_answer_without_a_length_is_refused() -> None:
    with pytest.raises(ConnectionError):
        is_whole(b"HTTP/1.1 200 OK\r\n\r\n")


@pytest.mark.parametrize(
    ("kind", "status", "body", "count"),
    [
        ("reserve", b"201", b"", 1),
        ("reserve", b"409", b"", 0),
        ("stock", b"200", b"", 1),
        ("stock", b"404", b"", 0),
        ("batch", b"200", b'{"results":[{"status":201},{"status":409},{"status":201}]}', 2),
        ("order", b"200", b'{"state":"settled"}', 1),
        ("order", b"202", b'{"state":"confirmed"}', 0),
        ("order", b"409", b"", 0),
    ],
)
def test_only_what_was_wanted_counts(kind: Kind, status: bytes, body: bytes, count: int) -> None:
    assert achieved(kind, status, body) == count


def test_percentiles() -> None:
    ordered = [float(n) for n in range(1, 101)]
    assert (percentile(ordered, 50), percentile(ordered, 99)) == (51.0, 100.0)
    assert percentile([7.0], 99) == 7.0
    assert percentile([], 50) == 0.0


def test_payloads_are_json_of_the_length_asked_for() -> None:
    for size in (11, 12, 300):
        assert len(payload(size)) == size
        json.loads(payload(size))


def test_the_echo_runs_on_the_server_that_the_gateway_runs_on() -> None:
    gateway: Any = SimpleNamespace(app=Echo(11))
    theirs, ours = vars(_Server(gateway, Config()).config), vars(settings(Echo(11)))
    # The gateway's protocol adds bounds to httptools; draining costs a running server nothing.
    meant = {"app", "http", "timeout_graceful_shutdown"}
    assert {name for name in theirs if theirs[name] != ours[name]} <= meant
    assert ours["http"] == "httptools"


def test_commandstats_are_read() -> None:
    assert command_us("calls=2,usec=31,usec_per_call=15.50") == 31
    assert command_us("") == 0


@contextmanager
def answering(size: int) -> Iterator[int]:
    """The sink, in a thread that ends with the process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=sink, args=(size, listener.dup()), daemon=True).start()
        yield listener.getsockname()[1]


def test_a_run_counts_what_came_back_and_stops_when_its_requests_are_used_up() -> None:
    with answering(40) as port:
        plan = Plan(
            port=port,
            kind="stock",
            sku="phone",
            tag="t",
            connections=4,
            warm_s=0.0,
            measure_s=0.05,
            prepared=0,
        )
        load = Generator(plan).run()
        assert load.answers > 0
        assert (load.done, load.lost, load.used_up) == (load.answers, 0, False)
        assert sum(load.statuses.values()) >= load.answers

        few = Plan(
            port=port,
            kind="reserve",
            sku="phone",
            tag="t",
            connections=2,
            warm_s=0.0,
            measure_s=30.0,
            prepared=10,
        )
        load = Generator(few).run()
        assert (load.answers, load.done, load.used_up) == (10, 0, True)
        assert load.statuses == {"200": 10}
