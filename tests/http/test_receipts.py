"""Receipts over HTTP: every 201 carries one, and only an unchanged one of ours is taken."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.http.api import Api, fresh, line, refused
from tests.http.gateways import Gateway
from tests.support.servers import RedisServer

StartGateway = Callable[..., Gateway]


def paid(api: Api, made: dict[str, Any], ref: str = "", **more: Any) -> Any:
    body = {"payment_ref": ref or f"pay-{made['id']}", "receipt": made["receipt"], **more}
    return api.step(made["id"], "confirm", body)


def forget(server: RedisServer, *made: dict[str, Any]) -> None:
    """The records alone are lost."""
    for one in made:
        assert server.call("HDEL", "{sg:0}:reservations", one["id"][12:]) == 1


def test_a_replay_carries_the_same_receipt(api: Api) -> None:
    sku, key = api.new_sku(), fresh("key")
    first, again = (api.reserve(sku, key=key, buyer="ada").json() for _ in range(2))
    assert first["receipt"].startswith("v1.")
    assert again["receipt"] == first["receipt"]
    assert "receipt" not in api.get(f"/v1/reservations/{first['id']}").json()
    assert paid(api, first).json()["state"] == "settled"


def test_a_cart_and_a_batch_carry_receipts(api: Api) -> None:
    cart = api.reserve([line(api.new_sku(), 2), line(api.new_sku())], channel="app").json()
    sku = api.new_sku()
    entries = [{"key": fresh("key"), "buyer": "bo", "lines": [line(sku)]} for _ in range(3)]
    results = api.call("POST", "/v1/reservations/batch", {"reservations": entries}).json()
    made = [cart, *[it["reservation"] for it in results["results"]]]
    assert len({it["receipt"] for it in made}) == 4
    for one in made:
        assert paid(api, one).json()["state"] == "settled"


def test_what_redis_lost_is_honoured_once(redis_api: Api, http_redis: RedisServer) -> None:
    api = redis_api
    sku = api.new_sku(10)
    lost = api.reserve(sku).json()
    forget(http_redis, lost)
    refused(api.confirm(lost["id"]), 404, "unknown-reservation")
    answer = paid(api, lost)
    assert (answer.status_code, answer.json()["state"]) == (200, "settled")
    assert answer.json()["id"] == lost["id"]
    assert paid(api, lost).json() == answer.json()
    refused(paid(api, lost, "pay-2"), 409, "payment-ref-conflict")
    assert api.terms(sku)["sold"] == 1


def test_an_altered_or_foreign_receipt_is_refused_and_nothing_written(
    redis_api: Api, http_redis: RedisServer
) -> None:
    api = redis_api
    sku = api.new_sku(10)
    lost, other = api.reserve(sku).json(), api.reserve(sku).json()
    forget(http_redis, lost)
    before = http_redis.call("HLEN", "{sg:0}:reservations")
    token = lost["receipt"]
    places = range(3, len(token), 7)
    altered = [token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :] for i in places]
    for receipt in (*altered, other["receipt"], token[:-1], token + "A", "v1.x", "forged"):
        problem = refused(paid(api, {**lost, "receipt": receipt}), 422, "receipt-invalid")
        assert [it["pointer"] for it in problem["errors"]] == ["/receipt"]
    assert http_redis.call("HLEN", "{sg:0}:reservations") == before
    assert api.terms(sku)["unsettled"] == 0
    refused(paid(api, {**other, "receipt": altered[0]}), 422, "receipt-invalid")
    assert api.state(other["id"]) == "held"


@pytest.mark.parametrize("receipt", ["", " ", "a b", "é", 7, "x" * 8193])
def test_what_cannot_be_a_receipt_is_pointed_at(memory_api: Api, receipt: Any) -> None:
    made = memory_api.reserve(memory_api.new_sku()).json()
    problem = refused(paid(memory_api, {**made, "receipt": receipt}), 422, "invalid-request")
    assert [it["pointer"] for it in problem["errors"]] == ["/receipt"]


def test_secrets_of_the_configuration_are_rotated_and_never_shown(
    start_gateway: StartGateway,
) -> None:
    old, new = "o" * 32, "n" * 40
    gateway = start_gateway(f'[receipts]\nsecrets = ["{old}"]\n')
    api = Api(gateway.url)
    made = [api.reserve(api.new_sku()).json() for _ in range(2)]
    api.close()
    assert gateway.terminate() == 0
    text = gateway.config.read_text(encoding="utf-8")
    gateway.config.write_text(text.replace(f'["{old}"]', f'["{new}", "{old}"]'), encoding="utf-8")
    api = Api(gateway.start().url)
    assert paid(api, made[0]).status_code == 200
    shown = gateway.cli("config", "show").stdout
    assert "receipts.secrets" in shown
    assert old not in shown + gateway.output()
    assert new not in shown + gateway.output()
    api.close()
    assert gateway.terminate() == 0
    (gateway.folder / "secret").write_text(f"{new}\n", encoding="utf-8")
    config = text.replace(f'secrets = ["{old}"]', 'secret_file = "secret"')
    gateway.config.write_text(config, encoding="utf-8")
    api = Api(gateway.start().url)
    refused(paid(api, made[1]), 422, "receipt-invalid")
    api.close()


def test_without_receipts_none_are_given_and_none_are_looked_at(
    start_gateway: StartGateway,
) -> None:
    gateway = start_gateway("[receipts]\nenabled = false\n", store="memory://")
    api = Api(gateway.url)
    made = api.reserve(api.new_sku()).json()
    assert "receipt" not in made
    assert paid(api, {**made, "receipt": "v1.anything"}).status_code == 200
    api.close()


def test_the_secret_outlives_the_gateway(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    api = Api(gateway.url)
    made = api.reserve(api.new_sku()).json()
    api.close()
    gateway.kill()
    api = Api(gateway.start().url)
    assert paid(api, made).status_code == 200
    api.close()
