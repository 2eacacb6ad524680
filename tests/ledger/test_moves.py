"""Numbered changes of a SKU in two steps: what counts when, and that they survive anything."""

import msgspec
import pytest

from gateway.core.errors import InvariantBreach
from gateway.core.model import SkuSettings
from gateway.ledger import (
    Ledger,
    Move,
    MoveConflict,
    MovePending,
    MoveRefused,
    MoveRequest,
    MoveUnknownSku,
)
from tests.ledger.steps import assert_clean, begun, open_ledger, put, row_of, sale

SETTINGS = SkuSettings(
    buyer_limit=2, hold_ttl_ms=60_000, sale_starts_ms=1, sale_ends_ms=2, fuse_rps=9
)


def adjustment(delta: int, key: str | None = None, fingerprint: str = "") -> MoveRequest:
    return MoveRequest(
        sku="phone",
        kind="adjust",
        delta=delta,
        reason="count",
        actor="eve",
        key=key,
        fingerprint=fingerprint,
    )


async def test_put_creates_the_sku(ledger: Ledger) -> None:
    request = MoveRequest(
        sku="phone", kind="put", on_hand=10, safety_stock=2, settings=SETTINGS, actor="eve"
    )
    move = await begun(ledger, request)
    assert (move.seq, move.on_hand_delta, move.safety_delta, move.safety_stock) == (1, 10, 2, 2)
    assert (move.settings, move.state) == (SETTINGS, "pending")
    assert await ledger.pending_moves() == [move]

    row = await ledger.finish_move("phone", 1, True)

    assert (row.on_hand, row.received, row.sold, row.safety_stock) == (10, 10, 0, 2)
    assert (row.settings, row.move_seq) == (SETTINGS, 1)
    assert await row_of(ledger, "phone") == row
    assert await ledger.pending_moves() == []
    await assert_clean(ledger)


async def test_put_is_absolute_and_leaves_what_it_does_not_name(ledger: Ledger) -> None:
    await put(ledger, "phone", 10, safety_stock=2)
    await ledger.deduct([sale("r1", ("phone", 3))])
    move = await begun(ledger, MoveRequest(sku="phone", kind="put", on_hand=20))
    assert (move.on_hand_delta, move.safety_delta) == (13, 0)

    row = await ledger.finish_move("phone", move.seq, True)

    assert (row.on_hand, row.received, row.sold, row.safety_stock) == (20, 23, 3, 2)
    settings_only = MoveRequest(sku="phone", kind="put", settings=SETTINGS)
    move = await begun(ledger, settings_only)
    row = await ledger.finish_move("phone", move.seq, True)
    assert (row.on_hand, row.settings, row.move_seq) == (20, SETTINGS, 3)
    await assert_clean(ledger)


async def test_increase_counts_at_once_and_decrease_when_finished(ledger: Ledger) -> None:
    await put(ledger, "phone", 10)

    move = await begun(ledger, adjustment(5))
    assert (await row_of(ledger, "phone")).on_hand == 15
    await ledger.finish_move("phone", move.seq, True)
    move = await begun(ledger, adjustment(-6))
    assert (await row_of(ledger, "phone")).on_hand == 15

    row = await ledger.finish_move("phone", move.seq, True)

    assert (row.on_hand, row.received) == (9, 9)
    await assert_clean(ledger)


async def test_safety_is_raised_at_once_and_lowered_when_finished(ledger: Ledger) -> None:
    await put(ledger, "phone", 10, safety_stock=2)

    move = await begun(ledger, MoveRequest(sku="phone", kind="put", safety_stock=6))
    assert (await row_of(ledger, "phone")).safety_stock == 6
    await ledger.finish_move("phone", move.seq, True)
    move = await begun(ledger, MoveRequest(sku="phone", kind="put", safety_stock=1))
    assert (await row_of(ledger, "phone")).safety_stock == 6

    assert (await ledger.finish_move("phone", move.seq, True)).safety_stock == 1
    await assert_clean(ledger)


@pytest.mark.parametrize("target", [2, 8])
async def test_late_payment_during_a_move_still_counts_against_safety(
    ledger: Ledger, target: int
) -> None:
    await put(ledger, "phone", 10, safety_stock=5)
    move = await begun(ledger, MoveRequest(sku="phone", kind="put", safety_stock=target))
    await ledger.deduct([sale("r1", ("phone", 1, 1))])

    assert (await ledger.finish_move("phone", move.seq, True)).safety_stock == target - 1
    await assert_clean(ledger)


@pytest.mark.parametrize(
    "request_",
    [
        MoveRequest(sku="phone", kind="put", on_hand=30, safety_stock=8, settings=SETTINGS),
        MoveRequest(sku="phone", kind="put", on_hand=4, safety_stock=1, settings=SETTINGS),
        adjustment(7),
        adjustment(-7),
    ],
)
async def test_refused_move_leaves_the_stock_as_it_was(
    ledger: Ledger, request_: MoveRequest
) -> None:
    before = await put(ledger, "phone", 10, safety_stock=2)
    move = await begun(ledger, request_)

    row = await ledger.finish_move("phone", move.seq, False)

    assert row == msgspec.structs.replace(before, move_seq=2)
    assert await ledger.pending_moves() == []
    await assert_clean(ledger)


async def test_finishing_again_changes_nothing(ledger: Ledger) -> None:
    await put(ledger, "phone", 10)
    move = await begun(ledger, adjustment(-4))
    first = await ledger.finish_move("phone", move.seq, True)

    assert await ledger.finish_move("phone", move.seq, True) == first
    assert await ledger.finish_move("phone", move.seq, False) == first
    with pytest.raises(LookupError, match="no move 99 of SKU phone"):
        await ledger.finish_move("phone", 99, True)
    await assert_clean(ledger)


async def test_key_stands_for_one_move(ledger: Ledger) -> None:
    await put(ledger, "phone", 10)
    move = await begun(ledger, adjustment(5, key="k", fingerprint="a"))
    assert await ledger.begin_move(adjustment(5, key="k", fingerprint="a")) == move
    assert await ledger.begin_move(adjustment(6, key="k", fingerprint="b")) == MoveConflict(move)

    await ledger.finish_move("phone", move.seq, True)

    again = await ledger.begin_move(adjustment(5, key="k", fingerprint="a"))
    assert isinstance(again, Move)
    assert (again.seq, again.state) == (move.seq, "applied")
    assert again.finished_ms >= again.created_ms
    other_sku = MoveRequest(sku="case", kind="put", on_hand=1, key="k", fingerprint="a")
    assert isinstance(await ledger.begin_move(other_sku), MoveConflict)
    assert (await row_of(ledger, "phone")).on_hand == 15
    await assert_clean(ledger)


async def test_one_move_at_a_time_for_a_sku(ledger: Ledger) -> None:
    await put(ledger, "phone", 10)
    move = await begun(ledger, adjustment(5))

    assert await ledger.begin_move(adjustment(1)) == MovePending(move)
    assert isinstance(await ledger.begin_move(MoveRequest(sku="case", kind="put", on_hand=1)), Move)
    assert [m.sku for m in await ledger.pending_moves()] == ["phone", "case"]


async def test_moves_that_cannot_be_are_refused_and_write_nothing(ledger: Ledger) -> None:
    assert await ledger.begin_move(adjustment(1)) == MoveUnknownSku("phone")
    impossible = MoveRequest(sku="phone", kind="put", on_hand=1, safety_stock=2)
    assert await ledger.begin_move(impossible) == MoveRefused("phone", "below-safety", 1, 2)
    assert await ledger.stock() == []
    before = await put(ledger, "phone", 10, safety_stock=2)

    assert await ledger.begin_move(adjustment(-11)) == MoveRefused("phone", "below-zero", -1, 2)
    assert await ledger.begin_move(adjustment(-9)) == MoveRefused("phone", "below-safety", 1, 2)
    huge = await ledger.begin_move(adjustment(2**53))
    assert huge == MoveRefused("phone", "too-large", 2**53 + 10, 2)
    assert await row_of(ledger, "phone") == before


async def test_move_of_units_that_are_gone_is_a_breach(ledger: Ledger) -> None:
    await put(ledger, "phone", 10)
    move = await begun(ledger, adjustment(-5))
    await ledger.deduct([sale("r1", ("phone", 8))])

    with pytest.raises(InvariantBreach, match="SKU phone: move 2 takes 5 of 2 units"):
        await ledger.finish_move("phone", move.seq, True)

    assert (await ledger.finish_move("phone", move.seq, False)).on_hand == 2
    await assert_clean(ledger)


@pytest.mark.parametrize("delta", [5, -5])
async def test_crash_between_the_steps_leaves_a_move_to_drive_again(
    kept_url: str, delta: int
) -> None:
    first = await open_ledger(kept_url)
    await put(first, "phone", 10)
    move = await begun(first, adjustment(delta, key="k", fingerprint="f"))
    await first.close()

    second = await open_ledger(kept_url)
    assert await second.pending_moves() == [move]
    assert await second.begin_move(adjustment(delta, key="k", fingerprint="f")) == move
    assert (await second.finish_move("phone", move.seq, True)).on_hand == 10 + delta
    await assert_clean(second)
    await second.close()


async def test_stock_by_name_and_by_page(ledger: Ledger) -> None:
    for sku in ("c", "a", "b"):
        await put(ledger, sku, 1)

    assert [row.sku for row in await ledger.stock()] == ["a", "b", "c"]
    assert [row.sku for row in await ledger.stock(limit=2)] == ["a", "b"]
    assert [row.sku for row in await ledger.stock(after="b", limit=2)] == ["c"]
    assert [row.sku for row in await ledger.stock(["c", "ghost", "a", "c"])] == ["a", "c"]
    assert await ledger.stock([]) == []
