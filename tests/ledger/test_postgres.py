"""What is PostgreSQL's own: outages, locks of others, refusals at the door."""

import asyncio
import builtins
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.clock import SystemClock
from gateway.core.errors import LedgerUnavailable, SetupError
from gateway.ledger import Ledger, engine
from gateway.ledger.server_driver import WRITERS_MAX
from tests.ledger.conftest import MIGRATED
from tests.ledger.steps import assert_clean, open_ledger, put, row_of, sale
from tests.support.ports import free_port
from tests.support.postgres import GUARDED, PASSWORD, PostgresServer
from tests.support.servers import ServerFailed

asyncpg: Any = pytest.importorskip("asyncpg")

StartPostgres = Callable[..., PostgresServer]


@pytest.fixture
def url(migrated_postgres: PostgresServer) -> str:
    return migrated_postgres.url(migrated_postgres.new_database(MIGRATED))


def plain(url: str) -> str:
    return url.replace("+asyncpg", "")


async def opened_on(server: PostgresServer, *, timeout_s: float = 1.0) -> Ledger:
    ledger = await open_ledger(server.url(server.new_database()), timeout_s=timeout_s)
    await put(ledger, "phone", 1000)
    return ledger


async def deduct_until_it_works(ledger: Ledger, reservation_id: str) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                (outcome,) = await ledger.deduct([sale(reservation_id, ("phone", 1))])
            except LedgerUnavailable:
                await asyncio.sleep(0.05)
            else:
                assert outcome.settled
                return


# ── outages ──────────────────────────────────────────────────────────────────


async def test_a_server_that_was_killed_is_found_again(start_postgres: StartPostgres) -> None:
    server = start_postgres(durable=True)
    ledger = await opened_on(server)
    for number in range(10):
        await ledger.deduct([sale(f"before{number}", ("phone", 1))])

    server.kill()
    with pytest.raises(LedgerUnavailable):
        await ledger.deduct([sale("during", ("phone", 1))])
    with pytest.raises(LedgerUnavailable):
        await ledger.ping()
    server.restart()

    await deduct_until_it_works(ledger, "during")
    assert (await row_of(ledger, "phone")).sold == 11
    await assert_clean(ledger)
    await ledger.close()


async def test_a_restart_between_two_calls_is_not_noticed(start_postgres: StartPostgres) -> None:
    server = start_postgres(durable=True)
    ledger = await opened_on(server)
    calls = (ledger.deduct([sale(f"warm{n}", ("phone", 1))]) for n in range(20))
    await asyncio.gather(*calls)  # so that several connections are open

    server.restart()

    (outcome,) = await ledger.deduct([sale("after", ("phone", 1))])
    assert outcome.settled
    assert (await row_of(ledger, "phone")).sold == 21
    await ledger.close()


async def test_a_silent_server_is_given_up_in_time_and_keeps_no_turn(
    start_postgres: StartPostgres,
) -> None:
    server = start_postgres()
    ledger = await opened_on(server, timeout_s=0.5)
    server.pause()
    calls = [ledger.deduct([sale(f"r{n}", ("phone", 1))]) for n in range(2 * WRITERS_MAX)]

    async with asyncio.timeout(5):
        answers = await asyncio.gather(*calls, return_exceptions=True)
        while ledger._database._running:
            await asyncio.sleep(0.01)

    assert all(isinstance(answer, LedgerUnavailable) for answer in answers)
    server.resume()
    await deduct_until_it_works(ledger, "r0")
    for number in range(2 * WRITERS_MAX):
        await deduct_until_it_works(ledger, f"r{number}")
    assert (await row_of(ledger, "phone")).sold == 2 * WRITERS_MAX
    await assert_clean(ledger)
    await ledger.close()


async def test_a_silent_server_does_not_hold_up_the_end(start_postgres: StartPostgres) -> None:
    server = start_postgres()
    ledger = await opened_on(server, timeout_s=2.0)
    server.pause()
    async with asyncio.timeout(4):
        await ledger.close()


async def test_no_server_is_an_unavailable_ledger() -> None:
    url = f"postgresql+asyncpg://u:{PASSWORD}@127.0.0.1:{free_port()}/stock"

    with pytest.raises(LedgerUnavailable, match=r"u:\*\*\*@127.0.0.1") as caught:
        await Ledger.open(url, SystemClock(), migrate=False)

    assert PASSWORD not in str(caught.value)


# ── other users of the tables ────────────────────────────────────────────────


async def test_a_lock_of_another_program_is_reported_and_waited_out(url: str) -> None:
    ledger = await open_ledger(url, timeout_s=0.5)
    await put(ledger, "phone", 10)
    other = await asyncpg.connect(plain(url))
    await other.execute("BEGIN; SELECT * FROM stock FOR UPDATE")

    with pytest.raises(LedgerUnavailable, match="lock timeout|did not answer"):
        await ledger.deduct([sale("r1", ("phone", 1))])

    await other.close()
    assert (await ledger.deduct([sale("r1", ("phone", 1))]))[0].settled
    await assert_clean(ledger)
    await ledger.close()


@pytest.mark.parametrize("again", [True, False], ids=["retried", "control"])
async def test_a_deadlock_is_tried_again(
    url: str, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """Another program locks two SKUs in the other order; the server ends one of the two."""
    if not again:
        monkeypatch.setattr(engine, "CLASHES", ())
    other = await asyncpg.connect(plain(url), server_settings={"deadlock_timeout": "10s"})
    # A session looks once, that long after it began to wait: by then the ring must be closed.
    await other.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET deadlock_timeout = '1s'")
    ledger = await open_ledger(url, timeout_s=10.0)
    for sku in ("a", "b"):
        await put(ledger, sku, 10)
    await other.execute("BEGIN; SELECT * FROM stock WHERE sku = 'b' FOR UPDATE")

    call = asyncio.create_task(ledger.deduct([sale("r1", ("a", 1), ("b", 1))]))
    await _until_waiting(url, 1)
    cross = asyncio.create_task(other.execute("SELECT * FROM stock WHERE sku = 'a' FOR UPDATE"))
    await asyncio.wait_for(cross, 10)
    await other.execute("COMMIT")

    if again:
        assert (await call)[0].settled
    else:
        with pytest.raises(LedgerUnavailable, match="deadlock"):
            await call
    await other.close()
    await assert_clean(ledger)
    await ledger.close()


async def _until_waiting(url: str, count: int) -> None:
    watcher = await asyncpg.connect(plain(url))
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(10):
        while await watcher.fetchval(waiting) < count:
            await asyncio.sleep(0.01)
    await watcher.close()


async def test_clashes_without_end_are_told(url: str) -> None:
    ledger = await open_ledger(url)
    await put(ledger, "phone", 10)
    owner = await asyncpg.connect(plain(url))
    await owner.execute(
        "CREATE FUNCTION clash() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = 'serialization_failure'; END $$;"
        "CREATE TRIGGER clash BEFORE INSERT ON deductions EXECUTE FUNCTION clash()"
    )

    with pytest.raises(LedgerUnavailable, match="failed 5 times: .*again"):
        await ledger.deduct([sale("r1", ("phone", 1))])

    await owner.execute("DROP TRIGGER clash ON deductions")
    await owner.close()
    assert (await ledger.deduct([sale("r1", ("phone", 1))]))[0].settled
    await assert_clean(ledger)
    await ledger.close()


async def test_skus_are_ordered_by_their_bytes_in_any_language(
    postgres_server: PostgresServer,
) -> None:
    name = "in_english"
    english = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
    try:
        postgres_server.sql(f"CREATE DATABASE {name} TEMPLATE template0 {english}")
    except ServerFailed as failure:
        pytest.skip(f"this PostgreSQL has no ICU: {failure}")
    ledger = await open_ledger(postgres_server.url(name))
    skus = ["a-b", "B", "a.c", "b", "A", "_"]
    for sku in skus:
        await put(ledger, sku, 1)

    assert [row.sku for row in await ledger.stock()] == sorted(skus)
    assert [row.sku for row in await ledger.stock(after="B")] == sorted(skus)[2:]
    await ledger.close()


# ── at the door ──────────────────────────────────────────────────────────────


async def refused(url: str) -> SetupError:
    with pytest.raises(SetupError) as caught:
        await Ledger.open(url, SystemClock(), migrate=True)
    said = caught.value.message + caught.value.hint
    assert PASSWORD not in said
    assert "wrong-secret" not in said
    return caught.value


async def test_a_wrong_password(postgres_server: PostgresServer) -> None:
    server = postgres_server
    server.sql(f"DROP ROLE IF EXISTS {GUARDED}")
    server.sql(f"CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}'")
    database = server.new_database()

    error = await refused(server.url(database, GUARDED, "wrong-secret"))

    assert f"{GUARDED}:***@127.0.0.1:{server.port}/{database}" in error.message
    assert "password" in error.hint
    error = await refused(server.url(database, GUARDED))
    assert "permission denied" in error.message
    assert "let it create tables" in error.hint


async def test_a_missing_database(postgres_server: PostgresServer) -> None:
    error = await refused(postgres_server.url("nowhere"))

    assert '"nowhere" does not exist' in error.message
    assert "CREATE DATABASE" in error.hint


async def test_an_unknown_option(url: str) -> None:
    error = await refused(f"{url}?sslrootcert=/etc/ca.pem")

    assert "sslrootcert" in error.message
    assert "sslmode" in error.hint


async def test_a_server_without_tls_is_refused_where_tls_is_asked_for(url: str) -> None:
    with pytest.raises((SetupError, LedgerUnavailable), match="SSL"):
        await Ledger.open(f"{url}?sslmode=require", SystemClock(), migrate=True)


async def test_without_its_driver(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    really = builtins.__import__

    def without_asyncpg(name: str, *rest: Any) -> Any:
        if name == "asyncpg":
            raise ModuleNotFoundError("No module named 'asyncpg'")
        return really(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_asyncpg)

    error = await refused(url)

    assert "asyncpg" in error.message
    assert error.hint == "pip install 'stockgate[postgresql]'"


async def test_without_tables(postgres_server: PostgresServer) -> None:
    url = postgres_server.url(postgres_server.new_database())
    with pytest.raises(SetupError) as caught:
        await Ledger.open(url, SystemClock(), migrate=False)

    assert "is empty; version" in caught.value.message
    assert "stockgate ledger migrate" in caught.value.hint
