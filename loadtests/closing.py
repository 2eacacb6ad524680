"""After the load: wait for what is pending, sell what is left, and ask how everything ended.

The load itself may end with units on sale, because carts were abandoned to the very end. That
proves nothing about underselling, so the last units are bought here: each one must sell.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gateway.cli.demo_client import Answer, HttpCaller
from gateway.core.errors import SetupError
from loadtests.verdict import Terms

TRIES_MAX = 5
ROUNDS_MAX = 3
PAGES_MAX = 10_000
PAGE_SIZE = 500
POLL_S = 0.2
TRY_AGAIN = (0, 429, 503)


class Closing:
    """Talks to the gateway after the load. `record_path` is this client's own record."""

    def __init__(self, caller: HttpCaller, record_path: Path) -> None:
        self._caller = caller
        self._record = record_path.open("a", encoding="utf-8", buffering=1)
        self._sold = 0
        self._buyers = itertools.count(1)

    def close(self) -> None:
        """Close the record."""
        self._record.close()

    async def terms(self, sku: str) -> Terms:
        """The SKU's terms. Raises SetupError when the gateway does not give them."""
        answer = await self._call("GET", f"/v1/admin/skus/{sku}")
        try:
            return Terms.read(answer.body)
        except KeyError as missing:
            raise SetupError(f"no terms of {sku}: {answer.code}, no {missing}") from None

    async def quiet(self, skus: Iterable[str], wait_max_s: float) -> bool:
        """Wait until nothing is held or unsettled; False when that took too long."""
        deadline_s = time.monotonic() + wait_max_s
        while time.monotonic() < deadline_s:
            terms = [await self.terms(sku) for sku in skus]
            if not any(one.held or one.unsettled for one in terms):
                return True
            await asyncio.sleep(POLL_S)
        return False

    async def sell_out(self, sku: str, quantity_max: int) -> int:
        """Buy every unit that is still available, `quantity_max` an order; how many were sold."""
        before = self._sold
        for _ in range(ROUNDS_MAX):
            left = (await self.terms(sku)).available
            if left == 0:
                break
            orders = [min(quantity_max, left - at) for at in range(0, left, quantity_max)]
            await asyncio.gather(*(self._buy(sku, quantity) for quantity in orders))
        return self._sold - before

    async def states(self, ids: Iterable[str]) -> dict[str, str]:
        """How each reservation stands; the problem's code for one that is not given."""

        async def ask(order: str) -> tuple[str, str]:
            answer = await self._call("GET", f"/v1/reservations/{order}")
            return order, str(answer.body.get("state", answer.code))

        return dict(await asyncio.gather(*(ask(order) for order in ids)))

    async def listed(self, sku: str) -> frozenset[str]:
        """The ids of all reservations of `sku` that the gateway lists."""
        ids: set[str] = set()
        path = first = f"/v1/admin/reservations?sku={sku}&limit={PAGE_SIZE}"
        for _ in range(PAGES_MAX):
            answer = await self._call("GET", path)
            if not answer.ok:
                raise SetupError(f"the reservations of {sku} were not listed: {answer.code}")
            ids.update(item["id"] for item in answer.body["items"])
            if not answer.body.get("next"):
                break
            path = f"{first}&cursor={answer.body['next']}"
        return frozenset(ids)

    async def _buy(self, sku: str, quantity: int) -> None:
        buyer = f"closing-{sku}-{next(self._buyers)}"
        body = {"buyer": buyer, "lines": [{"sku": sku, "quantity": quantity}]}
        held = await self._call("POST", "/v1/reservations", body, {"Idempotency-Key": buyer})
        if not held.ok:
            return self._write("refused", step="closing", code=held.code)
        order = str(held.body["id"])
        self._write("accepted", id=order, buyer=buyer, lines=[[sku, quantity]])
        self._write("told", id=order, belief="unsure")
        path = f"/v1/reservations/{order}/confirm"
        paid = await self._call("POST", path, {"payment_ref": f"pay-{order}"})
        if paid.ok:
            self._sold += quantity
            belief = "settled" if paid.status == 200 else "confirmed"
            self._write("told", id=order, belief=belief)
        return None

    async def _call(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        answer = await self._caller.call(method, path, body, headers)
        for attempt in range(TRIES_MAX):
            if answer.status not in TRY_AGAIN:
                break
            await asyncio.sleep(0.1 * 2**attempt)
            answer = await self._caller.call(method, path, body, headers)
        return answer

    def _write(self, event: str, **fields: Any) -> None:
        self._record.write(json.dumps({"event": event, **fields}) + "\n")
