"""Many settlers at once on PostgreSQL: rows are locked in one order, so none waits in a ring."""

import asyncio
import random
from collections.abc import Iterable

import pytest
from sqlalchemy import Connection, select

from gateway.ledger import Deduction, Ledger
from gateway.ledger import deduct as deducting
from gateway.ledger.deduct import Shelf
from gateway.ledger.tables import stock
from tests.ledger.conftest import MIGRATED
from tests.ledger.steps import assert_clean, open_ledger, put, sale
from tests.support.postgres import PostgresServer

SKUS = tuple("abcdef")
UNITS = 300
BATCHES = 60
AT_ONCE = 4
"""Settlers at work; without an order, more of them would never come to an end."""

chance = random.Random(20261121)


def batches() -> list[list[Deduction]]:
    """Batches that overlap in SKUs, in every order, and each of which comes twice."""
    numbers = iter(range(10_000))
    once = [
        [sale(f"r{next(numbers)}", *((sku, 1) for sku in chance.sample(SKUS, 3))) for _ in range(4)]
        for _ in range(BATCHES)
    ]
    both = once * 2
    chance.shuffle(both)
    return both


def lock_one_by_one(connection: Connection, skus: Iterable[str]) -> dict[str, Shelf]:
    """In no order at all."""
    shelves = {}
    for sku in chance.sample(sorted(skus), len(set(skus))):
        query = select(stock.c.sku, stock.c.on_hand, stock.c.safety_stock)
        row = connection.execute(query.where(stock.c.sku == sku).with_for_update()).one()
        shelves[sku] = Shelf(row.on_hand, row.safety_stock)
    return shelves


async def settle_all(url: str) -> list[Ledger]:
    ledgers = [await open_ledger(url, timeout_s=20.0) for _ in range(2)]
    for sku in SKUS:
        await put(ledgers[0], sku, UNITS)
    work = enumerate(batches())

    async def settle() -> None:
        for number, batch in work:
            assert all(outcome.settled for outcome in await ledgers[number % 2].deduct(batch))

    await asyncio.gather(*(settle() for _ in range(AT_ONCE)))
    return ledgers


async def deadlocks_after_settling(server: PostgresServer) -> int:
    name = server.new_database(MIGRATED)
    ledgers = await settle_all(server.url(name))
    rows = await ledgers[0].stock()
    assert sum(row.sold for row in rows) == BATCHES * 4 * 3
    await assert_clean(ledgers[0])
    for ledger in ledgers:
        await ledger.close()  # a connection that ends hands in its counts
    return int(server.sql(f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{name}'")[0][0])


async def test_many_settlers_never_deadlock(migrated_postgres: PostgresServer) -> None:
    assert await deadlocks_after_settling(migrated_postgres) == 0


async def test_control_without_an_order_they_do_and_still_sell_once(
    migrated_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deducting, "lock_shelves", lock_one_by_one)
    monkeypatch.setattr("gateway.ledger.engine.RUNS_MAX", 1000)
    assert await deadlocks_after_settling(migrated_postgres) > 0
