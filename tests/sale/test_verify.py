"""The verifier finds every kind of fault, and none where there is none."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.core.ids import split_id
from gateway.core.model import State
from gateway.ledger import Outcome
from gateway.sale import verify as verify_module
from gateway.sale.catalogue import Place
from gateway.sale.outcomes import Granted
from gateway.sale.verify import Report, Verifier
from gateway.store import keys
from tests.sale import faults
from tests.sale.steps import Sale, settle_all
from tests.sale.test_catalogue import Ahead, another

Plant = Callable[[Sale], Awaitable[Any]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "ROUND_PAUSE_S", 0.0)
    monkeypatch.setattr(verify_module, "ROUNDS_MAX", 2)


async def a_sale_of_every_state(sale: Sale) -> dict[str, str]:
    """One reservation in every state; ids by state."""
    await sale.put("phone", 20, 2, buyer_limit=5)
    await sale.put("case", 9)
    ids = {
        "settled": await sale.confirmed(("phone", 2), ("case", 1), buyer="ann"),
        "rejected": await sale.confirmed(("case", 1)),
    }
    await settle_all(sale.settler(ledger=_RefusesOne(sale.ledger, ids["rejected"])))
    ids["held"] = await sale.held(("phone", 1), buyer="bo")
    ids["paying"] = await sale.held(("phone", 1), buyer="cy")
    await sale.reservations.pay(ids["paying"])
    ids["confirmed"] = await sale.confirmed(("phone", 3), buyer="di")
    ids["released"] = await sale.held(("phone", 1))
    await sale.reservations.release(ids["released"])
    ids["expired"] = await sale.expired(("phone", 1))
    assert {await sale.state(id_) for id_ in ids.values()} == set(State)
    return ids


class _RefusesOne:
    """Answers `rejected` for one reservation, and leaves the ledger as if it had never come."""

    def __init__(self, ledger: Any, refused: str) -> None:
        self._ledger = ledger
        self._refused = refused

    async def deduct(self, batch: Any) -> Any:
        taken = [d for d in batch if d.reservation_id != self._refused]
        outcomes = {o.reservation_id: o for o in await self._ledger.deduct(taken)}
        outcomes[self._refused] = Outcome(self._refused, False, "shortfall")
        return [outcomes[d.reservation_id] for d in batch]


async def faults_of(sale: Sale, sku: str) -> str:
    report = await sale.verify()
    assert not report.ok
    return "; ".join(fault for f in report.findings if f.sku == sku for fault in f.faults)


async def sql(sale: Sale, *statements: str) -> None:
    """Changes to the ledger that it would not make itself: triggers and checks are off."""

    def run(connection: Any) -> None:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        triggers = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type='trigger'")
        for (name,) in triggers.fetchall():
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.exec_driver_sql(statement)

    await sale.ledger._database.write(run)


async def test_a_sound_sale_is_sound(any_sale: Sale) -> None:
    await a_sale_of_every_state(any_sale)
    report = await any_sale.verify()
    assert report.ok
    assert (report.reservations, report.rounds, report.unsure) == (len(State), 1, ())
    assert report.unreadable == ()
    phone = next(f for f in report.findings if f.sku == "phone")
    assert (phone.rows.held, phone.rows.unsettled, phone.rows.settled) == (2, 3, 2)
    assert phone.rows.counted == {"ann": 2, "bo": 1, "cy": 1, "di": 3}


def add(field: str, units: int) -> Plant:
    return lambda sale: sale.raw("HINCRBY", keys.sku(0, "phone"), field, units)


def both(*plants: Plant) -> Plant:
    async def plant(sale: Sale) -> None:
        for each in plants:
            await each(sale)

    return plant


IN_REDIS: dict[str, tuple[Plant, str]] = {
    "too many available": (add("available", 1), "on_hand is not"),
    "too few on hand": (add("on_hand", -1), "on_hand is not"),
    "negative": (both(add("available", -50), add("safety_stock", 50)), "on_hand is not"),
    "a hold without units": (both(add("held", -1), add("available", 1)), "held is 1"),
    "units held by nobody": (both(add("held", 1), add("available", -1)), "held is 3"),
    "unsettled for nobody": (both(add("unsettled", 1), add("available", -1)), "unsettled is 4"),
    "units from nowhere": (both(add("on_hand", 1), add("available", 1)), "on_hand and sold"),
    "sold twice": (add("sold", 2), "on_hand and sold: Redis 18 and 4, ledger 18 and 2"),
    "sold ahead of the ledger": (
        both(add("sold", 1), add("on_hand", -1), add("available", -1)),
        "Redis sold 3 units, the ledger 2",
    ),
    "the SKU is gone": (lambda sale: sale.raw("DEL", keys.sku(0, "phone")), "Redis does not have"),
    "a buyer's count is gone": (
        lambda sale: sale.raw("HDEL", keys.buyers(0, "phone"), "di"),
        "1 buyers' counts",
    ),
}


@pytest.mark.parametrize("name", IN_REDIS)
async def test_a_fault_in_redis_is_found(sale: Sale, name: str) -> None:
    plant, complaint = IN_REDIS[name]
    await a_sale_of_every_state(sale)
    await plant(sale)
    assert complaint in await faults_of(sale, "phone")


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ("held", "held is 2, its reservations hold 1"),
        ("paying", "held is 2, its reservations hold 1"),
        ("confirmed", "unsettled is 3, its reservations say 0"),
    ],
)
async def test_a_lost_record_is_found(sale: Sale, state: str, complaint: str) -> None:
    ids = await a_sale_of_every_state(sale)
    parts = split_id(ids[state])
    assert parts is not None
    await sale.raw("HDEL", keys.reservations(0), parts[2])
    assert complaint in await faults_of(sale, "phone")


async def test_a_forged_record_is_found(sale: Sale) -> None:
    ids = await a_sale_of_every_state(sale)
    parts = split_id(ids["released"])
    assert parts is not None
    name = keys.reservations(0)
    record = (await sale.raw("HGET", name, parts[2])).decode()
    await sale.raw("HSET", name, parts[2], "s" + record[1:])
    assert "3 units are settled, the ledger sold 2" in await faults_of(sale, "phone")


NO_RECORDS = {
    "words": b"nonsense",
    "nothing": b"",
    "bytes": b"\xff\x00\xfe",
    "an unknown state": b"q|1|2|fp|b||ref|phone*1",
    "a quantity of letters": b"h|1|2|fp|b||ref|phone*many",
}


@pytest.mark.parametrize("record", NO_RECORDS.values(), ids=NO_RECORDS)
async def test_what_is_no_reservation_is_named_and_hides_nothing(sale: Sale, record: bytes) -> None:
    await a_sale_of_every_state(sale)
    await sale.raw("HSET", keys.reservations(0), "stray", record)
    report = await sale.verify()
    assert (report.ok, report.unreadable) == (False, ("stray",))
    assert (report.reservations, [f.sku for f in report.findings if f.faults]) == (len(State), [])
    await add("held", 1)(sale)
    assert "held is 3" in await faults_of(sale, "phone")
    await sale.raw("HDEL", keys.reservations(0), "stray")
    await add("held", -1)(sale)
    assert (await sale.verify()).ok


async def test_a_reservation_that_was_overwritten_is_missed_as_well(sale: Sale) -> None:
    ids = await a_sale_of_every_state(sale)
    parts = split_id(ids["held"])
    assert parts is not None
    await sale.raw("HSET", keys.reservations(0), parts[2], "nonsense")
    report = await sale.verify()
    assert report.unreadable == (parts[2],)
    assert "held is 2, its reservations hold 1" in await faults_of(sale, "phone")


class _SkipsTheUnreadable:
    """A listing that passes over what it cannot read."""

    def __init__(self, listing: Any) -> None:
        self._listing = listing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listing, name)

    async def reservations(self, cursor: int, count: int) -> Any:
        return (await self._listing.reservations(cursor, count))._replace(unreadable=())


async def test_passed_over_a_stray_record_would_go_unnoticed(sale: Sale) -> None:
    """Negative control: no counter tells of it."""
    await a_sale_of_every_state(sale)
    await sale.raw("HSET", keys.reservations(0), "stray", "nonsense")
    assert (await verifier(sale, _SkipsTheUnreadable(sale.core.places[0].listing)).verify()).ok


IN_LEDGER = {
    "oversold": ("UPDATE stock SET sold = 25, on_hand = -5", "oversold"),
    "sold more than its lines": (
        "UPDATE stock SET sold = sold + 1, on_hand = on_hand - 1",
        "settled lines do not add up",
    ),
    "units from nowhere": ("UPDATE stock SET on_hand = on_hand + 1", "received - on_hand"),
    "a lost line": ("DELETE FROM deduction_lines", "settled lines do not add up"),
    "a lost journal row": ("DELETE FROM journal WHERE kind = 'sold'", "does not add up to sold"),
    "a changed journal row": (
        "UPDATE journal SET on_hand_before = 7 WHERE kind = 'sold'",
        "breaks in the journal",
    ),
    "a lost SKU": ("DELETE FROM stock WHERE sku = 'phone'", "no stock row"),
    "safety stock from nowhere": (
        "UPDATE stock SET safety_stock = safety_stock + 1",
        "does not explain safety_stock",
    ),
    "an unfinished move": ("UPDATE moves SET state = 'pending'", "stock moves are unfinished"),
}


@pytest.mark.parametrize("name", IN_LEDGER)
async def test_a_fault_in_the_ledger_is_found(sale: Sale, name: str) -> None:
    statement, complaint = IN_LEDGER[name]
    await a_sale_of_every_state(sale)
    await sql(sale, "PRAGMA defer_foreign_keys = ON", statement, *REPAIRS.get(name, ()))
    assert complaint in await faults_of(sale, "phone")


# Rows that refer to what was deleted would otherwise keep the deletion from being committed.
REPAIRS = {"a lost SKU": ("DELETE FROM moves WHERE sku = 'phone'",)}


async def test_a_ledger_that_knows_nothing_of_a_sku_is_found(sale: Sale) -> None:
    await sale.put("phone", 5)
    await sql(
        sale, *[f"DELETE FROM {t} WHERE sku = 'phone'" for t in ("moves", "journal", "stock")]
    )
    assert await faults_of(sale, "phone") == "the ledger does not have it"


async def test_a_fault_is_looked_at_in_every_round(sale: Sale) -> None:
    await a_sale_of_every_state(sale)
    await add("available", 1)(sale)
    report = await sale.verify()
    assert report.rounds == verify_module.ROUNDS_MAX
    assert [f.sku for f in report.findings if f.faults] == ["phone"]


async def test_a_fault_that_passes_is_none(sale: Sale) -> None:
    """A change of a SKU in flight is unfinished for a moment."""
    await sale.put("phone", 5)
    gate = faults.Gate(sale.commands(), "move_stock")
    moving = asyncio.ensure_future(
        another(sale, commands=gate).adjust("phone", 1, "count", "t", "k")
    )
    await gate.reached.wait()
    assert not (await sale.verify()).ok
    meanwhile = _DoesMeanwhile(sale.core.places[0].listing, [gate.open.set, lambda: moving])
    assert (await verifier(sale, meanwhile).verify()).ok
    await moving


class _DoesMeanwhile:
    """A listing that does something after every page of reservations."""

    def __init__(
        self, listing: Any, actions: list[Callable[[], Any]], *, again: Any = None
    ) -> None:
        self._listing = listing
        self._actions = actions
        self._again = again
        self.pages = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listing, name)

    async def reservations(self, cursor: int, count: int) -> Any:
        page = await self._listing.reservations(cursor, count)
        self.pages += 1
        if self._again is not None:
            await self._again()
        for action in self._actions:
            waiting = action()
            if waiting is not None:
                await waiting
        self._actions = []
        return page


def verifier(sale: Sale, listing: Any) -> Verifier:
    core = sale.core
    places = [Place(core.places[0].commands, listing)]
    return Verifier(core.catalogue, places, core.ledger, core.clock)


async def test_what_is_on_its_way_is_no_fault(sale: Sale) -> None:
    await sale.put("phone", 20)
    await sale.confirmed(("phone", 2))
    await sale.assert_sound()  # waits in the outbox
    await Ahead(sale).deduct_only()
    report = await sale.verify()  # deducted, not mirrored
    assert report.ok
    finding = report.findings[0]
    assert finding.terms is not None
    assert finding.ledger is not None
    assert (finding.terms.sold, finding.ledger.sold) == (0, 2)
    await settle_all(sale.settler())  # mirrored; nobody heard the announcement
    await sale.assert_sound()


async def test_a_sku_that_changes_whenever_it_is_read_is_unsure_not_faulty(sale: Sale) -> None:
    await sale.put("phone", 100)
    await sale.put("quiet", 5)
    busy = _DoesMeanwhile(sale.core.places[0].listing, [], again=lambda: sale.hold(("phone", 1)))
    report = await verifier(sale, busy).verify()
    assert report.ok
    assert report.unsure == ("phone",)
    assert report.rounds == busy.pages == verify_module.ROUNDS_MAX
    assert (await sale.verify()).unsure == ()


async def test_a_busy_sku_hides_no_fault_of_its_own(sale: Sale) -> None:
    await sale.put("phone", 100)
    await add("sold", 1)(sale)
    busy = _DoesMeanwhile(sale.core.places[0].listing, [], again=lambda: sale.hold(("phone", 1)))
    report = await verifier(sale, busy).verify()
    assert ["on_hand and sold" in fault for f in report.findings for fault in f.faults] == [True]


class Crowd:
    """Buyers who hold, release, let expire and pay until they are told to stop."""

    def __init__(self, sale: Sale) -> None:
        self._sale = sale
        self._tasks: list[asyncio.Task[int]] = []
        self._open = True

    def start(self) -> None:
        self._tasks = [asyncio.ensure_future(self._buy(n)) for n in range(8)]

    async def stop(self) -> int:
        """What was bought."""
        self._open = False
        return sum(await asyncio.gather(*self._tasks))

    async def _buy(self, n: int) -> int:
        calls, bought, turn = self._sale.reservations, 0, 0
        while self._open:
            turn += 1
            ttl_ms = 1 if turn % 5 == 0 else 60_000
            held = await self._sale.hold(("phone", 1), buyer=f"b{n}", ttl_ms=ttl_ms)
            if not isinstance(held, Granted):
                await asyncio.sleep(0)
            elif turn % 3 == 0:
                await calls.release(held.reservation.id)
            elif isinstance(await calls.confirm(held.reservation.id, "p", 0.0), Granted):
                bought += 1
        return bought


async def test_no_false_alarm_while_a_sale_goes_on(any_sale: Sale) -> None:
    await any_sale.put("phone", 100_000, buyer_limit=90_000)
    await any_sale.put("quiet", 5)
    any_sale.run(any_sale.settler().loop)
    crowd = Crowd(any_sale)
    crowd.start()
    reports: list[Report] = []
    for n in range(4):
        reports.append(await any_sale.verify())
        await any_sale.core.catalogue.adjust("phone", 1, "found", "t", f"k{n}")
    bought = await crowd.stop()
    wrong = [(f.sku, f.faults) for r in reports for f in r.findings if f.faults]
    assert wrong == []
    assert bought > 0
    await settle_all(any_sale.settler(consumer="two"))
    await any_sale.held(("quiet", 1))
    last = await any_sale.verify()
    assert (last.ok, last.unsure) == (True, ())
