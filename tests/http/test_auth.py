"""Keys: who may call what, and that callers do not meet in each other's Idempotency-Keys."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.http.api import Api, fresh, refused
from tests.http.gateways import Gateway

KEYS = {
    "shop": ["storefront"],
    "kiosk": ["storefront"],
    "office": ["admin"],
    "monitor": ["metrics"],
    "robot": ["storefront", "admin", "metrics"],
}
ID = "01KZ3V9Q2M00X4T7B2N8R6W1CD"


def secret(name: str) -> str:
    return f"{name}-secret-key_0.9~+/="


def toml() -> str:
    tables = [
        f'[[keys]]\nname = "{name}"\nsha256 = "{sha256(secret(name).encode()).hexdigest()}"\n'
        f"scopes = {scopes}"
        for name, scopes in KEYS.items()
    ]
    return "\n".join(tables).replace("'", '"')


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("guarded"), toml(), store="memory://") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def caller(guarded: Gateway) -> Iterator[Callable[[str], Api]]:
    """The client that holds a key; "" holds none."""
    clients = {name: Api(guarded.url, secret(name)) for name in KEYS}
    clients[""] = Api(guarded.url)
    yield clients.__getitem__
    for client in clients.values():
        client.close()


def calls(api: Api) -> Iterator[tuple[str, str, str]]:
    """(method, path, scope) of every call in the gateway's own description."""
    for path, methods in api.contract.paths().items():
        for method, operation in methods.items():
            needed = [scope for entry in operation["security"] for scope in entry["bearer"]]
            filled = path.format(id=ID, sku="nothing", code="sold-out")
            yield method.upper(), filled, needed[0] if needed else ""


def send(api: Api, method: str, path: str) -> httpx.Response:
    if method in ("GET", "DELETE"):
        return api.call(method, path)
    return api.call(method, path, {}, headers={"Idempotency-Key": "k"})


@pytest.mark.parametrize("name", ["", *KEYS])
def test_scopes_are_respected_on_every_route(caller: Callable[[str], Api], name: str) -> None:
    api = caller(name)
    seen = set()
    for method, path, scope in calls(api):
        answer = send(api, method, path)
        seen.add(scope)
        if not scope:
            assert answer.status_code == 200, path
        elif not name:
            refused(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == 'Bearer realm="stockgate"'
        elif scope not in KEYS[name]:
            refused(answer, 403, "forbidden", scope=scope)
            assert f'scope="{scope}"' in answer.headers["www-authenticate"]
        else:
            assert answer.status_code not in (401, 403), (method, path)
    assert seen == {"", "storefront", "admin", "metrics"}


@pytest.mark.parametrize(
    "value",
    [
        "Bearer somebody",
        f"Bearer {secret('shop')}x",
        f"Bearer {secret('shop')[:-1]}",
        "Bearer",
        f"Basic {secret('shop')}",
        secret("shop"),
        f"Bearer {secret('shop')}, Bearer {secret('robot')}",
        f"Bearer {sha256(secret('shop').encode()).hexdigest()}",
        "Bearer " + "x" * 5000,
    ],
)
def test_what_is_not_a_known_key_is_refused(caller: Callable[[str], Api], value: str) -> None:
    answer = caller("").get("/v1/stock/nothing", authorization=value)
    problem = refused(answer, 401, "unauthorized", retryable=False)
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert secret("shop")[:-1] not in str(problem)


def test_the_scheme_is_not_case_sensitive(caller: Callable[[str], Api]) -> None:
    answer = caller("").get("/v1/stock/nothing", authorization=f"bEARER  {secret('shop')}")
    assert answer.status_code == 404


def test_a_stranger_learns_nothing_from_bad_input(caller: Callable[[str], Api]) -> None:
    answer = caller("").call("POST", "/v1/reservations", content=b"\xff" * 2_000_000)
    refused(answer, 401, "unauthorized")


def test_two_callers_do_not_meet_in_one_key(caller: Callable[[str], Api]) -> None:
    shop, kiosk, robot = caller("shop"), caller("kiosk"), caller("robot")
    sku, key = robot.new_sku(10), fresh("key")
    first = shop.held(sku, key=key, buyer="ada")
    second = kiosk.held(sku, key=key, buyer="ada")
    other = robot.reserve(sku, key=key, buyer="somebody-else")
    assert len({first, second, other.json()["id"]}) == 3
    assert "idempotent-replayed" not in other.headers
    assert robot.terms(sku)["held"] == 3
    assert shop.reserve(sku, key=key, buyer="ada").json()["id"] == first
    entry = {"key": key, "buyer": "ada", "lines": [{"sku": sku, "quantity": 1}]}
    batch = kiosk.call("POST", "/v1/reservations/batch", {"reservations": [entry]}).json()
    assert batch["results"][0]["reservation"]["id"] == second


def test_two_administrators_do_not_meet_in_one_key(caller: Callable[[str], Api]) -> None:
    office, robot = caller("office"), caller("robot")
    sku, key = office.new_sku(10), fresh("key")
    assert office.adjust(sku, 5, key=key).json()["on_hand"] == 15
    assert robot.adjust(sku, 7, key=key).json()["on_hand"] == 22
    assert office.adjust(sku, 5, key=key).headers["idempotent-replayed"] == "true"
    assert office.terms(sku)["on_hand"] == 22


def test_keys_are_shown_nowhere(caller: Callable[[str], Api], guarded: Gateway) -> None:
    shown = caller("office").get("/v1/admin/config").text
    told = guarded.cli("config", "show").stdout
    for name in KEYS:
        assert name in shown
        for text in (secret(name), sha256(secret(name).encode()).hexdigest()):
            assert text not in shown
            assert text not in told
            assert text not in guarded.output()


def test_with_keys_it_does_not_call_itself_a_development_set_up(
    guarded: Gateway, memory_gateway: Gateway
) -> None:
    assert "Development set-up" not in guarded.output()
    assert "Development set-up" in memory_gateway.output()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_without_keys_it_serves_nobody_else(tmp_path: Path, host: str) -> None:
    job = Gateway(tmp_path, store="memory://", **{"server.host": host}).try_to_serve()
    assert job.wait(15) == 2
    assert "server.host" in job.stderr
    assert "[[keys]]" in job.stderr
    assert "Traceback" not in job.stderr
