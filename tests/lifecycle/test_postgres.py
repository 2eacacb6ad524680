"""The whole gateway on a PostgreSQL ledger: from its first migration over an outage to its end."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import make_postgres
from tests.http.api import Api, fresh, line, refused
from tests.http.gateways import Gateway, until
from tests.support.postgres import PASSWORD, PostgresServer


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A durable server to be killed and restarted; it runs before and after every test."""
    with make_postgres(durable=True) as server:
        yield server


def on_ledger(folder: Path, url: str) -> Gateway:
    return Gateway(folder, ledger=url, confirm__wait_s=0.5)


@pytest.fixture(scope="module")
def running(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    gateway = on_ledger(tmp_path_factory.mktemp("pg"), postgres.url(postgres.new_database()))
    assert gateway.cli("ledger", "migrate").returncode == 0
    with gateway:
        yield gateway


@pytest.fixture
def pg_api(running: Gateway) -> Iterator[Api]:
    client = Api(running.url)
    yield client
    client.close()


def silent_about_the_password(*texts: str) -> None:
    assert all(PASSWORD not in text for text in texts)


def said(result: subprocess.CompletedProcess[str]) -> str:
    silent_about_the_password(result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    return result.stdout + result.stderr


def verified(gateway: Gateway) -> None:
    result = gateway.cli("verify")
    assert result.returncode == 0, said(result)
    assert "OK: nothing oversold" in result.stdout


def test_a_sale_from_reservation_to_the_ledger(running: Gateway, pg_api: Api) -> None:
    sku, other = pg_api.new_sku(10, 2), pg_api.new_sku(5)
    made = pg_api.held([line(sku, 3), line(other)])
    pg_api.confirm(made, Prefer="wait=20")
    pg_api.until_state(made, "settled")
    assert pg_api.adjust(sku, -2).status_code == 201
    terms = pg_api.terms(sku)
    assert (terms["on_hand"], terms["sold"], terms["unsettled"]) == (5, 3, 0)
    verified(running)
    silent_about_the_password(running.output())
    assert "stockgate:***@127.0.0.1" in running.output()


def test_an_outage_of_the_ledger_delays_and_loses_nothing(
    running: Gateway, pg_api: Api, postgres: PostgresServer
) -> None:
    sku = pg_api.new_sku(10)
    made = [pg_api.held(sku) for _ in range(4)]
    postgres.kill()
    try:
        answers = [pg_api.confirm(one, Prefer="wait=1") for one in made]
        assert [answer.status_code for answer in answers] == [202] * 4
        until(lambda: pg_api.get("/readyz").status_code == 503)
        assert "ledger" in pg_api.get("/readyz").json()["not_ready"]
        assert pg_api.held(sku)
        refused(pg_api.adjust(sku, 1), 503, "ledger-unavailable", retryable=True)
        body = {"on_hand": 5, "safety_stock": 0}
        put = pg_api.call("PUT", f"/v1/admin/skus/{fresh('sku')}", body)
        refused(put, 503, "ledger-unavailable")
    finally:
        postgres.restart()
    for one in made:
        pg_api.until_state(one, "settled")
    until(lambda: pg_api.get("/readyz").status_code == 200, what="ready again")
    assert pg_api.terms(sku)["sold"] == 4
    assert running.child.exit_code is None
    verified(running)
    silent_about_the_password(running.output())


def test_what_was_settled_is_there_after_both_were_killed(
    running: Gateway, pg_api: Api, postgres: PostgresServer
) -> None:
    sku = pg_api.new_sku(10)
    made = pg_api.held(sku)
    pg_api.confirm(made, Prefer="wait=20")
    pg_api.until_state(made, "settled")
    postgres.kill()
    running.kill()
    postgres.restart()
    running.start()
    again = Api(running.url)
    assert again.state(made) == "settled"
    assert again.terms(sku)["sold"] == 1
    again.close()
    verified(running)


def test_serve_names_the_command_that_makes_the_tables(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    gateway = on_ledger(tmp_path, postgres.url(postgres.new_database()))
    serving = gateway.try_to_serve()
    assert serving.wait(20) == 2
    silent_about_the_password(serving.stderr)
    assert "is empty; version" in serving.stderr
    assert f"stockgate ledger migrate --config {gateway.config}" in serving.stderr

    shown = gateway.cli("ledger", "show")
    assert shown.returncode == 1
    assert "tables   empty" in said(shown)
    assert "from empty to version" in said(gateway.cli("ledger", "migrate"))
    assert "already" in said(gateway.cli("ledger", "migrate"))
    shown = gateway.cli("ledger", "show")
    assert shown.returncode == 0
    assert "stockgate:***@127.0.0.1" in said(shown)
    assert "***" in said(gateway.cli("config", "show"))


def test_a_ledger_in_a_file_is_migrated_too(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    assert gateway.cli("ledger", "show").returncode == 1
    assert "from empty to version" in said(gateway.cli("ledger", "migrate"))
    assert gateway.cli("ledger", "show").returncode == 0


def test_serve_without_the_ledgers_server_says_so(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.url("nowhere").replace(f":{postgres.port}/", ":1/")
    serving = on_ledger(tmp_path, url).try_to_serve()
    assert serving.wait(20) == 3
    silent_about_the_password(serving.stderr)
    assert "127.0.0.1:1/nowhere cannot be used" in serving.stderr
