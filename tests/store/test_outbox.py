"""The outbox: every confirmed reservation is given out until it is acknowledged."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.core.errors import StoreUnavailable
from gateway.store import keys
from gateway.store.outbox import NOTHING, START, Delivery, Entry
from tests.store.shop import Shop, field_of, request
from tests.support.servers import RedisServer

STREAM = keys.outbox(0)


async def confirmed(shop: Shop, *names: str) -> list[str]:
    """The fields of reservations of these keys, confirmed."""
    await shop.hold_all(*map(request, names))
    for name in names:
        await shop.confirm(name)
    return [field_of(name) for name in names]


def fields(read: list[Entry] | Delivery) -> list[str]:
    entries = read.entries if isinstance(read, Delivery) else read
    return [entry.field for entry in entries]


@pytest.fixture
async def stocked(shop: Shop) -> Shop:
    await shop.put("phone", 100)
    return shop


async def test_creating_the_group_again_loses_nothing(stocked: Shop) -> None:
    first = await confirmed(stocked, "a")
    await stocked.outbox.create()
    assert fields(await stocked.take()) == first
    await stocked.outbox.create()
    assert await stocked.take() == []
    assert fields(await stocked.outbox.read_own(10)) == first


async def test_a_group_created_late_reads_from_the_beginning(shop: Shop) -> None:
    await shop.raw("DEL", STREAM)
    await shop.put("phone", 1)
    wanted = await confirmed(shop, "a")
    await shop.outbox.create()
    assert fields(await shop.take()) == wanted


async def test_each_entry_is_given_to_one_consumer(stocked: Shop) -> None:
    wanted = await confirmed(stocked, "a", "b", "c")
    other = stocked.outbox_as("other")
    mine = fields(await stocked.outbox.read_new(2, 0.0))
    assert mine == wanted[:2]
    assert fields(await other.read_new(10, 0.0)) == wanted[2:]
    assert await stocked.outbox.length() == 3


async def test_what_was_read_is_read_again_until_it_is_acknowledged(stocked: Shop) -> None:
    wanted = await confirmed(stocked, "a", "b", "c")
    await stocked.take()
    own = await stocked.outbox.read_own(10)
    assert fields(own) == wanted
    assert own.last == own.entries[-1].entry_id
    assert fields(await stocked.outbox.read_own(10, own.entries[0].entry_id)) == wanted[1:]
    assert fields(await stocked.outbox.read_own(1)) == wanted[:1]
    await stocked.settle("b")
    assert fields(await stocked.outbox.read_own(10)) == [wanted[0], wanted[2]]
    assert await stocked.outbox_as("other").read_own(10) == NOTHING


async def test_what_another_left_behind_is_taken_over(stocked: Shop) -> None:
    wanted = await confirmed(stocked, "a", "b")
    await stocked.outbox_as("gone").read_new(10, 0.0)
    assert await stocked.outbox.claim_idle(10, 3600.0) == NOTHING
    first = await stocked.outbox.claim_idle(1, 0.0)
    rest = await stocked.outbox.claim_idle(10, 0.0, first.last)
    assert fields(first) + fields(rest) == wanted
    assert rest.last == START, "the walk is over"
    assert fields(await stocked.outbox.read_own(10)) == wanted
    assert await stocked.outbox_as("gone").read_own(10) == NOTHING


async def test_waiting_ends_when_something_is_confirmed(stocked: Shop) -> None:
    reading = asyncio.ensure_future(stocked.outbox_as("waiter").read_new(10, 30.0))
    wanted = await confirmed(stocked, "a")
    entries = await reading
    if not entries.ids:  # fakeredis does not wait
        entries = await stocked.outbox_as("waiter").read_new(10, 30.0)
    assert fields(entries) == wanted


async def test_waiting_ends_by_itself(stocked: Shop) -> None:
    assert await stocked.outbox.read_new(10, 0.01) == NOTHING


GARBAGE = {
    "no field": ("other", "text"),
    "empty": ("r", ""),
    "no record": ("r", "0123456789ABCD"),
    "unknown state": ("r", "0123456789ABCD|q|1|2|f|ann|app||phone*1"),
    "no number": ("r", "0123456789ABCD|c|now|2|f|ann|app||phone*1"),
    "no text": ("r", b"\xff\xfe|c|1|2|f|ann|app||phone*1"),
    "cut off": ("r", "0123456789ABCD|c|1|2|f|ann"),
}


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_an_entry_that_cannot_be_read_is_handed_out_as_such(
    stocked: Shop, garbage: str
) -> None:
    wanted = await confirmed(stocked, "a")
    stocked.damaged = True
    bad_id = (await stocked.raw("XADD", STREAM, "*", *GARBAGE[garbage])).decode()
    wanted += await confirmed(stocked, "b")
    delivery = await stocked.outbox.read_new(10, 0.0)
    assert fields(delivery) == wanted
    [bad] = delivery.garbled
    assert bad.entry_id == bad_id
    assert bad.why
    assert delivery.ids == [*(e.entry_id for e in delivery.entries), bad_id]
    assert [g.entry_id for g in (await stocked.outbox.read_own(10)).garbled] == [bad_id]


async def test_what_was_deleted_while_in_hand_is_let_go(stocked: Shop) -> None:
    wanted = await confirmed(stocked, "a", "b")
    taken = await stocked.take()
    stocked.damaged = True
    await stocked.raw("XDEL", STREAM, taken[0].entry_id)
    assert fields(await stocked.outbox.read_own(10)) == wanted[1:]
    assert (await stocked.raw("XPENDING", STREAM, keys.GROUP))["pending"] == 1


async def test_without_a_server_it_is_unavailable(
    start_server: Callable[..., RedisServer], open_shop: Callable[[str], Awaitable[Shop]]
) -> None:
    server = start_server("redis", appendfsync="no")
    shop = await open_shop(server.url)
    server.call("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreUnavailable):
        await shop.outbox.read_new(10, 0.0)
    server.kill()
    outbox = shop.outbox
    for call in (outbox.create(), outbox.read_new(1, 0.1), outbox.read_own(1), outbox.length()):
        with pytest.raises(StoreUnavailable):
            await call
