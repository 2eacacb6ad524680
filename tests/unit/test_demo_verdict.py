"""The demo's verdict from figures alone: every way in which they can contradict each other."""

import pytest

from gateway.cli.demo_client import Answer
from gateway.cli.demo_crowd import read_confirm
from gateway.cli.demo_plan import draw_plan
from gateway.cli.demo_record import Belief, Kept, Record, Terms, percentile
from gateway.cli.demo_verdict import Evidence, VerifyResult, judge


def evidence(
    *,
    sold: int = 3,
    on_hand: int = 0,
    available: int = 0,
    held: int = 0,
    sent_home: int = 5,
    verify: VerifyResult | None = None,
    **changed: Kept,
) -> Evidence:
    """Three units, three buyers who settled, one who came too late; `changed` replaces some."""
    plan = draw_plan(run="t", seed=1, buyers=9, units=3, hold_ttl_s=1, rush_s=1.0)
    record = Record()
    record.sent_home = sent_home
    kept = {name: Kept(name, f"buyer-{name}", Belief.SETTLED, final="settled") for name in "abc"}
    kept["d"] = Kept("d", "buyer-d", Belief.TOO_LATE, paid_late=True, final="expired")
    record.kept = kept | changed
    terms = Terms(on_hand, available, held, 0, 0, sold)
    return Evidence(plan, record, terms, verify or VerifyResult(True, 0))


def broken(given: Evidence) -> set[str]:
    return {check.name for check in judge(given).checks if not check.ok}


def test_figures_that_agree_pass():
    verdict = judge(evidence())
    assert verdict.ok
    assert verdict.figures["resold"] == 1
    assert verdict.figures["late_payments"] == 1
    assert verdict.figures["late_payments_honoured"] == 0


def test_more_sold_than_received():
    assert "never oversold" in broken(evidence(sold=4))


def test_more_buyers_told_settled_than_units():
    fourth = Kept("d", "buyer-d", Belief.SETTLED, final="settled")
    assert "never oversold" in broken(evidence(d=fourth))
    assert "every sale has its buyer" in broken(evidence(d=fourth))


def test_a_sale_without_a_buyer():
    gone = Kept("a", "buyer-a", Belief.HELD, final="expired")
    assert "every sale has its buyer" in broken(evidence(a=gone))


@pytest.mark.parametrize("final", ["expired", "released", "rejected", "http-404"])
def test_a_settled_confirm_that_was_forgotten(final):
    forgotten = Kept("a", "buyer-a", Belief.SETTLED, final=final)
    assert "every ending as told" in broken(evidence(a=forgotten, sold=2, on_hand=1, available=1))


def test_a_unit_charged_to_someone_who_never_paid():
    charged = Kept("a", "buyer-a", Belief.HELD, final="settled")
    assert broken(evidence(a=charged)) == {"every ending as told"}


def test_a_unit_left_on_sale_while_buyers_went_home():
    left = Kept("a", "buyer-a", Belief.HELD, final="expired")
    found = broken(evidence(a=left, sold=2, on_hand=1, available=1))
    assert found == {"never undersold"}
    assert not broken(evidence(a=left, sold=2, on_hand=1, available=1, sent_home=0))


def test_a_unit_that_vanished():
    gone = Kept("a", "buyer-a", Belief.HELD, final="expired")
    assert {"never undersold", "every unit explained"} <= broken(evidence(a=gone, sold=2))


def test_terms_that_do_not_add_up():
    assert any(name.startswith("on_hand") for name in broken(evidence(held=1)))
    assert any(name.startswith("on_hand") for name in broken(evidence(available=-1, held=1)))


def test_two_units_for_one_buyer():
    second = Kept("a", "buyer-b", Belief.SETTLED, final="settled")
    assert broken(evidence(a=second)) == {"one unit a buyer"}


def test_second_orders_that_only_the_lack_of_units_refused():
    given = evidence()
    given.record.second_orders = 4
    assert broken(given) == {"the buyer limit refuses"}
    given.record.second_orders_refused = 1
    assert broken(given) == set()


def test_a_payment_that_the_ledger_refused():
    refused = Kept("d", "buyer-d", Belief.REJECTED, final="rejected")
    assert broken(evidence(d=refused)) == {"every hold was a real unit"}


def test_an_answer_outside_the_contract():
    given = evidence()
    given.record.anomaly("confirm x: 500 internal-error")
    assert broken(given) == {"every answer in the contract"}


def test_verify_that_failed_or_did_not_run():
    assert broken(evidence(verify=VerifyResult(True, 1))) == {"stockgate verify"}
    assert broken(evidence(verify=VerifyResult(False, output="not run"))) == set()


@pytest.mark.parametrize(
    ("answer", "belief"),
    [
        (Answer(200, {"state": "settled"}), Belief.SETTLED),
        (Answer(200, {"state": "held"}), None),
        (Answer(202, {"state": "confirmed"}), Belief.CONFIRMED),
        (Answer(410, {"code": "reservation-expired", "refund_required": True}), Belief.TOO_LATE),
        (Answer(410, {"code": "reservation-expired"}), None),
        (Answer(409, {"code": "deduction-rejected", "refund_required": True}), Belief.REJECTED),
        (Answer(409, {"code": "payment-ref-conflict"}), None),
        (Answer(503, {"code": "outcome-unknown"}), Belief.UNSURE),
        (Answer(0), Belief.UNSURE),
        (Answer(500), None),
    ],
)
def test_what_a_confirm_lets_its_buyer_believe(answer, belief):
    assert read_confirm(answer) is belief


def test_percentiles_are_nearest_rank():
    assert percentile([], 0.99) == 0.0
    assert percentile([5.0], 0.01) == 5.0
    assert percentile(range(1, 101), 0.50) == 50
    assert percentile(range(1, 101), 0.99) == 99
