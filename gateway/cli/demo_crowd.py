"""The buyers: how each of them goes through the sale, and what they note on the way."""

import asyncio
from collections import deque
from typing import Any

from gateway.cli.demo_client import Answer
from gateway.cli.demo_patience import TRY_AGAIN, PatientCaller
from gateway.cli.demo_plan import Buyer, Kind, SalePlan
from gateway.cli.demo_record import Belief, Kept, Record
from gateway.core.clock import Clock

VISITS_MAX = 20  # visits of one buyer to a sold-out page that shows units again
CLICKS = 3
STRENGTH = (
    Belief.HELD,
    Belief.UNSURE,
    Belief.TOO_LATE,
    Belief.CONFIRMED,
    Belief.REJECTED,
    Belief.SETTLED,
)


class ReturnLine:
    """Buyers who read "sold out" and keep the page open in case a unit comes back."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self) -> bool:
        """Wait for a unit to show; False when the sale is over."""
        if self._closed:
            return False
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        return await turn

    def call_up(self, buyers: int) -> None:
        """Let up to `buyers` try again, longest waiting first."""
        for _ in range(min(buyers, len(self._waiting))):
            self._settle(self._waiting.popleft(), True)

    def close(self) -> None:
        """Send everyone home."""
        self._closed = True
        while self._waiting:
            self._settle(self._waiting.popleft(), False)

    @staticmethod
    def _settle(turn: asyncio.Future[bool], again: bool) -> None:
        if not turn.done():
            turn.set_result(again)


class Crowd:
    """Everyone of one plan. `inside` counts the buyers who have not gone home yet.

    Args:
        shop: where the calls go.
        line: where buyers wait for returned units.
    """

    def __init__(
        self, shop: PatientCaller, clock: Clock, plan: SalePlan, record: Record, line: ReturnLine
    ) -> None:
        self.inside = len(plan.buyers)
        self._shop = shop
        self._clock = clock
        self._plan = plan
        self._record = record
        self._line = line
        self._after_hold = {
            Kind.PAYS: self._pay,
            Kind.DOUBLE_CLICKS: self._pay_with_two_clicks,
            Kind.SECOND_ORDER: self._order_again_then_pay,
            Kind.ABANDONS: self._abandon,
            Kind.PAYS_LATE: self._pay_late,
            Kind.CHANGES_MIND: self._release,
        }

    async def visit(self, buyer: Buyer, opened_s: float) -> None:
        """Arrive, buy as this buyer does, leave. `opened_s` is the sale's opening, monotonic."""
        await self._until(opened_s + buyer.arrive_s)
        try:
            await self._buy(buyer, opened_s + buyer.arrive_s)
        finally:
            self.inside -= 1

    async def _buy(self, buyer: Buyer, intended_s: float) -> None:
        """Reserve; when sold out, wait for returned units; then do as this buyer does."""
        for visit in range(VISITS_MAX):
            kept, sold_out = await self._reserve(buyer, visit, intended_s)
            if kept is not None:
                # Whoever waited for a returned unit wants it: they pay.
                follow = self._after_hold[buyer.kind] if visit == 0 else self._pay
                return await follow(buyer, kept)
            if not sold_out or not await self._line.wait():
                break
            intended_s = self._clock.monotonic()
        self._record.sent_home += 1

    async def _reserve(
        self, buyer: Buyer, visit: int, intended_s: float
    ) -> tuple[Kept | None, bool]:
        """Ask for a unit; the reservation if there is one, else whether it was sold out."""
        clicks = CLICKS if buyer.kind is Kind.DOUBLE_CLICKS and visit == 0 else 1
        key = f"{buyer.name}-{visit}"
        answers = await asyncio.gather(
            *(self._ask_unit(buyer, key, intended_s) for _ in range(clicks))
        )
        given = [self._record.accept(answer, buyer.name) for answer in answers if answer.ok]
        if len({kept.id for kept in given}) > 1:
            self._record.anomaly(f"key {key} got {len(given)} reservations")
        if given:
            return given[0], False
        self._note_refusal(answers[0])
        return None, answers[0].code == "sold-out"

    async def _ask_unit(self, buyer: Buyer, key: str, intended_s: float) -> Answer:
        body = {"buyer": buyer.name, "lines": [{"sku": self._plan.sku, "quantity": 1}]}
        answer = await self._shop.call("POST", "/v1/reservations", body, {"Idempotency-Key": key})
        self._record.took("reserve", self._clock.monotonic() - intended_s)
        return answer

    def _note_refusal(self, answer: Answer) -> None:
        self._record.refuse(answer)
        if answer.code != "sold-out" and answer.status not in TRY_AGAIN:
            self._record.anomaly(f"a first order was answered {answer.status} {answer.code}")

    async def _pay(self, buyer: Buyer, kept: Kept, clicks: int = 1) -> None:
        await self._clock.sleep(buyer.look_s)
        answer = await self._step("payment", kept)
        if not answer.ok and answer.status not in (*TRY_AGAIN, 409, 410):
            self._record.anomaly(f"payment {kept.id}: {answer.status} {answer.code}")
        await self._clock.sleep(buyer.pay_s)
        await asyncio.gather(*(self._confirm(kept) for _ in range(clicks)))

    async def _pay_with_two_clicks(self, buyer: Buyer, kept: Kept) -> None:
        await self._pay(buyer, kept, clicks=2)

    async def _order_again_then_pay(self, buyer: Buyer, kept: Kept) -> None:
        answer = await self._ask_unit(buyer, f"{buyer.name}-again", self._clock.monotonic())
        self._record.second_orders += answer.status not in TRY_AGAIN
        if answer.ok:
            second = self._record.accept(answer, buyer.name)
            self._record.anomaly(f"{buyer.name} got {second.id} beyond a limit of one")
        else:
            self._record.refuse(answer)
            self._record.second_orders_refused += answer.code == "buyer-limit"
        await self._pay(buyer, kept)

    async def _abandon(self, buyer: Buyer, kept: Kept) -> None:
        """Leave; the hold runs out by itself."""

    async def _pay_late(self, buyer: Buyer, kept: Kept) -> None:
        kept.paid_late = True
        await self._clock.sleep(self._plan.hold_ttl_s + buyer.late_s)
        await self._confirm(kept)

    async def _release(self, buyer: Buyer, kept: Kept) -> None:
        await self._clock.sleep(buyer.look_s)
        answer = await self._step("release", kept)
        kept.belief = Belief.RELEASED if answer.ok else Belief.UNSURE

    async def _confirm(self, kept: Kept) -> None:
        payment = {"payment_ref": f"pay-{kept.id}"}
        if kept.receipt:
            payment["receipt"] = kept.receipt
        answer = await self._step("confirm", kept, payment)
        belief = read_confirm(answer)
        if belief is None:
            return self._record.anomaly(f"confirm {kept.id}: {answer.status} {answer.code}")
        kept.belief = max(kept.belief, belief, key=STRENGTH.index)
        if belief in (Belief.TOO_LATE, Belief.REJECTED):
            self._record.refuse(answer)

    async def _step(self, step: str, kept: Kept, body: object = None) -> Answer:
        intended_s = self._clock.monotonic()
        answer = await self._shop.call("POST", f"/v1/reservations/{kept.id}/{step}", body)
        self._record.took(step, self._clock.monotonic() - intended_s)
        return answer

    async def _until(self, moment_s: float) -> None:
        left_s = moment_s - self._clock.monotonic()
        if left_s > 0:
            await self._clock.sleep(left_s)


def read_confirm(answer: Answer) -> Belief | None:
    """What a confirm's answer lets its buyer believe; None when the contract has no such answer."""
    refund: Any = answer.body.get("refund_required")
    match answer.status, answer.code:
        case 200, _:
            return Belief.SETTLED if answer.body.get("state") == "settled" else None
        case 202, _:
            return Belief.CONFIRMED
        case 410, "reservation-expired":
            return Belief.TOO_LATE if refund is True else None
        case 409, "deduction-rejected":
            return Belief.REJECTED if refund is True else None
        case status, _ if status in TRY_AGAIN:
            return Belief.UNSURE
    return None
