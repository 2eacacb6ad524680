"""A whole deployment to be killed piece by piece: two gateways on one Redis and one ledger.

Buyers call one of the gateways. The other one gets no traffic: it settles and reaps, like a
settler that runs apart.
"""

import asyncio
import sqlite3
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, Protocol

from gateway.store import keys
from gateway.store.records import parse_record
from tests.chaos.book import Told
from tests.chaos.judge import Evidence, StockRow
from tests.chaos.shop import Shop
from tests.http.gateways import Gateway
from tests.support.postgres import PostgresServer
from tests.support.servers import RedisServer

Victim = Literal["gateway", "settler", "redis"]
VICTIMS: tuple[Victim, ...] = ("gateway", "settler", "redis")

QUIET_S = 30.0
"""For a sale to come to rest after it ended."""

PROMPT = {"settler.idle_claim_s": 1.1, "confirm.wait_s": 0.5}
"""So that what a killed settler had taken is taken over within a test's patience."""


class LedgerFile:
    """A SQLite ledger, read past the gateway."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ledger.sqlite3"

    @property
    def url(self) -> str:
        return f"sqlite+aiosqlite:///{self._path}"

    def rows(self, statement: str) -> list[list[str]]:
        """The rows of a statement, as text."""
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            return [list(map(str, row)) for row in connection.execute(statement)]


class LedgerServer:
    """A database of its own on a PostgreSQL server, read past the gateway."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._database = server.new_database()

    @property
    def url(self) -> str:
        return self._server.url(self._database)

    def rows(self, statement: str) -> list[list[str]]:
        """The rows of a statement, as text."""
        return self._server.sql(statement, self._database)


class LedgerBooks(Protocol):
    """Where a ledger is, and what is written there."""

    @property
    def url(self) -> str: ...

    def rows(self, statement: str) -> list[list[str]]: ...


class Deployment:
    """`with Deployment(…) as site:` starts it, but for Redis, which runs already.

    gateway: the class of the gateway that buyers call. settler: whether a second one runs.
    """

    def __init__(
        self,
        folder: Path,
        redis: RedisServer,
        ledger: LedgerBooks,
        *,
        gateway: type[Gateway] = Gateway,
        settler: bool = True,
        **settings: Any,
    ) -> None:
        named: dict[str, Any] = {"store": redis.url, "ledger": ledger.url, **PROMPT, **settings}
        self.redis = redis
        self.ledger = ledger
        self.gateway = gateway(folder / "gateway", **named)
        self.settler = Gateway(folder / "settler", **named) if settler else None

    def __enter__(self) -> "Deployment":
        if isinstance(self.ledger, LedgerServer):  # a file is migrated as it is opened
            migrated = self.gateway.cli("ledger", "migrate")
            assert migrated.returncode == 0, migrated.stderr
        with ThreadPoolExecutor() as pool:
            list(pool.map(Gateway.start, self._gateways()))
        return self

    def __exit__(self, *_: object) -> None:
        for gateway in self._gateways():
            gateway.stop()

    def url(self) -> str:
        """Where buyers call."""
        return self.gateway.url

    def kill(self, victim: Victim) -> None:
        """kill -9 of one of them, then its restart: it is back when this returns."""
        if victim == "redis":
            self.redis.kill()
            self.redis.restart()
            return
        gateway = self.gateway if victim == "gateway" else self.settler
        assert gateway is not None
        gateway.kill()
        gateway.start()

    def output(self) -> str:
        """What the gateways have said, in all their lives."""
        logs = [log for gateway in self._gateways() for log in gateway.folder.glob("serve-*.log")]
        return "\n".join(log.read_text(errors="replace") for log in logs)

    def outbox_length(self) -> int:
        """Confirms that are not settled."""
        return int(self.redis.call("XLEN", keys.outbox(0)))

    def verified(self) -> str:
        """What `stockgate verify` says; AssertionError unless all is well."""
        done = self.gateway.cli("verify")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def evidence(self, terms: dict[str, dict[str, int]]) -> Evidence:
        """Everything there is in both stores. terms: as the gateway tells them."""
        records = self.redis.call("HGETALL", keys.reservations(0))
        kept = [parse_record(field, 0, record) for field, record in records.items()]
        stock = self.ledger.rows("SELECT sku, on_hand, safety_stock, received, sold FROM stock")
        outcomes = self.ledger.rows("SELECT reservation_id, outcome FROM deductions")
        return Evidence(
            outcomes={row[0]: row[1] for row in outcomes},
            states={one.id: one.state.value for one in kept},
            stock={sku: StockRow(*map(int, counts)) for sku, *counts in stock},
            terms=terms,
        )

    def _gateways(self) -> Iterable[Gateway]:
        return [self.gateway, *([self.settler] if self.settler else [])]


async def come_to_rest(site: Deployment, shop: Shop) -> None:
    """Wait until every hold has ended and every confirm is settled."""
    async with asyncio.timeout(QUIET_S):
        while await asyncio.to_thread(site.outbox_length) or await _busy(shop):
            await asyncio.sleep(0.05)


async def _busy(shop: Shop) -> bool:
    terms = await all_terms(shop)
    return any(one["held"] or one["unsettled"] for one in terms.values())


async def all_terms(shop: Shop) -> dict[str, dict[str, int]]:
    """The terms of every SKU."""
    return {sku: await shop.terms(sku) for sku in shop.book.received}


async def sell_out(site: Deployment, shop: Shop) -> None:
    """Buy every unit that is left, and then one more, which there is not."""
    await come_to_rest(site, shop)
    for sku in shop.book.received:
        left = (await shop.terms(sku))["available"]
        if left:
            rest = shop.new_purchase({sku: left}, 600)
            await shop.reserve(rest)
            assert Told.HELD in rest.told, f"{left} units of {sku} are on sale and cannot be held"
            await shop.confirm(rest)
        more = shop.new_purchase({sku: 1}, 600)
        await shop.reserve(more)
        assert more.told == {Told.REFUSED}
    await come_to_rest(site, shop)


async def ask_again(shop: Shop) -> None:
    """Every call whose outcome was open once is asked again: there is one truth."""
    for purchase in shop.book.purchases:
        if purchase.unsure and Told.HELD in purchase.told:
            await shop.reserve(purchase)
            if purchase.told & {Told.CONFIRMED, Told.SETTLED, Told.REJECTED, Told.TOO_LATE}:
                await shop.confirm(purchase)
