"""The ledger refuses a token older than one on record, in the transaction that writes."""

import asyncio

import pytest
from sqlalchemy import Connection, insert, select

from gateway.core.errors import LeaseLost
from gateway.core.leases import Fence, pack
from gateway.ledger import Ledger, Move, MoveRequest, moves
from gateway.ledger.fences import refuse_stale
from gateway.ledger.tables import journal, stock
from tests.ledger.steps import assert_clean, begun, put, row_of


def fenced(sku: str, token: int, on_hand: int = 5) -> MoveRequest:
    return MoveRequest(sku=sku, kind="put", on_hand=on_hand, fence=Fence("audit", token))


async def test_tokens_on_record_only_rise(ledger: Ledger) -> None:
    assert await ledger.last_token("audit") == 0
    assert await ledger.record_token("audit", 1)
    assert not await ledger.record_token("audit", 1)
    assert await ledger.record_token("audit", pack(8191, 7))
    assert not await ledger.record_token("audit", 2)
    assert await ledger.last_token("audit") == pack(8191, 7)
    assert await ledger.last_token("rebuild") == 0


async def test_one_of_many_records_a_token(ledger: Ledger) -> None:
    said = await asyncio.gather(*(ledger.record_token("audit", 1) for _ in range(8)))
    assert sum(said) == 1
    said = await asyncio.gather(*(ledger.record_token("audit", n) for n in (5, 5, 4, 5)))
    assert sum(said[n] for n in (0, 1, 3)) == 1
    assert await ledger.last_token("audit") == 5


async def test_a_stale_fence_is_refused_and_nothing_is_written(ledger: Ledger) -> None:
    await ledger.record_token("audit", 4)
    await put(ledger, "phone", 3)
    with pytest.raises(LeaseLost, match="has seen token 4, and refuses 3"):
        await ledger.begin_move(fenced("phone", 3))
    assert (await row_of(ledger, "phone")).on_hand == 3
    assert await ledger.pending_moves() == []
    assert isinstance(await ledger.begin_move(fenced("phone", 4)), Move)
    assert (await row_of(ledger, "phone")).on_hand == 5
    await assert_clean(ledger)


async def test_control_without_the_check_it_is_written(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "refuse_stale", lambda *_args: None)
    await ledger.record_token("audit", 4)
    assert isinstance(await ledger.begin_move(fenced("phone", 3)), Move)


async def test_the_journal_names_the_token(ledger: Ledger) -> None:
    await ledger.record_token("audit", 4)
    await begun(ledger, fenced("phone", 4))
    await put(ledger, "case", 2)

    def fences_of(connection: Connection) -> dict[str, int]:
        rows = connection.execute(select(journal.c.sku, journal.c.fence))
        return {row.sku: row.fence for row in rows}

    assert await ledger._database.read(fences_of) == {"phone": 4, "case": 0}


async def test_a_write_fences_off_older_ones_by_itself(ledger: Ledger) -> None:
    """A ledger put back from a copy has forgotten tokens that are in use."""
    await begun(ledger, fenced("phone", 9))
    assert await ledger.last_token("audit") == 9
    with pytest.raises(LeaseLost):
        await ledger.begin_move(fenced("case", 8))


async def test_what_a_transaction_wrote_before_the_refusal_is_undone(ledger: Ledger) -> None:
    await ledger.record_token("audit", 4)

    def late_check(connection: Connection) -> None:
        connection.execute(insert(stock).values(sku="ghost"))
        refuse_stale(connection, "audit", 3)

    with pytest.raises(LeaseLost):
        await ledger._database.write(late_check)
    assert await ledger.stock(["ghost"]) == []
