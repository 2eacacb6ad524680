"""Starts that cannot succeed: a clear message, a documented exit code, never a traceback.

All of them are started at once, and each test looks at one.
"""

import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.http.api import Api
from tests.http.gateways import Gateway, stockgate
from tests.http.warm import Job
from tests.lifecycle.conftest import nothing_runs_in
from tests.support.servers import RedisServer

EXIT_SETUP = 2

Prepare = Callable[[Path], Gateway]


def file_in_the_way(folder: Path) -> Gateway:
    gateway = Gateway(folder)
    gateway.data.write_text("a file", encoding="utf-8")
    return gateway


def file_in_the_way_of_parents(folder: Path) -> Gateway:
    (folder.parent / "plain-file").write_text("", encoding="utf-8")
    return Gateway(folder, data_dir="../plain-file/below/it")


def corrupt_aof(folder: Path) -> Gateway:
    gateway = Gateway(folder)
    data = gateway.data / "valkey" / "appendonlydir"
    data.mkdir(parents=True)
    manifest = (
        "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    )
    (data / "appendonly.aof.manifest").write_text(manifest, encoding="ascii")
    (data / "appendonly.aof.1.base.rdb").write_bytes(b"no snapshot at all" * 20)
    (data / "appendonly.aof.1.incr.aof").write_bytes(b"")
    return gateway


def corrupt_ledger(folder: Path) -> Gateway:
    gateway = Gateway(folder)
    gateway.data.mkdir()
    (gateway.data / "ledger.sqlite3").write_bytes(b"SQLite format 3\0" + b"#" * 8192)
    return gateway


def no_database(folder: Path) -> Gateway:
    gateway = Gateway(folder)
    gateway.data.mkdir()
    (gateway.data / "ledger.sqlite3").write_text("a shopping list\n" * 600, encoding="utf-8")
    return gateway


def folder_for_ledger(folder: Path) -> Gateway:
    gateway = Gateway(folder)
    (gateway.data / "ledger.sqlite3").mkdir(parents=True)
    return gateway


def without_config(folder: Path) -> Gateway:
    gateway = Gateway(folder)
    gateway.config.unlink()
    return gateway


def folder_as_config(folder: Path) -> Gateway:
    gateway = without_config(folder)
    gateway.config.mkdir()
    return gateway


def text(toml: str) -> Prepare:
    def prepare(folder: Path) -> Gateway:
        gateway = Gateway(folder)
        gateway.config.write_text(toml, encoding="utf-8")
        return gateway

    return prepare


def settings(**named: Any) -> Prepare:
    return lambda folder: Gateway(folder, **{"store": "memory://", **named})


def bad_catalogue(folder: Path) -> Gateway:
    folder.mkdir()
    (folder / "goods.csv").write_text("sku,on_hand\nphone,ten\n", encoding="utf-8")
    return Gateway(folder, store="memory://", **{"demo.catalogue": "goods.csv"})


FAILURES: dict[str, tuple[Prepare, list[str]]] = {
    "file-in-the-way": (file_in_the_way, ["data"]),
    "file-above": (file_in_the_way_of_parents, ["plain-file/below/it", "data_dir"]),
    "corrupt-aof": (corrupt_aof, ["damaged", "appendonly.aof.1.base.rdb"]),
    "corrupt-ledger": (corrupt_ledger, ["ledger.sqlite3", "damaged"]),
    "no-database": (no_database, ["ledger.sqlite3", "damaged"]),
    "folder-for-ledger": (folder_for_ledger, ["ledger.sqlite3"]),
    "no-config": (without_config, ["no configuration file at", "gateway.toml"]),
    "config-folder": (folder_as_config, ["gateway.toml"]),
    "syntax": (text('store = "memory://\n'), ["gateway.toml:1"]),
    "unknown-key": (settings(**{"hold.tll_s": 5}), ["hold.tll_s", "did you mean `hold.ttl_s`"]),
    "unknown-table": (settings(**{"holds.ttl_s": 5}), ["holds"]),
    "bad-value": (settings(**{"server.port": "eighty"}), ['found "eighty"', "from 0 to 65535"]),
    "bad-values": (settings(**{"server.port": -1, "hold.ttl_s": 0}), ["server.port", "hold.ttl_s"]),
    "bad-store": (settings(store="mysql://x"), ["store", "mysql://x", "embedded://"]),
    "two-rules": (settings(**{"hold.ttl_s": 900, "hold.ttl_max_s": 60}), ["hold.ttl_max_s"]),
    "no-redis": (settings(store="redis://:hush@127.0.0.1:1/0"), ["127.0.0.1:1", "store"]),
    "no-catalogue": (settings(**{"demo.catalogue": "gone.toml"}), ["gone.toml"]),
    "bad-catalogue": (bad_catalogue, ["goods.csv:2", "on_hand", "ten"]),
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Gateway, Job]]:
    """Every start, on its way to its end."""
    root = tmp_path_factory.mktemp("failures")
    gateways = {name: prepare(root / name) for name, (prepare, _) in FAILURES.items()}
    return {name: (gateway, gateway.try_to_serve()) for name, gateway in gateways.items()}


def judge(gateway: Gateway, job: Job, words: list[str]) -> None:
    assert job.wait(50) == EXIT_SETUP, job.stderr
    output = job.stderr
    assert job.stdout == ""
    assert "Traceback" not in output
    assert output.startswith(("stockgate: ", "Usage: ")), output
    assert len(output) < 4000
    assert "hush" not in output
    for word in words:
        assert word in output, output
    assert nothing_runs_in(gateway.folder)


@pytest.mark.parametrize("name", FAILURES)
def test_a_start_that_fails_says_why(failed: dict[str, tuple[Gateway, Job]], name: str) -> None:
    judge(*failed[name], FAILURES[name][1])


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        gateway = Gateway(tmp_path, **{"server.port": port})
        judge(
            gateway,
            gateway.try_to_serve(),
            [f"cannot listen on 127.0.0.1:{port}: Address already in use\n"],
        )
    assert not gateway.data.exists()


def test_a_folder_that_another_gateway_has(tmp_path: Path, gateway: Gateway, api: Api) -> None:
    second = Gateway(tmp_path, data_dir=str(gateway.data))
    judge(
        second,
        second.try_to_serve(),
        ["in use by another gateway", f"process {gateway.child.pid}", "data_dir"],
    )
    assert api.get("/readyz").status_code == 200
    api.held("poster")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a SKU in both stores."""
    gateway = Gateway(tmp_path_factory.mktemp("made"))
    set_up = gateway.cli("stock", "set", "phone", "--on-hand", "5")
    assert set_up.returncode == 0, set_up.stderr
    return gateway.data


def test_stores_that_do_not_belong_together(made: Path, tmp_path: Path) -> None:
    """One was emptied beside the other: selling on would oversell or forget."""
    emptied, forgotten = Gateway(tmp_path / "emptied"), Gateway(tmp_path / "forgotten")
    for gateway in (emptied, forgotten):
        shutil.copytree(made, gateway.data)
    shutil.rmtree(emptied.data / "valkey")
    (forgotten.data / "ledger.sqlite3").unlink()
    asked = emptied.cli("stock", "list")
    assert asked.returncode == EXIT_SETUP
    assert "do not belong together: Redis has lost what it held" in asked.stderr
    assert f"stockgate rebuild --config {emptied.config}" in asked.stderr
    judge(
        forgotten,
        forgotten.try_to_serve(),
        ["do not belong together", "the ledger lost 1 SKU: phone"],
    )


def test_settings_from_the_environment_are_checked_too(tmp_path: Path) -> None:
    env = {"STOCKGATE_SERVER_PORT": "http", "STOCKGATE_STORE": "memory://"}
    result = stockgate("config", "check", cwd=tmp_path, env=env)
    assert result.returncode == EXIT_SETUP
    assert "STOCKGATE_SERVER_PORT" in result.stderr
    assert 'found "http"' in result.stderr
    assert "Traceback" not in result.stderr


def test_passwords_are_not_shown(tmp_path: Path, start_server: Callable[..., RedisServer]) -> None:
    server = start_server()
    server.call("ACL", "SETUSER", "gate", "on", ">hush", "~*", "&*", "+@all")
    url = f"redis://gate:hush@127.0.0.1:{server.port}/0"
    with Gateway(tmp_path, store=url) as gateway:
        api = Api(gateway.url)
        assert "hush" not in api.get("/v1/admin/config").text
        api.close()
        assert f"redis://gate:***@127.0.0.1:{server.port}/0" in gateway.output()
        assert "hush" not in gateway.output()
        assert gateway.cli("config", "show").stdout.count("hush") == 0


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    result = stockgate("config", "check", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "OK: defaults and environment\n")
    (tmp_path / "stockgate.toml").write_text("[hold]\nttl_s = 60\n", encoding="utf-8")
    shown = stockgate("config", "show", cwd=tmp_path).stdout
    assert "stockgate.toml:2" in shown
    assert not (tmp_path / ".stockgate").exists()
