"""A gateway in a dictionary: the HTTP contract without HTTP, and faults to switch on."""

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway.cli.demo_client import Answer


class LoopClock:
    """The event loop's clock."""

    def now_ms(self) -> int:
        return int(self.monotonic() * 1000)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def timeout(self, seconds: float):
        async with asyncio.timeout(seconds):
            yield

    def jitter(self) -> float:
        return 0.5


@dataclass
class Booked:
    """One reservation of one unit."""

    id: str
    buyer: str
    deadline_s: float
    state: str = "held"


@dataclass
class FakeShop:
    """Answers one SKU's calls. `faults` names what it does wrong, or makes hard.

    oversells: holds without looking; forgets: answers 200 and settles nothing; leaks: an
    expired unit never comes back; two-effects: a replayed key makes a new reservation;
    no-limit: the buyer limit is not looked at; crashes: some holds are answered 500;
    busy: every third call is answered 503 first; lost: every fourth hold's answer never comes.
    """

    clock: LoopClock
    faults: frozenset[str] = frozenset()
    terms: dict[str, int] = field(default_factory=dict)
    booked: dict[str, Booked] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    calls: int = 0

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        await asyncio.sleep(0)
        self.calls += 1
        if "busy" in self.faults and self.calls % 3 == 0:
            return problem(503, "overloaded")
        self._expire()
        match method, path.strip("/").split("/")[1:]:
            case "PUT", ["admin", "skus", _]:
                self._set(body)
                return Answer(200, dict(self.terms))
            case "GET", ["admin", "skus", _] | ["stock", _]:
                return Answer(200, dict(self.terms))
            case "POST", ["reservations"]:
                return self._reserve(body["buyer"], (headers or {})["Idempotency-Key"])
            case "GET", ["reservations", which]:
                return Answer(200, {"id": which, "state": self.booked[which].state})
            case "POST", ["reservations", which, step]:
                return self._step(self.booked[which], step)
        raise AssertionError(f"{method} {path}")

    def _set(self, wanted: dict[str, int]) -> None:
        on_hand, safety = wanted["on_hand"], wanted["safety_stock"]
        self.hold_ttl_s = wanted["hold_ttl_s"]
        self.terms = {
            "on_hand": on_hand,
            "available": on_hand - safety,
            "held": 0,
            "unsettled": 0,
            "safety_stock": safety,
            "sold": 0,
        }

    def _reserve(self, buyer: str, key: str) -> Answer:
        if "crashes" in self.faults and self.calls % 10 == 0:
            return problem(500, "internal-error")
        if key in self.keys and "two-effects" not in self.faults:
            known = self.booked[self.keys[key]]
            return Answer(201, {"id": known.id, "state": known.state}, replayed=True)
        owned = [b for b in self.booked.values() if b.buyer == buyer and b.state in OWNED]
        if owned and not self.faults & {"no-limit", "two-effects"}:
            return problem(409, "buyer-limit")
        if self.terms["available"] < 1:
            if "oversells" not in self.faults:
                return problem(409, "sold-out")
            self.terms["on_hand"] += 1
            self.terms["available"] += 1
        return self._hold(buyer, key)

    def _hold(self, buyer: str, key: str) -> Answer:
        booked = Booked(f"r{len(self.booked)}", buyer, self.clock.monotonic() + self.hold_ttl_s)
        self.booked[booked.id] = booked
        self.keys[key] = booked.id
        self._move("available", "held")
        if "lost" in self.faults and len(self.booked) % 4 == 0:
            return Answer(0)
        return Answer(201, {"id": booked.id, "state": "held"})

    def _step(self, booked: Booked, step: str) -> Answer:
        match step, booked.state:
            case "payment", "held" | "paying":
                booked.state, booked.deadline_s = "paying", booked.deadline_s + 1800
                return Answer(200, {"id": booked.id, "state": "paying"})
            case "confirm", "settled":
                return Answer(200, {"id": booked.id, "state": "settled"})
            case "confirm", "held" | "paying":
                return self._settle(booked, "held")
            case "confirm", "expired" if self.terms["available"]:
                return self._settle(booked, "available")
            case "confirm", "expired" if self.terms["safety_stock"]:
                return self._settle(booked, "safety_stock")
            case "release", "held" | "paying":
                booked.state = "released"
                self._move("held", "available")
                return Answer(200, {"id": booked.id, "state": "released"})
        return problem(410, "reservation-expired", refund_required=True)

    def _settle(self, booked: Booked, source: str) -> Answer:
        if "forgets" in self.faults:
            return Answer(200, {"id": booked.id, "state": "settled"})
        booked.state = "settled"
        self.terms[source] -= 1
        self.terms["on_hand"] -= 1
        self.terms["sold"] += 1
        return Answer(200, {"id": booked.id, "state": "settled"})

    def _expire(self) -> None:
        now_s = self.clock.monotonic()
        for booked in self.booked.values():
            if booked.state in ("held", "paying") and booked.deadline_s <= now_s:
                booked.state = "expired"
                self._move("held", "nowhere" if "leaks" in self.faults else "available")

    def _move(self, source: str, target: str) -> None:
        self.terms[source] -= 1
        if target == "nowhere":
            self.terms["on_hand"] -= 1
        else:
            self.terms[target] += 1


OWNED = ("held", "paying", "settled")


def problem(status: int, code: str, **more: Any) -> Answer:
    """A refusal as the gateway words it."""
    return Answer(status, {"status": status, "code": code, **more})
