"""kill -9 of the settler's process between each pair of steps, on Valkey and a SQLite file.

Afterwards a successor finishes the work: one deduction a reservation, mirrored, nothing left.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.core.config import SettlerConfig
from gateway.core.model import State
from gateway.sale import verify as verify_module
from gateway.workers import settler as settler_module
from tests.sale.clocks import StillClock
from tests.sale.steps import Sale, counts, settle_all, until
from tests.sale.test_confirm import take_from_ledger
from tests.support.processes import Child
from tests.workers.settling_child import Forgetful

ROOT = Path(__file__).parents[2]
PHONES, LAMPS, LAMPS_MISSING = 6, 5, 2
POINTS = ("deduct", "mirror", "reject", "done")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "ROUND_PAUSE_S", 0.0)
    monkeypatch.setattr(verify_module, "ROUNDS_MAX", 2)
    monkeypatch.setattr(settler_module, "BLOCK_S", 0.02)


async def a_sale(sale: Sale) -> tuple[list[str], list[str]]:
    """Confirmed reservations of phones, and of lamps, of which the ledger has too few."""
    await sale.put("phone", 100, 10)
    await sale.put("lamp", LAMPS)
    await take_from_ledger(sale, "lamp", LAMPS_MISSING)
    phones = [await sale.confirmed(("phone", 2), buyer=f"b{n}") for n in range(PHONES)]
    lamps = [await sale.confirmed(("lamp", 1)) for _ in range(LAMPS)]
    return phones, lamps


async def settle_until_killed(
    sale: Sale, folder: Path, consumer: str, point: str, ledger: str = "sound"
) -> None:
    url = sale.core.config.store
    command = [sys.executable, "-m", "tests.workers.settling_child"]
    child = Child(
        [*command, url, str(folder), consumer, point, ledger], cwd=ROOT, log=folder / "log"
    )
    try:
        exit_code = await asyncio.to_thread(child.wait, 30)
        assert exit_code == -signal.SIGKILL, child.output()
    finally:
        child.kill()


async def deductions_of(sale: Sale, ids: Sequence[str]) -> list[int]:
    """How many settled deductions the ledger has of each reservation, under whatever name."""

    def read(connection: Any) -> list[str]:
        rows = connection.exec_driver_sql(
            "SELECT reservation_id FROM deductions WHERE outcome = 'settled'"
        )
        return [row[0].partition("~")[0] for row in rows]

    found = await sale.ledger._database.read(read)
    return [found.count(id_) for id_ in ids]


async def assert_all_is_done(sale: Sale, phones: list[str], lamps: list[str]) -> None:
    sold = LAMPS - LAMPS_MISSING
    assert await deductions_of(sale, phones) == [1] * PHONES
    assert await deductions_of(sale, lamps) == [1] * sold + [0] * LAMPS_MISSING
    states = [await sale.state(id_) for id_ in (*phones, *lamps)]
    assert states == [State.SETTLED] * (PHONES + sold) + [State.REJECTED] * LAMPS_MISSING
    assert counts(await sale.terms("phone")) == (88, 78, 0, 0, 10, 12)
    assert counts(await sale.terms("lamp")) == (2, 2, 0, 0, 0, sold)
    assert (await sale.outbox_length(), await sale.pending()) == (0, 0)
    await take_from_ledger(sale, "lamp", -LAMPS_MISSING)  # the missing lamps are found again
    await sale.assert_sound()


@pytest.mark.parametrize("point", POINTS)
async def test_killed_between_two_steps(real_sale: Sale, tmp_path: Path, point: str) -> None:
    phones, lamps = await a_sale(real_sale)
    await settle_until_killed(real_sale, tmp_path, "one", point)

    left = {"deduct": PHONES + LAMPS, "mirror": PHONES + LAMPS, "reject": LAMPS_MISSING, "done": 0}
    assert await real_sale.pending() == left[point]
    decided = PHONES + LAMPS - len(await real_sale.ledger.unknown_of([*phones, *lamps]))
    assert decided == (0 if point == "deduct" else PHONES + LAMPS)
    if point != "deduct":  # while it is half done, all is explained; but the lamps are missing
        report = await real_sale.verify()
        assert {f.sku for f in report.findings if f.faults} <= {"lamp"}

    await settle_all(real_sale.settler(consumer="one"))
    await assert_all_is_done(real_sale, phones, lamps)


async def test_killed_again_and_again(real_sale: Sale, tmp_path: Path) -> None:
    phones, lamps = await a_sale(real_sale)
    for point in ("mirror", "reject"):
        await settle_until_killed(real_sale, tmp_path, "one", point)
    await settle_all(real_sale.settler(consumer="one"))
    await assert_all_is_done(real_sale, phones, lamps)


KILLS_CI, KILLS_SOAK = 8, 200


async def take_over(sale: Sale) -> None:
    """A settler takes over what all others left behind, and settles the rest."""
    clock = StillClock()
    heir = sale.settler(consumer="heir", config=SettlerConfig(idle_claim_s=0.5), clock=clock)

    async def is_empty() -> bool:
        clock.advance(0.5)
        await heir.step()
        return await sale.outbox_length() == 0

    await until(is_empty)


SOAK = [pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("kills", [KILLS_CI, pytest.param(KILLS_SOAK, marks=SOAK)])
async def test_killed_between_commit_and_acknowledgement_every_time(
    real_sale: Sale, tmp_path: Path, kills: int
) -> None:
    """Every second settler deducts once more what the one before it did, and dies like it."""
    await real_sale.put("phone", 10 * kills)
    ids: list[str] = []
    for life in range(kills):
        ids += [await real_sale.confirmed(("phone", 2), buyer=f"b{n}") for n in range(3)]
        await settle_until_killed(real_sale, tmp_path, f"pair-{life // 2}", "mirror")
    taken = len(ids) - len(await real_sale.ledger.unknown_of(ids))
    assert await real_sale.pending() == taken, "deducted, and none of them acknowledged"
    await take_over(real_sale)
    assert await deductions_of(real_sale, ids) == [1] * len(ids)
    assert counts(await real_sale.terms("phone")) == (4 * kills, 4 * kills, 0, 0, 0, 6 * kills)
    assert (await real_sale.outbox_length(), await real_sale.pending()) == (0, 0)
    assert await real_sale.core.letters.page() == []
    await real_sale.assert_sound()


async def test_without_its_memory_of_ids_the_ledger_deducts_twice(
    real_sale: Sale, tmp_path: Path
) -> None:
    """The negative control: the same kill, with the protection taken away."""
    await real_sale.put("phone", 100, 10)
    phones = [await real_sale.confirmed(("phone", 2)) for _ in range(PHONES)]
    await settle_until_killed(real_sale, tmp_path, "one", "mirror", ledger="forgetful")
    await settle_all(real_sale.settler(consumer="one", ledger=Forgetful(real_sale.ledger)))
    assert await deductions_of(real_sale, phones) == [2] * PHONES
    (row,) = await real_sale.ledger.stock(["phone"])
    assert (row.sold, (await real_sale.terms("phone")).sold) == (24, 12)
    report = await real_sale.verify()
    assert not report.ok, "and the verifier sees it"
