"""A storefront that asks again, with the same key, until it knows."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from gateway.cli.demo_client import NO_ANSWER, Answer, HttpCaller
from gateway.core.clock import SystemClock
from tests.chaos.book import Book, Purchase, Told

PATIENCE_S = 45.0
"""For one call, all its repetitions included: longer than anything is away."""

PAUSE_S = 0.05
UNSURE = ("no-answer", "outcome-unknown")
_numbers = itertools.count(1)


class Shop:
    """Calls the gateway at `url()`, which may change, and writes down what it is told."""

    def __init__(self, url: Callable[[], str], book: Book) -> None:
        self.book = book
        self._url = url
        self._caller: tuple[str, HttpCaller] | None = None

    def close(self) -> None:
        """Hang up."""
        if self._caller is not None:
            self._caller[1].close()

    async def ask(
        self, method: str, path: str, body: object = None, *, key: str = "", step: str = ""
    ) -> tuple[Answer, bool]:
        """The first answer that is one, and whether any before it left the outcome open."""
        unsure = False
        async with asyncio.timeout(PATIENCE_S):
            while True:
                headers = {"Idempotency-Key": key} if key else None
                answer = await self._current().call(method, path, body, headers)
                self.book.answers[step or path, answer.code if not answer.ok else "ok"] += 1
                if answer.status not in (NO_ANSWER, 503):
                    break
                unsure = unsure or answer.code in UNSURE
                await asyncio.sleep(PAUSE_S)
        self.book.resolved += unsure
        self.book.had_happened += unsure and answer.replayed
        assert answer.status < 500, (method, path, answer)
        return answer, unsure

    async def reserve(self, purchase: Purchase) -> None:
        """Ask for the units; everything told is in the purchase."""
        answer = await self._asked(purchase, "reserve", "/v1/reservations", purchase.body)
        if answer.status == 201:
            purchase.ids.add(answer.body["id"])
            purchase.receipt = answer.body["receipt"]
            purchase.told.add(Told.HELD)
        else:
            assert answer.code == "sold-out", answer
            purchase.told.add(Told.REFUSED)

    async def pay(self, purchase: Purchase) -> None:
        """Begin the payment."""
        answer = await self._step(purchase, "payment")
        assert answer.ok, answer

    async def confirm(self, purchase: Purchase, *, with_receipt: bool = False) -> None:
        """Pay."""
        body = {"payment_ref": purchase.ref}
        if with_receipt:
            body["receipt"] = purchase.receipt
        answer = await self._step(purchase, "confirm", body)
        purchase.told.add(_told_of_payment(answer))
        if answer.ok:
            purchase.ids.add(answer.body["id"])

    async def release(self, purchase: Purchase) -> None:
        """Give the units back."""
        answer = await self._step(purchase, "release")
        assert answer.ok, answer
        purchase.told.add(Told.RELEASED)

    async def state(self, purchase: Purchase) -> str:
        """Where its reservation stands; "" when nobody knows it."""
        path = f"/v1/reservations/{purchase.id}"
        answer, _ = await self.ask("GET", path, step="show")
        assert answer.status in (200, 404), answer
        return str(answer.body.get("state", ""))

    async def put(self, sku: str, on_hand: int, safety_stock: int = 0) -> None:
        """A new SKU."""
        body = {"on_hand": on_hand, "safety_stock": safety_stock}
        answer, _ = await self.ask("PUT", f"/v1/admin/skus/{sku}", body, step="put")
        assert answer.ok, answer
        self.book.received[sku] += on_hand
        self.book.safety[sku] = safety_stock

    async def restock(self, sku: str, units: int) -> None:
        """More of it, once."""
        body = {"delta": units, "reason": "delivery"}
        path, key = f"/v1/admin/skus/{sku}/adjustments", f"delivery-{next(_numbers)}"
        answer, _ = await self.ask("POST", path, body, key=key, step="restock")
        assert answer.ok, answer
        self.book.received[sku] += units

    async def terms(self, sku: str) -> dict[str, Any]:
        """All terms of the SKU."""
        answer, _ = await self.ask("GET", f"/v1/admin/skus/{sku}", step="terms")
        assert answer.ok, answer
        return answer.body

    def new_purchase(self, lines: dict[str, int], ttl_s: int) -> Purchase:
        """A cart under a key of its own."""
        purchase = Purchase(f"order-{next(_numbers)}", lines, ttl_s)
        self.book.purchases.append(purchase)
        return purchase

    async def _step(self, purchase: Purchase, step: str, body: object = None) -> Answer:
        path = f"/v1/reservations/{purchase.id}/{step}"
        return await self._asked(purchase, step, path, body)

    async def _asked(self, purchase: Purchase, step: str, path: str, body: object) -> Answer:
        key = purchase.key if step == "reserve" else ""
        answer, unsure = await self.ask("POST", path, body, key=key, step=step)
        purchase.unsure += unsure
        return answer

    def _current(self) -> HttpCaller:
        url = self._url()
        if self._caller is None or self._caller[0] != url:
            self.close()
            self._caller = url, HttpCaller(url, SystemClock(), call_timeout_s=5.0)
        return self._caller[1]


def _told_of_payment(answer: Answer) -> Told:
    match answer.status, answer.code:
        case 200, _:
            assert answer.body["state"] == "settled", answer
            return Told.SETTLED
        case 202, _:
            return Told.CONFIRMED
        case 410, "reservation-expired":
            return Told.TOO_LATE
        case 409, "deduction-rejected":
            return Told.REJECTED
    raise AssertionError(f"no answer to a confirm: {answer}")
