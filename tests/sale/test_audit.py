"""Drift in any counter is found, seen twice, repaired under a lease, and kept on record."""

import asyncio
from typing import Any

import pytest

from gateway.core.events import Event, EventKind
from gateway.sale import sightings
from tests.sale.audits import DRIFTS, SKU, a_busy_shop, auditor_of, runs
from tests.sale.steps import Sale

APART_S = 0.05


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sightings, "APART_S", APART_S)


async def two_looks(auditor: Any) -> None:
    await auditor.watch()
    await asyncio.sleep(APART_S)
    await auditor.watch()


@pytest.mark.parametrize("drift", DRIFTS)
async def test_any_drift_is_found_repaired_and_on_record(any_sale: Sale, drift: str) -> None:
    sale = any_sale
    await a_busy_shop(sale)
    before = await sale.terms(SKU)
    told: list[Event] = []
    auditor = auditor_of(sale, told)
    await DRIFTS[drift](sale)
    assert (await auditor.watch()) == [], "seen once, it is left alone"

    await asyncio.sleep(APART_S)
    assert await auditor.watch(), "seen twice"

    after = await sale.terms(SKU)
    assert (after.held, after.unsettled, after.sold, after.settings) == (
        before.held,
        before.unsettled,
        before.sold,
        before.settings,
    )
    await sale.assert_sound()
    assert {e.kind for e in told} == {EventKind.DRIFT_FOUND, EventKind.DRIFT_REPAIRED}
    [run] = await runs(sale)
    assert run.findings and {f.state for f in run.findings} == {"repaired"}
    assert all(f.fence > 0 and f.before and f.after and f.sku == SKU for f in run.findings)
    assert await auditor.watch() == [] and len(await runs(sale)) == 1
