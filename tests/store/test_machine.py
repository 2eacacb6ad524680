"""Any sequence of commands does what a few dictionaries say, and everything adds up after each."""

import asyncio
import os
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from gateway.core.codes import Reply
from gateway.core.model import SkuSettings
from gateway.core.transitions import Event
from gateway.store.commands import ActRequest
from gateway.store.records import as_of
from tests.store.model import Model
from tests.store.shop import BUCKET_MS, LIVE, START_MS, Shop, Terms, field_of, request
from tests.support.servers import RedisServer

T = TypeVar("T")

SOAK = os.environ.get("STOCKGATE_SOAK") == "1"

SKUS = st.sampled_from(["a", "b", "c", "ghost"])
BUYERS = st.sampled_from(["ann", "bob", "eve"])
KEYS = st.integers(0, 24).map("k{}".format)
REFS = st.sampled_from([f"pay-{n}" for n in range(8)])
BUCKETS = st.integers(1, 40).map(lambda n: n * BUCKET_MS)
WINDOWS = st.just(0) | st.integers(1, 60).map(lambda n: START_MS + n * BUCKET_MS)

requests = st.builds(
    lambda key, lines, buyer, ttl_ms: request(key, *lines, buyer=buyer, ttl_ms=ttl_ms),
    key=KEYS,
    lines=st.lists(st.tuples(SKUS, st.integers(1, 4)), min_size=1, max_size=3),
    buyer=BUYERS,
    ttl_ms=st.just(0) | BUCKETS,
)
sku_settings = st.builds(
    SkuSettings,
    buyer_limit=st.sampled_from([0, 0, 2, 5]),
    hold_ttl_ms=st.just(0) | BUCKETS,
    sale_starts_ms=WINDOWS,
    sale_ends_ms=st.sampled_from([0, 0, START_MS + 100 * BUCKET_MS]),
)


class StoreMachine(RuleBasedStateMachine):
    """A shop on a store, and the model it is compared with."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.shop = self.run(Shop.open(url))
        self.model = Model()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def teardown(self) -> None:
        self.run(self.shop.close())
        self.runner.close()

    @initialize(units=st.integers(3, 10), limit=st.sampled_from([0, 3]))
    def open_the_sale(self, units: int, limit: int) -> None:
        self.move("a", units, 1, SkuSettings(buyer_limit=limit), 1)
        self.move("b", units, 0, SkuSettings(hold_ttl_ms=5 * BUCKET_MS), 1)

    @rule(
        sku=SKUS,
        on_hand=st.integers(-5, 8),
        safety=st.integers(-3, 3),
        chosen=st.none() | sku_settings,
        step=st.sampled_from([1, 1, 1, 1, 0, 2, -1]),
    )
    def move_stock(
        self, sku: str, on_hand: int, safety: int, chosen: SkuSettings | None, step: int
    ) -> None:
        known = self.model.shelves.get(sku)
        self.move(sku, on_hand, safety, chosen, max(1, (known.seq if known else 0) + step))

    def move(
        self, sku: str, on_hand: int, safety: int, chosen: SkuSettings | None, seq: int
    ) -> None:
        wanted = self.model.move(sku, seq, on_hand, safety, chosen)
        # Due holds give units back to holds and late payments, not to stock that is taken away.
        self.run(self.shop.commands.expire_due(1000))
        assert self.run(self.shop.move(sku, on_hand, safety, chosen, seq=seq)) == wanted

    @rule(batch=st.lists(requests, min_size=1, max_size=6))
    def hold(self, batch: list[Any]) -> None:
        answers = self.run(self.shop.hold_all(*batch))
        for asked, answer in zip(batch, answers, strict=True):
            code, a, b = self.model.hold(asked)
            assert (Reply(answer.code), answer.b) == (code, b)
            assert answer.a == a or code is Reply.REPLAYED

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4), window_ms=BUCKETS)
    def pay(self, keys: list[str], window_ms: int) -> None:
        self.act(Event.PAY, keys, window_ms)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=6), ref=REFS)
    def confirm(self, keys: list[str], ref: str) -> None:
        self.act(Event.CONFIRM, keys, ref)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4))
    def release(self, keys: list[str]) -> None:
        self.act(Event.RELEASE, keys, "")

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4), ttl_ms=BUCKETS, cap_ms=BUCKETS)
    def extend(self, keys: list[str], ttl_ms: int, cap_ms: int) -> None:
        self.act(Event.EXTEND, keys, f"{ttl_ms}:{cap_ms}")

    def act(self, event: Event, keys: list[str], argument: str | int) -> None:
        wanted = [self.model.act(event, field_of(key), argument) for key in keys]
        answers = self.run(self.shop.act(event, keys, argument))
        assert [Reply(answer.code) for answer in answers] == wanted

    @rule(key=KEYS, event=st.sampled_from([Event.PAY, Event.RELEASE]))
    def act_on_an_id_that_was_never_given(self, key: str, event: Event) -> None:
        command = getattr(self.shop.commands, event.value)
        [answer] = self.run(command([ActRequest(field_of(key), START_MS - 1, 1)]))
        assert answer.code == Reply.UNKNOWN_RESERVATION

    @rule(ms=BUCKETS)
    def pass_time(self, ms: int) -> None:
        self.shop.pass_ms(ms)
        self.model.pass_ms(ms)

    @rule(limit=st.integers(1, 20))
    def sweep(self, limit: int) -> None:
        sweep = self.run(self.shop.commands.expire_due(limit))
        assert sweep.looked_at <= limit
        assert sweep.stuck == 0

    @rule(event=st.sampled_from([Event.SETTLE, Event.SETTLE, Event.REJECT]), count=BUCKETS)
    def finish(self, event: Event, count: int) -> None:
        """What is next in the outbox, or what was read and not acknowledged."""
        entries = self.run(self.shop.outbox.read_own(count // BUCKET_MS % 5 + 1)).entries
        entries = entries or self.run(self.shop.take())
        if entries:
            self.mirror(event, [(entry.entry_id, entry.field) for entry in entries])

    @rule(event=st.sampled_from([Event.SETTLE, Event.REJECT]), key=KEYS)
    def finish_again(self, event: Event, key: str) -> None:
        """A replay, or a word about a reservation that is not confirmed."""
        row = self.model.rows.get(field_of(key))
        if row is None or row.state.value != "confirmed":
            self.mirror(event, [("0-1", field_of(key))])

    def mirror(self, event: Event, entries: list[tuple[str, str]]) -> None:
        wanted = [self.model.act(event, field, "") for _, field in entries]
        command = self.shop.commands.settle if event is Event.SETTLE else self.shop.commands.reject
        assert self.run(command(entries)) == wanted

    @invariant()
    def it_adds_up(self) -> None:
        self.run(self.shop.check())

    @invariant()
    def it_is_as_predicted(self) -> None:
        self.run(self.compare())

    async def compare(self) -> None:
        rows = await self.shop.rows()
        seen = {field: as_of(row, self.model.now) for field, row in rows.items()}
        due: Counter[str] = Counter()
        for field, row in rows.items():
            if row.state in LIVE and seen[field].state not in LIVE:
                due.update({line.sku: line.quantity for line in row.lines})
        for sku, shelf in self.model.shelves.items():
            kept = await self.shop.terms(sku)
            assert kept._replace(
                available=kept.available + due[sku], held=kept.held - due[sku]
            ) == Terms(*shelf.terms)
            assert kept.sold <= shelf.received
        assert {f: (r.state, r.deadline_ms, r.payment_ref) for f, r in seen.items()} == {
            f: (r.state, r.deadline, r.ref) for f, r in self.model.rows.items()
        }


def run_machine(url: str, examples: int, steps: int, server: RedisServer | None = None) -> None:
    def fresh() -> StoreMachine:
        if server is not None:
            server.call("FLUSHALL")
        return StoreMachine(url)

    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(fresh, settings=chosen)  # type: ignore[arg-type]


def test_in_memory() -> None:
    run_machine("memory://", examples=15, steps=30)


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_on_a_server(kind: str, request: pytest.FixtureRequest) -> None:
    server: RedisServer = request.getfixturevalue(f"{kind}_server")
    run_machine(server.url, examples=6, steps=30, server=server)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not SOAK, reason="set STOCKGATE_SOAK=1")
@pytest.mark.parametrize("kind", ["memory", "redis", "valkey"])
def test_for_a_long_time(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "memory":
        run_machine("memory://", examples=400, steps=80)
    else:
        server: RedisServer = request.getfixturevalue(f"{kind}_server")
        run_machine(server.url, examples=400, steps=80, server=server)
