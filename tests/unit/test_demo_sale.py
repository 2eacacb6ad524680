"""The demo's crowd against a shop in memory: right shops pass, each kind of wrong one is caught."""

import pytest
from msgspec.structs import replace

from gateway.cli.demo_plan import Kind, SalePlan, draw_plan
from gateway.cli.demo_record import Belief, Terms
from gateway.cli.demo_sale import FlashSale
from gateway.cli.demo_verdict import Evidence, Verdict, VerifyResult, judge
from gateway.core.errors import SetupError
from tests.support.virtual_time import in_virtual_time
from tests.unit.fake_shop import FakeShop, LoopClock, problem

PASSED = VerifyResult(ran=True, exit_code=0)


def plan_of(buyers: int = 300, units: int = 50, seed: int = 7) -> SalePlan:
    return draw_plan(run="t", seed=seed, buyers=buyers, units=units, hold_ttl_s=2, rush_s=1.0)


async def play(
    *faults: str, plan: SalePlan | None = None, give_up_s: float = 120.0
) -> tuple[Verdict, FlashSale]:
    plan = plan or plan_of()
    clock = LoopClock()
    shop = FakeShop(clock, frozenset(faults))
    sale = FlashSale(shop, shop, clock, plan, give_up_s=give_up_s)
    await sale.prepare()
    seen: list[Terms] = []
    await sale.run(seen.append)
    terms = await sale.settle(seen.append)
    assert seen
    return judge(Evidence(plan, sale.record, terms, PASSED)), sale


def broken(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if not check.ok}


@in_virtual_time
async def test_a_right_shop_sells_every_unit_once_and_passes():
    verdict, sale = await play()
    assert broken(verdict) == set()
    figures = verdict.figures
    assert figures["settled"] == 50
    assert figures["oversold"] == figures["undersold"] == 0
    assert figures["expired"] > 0
    assert figures["resold"] > 0
    assert figures["duplicates_absorbed"] > 0
    assert figures["second_orders_refused"] > 0
    assert figures["late_payments_honoured"] > 0, "safety stock covers the first late payment"
    assert sale.inside == sale.waiting == 0


@in_virtual_time
async def test_a_busy_shop_is_asked_again_with_the_same_key():
    verdict, _ = await play("busy")
    assert broken(verdict) == set()
    assert verdict.figures["retried"]["overloaded"] > 0
    assert verdict.figures["settled"] >= 45, "a late expiry may find nobody who still asks"


@in_virtual_time
async def test_lost_answers_are_asked_for_again_and_replayed():
    verdict, _ = await play("lost")
    assert broken(verdict) == set()
    assert verdict.figures["retried"]["no-answer"] > 0


@in_virtual_time
async def test_too_few_buyers_leave_units_without_being_an_undersell():
    verdict, _ = await play(plan=plan_of(buyers=20, units=50))
    assert broken(verdict) == set()
    assert verdict.figures["settled"] < 50


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        ("oversells", "never oversold"),
        ("forgets", "every ending as told"),
        ("leaks", "never undersold"),
        ("two-effects", "every answer in the contract"),
        ("no-limit", "every answer in the contract"),
        ("crashes", "every answer in the contract"),
    ],
)
@in_virtual_time
async def test_a_wrong_shop_is_caught(fault, promise):
    plan = _greedy(plan_of(buyers=40)) if fault == "no-limit" else plan_of()
    verdict, _ = await play(fault, plan=plan, give_up_s=15.0)
    assert promise in broken(verdict)


def _greedy(plan: SalePlan) -> SalePlan:
    """Everybody tries a second order."""
    return replace(
        plan, buyers=tuple(replace(buyer, kind=Kind.SECOND_ORDER) for buyer in plan.buyers)
    )


@in_virtual_time
async def test_a_key_without_the_admin_scope_is_a_clear_message():
    class Closed:
        async def call(self, method, path, body=None, headers=None):
            return problem(403, "forbidden")

    sale = FlashSale(Closed(), Closed(), LoopClock(), plan_of(), give_up_s=1.0)
    with pytest.raises(SetupError, match="forbidden") as caught:
        await sale.prepare()
    assert "--key" in caught.value.hint


@in_virtual_time
async def test_a_shop_that_dies_ends_the_sale_with_a_message():
    class Dies(FakeShop):
        async def call(self, method, path, body=None, headers=None):
            if self.calls > 200:
                return problem(0, "")
            return await super().call(method, path, body, headers)

    clock = LoopClock()
    shop = Dies(clock)
    sale = FlashSale(shop, shop, clock, plan_of(), give_up_s=60.0)
    await sale.prepare()
    with pytest.raises(SetupError, match="no longer gives the terms"):
        await sale.run(lambda terms: None)


def test_the_same_seed_draws_the_same_crowd():
    assert plan_of() == plan_of()
    assert plan_of(seed=8) != plan_of()


def test_every_kind_of_buyer_comes_and_most_come_early():
    plan = plan_of(buyers=2000)
    assert {buyer.kind for buyer in plan.buyers} == set(Kind)
    early = sum(buyer.arrive_s < 0.25 for buyer in plan.buyers)
    assert early > 900
    assert Belief("settled") is Belief.SETTLED
