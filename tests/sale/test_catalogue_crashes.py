"""A change of a SKU is cut off at every point, or met by another: Redis and ledger stay equal."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.errors import Overloaded, StockgateError
from gateway.core.model import SkuSettings, State
from gateway.sale.catalogue import Catalogue, Moved
from gateway.sale.outcomes import Refused
from tests.sale import faults
from tests.sale.faults import Gate
from tests.sale.steps import Sale, counts, refused
from tests.sale.test_catalogue import another, assert_equal_in_both

Change = Callable[[Catalogue], Any]
Cut = Callable[[Sale], Catalogue]

CUTS: dict[str, Cut] = {
    "before begin_move": lambda sale: another(
        sale, ledger=faults.ledger_down(sale.ledger, "begin_move")
    ),
    "after begin_move": lambda sale: another(
        sale, ledger=faults.ledger_unanswered(sale.ledger, "begin_move")
    ),
    "before move_stock": lambda sale: another(
        sale, commands=faults.unreachable(sale.commands(), "move_stock")
    ),
    "after move_stock": lambda sale: another(
        sale, commands=faults.unanswered(sale.commands(), "move_stock")
    ),
    "before finish_move": lambda sale: another(
        sale, ledger=faults.ledger_down(sale.ledger, "finish_move")
    ),
    "after finish_move": lambda sale: another(
        sale, ledger=faults.ledger_unanswered(sale.ledger, "finish_move")
    ),
}
CHANGES: dict[str, tuple[Change, tuple[int, ...]]] = {
    "raise": (lambda c: c.put("phone", 14, 2, SkuSettings(), "t"), (14, 12, 0, 0, 2, 0)),
    "lower": (lambda c: c.put("phone", 4, 0, SkuSettings(), "t"), (4, 4, 0, 0, 0, 0)),
    "rules": (lambda c: c.put("phone", 10, 1, SkuSettings(9), "t"), (10, 9, 0, 0, 1, 0)),
    "add": (lambda c: c.adjust("phone", 3, "found", "t", "k"), (13, 12, 0, 0, 1, 0)),
    "take": (lambda c: c.adjust("phone", -3, "broken", "t", "k"), (7, 6, 0, 0, 1, 0)),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_that_was_cut_off_is_driven_on(sale: Sale, cut: str, change: str) -> None:
    make, expected = CHANGES[change]
    await sale.put("phone", 10, 1)
    with pytest.raises(StockgateError):
        await make(CUTS[cut](sale))
    pending = 0 if cut in ("before begin_move", "after finish_move") else 1
    assert await another(sale).recover() == pending
    await assert_equal_in_both(sale, "phone")
    done = cut != "before begin_move"
    assert counts(await sale.terms("phone")) == (expected if done else (10, 9, 0, 0, 1, 0))
    assert isinstance(await make(another(sale)), Moved), "and may be sent again"
    assert counts(await sale.terms("phone")) == expected
    await assert_equal_in_both(sale, "phone")
    await sale.assert_sound()


@pytest.mark.parametrize("cut", CUTS)
async def test_the_next_change_drives_on_what_was_cut_off(sale: Sale, cut: str) -> None:
    await sale.put("phone", 10)
    with pytest.raises(StockgateError):
        await CUTS[cut](sale).adjust("phone", 3, "found", "t", "k")
    assert isinstance(await another(sale).adjust("phone", 1, "found", "t", "other"), Moved)
    on_hand = 11 if cut == "before begin_move" else 14
    assert (await sale.terms("phone")).on_hand == on_hand
    await assert_equal_in_both(sale, "phone")


@pytest.mark.parametrize("cut", CUTS)
async def test_a_creation_that_was_cut_off_is_driven_on(sale: Sale, cut: str) -> None:
    with pytest.raises(StockgateError):
        await CUTS[cut](sale).put("phone", 10, 1, SkuSettings(3), "t")
    await another(sale).recover()
    terms = await sale.core.catalogue.get("phone")
    assert (terms is None) == (cut == "before begin_move")
    assert counts(await sale.put("phone", 10, 1)) == (10, 9, 0, 0, 1, 0)
    await sale.assert_sound()


@pytest.mark.parametrize("cut", ["before finish_move", "after move_stock", "before move_stock"])
async def test_a_refusal_that_was_cut_off_stays_one(sale: Sale, cut: str) -> None:
    await sale.put("phone", 10)
    await sale.held(("phone", 8))
    with pytest.raises(StockgateError):
        await CUTS[cut](sale).adjust("phone", -3, "broken", "t", "k")
    assert await another(sale).recover() == 1
    assert counts(await sale.terms("phone")) == (10, 2, 8, 0, 0, 0)
    again = refused(await another(sale).adjust("phone", -3, "broken", "t", "k"))
    assert again.code == "adjustment-refused"
    await assert_equal_in_both(sale, "phone")
    await sale.assert_sound()


async def test_changes_of_one_sku_by_several_gateways(any_sale: Sale) -> None:
    await any_sale.put("phone", 50)
    catalogues = [any_sale.core.catalogue, *[another(any_sale) for _ in range(3)]]

    async def change(n: int) -> int:
        """Units added; a put adds none of its own."""
        calls = catalogues[n % 4]
        for _ in range(20):
            try:
                answer = await calls.adjust("phone", n, "count", "t", f"k{n}")
            except Overloaded:
                continue
            assert isinstance(answer, Moved)
            return n
        return 0

    added = sum(await asyncio.gather(*[change(n) for n in range(1, 21)]))
    assert added == sum(range(1, 21))
    assert (await any_sale.terms("phone")).on_hand == 50 + added
    await assert_equal_in_both(any_sale, "phone")
    await any_sale.assert_sound()


async def test_puts_of_one_sku_by_several_gateways(any_sale: Sale) -> None:
    catalogues = [any_sale.core.catalogue, *[another(any_sale) for _ in range(3)]]

    async def put(n: int) -> Any:
        return await catalogues[n % 4].put("phone", 20 + n, n % 5, SkuSettings(n), f"a{n}")

    answers = await asyncio.gather(*[put(n) for n in range(12)], return_exceptions=True)
    assert {type(a) for a in answers} <= {Moved, Overloaded}
    assert Moved in {type(a) for a in answers}
    terms = await any_sale.terms("phone")
    assert terms.safety_stock == (terms.on_hand - 20) % 5, "one put's stock, safety and rules"
    assert terms.settings.buyer_limit == terms.on_hand - 20
    await assert_equal_in_both(any_sale, "phone")
    await any_sale.assert_sound()


async def test_a_late_helper_finds_the_move_finished_and_others_after_it(sale: Sale) -> None:
    await sale.put("phone", 10)
    gate = Gate(sale.commands(), "move_stock")
    late = asyncio.ensure_future(
        another(sale, commands=gate).adjust("phone", 1, "count", "t", "late")
    )
    await gate.reached.wait()  # its move is begun; others find it pending and drive it on
    for n in range(2):
        assert isinstance(await another(sale).adjust("phone", 1, "count", "t", f"k{n}"), Moved)
    gate.open.set()
    assert isinstance(await late, Moved)
    assert (await sale.terms("phone")).on_hand == 13
    await assert_equal_in_both(sale, "phone")


async def test_a_late_helper_of_an_adjustment_without_a_key_learns_how_it_ended(
    sale: Sale,
) -> None:
    await sale.put("phone", 10)
    gate = Gate(sale.commands(), "move_stock")
    late = asyncio.ensure_future(
        another(sale, commands=gate).adjust("phone", 1, "count", "t", None)
    )
    await gate.reached.wait()
    assert isinstance(await another(sale).adjust("phone", 1, "count", "t", "k"), Moved)
    gate.open.set()
    assert isinstance(await late, Moved)
    assert (await sale.terms("phone")).on_hand == 12
    await assert_equal_in_both(sale, "phone")


async def test_a_put_that_others_finished_is_not_begun_again(sale: Sale) -> None:
    """Units sold meanwhile would come back to life: 100 is what was there before they were."""
    await sale.put("phone", 40)
    gate = Gate(sale.commands(), "move_stock")
    late = asyncio.ensure_future(
        another(sale, commands=gate).put("phone", 100, 0, SkuSettings(), "t")
    )
    await gate.reached.wait()
    assert isinstance(await another(sale).adjust("phone", 1, "count", "t", "k"), Moved)
    sold = await sale.confirmed(("phone", 30))
    await sale.settler().step()
    assert await sale.state(sold) is State.SETTLED
    gate.open.set()
    assert isinstance(await late, Moved)
    assert (await sale.terms("phone")).on_hand == 71
    await assert_equal_in_both(sale, "phone")


async def test_a_late_helper_does_not_apply_what_was_refused(sale: Sale) -> None:
    """A move is judged once: units that come back later do not change the verdict."""
    await sale.put("phone", 10)
    held = await sale.held(("phone", 8))
    gate = Gate(sale.commands(), "move_stock")
    late = asyncio.ensure_future(
        another(sale, commands=gate).adjust("phone", -3, "broken", "t", "k")
    )
    await gate.reached.wait()
    assert await another(sale).recover() == 1
    await sale.reservations.release(held)
    gate.open.set()
    assert await late == Refused("adjustment-refused", {"sku": "phone", "available": 10})
    assert counts(await sale.terms("phone")) == (10, 10, 0, 0, 0, 0)
    await assert_equal_in_both(sale, "phone")
    await sale.assert_sound()
