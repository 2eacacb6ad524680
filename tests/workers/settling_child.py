"""A settler in a process of its own that kills itself, with SIGKILL, at the point it is told.

    python -m tests.workers.settling_child STORE_URL FOLDER CONSUMER POINT LEDGER

POINT: deduct (read, nothing deducted), mirror (deducted, nothing mirrored), reject (settled ones
mirrored, refused ones not), done (all mirrored). LEDGER: sound | forgetful.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from gateway.ledger import Deduction, Ledger, Outcome
from tests.sale.steps import config_for, open_sale, step_on


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(point: str) -> Callable[[str], None]:
    def on_step(step: str) -> None:
        if step == point:
            die()

    return on_step


class DiesBeforeReject:
    """Commands of a process that ends between mirroring what was settled and what was refused."""

    def __init__(self, commands: Any) -> None:
        self._commands = commands

    def __getattr__(self, name: str) -> Any:
        if name == "reject":
            die()
        return getattr(self._commands, name)


class Forgetful:
    """A ledger that does not know what it has decided before: the check of recorded ids is gone.

    It records each deduction under an id of its own, so no id is ever found again; and without
    its payment, which would give it away.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._life = os.urandom(4).hex()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def deduct(self, batch: Sequence[Deduction]) -> list[Outcome]:
        renamed = [
            replace(d, reservation_id=f"{d.reservation_id}~{self._life}", payment_ref="")
            for d in batch
        ]
        outcomes = await self._ledger.deduct(renamed)
        return [
            replace(o, reservation_id=d.reservation_id)
            for o, d in zip(outcomes, batch, strict=True)
        ]


async def settle(url: str, folder: str, consumer: str, point: str, ledger: str) -> None:
    async with open_sale(config_for(url, Path(folder))) as sale:
        commands = sale.commands()
        settler = sale.settler(
            consumer=consumer,
            commands=DiesBeforeReject(commands) if point == "reject" else commands,
            ledger=Forgetful(sale.ledger) if ledger == "forgetful" else sale.ledger,
            on_step=die_at(point),
        )
        await step_on(settler)


if __name__ == "__main__":
    asyncio.run(settle(*sys.argv[1:]))
