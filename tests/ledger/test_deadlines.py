"""A ledger that does not answer in time: callers are told, nothing is lost, nobody is stuck."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from gateway.core.errors import LedgerUnavailable
from gateway.ledger import Ledger
from tests.ledger.steps import assert_clean, open_ledger, put, row_of, sale


async def test_lock_of_another_program_is_reported_and_waited_out(
    file_url: str, ledger_file: Path
) -> None:
    ledger = await open_ledger(file_url, timeout_s=0.5)
    await put(ledger, "phone", 10)
    other = sqlite3.connect(ledger_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(LedgerUnavailable, match="locked"):
        await ledger.deduct([sale("r1", ("phone", 1))])
    assert (await row_of(ledger, "phone")).on_hand == 10

    other.execute("ROLLBACK")
    other.close()
    assert (await ledger.deduct([sale("r1", ("phone", 1))]))[0].settled
    await assert_clean(ledger)
    await ledger.close()


async def test_call_ends_at_its_deadline_though_the_disk_does_not(file_ledger: Ledger) -> None:
    ledger = file_ledger
    await put(ledger, "phone", 10)
    stuck, go_on = threading.Event(), threading.Event()

    def hang(_connection) -> None:
        stuck.set()
        go_on.wait(30)

    hanging = asyncio.create_task(ledger._database.write(hang))
    await asyncio.to_thread(stuck.wait, 10)
    ledger._database.timeout_s = 0.2
    with pytest.raises(LedgerUnavailable, match="did not answer in 0.2 s"):
        await ledger.deduct([sale("r1", ("phone", 1))])

    go_on.set()
    await hanging
    ledger._database.timeout_s = 5.0
    assert (await ledger.deduct([sale("r1", ("phone", 1))]))[0].settled
    await assert_clean(ledger)


async def test_caller_that_goes_away_loses_nothing(ledger: Ledger) -> None:
    await put(ledger, "phone", 1000)
    for number in range(30):
        call = asyncio.create_task(ledger.deduct([sale(f"r{number}", ("phone", 1))]))
        for _ in range(number):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])

    for number in range(30):
        assert (await ledger.deduct([sale(f"r{number}", ("phone", 1))]))[0].settled
    assert (await row_of(ledger, "phone")).on_hand == 970
    await assert_clean(ledger)


async def test_reads_and_writes_side_by_side(ledger: Ledger) -> None:
    await put(ledger, "phone", 100)

    async def sell(number: int) -> None:
        await ledger.deduct([sale(f"r{number}", ("phone", 1))])

    async def look() -> None:
        (row,) = await ledger.stock(["phone"])
        assert row.on_hand + row.sold == row.received == 100

    await asyncio.gather(*(sell(n) for n in range(30)), *(look() for _ in range(60)))
    await assert_clean(ledger)


async def test_tables_that_vanish_are_an_unavailable_ledger(
    file_url: str, ledger_file: Path
) -> None:
    ledger = await open_ledger(file_url)
    await put(ledger, "phone", 10)
    connection = sqlite3.connect(ledger_file)
    connection.execute("DROP TABLE deduction_lines")
    connection.close()

    with pytest.raises(LedgerUnavailable, match="no such table: deduction_lines"):
        await ledger.deduct([sale("r1", ("phone", 1))])

    assert (await row_of(ledger, "phone")).on_hand == 10
    await ledger.close()


async def test_closed_ledger_lets_work_end_and_takes_no_more(ledger: Ledger) -> None:
    await put(ledger, "phone", 10)
    call = asyncio.create_task(ledger.deduct([sale("r1", ("phone", 1))]))
    await asyncio.sleep(0)

    await ledger.close()

    assert (await call)[0].settled
    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.ping()
    await ledger.close()
