"""Reservations: make, show, pay, confirm, release, extend. The hot path of the gateway."""

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from gateway.core.codes import Reply
from gateway.core.config import HoldConfig
from gateway.core.errors import OutcomeUnknown, Overloaded, StockgateError
from gateway.core.ids import fingerprint, key_field, make_id, split_id
from gateway.core.model import HeldLine, Line, Reservation, State
from gateway.ledger import Ledger, Recorded
from gateway.sale import batcher
from gateway.sale.finished import Finished
from gateway.sale.outcomes import (
    Answer,
    Granted,
    Refused,
    hold_refusal,
    step_done,
    step_refusal,
)
from gateway.sale.receipts import Receipt
from gateway.sale.shard import Act, Shard
from gateway.store import keys
from gateway.store.client import Arg
from gateway.store.commands import ActAnswer, ActRequest, HoldAnswer, HoldRequest
from gateway.store.records import as_of, parse_record

DUE_TRIES_MAX = 200
"""Calls that expire what is due, some hundred holds each, before a request gives up."""

UNKNOWN = Refused("unknown-reservation")


def hold_request(
    caller: str, key: str, buyer: str, lines: tuple[Line, ...], ttl_s: int, channel: str
) -> HoldRequest:
    """What the hold command needs for one reservation; ttl_s 0 leaves it to the SKU.

    The same key with the same meaning gives the same request, whatever its spelling was.
    """
    if len(lines) == 1:
        text = f"{lines[0].sku}*{lines[0].quantity}"
    else:
        text = ",".join([f"{line.sku}*{line.quantity}" for line in lines])
    meaning = f"{buyer}|{channel}|{ttl_s}|{text}"
    return HoldRequest(
        field=key_field(caller, key),
        middle=f"{fingerprint(key, meaning)}|{buyer}|{channel}||",
        buyer=buyer,
        channel=channel,
        ttl_ms=ttl_s * 1000,
        lines=lines,
    )


class Reservations:
    """The reservations of all shards. One answer a call; business refusals are values.

    Every call may raise StoreUnavailable, OutcomeUnknown, Overloaded or InvariantBreach, and
    LedgerUnavailable when a reservation has to be looked up there.
    """

    def __init__(
        self, shards: Sequence[Shard], finished: Finished, ledger: Ledger, config: HoldConfig
    ) -> None:
        self._shards = shards
        self._finished = finished
        self._ledger = ledger
        self._window_ms = config.payment_window_s * 1000
        self._cap_ms = config.extend_total_max_s * 1000

    async def reserve(self, request: HoldRequest) -> Answer:
        """Hold the units of every line, or none."""
        shard = self._shard_of(request)
        answer = await shard.hold.submit(request, len(request.lines))
        if answer.code == Reply.MORE_DUE:
            answer = await self._hold_again(shard, request)
        return hold_answer(shard.number, request, answer)

    def ask(self, request: HoldRequest, answer: batcher.Answer[HoldAnswer]) -> int:
        """Send a hold on its way to `answer`; its shard's number. Raises Overloaded."""
        shard = self._shard_of(request)
        shard.hold.submit_for(answer, request, len(request.lines))
        return shard.number

    async def ask_again(self, request: HoldRequest) -> Answer:
        """Hold after a first attempt had to leave off with more holds due than it could expire."""
        shard = self._shard_of(request)
        return hold_answer(shard.number, request, await self._hold_again(shard, request))

    async def reserve_many(self, requests: Sequence[HoldRequest]) -> list[Answer | StockgateError]:
        """Each by itself, in order; one that could not be asked is its error."""
        asked = [self._submit(request) for request in requests]
        answers: list[Answer | StockgateError] = []
        for request, future in zip(requests, asked, strict=True):
            try:
                answers.append(await self._answer_of(request, future))
            except StockgateError as error:
                answers.append(error)
        return answers

    async def _answer_of(
        self, request: HoldRequest, asked: "asyncio.Future[HoldAnswer] | StockgateError"
    ) -> Answer:
        if isinstance(asked, StockgateError):
            raise asked
        shard, answer = self._shard_of(request), await asked
        if answer.code == Reply.MORE_DUE:
            answer = await self._hold_again(shard, request)
        return hold_answer(shard.number, request, answer)

    async def _hold_again(self, shard: Shard, request: HoldRequest) -> HoldAnswer:
        """Ask until what was due is expired: a refusal before that could be wrong."""
        for _ in range(DUE_TRIES_MAX):
            answer = await shard.hold.submit(request, len(request.lines))
            if answer.code != Reply.MORE_DUE:
                return answer
        raise Overloaded("very many holds expire at this moment; nothing was held")

    def _shard_of(self, request: HoldRequest) -> Shard:
        return self._shards[keys.shard_of(request.lines[0].sku, len(self._shards))]

    def _submit(self, request: HoldRequest) -> "asyncio.Future[HoldAnswer] | StockgateError":
        try:
            return self._shard_of(request).hold.submit(request, len(request.lines))
        except StockgateError as error:
            return error

    async def show(self, reservation_id: str) -> Answer:
        """The reservation as it counts now; one that was forgotten is looked up in the ledger."""
        return await self._step(reservation_id, "show")

    async def pay(self, reservation_id: str) -> Answer:
        """Begin payment; the deadline moves once to the payment window."""
        return await self._step(reservation_id, "pay", self._window_ms)

    async def release(self, reservation_id: str) -> Answer:
        """Give the units back."""
        return await self._step(reservation_id, "release")

    async def extend(self, reservation_id: str, ttl_s: int) -> Answer:
        """Hold for `ttl_s` from now, capped in total; never shortens."""
        return await self._step(reservation_id, "extend", f"{ttl_s * 1000}:{self._cap_ms}")

    async def confirm(
        self,
        reservation_id: str,
        payment_ref: str,
        wait_s: float,
        receipt: Receipt | None = None,
    ) -> Answer:
        """Record the payment, then wait up to `wait_s` for the ledger.

        Granted with state settled, or confirmed when the ledger has not decided yet.
        receipt: the reservation's own; with it, one that was forgotten is honoured as a late
        payment. A request that was sent again after the loss may have made another reservation
        under the same key: then that one is confirmed, and the answer names it.
        """
        place = self._place(reservation_id)
        if place is None:
            return UNKNOWN
        field = place[2]
        watch = self._finished.watch(field)
        try:
            answer = await self._step(reservation_id, "confirm", payment_ref)
            if answer is UNKNOWN and receipt is not None:
                answer = await self._confirm_forgotten(place[0], receipt, payment_ref)
            if isinstance(answer, Refused) or answer.reservation.state is not State.CONFIRMED:
                return answer
            if wait_s <= 0:
                return answer
            state = await self._finished.wait(watch, wait_s)
        finally:
            self._finished.forget(field, watch)
        if state is None:
            return await self._look_again(answer)
        return await self._decided(answer, state)

    async def _decided(self, confirmed: Granted, state: State) -> Answer:
        reservation = replace(confirmed.reservation, state=state)
        if state is State.REJECTED:
            return await self._rejected(reservation, reservation.payment_ref)
        return Granted(reservation, confirmed.now_ms, confirmed.replayed)

    async def _rejected(self, reservation: Reservation, payment_ref: str) -> Answer:
        """The ledger knows why: money that has bought another reservation is not to be returned."""
        recorded = await self._ledger.deduction(reservation.id)
        used = recorded is not None and recorded.reason == "payment-ref-used"
        if used and payment_ref == reservation.payment_ref:
            return step_refusal(Reply.PAYMENT_REF_USED, reservation)
        return step_refusal(Reply.IS_REJECTED, reservation)

    async def _confirm_forgotten(self, shard: Shard, receipt: Receipt, payment_ref: str) -> Answer:
        """Neither store nor ledger know the reservation, but its buyer has a receipt."""
        found = await shard.restore.submit(receipt, len(receipt.lines))
        if found.missing:
            return Refused("stock-inconsistent", {"sku": found.missing})
        if not found.reservation_id:
            return step_refusal(Reply.IS_EXPIRED, None, paid_with=payment_ref)
        answer = await self._step(found.reservation_id, "confirm", payment_ref)
        if answer is UNKNOWN:
            raise OutcomeUnknown("Redis lost its reservations once more")
        return answer

    async def _look_again(self, confirmed: Granted) -> Answer:
        """The announcement did not come; it may have been lost."""
        try:
            shown = await self.show(confirmed.reservation.id)
        except StockgateError:
            return confirmed  # which it is, whatever has become of it since
        if isinstance(shown, Granted):
            return await self._decided(confirmed, shown.reservation.state)
        return confirmed

    def _place(self, reservation_id: str) -> tuple[Shard, int, str] | None:
        parts = split_id(reservation_id)
        if parts is None or parts[1] >= len(self._shards):
            return None
        created_ms, number, field = parts
        return self._shards[number], created_ms, field

    async def _step(self, reservation_id: str, name: str, argument: Arg = "") -> Answer:
        place = self._place(reservation_id)
        if place is None:
            return UNKNOWN
        shard, created_ms, field = place
        answer = await self._ask(getattr(shard, name), ActRequest(field, created_ms, argument))
        reservation = _reservation_of(answer, shard.number, field)
        if reservation is None or reservation.id != reservation_id:
            return await self._forgotten(reservation_id, answer.now_ms, name, str(argument))
        paid_with = str(argument) if name == "confirm" else ""
        if paid_with and answer.code == Reply.IS_REJECTED:
            return await self._rejected(reservation, paid_with)
        if not step_done(answer.code):
            return step_refusal(answer.code, reservation, paid_with=paid_with)
        return Granted(reservation, answer.now_ms, answer.code == Reply.UNCHANGED)

    async def _ask(self, act: Act, request: ActRequest) -> ActAnswer:
        for _ in range(DUE_TRIES_MAX):
            answer = await act.submit(request)
            if answer.code != Reply.MORE_DUE:
                return answer
        raise Overloaded("very many holds expire at this moment; nothing was done")

    async def _forgotten(
        self, reservation_id: str, now_ms: int, step: str, argument: str
    ) -> Answer:
        """What the ledger remembers of a reservation that the store no longer has."""
        recorded = await self._ledger.deduction(reservation_id)
        if recorded is None:
            return UNKNOWN
        reservation = _from_ledger(recorded)
        if step == "show":
            return Granted(reservation, now_ms)
        paid_with = argument if step == "confirm" else ""
        if paid_with and await self._ledger.bought_with(paid_with) not in (None, reservation_id):
            return step_refusal(Reply.PAYMENT_REF_USED, reservation)
        if not recorded.settled:
            return step_refusal(Reply.IS_REJECTED, reservation)
        if step == "confirm" and argument == recorded.payment_ref:
            return Granted(reservation, now_ms, replayed=True)
        code = Reply.PAYMENT_REF_CONFLICT if step == "confirm" else Reply.IS_CONFIRMED
        return step_refusal(code, reservation, paid_with=paid_with)


def hold_answer(shard: int, request: HoldRequest, answer: HoldAnswer) -> Answer:
    """What a final result of the hold command means."""
    if answer.code == Reply.HELD:
        return Granted(_held(shard, request, answer), answer.now_ms)
    if answer.code == Reply.REPLAYED:
        known = parse_record(request.field, shard, answer.a)
        return Granted(as_of(known, answer.now_ms), answer.now_ms, replayed=True)
    return hold_refusal(request, answer)


def _held(shard: int, request: HoldRequest, answer: HoldAnswer) -> Reservation:
    lines = request.lines
    return Reservation(
        id=make_id(answer.now_ms, shard, request.field),
        state=State.HELD,
        buyer=request.buyer,
        lines=lines if len(lines) == 1 else _summed(lines),
        created_ms=answer.now_ms,
        deadline_ms=answer.a,
        channel=request.channel,
    )


def _summed(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Lines of one SKU are one line, as the store keeps them."""
    quantities: dict[str, int] = {}
    for line in lines:
        quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
    return tuple(Line(sku, quantity) for sku, quantity in quantities.items())


def _reservation_of(answer: ActAnswer, shard: int, field: str) -> Reservation | None:
    if answer.record is None:
        return None
    return as_of(parse_record(field, shard, answer.record), answer.now_ms)


def _from_ledger(recorded: Recorded) -> Reservation:
    parts = split_id(recorded.reservation_id)
    created_ms = parts[0] if parts else recorded.confirmed_ms
    return Reservation(
        id=recorded.reservation_id,
        state=State.SETTLED if recorded.settled else State.REJECTED,
        buyer=recorded.buyer,
        lines=tuple(
            HeldLine(line.sku, line.quantity, from_safety=line.from_safety)
            for line in recorded.lines
        ),
        created_ms=created_ms,
        deadline_ms=0,
        payment_ref=recorded.payment_ref,
    )
