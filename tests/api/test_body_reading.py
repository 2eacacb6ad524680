"""Reading a body: its announced type and size, its real size, its time, its client."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.api.body import ClientGone, ReadBody, check_content_length, check_content_type
from gateway.api.problems import BadRequest
from gateway.core.clock import SystemClock


def receiver(
    *messages: dict[str, Any], slow: bool = False
) -> Callable[[], Awaitable[dict[str, Any]]]:
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        if slow:
            await asyncio.sleep(0)
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return receive


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def read(receive: Callable[[], Awaitable[dict[str, Any]]], timeout_s: float = 5.0) -> bytes:
    return await ReadBody(receive, size_max=10, clock=SystemClock(), timeout_s=timeout_s)


@pytest.mark.parametrize("slow", [False, True])
async def test_bodies_are_read_whole(slow: bool) -> None:
    assert await read(receiver(part(b"0123456789"), slow=slow)) == b"0123456789"
    assert await read(receiver(part(b"01", more=True), part(b"23"), slow=slow)) == b"0123"
    assert await read(receiver({"type": "http.request"}, slow=slow)) == b""


@pytest.mark.parametrize("slow", [False, True])
async def test_bodies_over_the_limit_are_refused_as_they_come(slow: bool) -> None:
    with pytest.raises(BadRequest, match="body-too-large"):
        await read(receiver(part(b"012345", more=True), part(b"67890", more=True), slow=slow))


@pytest.mark.parametrize("slow", [False, True])
async def test_a_client_that_leaves(slow: bool) -> None:
    with pytest.raises(ClientGone):
        await read(receiver(part(b"01", more=True), {"type": "http.disconnect"}, slow=slow))


@pytest.mark.parametrize("slow", [False, True])
async def test_a_body_that_never_ends(slow: bool) -> None:
    with pytest.raises(BadRequest, match="request-timeout"):
        await read(receiver(part(b"01", more=True), slow=slow), timeout_s=0.01)


async def test_a_cancelled_reader_stops_reading() -> None:
    closed = asyncio.Event()

    async def receive() -> dict[str, Any]:
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()
        raise AssertionError

    task = asyncio.create_task(read(receive))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()


@pytest.mark.parametrize(
    "value",
    [b"application/json", b"Application/JSON", b"application/json; charset=utf-8",
     b'application/json;charset="UTF-8"', b" application/json ; charset=UTF-8 "],
)  # fmt: skip
def test_json_is_taken(value: bytes) -> None:
    check_content_type(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"application/json; charset=gbk",
        b"application/jsonp",
        b"application/json\x00application/json",
        b"application/problem+json",
    ],
)
def test_other_types_are_refused(value: bytes | None) -> None:
    with pytest.raises(BadRequest, match="unsupported-media-type"):
        check_content_type(value)


def test_announced_sizes() -> None:
    check_content_length(None, 10)
    check_content_length(b"10", 10)
    check_content_length(b"nonsense", 10)  # the server has its own word on that
    for value in (b"11", b"9" * 5000):
        with pytest.raises(BadRequest, match="body-too-large"):
            check_content_length(value, 10)
