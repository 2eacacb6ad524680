"""Entries and records that cannot be used stop only themselves; batches are cut to size."""

from collections.abc import Sequence

import pytest

from gateway.core import metrics
from gateway.core.codes import Reply
from gateway.core.ids import split_id
from gateway.core.model import State
from gateway.store import keys
from gateway.workers import mirroring
from gateway.workers.mirroring import MIRROR_LINES_MAX
from tests.sale.clocks import StillClock
from tests.sale.steps import Sale, settle_all
from tests.workers.test_settler import assert_settled


async def test_an_entry_that_cannot_be_read_leaves_the_others_alone(
    any_sale: Sale, caplog: pytest.LogCaptureFixture
) -> None:
    await any_sale.put("phone", 50)
    ids = [await any_sale.confirmed(("phone", 1))]
    for garbage in ("nonsense", "f|h|x|y", "f|s|1|2|fp|b|c|r|phone*many"):
        await any_sale.raw("XADD", keys.outbox(0), "*", "r", garbage)
    await any_sale.raw("XADD", keys.outbox(0), "*", "other", "x")
    ids += [await any_sale.confirmed(("phone", 1))]
    await any_sale.settler().step()
    assert [await any_sale.state(id_) for id_ in ids] == [State.SETTLED] * 2
    assert caplog.text.count("outbox entry") == 4
    assert await any_sale.pending() == 4


@pytest.mark.parametrize("lines", ["phone*1,phone*1", "phone*0"])
async def test_an_entry_that_makes_no_sense_stops_only_itself(any_sale: Sale, lines: str) -> None:
    await any_sale.put("phone", 50)
    nonsense = f"00000000000000|c|1|2|fp|b||ref|{lines}"
    await any_sale.raw("XADD", keys.outbox(0), "*", "r", nonsense)
    good = await any_sale.confirmed(("phone", 1))
    await any_sale.settler().step()
    assert await any_sale.state(good) is State.SETTLED
    assert await any_sale.pending() == 1


async def lines_a_call(sale: Sale) -> list[int]:
    """Lines in every call that mirrors 25 carts of 50 lines."""
    names = [f"sku-{n}" for n in range(50)]
    for name in names:
        await sale.put(name, 100)
    ids = [await sale.confirmed(*((name, 1) for name in names)) for _ in range(25)]
    calls: list[int] = []
    commands = sale.commands()
    mirror = commands.settle

    async def counted(entries: Sequence[tuple[str, str]]) -> list[Reply]:
        calls.append(len(entries) * len(names))
        return await mirror(entries)

    commands.settle = counted  # type: ignore[method-assign]
    await settle_all(sale.settler(commands=commands))
    await assert_settled(sale, ids)
    return calls


async def test_carts_of_many_lines_are_mirrored_in_pieces(sale: Sale) -> None:
    """One script call must not hold Redis for long, however many lines a batch has."""
    calls = await lines_a_call(sale)
    assert sum(calls) == 25 * 50
    assert max(calls) <= MIRROR_LINES_MAX


async def test_uncut_a_batch_of_such_carts_would_be_one_long_call(
    sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the number of entries alone bounds nothing."""
    monkeypatch.setattr(mirroring, "_pieces", lambda entries: [entries] if entries else [])
    calls = await lines_a_call(sale)
    assert sum(calls) == 25 * 50
    assert max(calls) > MIRROR_LINES_MAX


async def test_a_record_that_is_gone_raises_the_alarm_and_blocks_nothing(
    sale: Sale, caplog: pytest.LogCaptureFixture
) -> None:
    await sale.put("phone", 50)
    ids = [await sale.confirmed(("phone", 1)) for _ in range(2)]
    parts = split_id(ids[0])
    assert parts is not None
    await sale.raw("HDEL", keys.reservations(0), parts[2])
    breaches = metrics.INVARIANT_BREACHES._value.get()
    await settle_all(sale.settler())
    assert metrics.INVARIANT_BREACHES._value.get() == breaches + 1
    assert f"settled reservation {ids[0]} cannot be mirrored: unknown_reservation" in caplog.text
    assert await sale.state(ids[1]) is State.SETTLED
    assert await sale.outbox_length() == 0
    assert not (await sale.ledger.unknown_of(ids)), "the ledger keeps both"


async def test_an_unsound_sku_keeps_its_entries_until_it_is_repaired(sale: Sale) -> None:
    await sale.put("phone", 50)
    await sale.put("case", 50)
    bad, good = await sale.confirmed(("phone", 1)), await sale.confirmed(("case", 1))
    await sale.raw("HINCRBY", keys.sku(0, "phone"), "available", 1)
    await sale.settler(consumer="one").step()
    assert (await sale.state(bad), await sale.state(good)) == (State.CONFIRMED, State.SETTLED)
    assert await sale.pending() == 1
    await sale.raw("HINCRBY", keys.sku(0, "phone"), "available", -1)
    clock = StillClock()
    successor = sale.settler(consumer="one", clock=clock)
    await settle_all(successor)
    assert await sale.state(bad) is State.CONFIRMED, "its next try is not due yet"
    clock.advance(1.0)
    await settle_all(successor)
    await assert_settled(sale, [bad, good])
