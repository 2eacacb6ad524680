"""Drift in any counter is found, seen twice, repaired under a lease, and kept on record."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.core.codes import Reply
from gateway.core.errors import LeaseLost
from gateway.core.events import Event, EventKind
from gateway.core.leases import Fence
from gateway.core.model import State
from gateway.ledger import AuditBook, DeductionLine
from gateway.sale import comparing, sightings
from gateway.sale.evidence import Drift
from gateway.sale.outcomes import Granted
from gateway.sale.repairing import finding_of
from gateway.store import keys
from gateway.store.audit_commands import AuditCommands, Repair
from gateway.workers.deducting import _deduction
from tests.sale.audits import DRIFTS, SKU, a_busy_shop, auditor_of, runs, shift
from tests.sale.steps import Sale, outbox_of, settle_all, until
from tests.sale.test_verify import sql

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
    assert run.findings
    assert {f.state for f in run.findings} == {"repaired"}
    assert all(f.fence > 0 and f.before and f.after and f.sku == SKU for f in run.findings)
    assert await auditor.watch() == []
    assert len(await runs(sale)) == 1


@pytest.mark.parametrize("drift", ["held+3", "sold-1", "buyer+1", "settings"])
async def test_without_repair_it_stays_wrong(sale: Sale, drift: str) -> None:
    """The negative control of every repair."""
    await a_busy_shop(sale)
    told: list[Event] = []
    auditor = auditor_of(sale, told, repair=False)
    await DRIFTS[drift](sale)
    await two_looks(auditor)
    assert await auditor.watch()
    assert {e.kind for e in told} == {EventKind.DRIFT_FOUND}
    [run] = await runs(sale)
    assert {f.state for f in run.findings} == {"found"}


async def test_what_is_seen_once_is_left_alone(sale: Sale, monkeypatch: pytest.MonkeyPatch) -> None:
    await a_busy_shop(sale)
    auditor = auditor_of(sale)
    for by in (3, -3):  # another difference each time, as of something that is still moving
        await shift(sale, "sold", by)
        assert await auditor.watch() == []
        await asyncio.sleep(APART_S)
    assert await runs(sale) == []

    await shift(sale, "sold", 3)
    monkeypatch.setattr(sightings, "APART_S", 0.0)  # without the rule
    assert await auditor.watch()


async def test_a_remainder_below_zero_closes_the_sku(sale: Sale) -> None:
    """The ledger owns less than was promised: nobody guesses, nothing more is sold."""
    await sale.put(SKU, 10)
    await sale.held((SKU, 8))
    # The ledger is behind by a shipment that only Redis remembers having.
    await sql(sale, f"UPDATE stock SET on_hand = 5, received = 5 WHERE sku = '{SKU}'")
    told: list[Event] = []
    auditor = auditor_of(sale, told)
    await two_looks(auditor)
    terms = await sale.terms(SKU)
    assert (terms.on_hand, terms.held, terms.available) == (5, 8, -3)
    assert not isinstance(await sale.hold((SKU, 1)), Granted)
    await two_looks(auditor)
    await two_looks(auditor)
    assert any(e.cause == "short" for e in told)
    assert (await sale.terms(SKU)).available == -3


async def test_a_confirmed_reservation_outside_the_outbox_is_sent_again(any_sale: Sale) -> None:
    sale = any_sale
    await sale.put(SKU, 10)
    id_ = await sale.confirmed((SKU, 2))
    await sale.raw("XTRIM", keys.outbox(0), "MAXLEN", 0)
    assert await sale.outbox_length() == 0
    auditor = auditor_of(sale, unsettled_limit_s=0)
    await two_looks(auditor)
    assert await sale.outbox_length() == 1
    await two_looks(auditor)
    assert await sale.outbox_length() == 1, "it is on its way now"
    await settle_all(sale.settler())
    assert await sale.state(id_) is State.SETTLED
    await sale.assert_sound()
    assert (await sale.terms(SKU)).sold == 2


@pytest.mark.parametrize("settled", [True, False])
async def test_what_the_ledger_has_decided_is_mirrored(sale: Sale, settled: bool) -> None:
    await sale.put(SKU, 10)
    id_ = await sale.confirmed((SKU, 2))
    await _lose_after_deduction(sale, settled)
    auditor = auditor_of(sale, unsettled_limit_s=0)
    await two_looks(auditor)
    assert await sale.state(id_) is (State.SETTLED if settled else State.REJECTED)
    terms = await sale.terms(SKU)
    assert (terms.sold, terms.unsettled) == (2 if settled else 0, 0)
    finding = (await runs(sale))[0].findings[0]
    assert (finding.term, finding.state, finding.subject) == (
        "unsettled-reservation",
        "repaired",
        id_,
    )


async def _lose_after_deduction(sale: Sale, settled: bool) -> None:
    outbox = outbox_of(sale.core.store, "one")
    await outbox.create()
    [entry] = (await outbox.read_new(1, 0.0)).entries
    deduction = _deduction(entry.reservation)
    if not settled:
        deduction = replace(deduction, lines=(DeductionLine("nothing-like-it", 2),))
    await sale.ledger.deduct([deduction])
    await sale.raw("XTRIM", keys.outbox(0), "MAXLEN", 0)


async def test_a_hold_whose_reminder_is_lost_expires_all_the_same(sale: Sale) -> None:
    await sale.put(SKU, 10)
    id_ = await sale.held((SKU, 2), ttl_ms=1)
    for name in await sale.raw("KEYS", "*due*"):
        await sale.raw("DEL", name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "STUCK_AFTER_MS", 10)
        auditor = auditor_of(sale)
        await asyncio.sleep(0.02)
        await two_looks(auditor)
    commands = sale.commands()

    async def is_expired() -> bool:
        return (await commands.expire_due(100)).expired == 1

    await until(is_expired)
    assert (await sale.terms(SKU)).held == 0
    assert await sale.state(id_) is State.EXPIRED


async def test_a_full_audit_says_what_it_checked(sale: Sale) -> None:
    await a_busy_shop(sale)
    auditor = auditor_of(sale)
    run = await auditor.audit(await auditor.begin("demand", "ann"))
    assert run is not None
    assert (run.state, run.trigger, run.actor, run.findings) == ("done", "demand", "ann", ())
    counts = run.counts
    assert (counts.skus, counts.reservations, counts.ledger_rows) == (2, 5, 2)
    assert counts.buyers == 2
    assert "version" in run.method


async def test_the_ledgers_own_faults_are_told_and_left(sale: Sale) -> None:
    await a_busy_shop(sale)
    await sql(sale, "UPDATE journal SET on_hand_after = on_hand_after - 1, delta = delta - 1")
    told: list[Event] = []
    auditor = auditor_of(sale, told)
    run = await auditor.audit(await auditor.begin("demand", "ann"))
    assert run is not None
    assert {f.term for f in run.findings} == {"ledger"}
    assert {f.state for f in run.findings} == {"found"}
    assert {e.cause for e in told} == {"ledger"}


async def test_of_two_auditors_one_repairs(any_sale: Sale) -> None:
    sale = any_sale
    await a_busy_shop(sale)
    auditors = [auditor_of(sale), auditor_of(sale)]
    await shift(sale, "sold", 3)
    await asyncio.gather(*[auditor.watch() for auditor in auditors])
    await asyncio.sleep(APART_S)
    await asyncio.gather(*[auditor.watch() for auditor in auditors])
    states = [f.state for run in await runs(sale) for f in run.findings]
    assert states.count("repaired") == 1
    assert (await sale.terms(SKU)).sold == 6
    await sale.assert_sound()


@pytest.mark.parametrize("step", ["find", "repair", "finish"])
async def test_an_auditor_killed_between_two_steps(
    any_sale: Sale, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Wherever it dies, the next one ends with the same counters and one repair."""
    sale = any_sale
    await a_busy_shop(sale)
    await shift(sale, "sold", 3)
    with monkeypatch.context() as patch:
        owner: Any = AuditCommands if step == "repair" else AuditBook
        done = getattr(owner, step)

        async def dies(self: Any, *args: Any, **options: Any) -> None:
            fences = [a for a in args if a.__class__ is Fence]
            if step == "find" and not fences:
                return await done(self, *args, **options)
            await done(self, *args, **options)
            raise Killed

        patch.setattr(owner, step, dies)
        with pytest.raises(Killed):
            await two_looks(auditor_of(sale))
    assert (await sale.terms(SKU)).sold == (9 if step == "find" else 6)
    await two_looks(auditor_of(sale))
    assert (await sale.terms(SKU)).sold == 6
    states = [f.state for run in await runs(sale) for f in run.findings]
    assert states.count("repaired") == (0 if step == "repair" else 1)
    await sale.assert_sound()


async def test_a_late_auditor_writes_nothing(any_sale: Sale) -> None:
    """Its lease has had a later holder: neither Redis nor the ledger take what it writes."""
    sale = any_sale
    await a_busy_shop(sale)
    async with sale.core.leases.hold("audit:0", expected_s=1) as late:
        old = late.fence
    async with sale.core.leases.hold("audit:0", expected_s=1) as lease:
        commands = auditor_of(sale)._corners[0].audit
        assert await commands.raise_fence(lease.fence) is Reply.DONE
        terms = await sale.terms(SKU)
        plan = Repair(terms, replace(terms, sold=terms.sold + 1))
        assert await commands.repair(old, plan) is Reply.STALE_FENCE
        assert await commands.remind(old, ["x"]) is Reply.STALE_FENCE
        with pytest.raises(LeaseLost):
            await sale.ledger.audits.find(1, [finding_of(Drift(SKU, "sold", 1, 0))], old)
        changed = Repair(replace(terms, held=terms.held + 1), terms)
        assert await commands.repair(lease.fence, changed) is Reply.OUT_OF_ORDER
        wrong = Repair(terms, replace(terms, held=terms.held + 1))
        assert await commands.repair(lease.fence, wrong) is Reply.ILLEGAL
    assert await sale.terms(SKU) == terms


class Killed(BaseException):
    """The process ends here."""
