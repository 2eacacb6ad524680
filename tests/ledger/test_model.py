"""Any sequence of deductions and moves gives what a few dictionaries say it should."""

import asyncio
import tempfile
from pathlib import Path
from typing import ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.errors import InvariantBreach
from gateway.ledger import (
    Deduction,
    DeductionLine,
    Move,
    MovePending,
    MoveRefused,
    MoveRequest,
    MoveUnknownSku,
)
from tests.ledger.conftest import MIGRATED
from tests.ledger.steps import assert_clean, open_ledger
from tests.support.postgres import PostgresServer

SKUS = st.sampled_from(["a", "b", "c"])
UNITS = st.integers(0, 12)
REFS = st.just("") | st.integers(0, 60).map(lambda n: f"pay-{n}")
LINES = st.dictionaries(SKUS, st.tuples(st.integers(1, 5), st.integers(0, 2)), min_size=1)


class Shelf:
    def __init__(self) -> None:
        self.on_hand = self.safety = self.sold = self.received = self.seq = 0


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.url = self.new_url()
        self.ledger = self.runner.run(open_ledger(self.url))
        self.shelves: dict[str, Shelf] = {}
        self.pending: dict[str, Move] = {}
        self.outcomes: dict[str, str] = {}
        self.used_refs: set[str] = set()

    def new_url(self) -> str:
        return f"sqlite:///{Path(self.folder.name) / 'ledger.db'}"

    @rule(wanted=st.lists(st.tuples(st.integers(0, 40), REFS, LINES), max_size=6))
    def deduct(self, wanted: list[tuple[int, str, dict[str, tuple[int, int]]]]) -> None:
        batch = [
            Deduction(
                f"r{n}",
                "ann",
                ref,
                tuple(DeductionLine(s, q, min(q, f)) for s, (q, f) in lines.items()),
            )
            for n, ref, lines in wanted
        ]
        outcomes = self.runner.run(self.ledger.deduct(batch))
        expected = [self.expected(deduction) for deduction in batch]
        assert [(o.reservation_id, o.reason) for o in outcomes] == expected

    def expected(self, deduction: Deduction) -> tuple[str, str]:
        id_ = deduction.reservation_id
        if id_ not in self.outcomes:
            self.outcomes[id_] = self.decide(deduction)
        return id_, self.outcomes[id_]

    def decide(self, deduction: Deduction) -> str:
        if deduction.payment_ref in self.used_refs:
            return "payment-ref-used"
        if any(line.sku not in self.shelves for line in deduction.lines):
            return "unknown-sku"
        if any(line.quantity > self.shelves[line.sku].on_hand for line in deduction.lines):
            return "shortfall"
        for line in deduction.lines:
            shelf = self.shelves[line.sku]
            shelf.on_hand -= line.quantity
            shelf.sold += line.quantity
            shelf.safety = max(0, shelf.safety - line.from_safety)
        if deduction.payment_ref:
            self.used_refs.add(deduction.payment_ref)
        return ""

    @rule(sku=SKUS, on_hand=st.none() | UNITS, safety=st.none() | st.integers(0, 6))
    def put(self, sku: str, on_hand: int | None, safety: int | None) -> None:
        now = self.shelves.get(sku, Shelf())
        delta = 0 if on_hand is None else on_hand - now.on_hand
        request = MoveRequest(sku=sku, kind="put", on_hand=on_hand, safety_stock=safety)
        self.begin(request, delta, now.safety if safety is None else safety)

    @rule(sku=SKUS, delta=st.integers(-8, 8))
    def adjust(self, sku: str, delta: int) -> None:
        request = MoveRequest(sku=sku, kind="adjust", delta=delta)
        if sku not in self.shelves:
            assert self.runner.run(self.ledger.begin_move(request)) == MoveUnknownSku(sku)
            return
        self.begin(request, delta, self.shelves[sku].safety)

    def begin(self, request: MoveRequest, delta: int, safety: int) -> None:
        answer = self.runner.run(self.ledger.begin_move(request))
        sku = request.sku
        if sku in self.pending:
            assert answer == MovePending(self.pending[sku])
            return
        shelf = self.shelves.get(sku, Shelf())
        on_hand, rise = shelf.on_hand + delta, safety - shelf.safety
        if on_hand < 0 or (on_hand < safety and (delta < 0 or rise > 0)):
            assert isinstance(answer, MoveRefused)
            return
        assert isinstance(answer, Move)
        assert (answer.seq, answer.on_hand_delta, answer.safety_delta) == (
            shelf.seq + 1,
            delta,
            rise,
        )
        self.shelves[sku], self.pending[sku] = shelf, answer
        shelf.seq += 1
        self.shift(shelf, max(0, delta), max(0, rise))

    @precondition(lambda self: self.pending)
    @rule(applied=st.booleans(), data=st.data())
    def finish(self, applied: bool, data: st.DataObject) -> None:
        sku = data.draw(st.sampled_from(sorted(self.pending)))
        move, shelf = self.pending[sku], self.shelves[sku]
        if applied:
            change = min(0, move.on_hand_delta), min(0, move.safety_delta)
        else:
            change = -max(0, move.on_hand_delta), -max(0, move.safety_delta)
        call = self.ledger.finish_move(sku, move.seq, applied)
        if shelf.on_hand + change[0] < 0:
            with pytest.raises(InvariantBreach):
                self.runner.run(call)
            return
        self.runner.run(call)
        del self.pending[sku]
        self.shift(shelf, *change)

    @staticmethod
    def shift(shelf: Shelf, on_hand: int, safety: int) -> None:
        shelf.on_hand += on_hand
        shelf.received += on_hand
        shelf.safety = max(0, shelf.safety + safety)

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.ledger.close())
        self.ledger = self.runner.run(open_ledger(self.url))

    @invariant()
    def rows_are_as_expected(self) -> None:
        rows = {
            r.sku: (r.on_hand, r.safety_stock, r.sold, r.received, r.move_seq)
            for r in self.runner.run(self.ledger.stock())
        }
        assert rows == {
            sku: (s.on_hand, s.safety, s.sold, s.received, s.seq) for sku, s in self.shelves.items()
        }
        self.runner.run(assert_clean(self.ledger))

    def teardown(self) -> None:
        self.runner.run(self.ledger.close())
        self.runner.close()
        self.folder.cleanup()


class PostgresMachine(LedgerMachine):
    server: ClassVar[PostgresServer]

    def new_url(self) -> str:
        return self.server.url(self.server.new_database(MIGRATED))


@pytest.fixture(scope="module")
def machine_server(migrated_postgres: PostgresServer) -> None:
    PostgresMachine.server = migrated_postgres


LedgerMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
PostgresMachine.TestCase.settings = settings(LedgerMachine.TestCase.settings, max_examples=10)
TestLedgerMachine = LedgerMachine.TestCase


TestPostgresMachine = pytest.mark.usefixtures("machine_server")(PostgresMachine.TestCase)
