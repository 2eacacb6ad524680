"""Audits on record, on every ledger."""

import pytest

from gateway.core.errors import LeaseLost
from gateway.core.leases import Fence
from gateway.ledger import Ledger, NewFinding, RunCounts
from tests.ledger.steps import put

HELD = NewFinding("phone", "held", 7, 5, before="held=7", after="held=5", state="repairing")


async def test_a_run_is_kept_with_its_findings(ledger: Ledger) -> None:
    book = ledger.audits
    first = await book.begin("demand", "ann", "how")
    second = await book.begin("interval", "auditor", "how")
    [finding] = await book.find(first, [HELD], Fence("audit:0", 3))
    await book.finish([finding], "repaired", Fence("audit:0", 3), after="held=6")
    await book.end(first, "done", RunCounts(skus=2, findings=1, repaired=1))

    run = await book.get(first)
    assert run is not None
    assert (run.state, run.actor, run.counts.skus, run.counts.repaired) == ("done", "ann", 2, 1)
    [kept] = run.findings
    assert (kept.state, kept.fence, kept.after, kept.found) == ("repaired", 3, "held=6", 7)
    assert [r.id for r in await book.page()] == [second, first]
    assert [r.id for r in await book.page(before=second)] == [first]
    assert await book.get(second + 1) is None


async def test_an_older_token_records_nothing(ledger: Ledger) -> None:
    book = ledger.audits
    run_id = await book.begin("demand", "ann", "how")
    ids = await book.find(run_id, [HELD], Fence("audit:0", 3))
    assert await ledger.record_token("audit:0", 4)
    with pytest.raises(LeaseLost):
        await book.find(run_id, [HELD], Fence("audit:0", 3))
    with pytest.raises(LeaseLost):
        await book.finish(ids, "repaired", Fence("audit:0", 3))

    await book.find(run_id, [HELD], Fence("audit:0", 4))
    run = await book.get(run_id)
    assert run is not None
    assert [finding.state for finding in run.findings] == ["interrupted", "repairing"]


async def test_standing_is_what_the_ledger_says_now(ledger: Ledger) -> None:
    await put(ledger, "phone", 5)
    rows, outcomes, moving = await ledger.audits.standing(["phone", "none"], ["r1"])
    assert (set(rows), rows["phone"].on_hand, outcomes, moving) == ({"phone"}, 5, {}, frozenset())
    assert await ledger.audits.set_aside(["r1"]) == set()
