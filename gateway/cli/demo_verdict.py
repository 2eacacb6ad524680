"""The demo's verdict: the crowd's own book held against the gateway's terms. Pure functions."""

from collections import Counter
from typing import Any

import msgspec

from gateway.cli.demo_plan import SalePlan
from gateway.cli.demo_record import Belief, Kept, Record, Terms, percentile

ENDINGS = {
    Belief.HELD: {"expired"},
    Belief.SETTLED: {"settled"},
    Belief.CONFIRMED: {"settled", "rejected"},
    Belief.RELEASED: {"released"},
    Belief.TOO_LATE: {"expired"},
    Belief.REJECTED: {"rejected"},
    Belief.UNSURE: {"settled", "rejected", "released", "expired"},
}
EXAMPLES_MAX = 3


class VerifyResult(msgspec.Struct, frozen=True):
    """What `stockgate verify` said of the private gateway; `ran` is False where it cannot run."""

    ran: bool
    exit_code: int = 0
    output: str = ""


class Check(msgspec.Struct, frozen=True):
    """One promise, whether it held, and the figures behind it.

    ran: whether it could be checked at all; what could not breaks no promise.
    """

    name: str
    ok: bool
    detail: str
    ran: bool = True


class Evidence(msgspec.Struct, frozen=True):
    """Everything the verdict is drawn from."""

    plan: SalePlan
    record: Record
    terms: Terms
    verify: VerifyResult


class Verdict(msgspec.Struct, frozen=True):
    """The outcome: figures for people and checks for the exit code."""

    checks: list[Check]
    figures: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether every check held."""
        return all(check.ok for check in self.checks)


def judge(evidence: Evidence) -> Verdict:
    """Draw the verdict."""
    checks = [
        _never_oversold(evidence),
        _never_undersold(evidence),
        _sold_is_what_buyers_have(evidence),
        _endings_as_told(evidence),
        _one_unit_a_buyer(evidence),
        _limit_refuses(evidence),
        _nobody_paid_in_vain(evidence),
        _invariant(evidence),
        _units_explained(evidence),
        _nothing_strange(evidence),
        _verified(evidence),
    ]
    return Verdict(checks=checks, figures=_figures(evidence))


def _settled(evidence: Evidence) -> list[Kept]:
    return [kept for kept in evidence.record.kept.values() if kept.final == "settled"]


def oversold_units(evidence: Evidence) -> int:
    """Units sold beyond those received, by the gateway's count or by the buyers' own."""
    told = evidence.record.count(Belief.SETTLED)
    most = max(evidence.terms.sold, len(_settled(evidence)), told)
    return max(0, most - evidence.plan.units)


def undersold_units(evidence: Evidence) -> int:
    """Units lost, or left on sale or tied up although buyers went home without one."""
    terms = evidence.terms
    lost = max(0, evidence.plan.units - terms.on_hand - terms.sold)
    left = terms.available + terms.held + terms.unsettled
    return lost + min(max(0, left), evidence.record.sent_home)


def _never_oversold(evidence: Evidence) -> Check:
    oversold = oversold_units(evidence)
    detail = f"{evidence.terms.sold} sold of {evidence.plan.units} received, {oversold} too many"
    return Check("never oversold", oversold == 0, detail)


def _never_undersold(evidence: Evidence) -> Check:
    undersold, terms = undersold_units(evidence), evidence.terms
    left = terms.available + terms.held + terms.unsettled
    detail = f"{left} left on sale, {evidence.record.sent_home} buyers sent home"
    return Check("never undersold", undersold == 0, f"{detail}, {undersold} unsold for no reason")


def _sold_is_what_buyers_have(evidence: Evidence) -> Check:
    owned = len(_settled(evidence))
    detail = f"{owned} settled reservations in buyers' hands, {evidence.terms.sold} sold"
    return Check("every sale has its buyer", owned == evidence.terms.sold, detail)


def _endings_as_told(evidence: Evidence) -> Check:
    """Nobody told "settled" lost it, and nobody who never paid was charged a unit."""
    kept = evidence.record.kept.values()
    broken = [one for one in kept if one.final not in ENDINGS[one.belief]]
    examples = "; ".join(f"{b.id} told {b.belief}, ended {b.final}" for b in broken[:EXAMPLES_MAX])
    detail = f"{len(kept)} reservations ended as their buyers were told"
    return Check("every ending as told", not broken, examples or detail)


def _one_unit_a_buyer(evidence: Evidence) -> Check:
    owned = Counter(kept.buyer for kept in _settled(evidence))
    greedy = [buyer for buyer, units in owned.items() if units > 1]
    detail = f"{len(owned)} buyers own a unit, {len(greedy)} own more than one"
    return Check("one unit a buyer", not greedy, detail)


def _limit_refuses(evidence: Evidence) -> Check:
    """Second orders are refused for the limit, not because the units happened to be gone."""
    asked, refused = evidence.record.second_orders, evidence.record.second_orders_refused
    detail = f"{refused} of {asked} second orders refused by the buyer limit"
    return Check("the buyer limit refuses", refused > 0 or asked == 0, detail)


def _nobody_paid_in_vain(evidence: Evidence) -> Check:
    """The ledger has every unit that was on hold: it never has to refuse a payment."""
    rejected = sum(kept.final == "rejected" for kept in evidence.record.kept.values())
    detail = f"{rejected} payments refused by the ledger"
    return Check("every hold was a real unit", rejected == 0, detail)


def _invariant(evidence: Evidence) -> Check:
    t = evidence.terms
    sides = f"{t.on_hand} = {t.available} + {t.held} + {t.unsettled} + {t.safety_stock}"
    name = "on_hand = available + held + unsettled + safety_stock"
    return Check(name, t.balanced, sides)


def _units_explained(evidence: Evidence) -> Check:
    terms, received = evidence.terms, evidence.plan.units
    detail = f"{received} received = {terms.sold} sold + {terms.on_hand} still on hand"
    return Check("every unit explained", received == terms.sold + terms.on_hand, detail)


def _nothing_strange(evidence: Evidence) -> Check:
    record = evidence.record
    examples = "; ".join(record.anomalies[:EXAMPLES_MAX])
    detail = f"{record.anomaly_count} answers outside the contract"
    return Check("every answer in the contract", record.anomaly_count == 0, examples or detail)


def _verified(evidence: Evidence) -> Check:
    verify = evidence.verify
    if not verify.ran:
        return Check("stockgate verify", True, verify.output, ran=False)
    return Check("stockgate verify", verify.exit_code == 0, f"exit code {verify.exit_code}")


def _figures(evidence: Evidence) -> dict[str, Any]:
    record, plan = evidence.record, evidence.plan
    finals = Counter(kept.final for kept in record.kept.values())
    late = [kept for kept in record.kept.values() if kept.paid_late]
    return {
        "sku": plan.sku,
        "units": plan.units,
        "safety_stock": plan.safety_stock,
        "buyers": len(plan.buyers),
        "accepted": len(record.kept),
        "settled": finals["settled"],
        "expired": finals["expired"],
        "released": finals["released"],
        "rejected": finals["rejected"],
        "resold": max(0, len(record.kept) - plan.on_sale),
        "duplicates_absorbed": record.replays,
        "second_orders_refused": record.second_orders_refused,
        "late_payments": len(late),
        "late_payments_honoured": sum(kept.final == "settled" for kept in late),
        "sent_home": record.sent_home,
        "refused": dict(record.refusals.most_common()),
        "retried": dict(record.retried.most_common()),
        "oversold": oversold_units(evidence),
        "undersold": undersold_units(evidence),
        "latency_ms": {step: _spread(times) for step, times in record.latencies_ms.items()},
        "calls": record.calls,
        "duration_s": round(record.duration_s, 2),
    }


def _spread(times_ms: list[float]) -> dict[str, float]:
    return {
        "count": len(times_ms),
        "p50": round(percentile(times_ms, 0.50), 1),
        "p99": round(percentile(times_ms, 0.99), 1),
        "max": round(max(times_ms, default=0.0), 1),
    }
