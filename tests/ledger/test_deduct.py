"""The final deduction: exactly once, whole or not at all, in order."""

import asyncio

import pytest

from gateway.ledger import Deduction, DeductionLine, Ledger, MoveRequest, Outcome
from tests.ledger.backdoor import Backdoor
from tests.ledger.steps import assert_clean, begun, open_ledger, put, row_of, sale


async def test_settled_reservation_leaves_the_stock_and_is_on_record(ledger: Ledger) -> None:
    await put(ledger, "phone", 10)

    assert await ledger.deduct([sale("r1", ("phone", 3))]) == [Outcome("r1", True)]

    row = await row_of(ledger, "phone")
    assert (row.on_hand, row.sold, row.received) == (7, 3, 10)
    recorded = await ledger.deduction("r1")
    assert recorded is not None
    assert recorded.settled
    assert recorded.reason == ""
    assert recorded.buyer == "ann"
    assert recorded.payment_ref == "pay-r1"
    assert recorded.lines == (DeductionLine("phone", 3),)
    assert recorded.confirmed_ms == 1_700_000_000_000
    assert recorded.deducted_ms > recorded.confirmed_ms
    await assert_clean(ledger)


async def test_empty_batch_asks_nothing(ledger: Ledger) -> None:
    assert await ledger.deduct([]) == []


async def test_repeats_get_the_first_outcome_and_take_nothing(ledger: Ledger) -> None:
    await put(ledger, "phone", 2)
    first = sale("r1", ("phone", 2))

    assert await ledger.deduct([first, first]) == [Outcome("r1", True)] * 2
    assert await ledger.deduct([first]) == [Outcome("r1", True)]
    assert (await row_of(ledger, "phone")).sold == 2
    await assert_clean(ledger)


async def test_refusal_is_final_even_after_new_stock(ledger: Ledger) -> None:
    await put(ledger, "phone", 1)
    assert await ledger.deduct([sale("r1", ("phone", 2))]) == [Outcome("r1", False, "shortfall")]

    await put(ledger, "phone", 100)

    assert await ledger.deduct([sale("r1", ("phone", 2))]) == [Outcome("r1", False, "shortfall")]
    assert (await row_of(ledger, "phone")).sold == 0
    recorded = await ledger.deduction("r1")
    assert recorded is not None
    assert (recorded.settled, recorded.reason) == (False, "shortfall")
    await assert_clean(ledger)


async def test_lines_are_taken_together_or_not_at_all(ledger: Ledger) -> None:
    await put(ledger, "case", 5)
    await put(ledger, "phone", 1)
    batch = [
        sale("r1", ("case", 1), ("phone", 2)),
        sale("r2", ("case", 1), ("phone", 1)),
        sale("r3", ("case", 1), ("ghost", 1)),
    ]

    outcomes = await ledger.deduct(batch)

    assert [o.reason for o in outcomes] == ["shortfall", "", "unknown-sku"]
    assert (await row_of(ledger, "case")).sold == 1
    assert (await row_of(ledger, "phone")).sold == 1
    await assert_clean(ledger)


async def test_batch_that_does_not_fit_is_decided_in_its_order(ledger: Ledger) -> None:
    await put(ledger, "phone", 5)
    batch = [sale(f"r{n}", ("phone", quantity)) for n, quantity in enumerate([3, 3, 2, 1])]

    assert [o.settled for o in await ledger.deduct(batch)] == [True, False, True, False]
    assert (await row_of(ledger, "phone")).on_hand == 0
    await assert_clean(ledger)


async def test_units_from_safety_lower_the_safety_stock(ledger: Ledger) -> None:
    await put(ledger, "phone", 10, safety_stock=3)

    await ledger.deduct([sale("r1", ("phone", 4, 2))])

    row = await row_of(ledger, "phone")
    assert (row.on_hand, row.safety_stock) == (6, 1)
    await assert_clean(ledger)


async def test_safety_stock_stops_at_zero_and_says_so(
    kept_ledger: Ledger, backdoor: Backdoor
) -> None:
    await put(kept_ledger, "phone", 10, safety_stock=1)

    assert (await kept_ledger.deduct([sale("r1", ("phone", 3, 3))]))[0].settled

    assert (await row_of(kept_ledger, "phone")).safety_stock == 0
    await assert_clean(kept_ledger)
    said = backdoor.sql("SELECT reason FROM journal WHERE kind = 'sold'")
    assert said == [["late payment: 3 from safety_stock; safety_stock was 2 short"]]


async def test_batch_of_thousands(ledger: Ledger) -> None:
    size = 2001
    await put(ledger, "phone", size - 1)
    batch = [sale(f"r{n:05}", ("phone", 1)) for n in range(size)]

    outcomes = await ledger.deduct(batch)

    assert [o.reservation_id for o in outcomes] == [d.reservation_id for d in batch]
    assert sum(o.settled for o in outcomes) == size - 1
    assert await ledger.unknown_of(["new", "r00000", "newer", "r02000"]) == ["new", "newer"]
    await assert_clean(ledger)


async def test_same_reservations_from_many_settlers_are_taken_once(kept_url: str) -> None:
    ledgers = [await open_ledger(kept_url) for _ in range(3)]
    await put(ledgers[0], "phone", 100)
    batches = [[sale(f"r{n}", ("phone", 1)) for n in range(k, k + 20)] for k in range(0, 60, 5)]

    answers = await asyncio.gather(
        *(ledger.deduct(batch) for batch in batches for ledger in ledgers)
    )

    assert all(outcome.settled for answer in answers for outcome in answer)
    distinct = {d.reservation_id for batch in batches for d in batch}
    assert (await row_of(ledgers[0], "phone")).sold == len(distinct)
    await assert_clean(ledgers[0])
    for ledger in ledgers:
        await ledger.close()


@pytest.mark.parametrize(
    "line", [("phone", 0), ("phone", -1), ("phone", 2**53), ("phone", 1, 2), ("phone", 1, -1)]
)
def test_impossible_lines_cannot_be_made(line) -> None:
    with pytest.raises(ValueError, match="SKU phone: cannot deduct"):
        DeductionLine(*line)


@pytest.mark.parametrize("lines", [(), (DeductionLine("a", 1), DeductionLine("a", 2))])
def test_impossible_deductions_cannot_be_made(lines) -> None:
    with pytest.raises(ValueError, match="reservation r1: needs one line"):
        Deduction("r1", "ann", "pay", lines)


async def test_a_shortfall_is_covered_from_the_safety_stock(
    kept_ledger: Ledger, backdoor: Backdoor
) -> None:
    """Somebody took 3 of 10 units away; 8 were promised, and 2 are kept back."""
    await put(kept_ledger, "phone", 10, safety_stock=2)
    backdoor.sql("UPDATE stock SET on_hand = 7, received = 7 WHERE sku = 'phone'")

    outcomes = await kept_ledger.deduct([sale(f"r{n}", ("phone", 2)) for n in range(4)])

    assert [(o.settled, o.covered) for o in outcomes] == [
        (True, 0),
        (True, 0),
        (True, 1),
        (False, 0),
    ]
    row = await row_of(kept_ledger, "phone")
    assert (row.on_hand, row.safety_stock) == (1, 1)
    said = backdoor.sql(
        "SELECT reservation_id, reason, safety_before, safety_after FROM journal"
        " WHERE reason LIKE 'shortfall%'"
    )
    assert [list(map(str, row)) for row in said] == [
        ["r2", "shortfall: 1 from safety_stock", "2", "1"]
    ]


@pytest.mark.parametrize("safety_stock", [0, 5])
async def test_a_move_in_flight_is_no_shortfall(ledger: Ledger, safety_stock: int) -> None:
    """The store sells what is not set aside yet, or any more; the ledger is not to cover it."""
    await put(ledger, "phone", 10, safety_stock=2)
    move = await begun(
        ledger, MoveRequest(sku="phone", kind="put", on_hand=10, safety_stock=safety_stock)
    )

    outcomes = await ledger.deduct([sale("r1", ("phone", 8 if safety_stock else 10))])

    assert [(o.settled, o.covered) for o in outcomes] == [(True, 0)]
    await ledger.finish_move("phone", move.seq, not safety_stock)
    assert (await row_of(ledger, "phone")).safety_stock == (2 if safety_stock else 0)
    await assert_clean(ledger)
