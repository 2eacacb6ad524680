"""Opening a ledger: made, upgraded, or refused with words that a person can act on."""

import asyncio
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine

from gateway.core.clock import SystemClock
from gateway.core.errors import SetupError
from gateway.core.model import SkuSettings
from gateway.ledger import Ledger, migrations
from gateway.ledger.bulk import is_server
from gateway.ledger.drivers import driver_for
from gateway.ledger.tables import metadata, moves, stock
from tests.ledger.backdoor import Backdoor
from tests.ledger.conftest import in_a_thread
from tests.ledger.steps import assert_clean, open_ledger, put, row_of, sale


async def refused(url: str, *, migrate: bool = True) -> SetupError:
    with pytest.raises(SetupError) as caught:
        await Ledger.open(url, SystemClock(), timeout_s=0.5, migrate=migrate)
    return caught.value


async def test_reopening_keeps_everything(file_url: str) -> None:
    ledger = await open_ledger(file_url)
    row = await put(ledger, "phone", 10, safety_stock=2)
    await ledger.close()

    ledger = await Ledger.open(file_url, SystemClock(), migrate=False)
    await ledger.ping()
    assert await row_of(ledger, "phone") == row
    await ledger.close()


async def test_file_is_written_through(file_ledger: Ledger, ledger_file: Path) -> None:
    def pragmas(connection):
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {n}").scalar_one() for n in names]

    full = 2
    assert await file_ledger._database.read(pragmas) == ["wal", full, 1]


async def test_many_may_open_a_new_ledger_at_once(ledger_without_tables: str) -> None:
    ledgers = await asyncio.gather(*(open_ledger(ledger_without_tables) for _ in range(5)))
    await put(ledgers[0], "phone", 1)
    for ledger in ledgers:
        assert (await row_of(ledger, "phone")).on_hand == 1
        await ledger.close()


async def test_without_migrate_a_missing_file_is_not_made(file_url: str, ledger_file: Path) -> None:
    error = await refused(file_url, migrate=False)

    assert f"{ledger_file} does not exist" in error.message
    assert "stockgate ledger migrate" in error.hint
    assert not ledger_file.exists()


async def test_without_migrate_an_empty_ledger_is_refused(file_url: str, ledger_file: Path) -> None:
    ledger_file.touch()

    error = await refused(file_url, migrate=False)

    assert f"{ledger_file} is empty; version {migrations.HEAD} is needed" in error.message
    assert "stockgate ledger migrate" in error.hint


async def test_tables_of_a_newer_stockgate(
    kept_url: str, kept_ledger: Ledger, backdoor: Backdoor
) -> None:
    backdoor.sql("UPDATE ledger_version SET version_num = '9999'")

    error = await refused(kept_url)

    assert "version 9999" in error.message
    assert "newer stockgate" in error.hint


async def test_look_tells_the_version_and_makes_nothing(
    ledger_without_tables: str, ledger_file: Path
) -> None:
    state = await Ledger.look(ledger_without_tables, SystemClock())
    assert (state.version, state.head) == (None, migrations.HEAD)
    assert not ledger_file.exists()

    await (await open_ledger(ledger_without_tables)).close()

    assert (await Ledger.look(ledger_without_tables, SystemClock())).version == migrations.HEAD


@pytest.fixture(params=["file", "postgresql"])
def ledger_of_0001(request: pytest.FixtureRequest) -> str:
    """A ledger with the tables of the first version."""
    url = str(request.getfixturevalue("ledger_without_tables_of")(request.param))
    in_a_thread(lambda: upgrade_to(url, "0001"))
    return url


async def upgrade_to(url: str, revision: str) -> None:
    def work(connection: Connection) -> None:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        command.upgrade(config, revision)

    driver = driver_for(url, 5.0)
    await driver.run(work, writes=True)
    await driver.close()


async def test_old_tables_are_refused_and_migrated_with_their_rows(ledger_of_0001: str) -> None:
    insert = (
        "INSERT INTO stock (sku, on_hand, received, move_seq) VALUES ('phone', 3, 3, 1)",
        "INSERT INTO journal (sku, kind, delta, on_hand_after) VALUES ('phone', 'received', 3, 3)",
    )

    def fill(connection: Connection) -> None:
        for statement in insert:
            connection.exec_driver_sql(statement)

    driver = driver_for(ledger_of_0001, 5.0)
    await driver.run(fill, writes=True)
    await driver.close()
    error = await refused(ledger_of_0001, migrate=False)
    assert "has tables of version 0001" in error.message
    assert "stockgate ledger migrate" in error.hint

    ledger = await open_ledger(ledger_of_0001)
    await ledger.deduct([sale("r1", ("phone", 1))])
    await assert_clean(ledger)
    assert (await row_of(ledger, "phone")).on_hand == 2
    await ledger.close()


async def test_file_that_is_no_database(file_url: str, ledger_file: Path) -> None:
    ledger_file.write_bytes(b"this was a shopping list\n" * 500)

    error = await refused(file_url)

    assert str(ledger_file) in error.message
    assert "not a database" in error.message
    assert "backup" in error.hint
    assert ledger_file.read_bytes().startswith(b"this was a shopping list")


async def test_damaged_file(file_url: str, ledger_file: Path) -> None:
    ledger = await open_ledger(file_url)
    for number in range(200):
        await put(ledger, f"sku-{number}", 1)
    await ledger.close()
    content = bytearray(ledger_file.read_bytes())
    content[8192:-4096] = b"\xa5" * (len(content) - 8192 - 4096)
    ledger_file.write_bytes(content)

    error = await refused(file_url)

    assert f"the ledger file {ledger_file} is damaged" in error.message
    assert "backup" in error.hint


async def test_truncated_file(file_url: str, ledger_file: Path) -> None:
    await (await open_ledger(file_url)).close()
    content = ledger_file.read_bytes()
    ledger_file.write_bytes(content[: len(content) // 2])

    assert "is damaged" in (await refused(file_url)).message


async def test_folder_in_the_files_place(tmp_path: Path) -> None:
    error = await refused(f"sqlite:///{tmp_path}")

    assert f"the ledger file {tmp_path} cannot be opened" in error.message
    assert "folder" in error.hint


async def test_missing_folder(tmp_path: Path) -> None:
    error = await refused(f"sqlite:///{tmp_path}/none/ledger.db")

    assert "cannot be opened" in error.message


async def test_file_that_may_only_be_read(file_url: str, ledger_file: Path) -> None:
    """Root may write anything, so the file is made read-only by its address."""
    await (await open_ledger(file_url)).close()

    error = await refused(f"sqlite:///file:{ledger_file}?mode=ro&uri=true")

    assert "cannot be written" in error.message


async def test_file_held_by_another_program(
    file_url: str, ledger_file: Path, file_ledger: Ledger
) -> None:
    other = sqlite3.connect(ledger_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    error = await refused(file_url)

    other.close()
    assert f"the ledger file {ledger_file} is in use" in error.message


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://host/db", "oracle+x://h/d"])
async def test_addresses_of_no_ledger(url: str) -> None:
    error = await refused(url)

    assert "is not SQLite or PostgreSQL" in error.message
    assert "sqlite:///" in error.hint


async def test_both_spellings_of_a_sqlite_address(file_url: str) -> None:
    ledger = await open_ledger(file_url)
    await put(ledger, "phone", 3)
    other = await open_ledger(file_url.replace("sqlite:", "sqlite+aiosqlite:"))
    assert (await row_of(other, "phone")).on_hand == 3
    await other.close()
    await ledger.close()


def test_current_ledger_is_opened_without_alembic(ledger_without_tables: str) -> None:
    code = (
        "import asyncio, sys\n"
        "from tests.ledger.steps import open_ledger\n"
        "async def main():\n"
        "    await (await open_ledger(sys.argv[1])).close()\n"
        "    print('alembic' in sys.modules)\n"
        "asyncio.run(main())\n"
    )
    root = Path(__file__).parents[2]

    def run() -> str:
        command = [sys.executable, "-c", code, ledger_without_tables]
        return subprocess.run(
            command, cwd=root, check=True, capture_output=True, text=True, timeout=30
        ).stdout

    assert run() == "True\n"
    assert run() == "False\n"


def test_versions_are_the_scripts_on_disk() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)

    assert tuple(s.revision for s in scripts.walk_revisions())[::-1] == migrations.KNOWN
    assert scripts.get_current_head() == migrations.HEAD


async def test_migrated_tables_are_the_declared_ones(kept_ledger: Ledger) -> None:
    def differences(connection: Connection) -> list:
        def belongs_here(thing, name, kind, _reflected, _compare_to) -> bool:
            # On PostgreSQL a trigger looks up the deductions of lines.
            return not is_server(connection) or kind != "foreign_key_constraint" or name is not None

        options = {"version_table": migrations.VERSION_TABLE, "include_object": belongs_here}
        context = MigrationContext.configure(connection, opts=options)
        return compare_metadata(context, metadata)

    assert await kept_ledger._database.read(differences) == []


async def test_migrated_sql_is_the_declared_one(file_ledger: Ledger, ledger_file: Path) -> None:
    """Alembic compares neither CHECKs nor defaults: compare the SQL of a ledger made directly."""
    declared = ledger_file.with_name("declared.db")
    engine = create_engine(f"sqlite:///{declared}")
    metadata.create_all(engine)
    engine.dispose()

    assert _table_sql(ledger_file) == _table_sql(declared)


def _table_sql(path: Path) -> dict[str, list[str]]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    connection.close()
    return {
        name: sorted(filter(None, (part.strip() for part in re.split(r"[,\n]", sql))))
        for name, sql in rows
        if name in metadata.tables
    }


@pytest.mark.parametrize("table", [stock, moves], ids=["stock", "moves"])
def test_every_setting_has_a_column(table) -> None:
    assert set(SkuSettings.__struct_fields__) <= set(table.c.keys())
