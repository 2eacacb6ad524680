"""SKUs: put and adjust are numbered moves that the ledger and Redis make together."""

import asyncio
from typing import Any

import pytest

from gateway.core.errors import InvariantBreach, Overloaded
from gateway.core.model import SkuSettings
from gateway.ledger import StockRow
from gateway.sale import catalogue as catalogue_module
from gateway.sale.catalogue import Catalogue, Moved, Place
from gateway.sale.outcomes import Refused
from gateway.sale.snapshot import Snapshot
from gateway.store import keys
from gateway.store.commands import StockCommands
from tests.sale.steps import Sale, counts, refused, settle_all, step_on


def another(sale: Sale, *, commands: Any = None, ledger: Any = None) -> Catalogue:
    """The catalogue of another process on the same stores."""
    place = Place(commands or sale.commands(), sale.core.store.listing(0))
    return Catalogue([place], ledger or sale.ledger, Snapshot(sale.core.clock), sale.core.clock)


async def row(sale: Sale, sku: str) -> StockRow:
    (found,) = await sale.ledger.stock([sku])
    return found


async def assert_equal_in_both(sale: Sale, sku: str) -> None:
    terms, owned = await sale.terms(sku), await row(sale, sku)
    assert (terms.on_hand, terms.safety_stock) == (owned.on_hand, owned.safety_stock)
    assert terms.settings == owned.settings
    assert terms.balanced
    assert await sale.ledger.pending_moves() == []


async def adjust(sale: Sale, sku: str, delta: int, key: str = "k", why: str = "count") -> Any:
    return await sale.core.catalogue.adjust(sku, delta, why, "tester", key)


async def test_a_put_creates_a_sku(any_sale: Sale) -> None:
    settings = SkuSettings(buyer_limit=2, hold_ttl_ms=60_000, fuse_rps=9)
    moved = await any_sale.core.catalogue.put("phone", 10, 3, settings, "ann")
    assert isinstance(moved, Moved)
    assert (moved.move.seq, moved.move.actor, moved.replayed) == (1, "ann", False)
    assert counts(moved.terms) == (10, 7, 0, 0, 3, 0)
    assert moved.terms.settings == settings
    await assert_equal_in_both(any_sale, "phone")
    await any_sale.assert_sound()


async def test_a_put_sets_stock_and_rules(sale: Sale) -> None:
    await sale.put("phone", 10, 3, buyer_limit=2)
    terms = await sale.put("phone", 6, 1)
    assert counts(terms) == (6, 5, 0, 0, 1, 0)
    assert terms.settings == SkuSettings()
    terms = await sale.put("phone", 6, 1)
    assert counts(terms) == (6, 5, 0, 0, 1, 0)
    await assert_equal_in_both(sale, "phone")
    await sale.assert_sound()


async def test_a_put_counts_what_is_held_and_bought(sale: Sale) -> None:
    await sale.put("phone", 10)
    await sale.held(("phone", 2))
    await sale.confirmed(("phone", 3))
    assert counts(await sale.put("phone", 20)) == (20, 15, 2, 3, 0, 0)
    assert counts(await sale.put("phone", 5)) == (5, 0, 2, 3, 0, 0)
    too_few = await sale.core.catalogue.put("phone", 4, 0, SkuSettings(), "tester")
    assert too_few == Refused("adjustment-refused", {"sku": "phone", "available": 0})
    await settle_all(sale.settler())
    assert counts(await sale.terms("phone")) == (2, 0, 2, 0, 0, 3)
    await assert_equal_in_both(sale, "phone")
    await sale.assert_sound()


async def test_a_put_while_the_ledger_is_ahead_of_redis(sale: Sale) -> None:
    """The ledger has deducted what Redis still has as unsettled: on_hand is the ledger's."""
    await sale.put("phone", 10)
    await sale.confirmed(("phone", 4))
    await Ahead(sale).deduct_only()
    assert (await row(sale, "phone")).on_hand == 6
    terms = await sale.put("phone", 6)
    assert counts(terms) == (10, 6, 0, 4, 0, 0)
    terms = await sale.put("phone", 7, 1)
    assert counts(terms) == (11, 6, 0, 4, 1, 0)
    await settle_all(sale.settler())
    assert counts(await sale.terms("phone")) == (7, 6, 0, 0, 1, 4)
    await assert_equal_in_both(sale, "phone")
    await sale.assert_sound()


class Ahead:
    """A settler that ends between ledger and mirror."""

    def __init__(self, sale: Sale) -> None:
        self._settler = sale.settler(on_step=self._end)

    def _end(self, step: str) -> None:
        if step == "mirror":
            raise InterruptedError

    async def deduct_only(self) -> None:
        with pytest.raises(InterruptedError):
            await step_on(self._settler)


async def test_an_adjustment_adds_and_takes(sale: Sale) -> None:
    await sale.put("phone", 10, 2)
    assert counts((await adjust(sale, "phone", 5, "a")).terms) == (15, 13, 0, 0, 2, 0)
    assert counts((await adjust(sale, "phone", -7, "b")).terms) == (8, 6, 0, 0, 2, 0)
    await assert_equal_in_both(sale, "phone")
    await sale.assert_sound()


async def test_an_adjustments_key_makes_it_happen_once(sale: Sale) -> None:
    await sale.put("phone", 10)
    first, again = await adjust(sale, "phone", 5), await adjust(sale, "phone", 5)
    assert (first.replayed, again.replayed) == (False, True)
    assert first.move.seq == again.move.seq
    assert again.terms.on_hand == 15


@pytest.mark.parametrize(("sku", "delta", "why"), [("case", 5, "count"), ("phone", 6, "count")])
async def test_the_same_key_for_another_adjustment_is_a_mismatch(
    sale: Sale, sku: str, delta: int, why: str
) -> None:
    await sale.put("phone", 10)
    await sale.put("case", 10)
    await adjust(sale, "phone", 5)
    assert await adjust(sale, sku, delta, why=why) == Refused("idempotency-mismatch")
    assert await adjust(sale, "phone", 5, why="found") == Refused("idempotency-mismatch")


async def test_keys_belong_to_their_actors(sale: Sale) -> None:
    await sale.put("phone", 10)
    calls = sale.core.catalogue
    for actor in ("ann", "bo"):
        moved = await calls.adjust("phone", 1, "count", actor, "k")
        assert isinstance(moved, Moved)
        assert not moved.replayed
    assert (await sale.terms("phone")).on_hand == 12


async def test_without_a_key_every_adjustment_counts(sale: Sale) -> None:
    await sale.put("phone", 10)
    for _ in range(2):
        assert isinstance(
            await sale.core.catalogue.adjust("phone", 1, "found", "tester", None), Moved
        )
    assert (await sale.terms("phone")).on_hand == 12


async def test_an_adjustment_of_an_unknown_sku(sale: Sale) -> None:
    assert await adjust(sale, "nope", 5) == Refused("unknown-sku", {"sku": "nope"})
    assert await sale.core.catalogue.get("nope") is None


async def test_an_adjustment_below_available_is_refused_and_leaves_no_trace(
    any_sale: Sale,
) -> None:
    await any_sale.put("phone", 10, 2)
    held = await any_sale.held(("phone", 5))
    before, owned = await any_sale.terms("phone"), await row(any_sale, "phone")
    answer = refused(await adjust(any_sale, "phone", -4))
    assert answer == Refused("adjustment-refused", {"sku": "phone", "available": 3})
    assert counts(await any_sale.terms("phone")) == counts(before)
    now = await row(any_sale, "phone")
    assert (now.on_hand, now.received, now.safety_stock) == (10, owned.received, 2)
    await assert_equal_in_both(any_sale, "phone")

    await any_sale.reservations.release(held)
    again = refused(await adjust(any_sale, "phone", -4))
    assert again.code == "adjustment-refused", "the same key keeps its answer"
    assert isinstance(await adjust(any_sale, "phone", -4, key="new"), Moved)
    await any_sale.assert_sound()


async def test_an_adjustment_that_the_ledger_itself_refuses(sale: Sale) -> None:
    await sale.put("phone", 10, 2)
    for delta in (-11, -9, 2**53):
        answer = refused(await adjust(sale, "phone", delta, key=str(delta)))
        assert answer == Refused("adjustment-refused", {"sku": "phone", "available": 8})
    assert (await row(sale, "phone")).move_seq == 1


async def test_pages_are_by_name(sale: Sale) -> None:
    names = [f"sku-{n:02}" for n in range(7)]
    for name in reversed(names):
        await sale.put(name, 1)
    pages, after = [], ""
    while page := await sale.core.catalogue.page(after, 3):
        pages.append([t.sku for t in page])
        after = page[-1].sku
    assert pages == [names[:3], names[3:6], names[6:]]
    found = await sale.core.catalogue.get_many(["sku-03", "nope", "sku-01"])
    assert [t.sku for t in found] == ["sku-03", "sku-01"]


async def test_skus_of_several_shards_are_one_catalogue(sale: Sale) -> None:
    places = [Place(sale.commands(), sale.core.store.listing(0)), _second_place(sale)]
    catalogue = Catalogue(places, sale.ledger, Snapshot(sale.core.clock), sale.core.clock)
    names = [f"sku-{n}" for n in range(8)]
    for n, name in enumerate(names):
        assert isinstance(await catalogue.put(name, n, 0, SkuSettings(), "tester"), Moved)
    assert {keys.shard_of(name, 2) for name in names} == {0, 1}
    found = await catalogue.get_many([*reversed(names)])
    assert [(t.sku, t.on_hand) for t in found] == [(f"sku-{n}", n) for n in range(7, -1, -1)]
    assert [t.sku for t in await catalogue.page("sku-2", 3)] == ["sku-3", "sku-4", "sku-5"]


def _second_place(sale: Sale) -> Place:
    channel = sale.core.store.channel()
    sale.stack.push_async_callback(channel.close)
    return Place(StockCommands(channel, 1), sale.core.store.listing(1))


async def test_calls_made_at_once_each_get_their_own_answer(any_sale: Sale) -> None:
    names = [f"sku-{n}" for n in range(20)]
    for n, name in enumerate(names):
        await any_sale.put(name, n)
    found = await asyncio.gather(*[any_sale.core.catalogue.get(name) for name in names])
    assert [(t.sku, t.on_hand) for t in found if t] == [(f"sku-{n}", n) for n in range(20)]


async def test_calls_wait_for_their_turn_in_a_bounded_queue(
    sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sale.put("phone", 1)
    monkeypatch.setattr(catalogue_module, "WAITING_MAX", 3)
    calls = [sale.core.catalogue.get("phone") for _ in range(6)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(a, Overloaded) for a in answers) == 2
    assert await sale.core.catalogue.get("phone") is not None


async def test_stores_that_do_not_belong_together_are_not_mixed(sale: Sale) -> None:
    await sale.put("phone", 10)
    await sale.raw("HSET", keys.sku(0, "phone"), "move_seq", 7)
    with pytest.raises(InvariantBreach, match=r"move 2 of SKU phone: out_of_order"):
        await sale.core.catalogue.put("phone", 11, 0, SkuSettings(), "tester")
    with pytest.raises(InvariantBreach, match="out_of_order"):
        await sale.core.catalogue.recover()
    assert (await sale.terms("phone")).on_hand == 10
