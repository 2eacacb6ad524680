"""`stockgate serve` with a settler whose ledger is broken, to show that the damage is found.

    python -m tests.chaos.faulty_gateway FAULT serve --config …

FAULT: early (says "settled" before anything is committed, and commits one batch late), dying
(deducts, then dies before it is mirrored), twice (deducts again what was deducted before).
"""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from gateway.cli.main import main
from gateway.ledger import Deduction, Ledger, Outcome
from gateway.workers.settler import Settler


class _Broken:
    """A ledger but for what `deduct` does."""

    def __init__(self, ledger: Ledger) -> None:
        self.sound = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sound, name)


class Early(_Broken):
    """Acknowledges a batch at once, and commits it when the next one comes."""

    _before: Sequence[Deduction] = ()

    async def deduct(self, batch: Sequence[Deduction]) -> list[Outcome]:
        if batch and self._before:
            await self.sound.deduct(self._before)
        self._before = batch or self._before
        return [Outcome(deduction.reservation_id, True, "") for deduction in batch]


class Twice(_Broken):
    """Does not know what it has decided before: it is recorded, and deducted, under a new id.

    Without its payment, which would give it away.
    """

    async def deduct(self, batch: Sequence[Deduction]) -> list[Outcome]:
        unknown = set(await self.sound.unknown_of([d.reservation_id for d in batch]))
        outcomes = await self.sound.deduct([_renamed(d, unknown) for d in batch])
        pairs = zip(outcomes, batch, strict=True)
        return [replace(o, reservation_id=d.reservation_id) for o, d in pairs]


def _renamed(deduction: Deduction, unknown: set[str]) -> Deduction:
    if deduction.reservation_id in unknown:
        return deduction
    name = f"{deduction.reservation_id}~{os.urandom(4).hex()}"
    return replace(deduction, reservation_id=name, payment_ref="")


def die_before_mirroring(step: str) -> None:
    """kill -9 of itself between the commit and its mirror."""
    if step == "mirror":
        os.kill(os.getpid(), signal.SIGKILL)


def settler_with(fault: str) -> Any:
    """What takes the place of the settler's class."""

    def make(outbox: Any, commands: Any, ledger: Ledger, *rest: Any, **more: Any) -> Settler:
        if fault == "dying":
            more["on_step"] = die_before_mirroring
        broken: Any = {"early": Early, "twice": Twice}.get(fault, lambda sound: sound)(ledger)
        return Settler(outbox, commands, broken, *rest, **more)

    return make


if __name__ == "__main__":
    fault = sys.argv.pop(1)
    with patch("gateway.runtime.gateway.Settler", settler_with(fault)):
        main()
