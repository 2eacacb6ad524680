"""Stock reads: one, many, cached, conditional."""

from datetime import UTC, datetime

import pytest
import redis

from tests.http.api import Api, line, refused
from tests.http.gateways import until
from tests.support.servers import RedisServer


def test_the_stock_of_a_sku(api: Api) -> None:
    sku = api.new_sku(10, safety_stock=2)
    api.held([line(sku, 3)])
    answer = api.get(f"/v1/stock/{sku}")
    assert answer.status_code == 200
    assert answer.headers["cache-control"].startswith("public, max-age=1")
    stock = answer.json()
    assert list(stock) == [
        "sku",
        "available",
        "held",
        "expected_occupancy_30m",
        "status",
        "as_of",
        "version",
    ]
    assert (stock["available"], stock["held"], stock["status"]) == (5, 3, "on_sale")
    age = datetime.now(UTC) - datetime.fromisoformat(stock["as_of"])
    assert abs(age.total_seconds()) < 5
    assert 0 <= stock["expected_occupancy_30m"] <= 8


def test_a_hold_shows_at_once(api: Api) -> None:
    sku = api.new_sku(2)
    assert api.get(f"/v1/stock/{sku}").json()["available"] == 2
    api.held([line(sku, 2)])
    stock = api.get(f"/v1/stock/{sku}").json()
    assert (stock["available"], stock["status"]) == (0, "sold_out")


def test_an_unchanged_stock_is_304(api: Api) -> None:
    sku = api.new_sku(5)
    etag = api.get(f"/v1/stock/{sku}").headers["etag"]
    for known in (etag, etag.removeprefix("W/"), f'"x", {etag}', "*"):
        answer = api.get(f"/v1/stock/{sku}", if_none_match=known)
        assert answer.status_code == 304, known
        assert answer.content == b""
        assert answer.headers["etag"] == etag
        assert answer.headers["cache-control"].startswith("public")
    assert api.get(f"/v1/stock/{sku}", if_none_match='"x"').status_code == 200
    api.held(sku)
    changed = api.get(f"/v1/stock/{sku}", if_none_match=etag)
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


def test_after_a_failover_the_shop_window_shows_what_there_is(
    redis_api: Api, http_redis: RedisServer
) -> None:
    """A replica that had not heard of the last holds counts the same versions once more."""
    api, sku = redis_api, redis_api.new_sku(10)
    with redis.Redis.from_url(http_redis.url) as client:
        kept = {name: client.dump(name) for name in client.keys("{sg:*")}
        for _ in range(7):
            api.held(sku)
        before = api.get(f"/v1/stock/{sku}")
        assert before.json()["available"] == 3
        with client.pipeline() as replica:
            replica.delete(*client.keys("{sg:*"))
            for name, value in kept.items():
                replica.restore(name, 0, value)
            replica.execute()
    until(lambda: api.get(f"/v1/stock/{sku}").json()["available"] == 10)
    api.held([line(sku, 3)])
    for _ in range(6):
        api.held(sku)
    after = api.get(f"/v1/stock/{sku}", if_none_match=before.headers["etag"])
    assert after.status_code == 200
    assert (after.json()["version"], after.json()["available"]) == (before.json()["version"], 1)


def test_several_skus_in_the_order_asked_for(api: Api) -> None:
    first, second = api.new_sku(1), api.new_sku(2)
    answer = api.get(f"/v1/stock?sku={second}&sku=nowhere&sku={first}&sku={second}")
    assert answer.status_code == 200
    assert [item["sku"] for item in answer.json()["items"]] == [second, first]
    assert answer.json()["unknown"] == ["nowhere"]
    assert answer.headers["cache-control"].startswith("public")


@pytest.mark.parametrize("sku", ["nowhere", "%7Bsg:0%7D", "a%00", "%ff", "a/b", "", "x" * 65])
def test_a_sku_that_does_not_exist(api: Api, sku: str) -> None:
    refused(api.get(f"/v1/stock/{sku}"), 404, "unknown-sku")


def test_a_sku_that_was_unknown_a_moment_ago_is_found(api: Api) -> None:
    refused(api.get("/v1/stock/later"), 404, "unknown-sku")
    api.put_sku("later", 3)
    assert api.get("/v1/stock/later").json()["available"] == 3


def test_a_change_by_an_administrator_shows(api: Api) -> None:
    sku = api.new_sku(3)
    api.get(f"/v1/stock/{sku}")
    api.adjust(sku, 4)
    assert api.get(f"/v1/stock/{sku}").json()["available"] == 7


def test_head_has_the_headers_of_get(api: Api) -> None:
    sku = api.new_sku(1)
    shown = api.get(f"/v1/stock/{sku}")
    head = api.call("HEAD", f"/v1/stock/{sku}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == shown.headers["etag"]
    assert head.headers["content-length"] == str(len(shown.content))


@pytest.mark.parametrize("path", ["/v1/stock/{}", "/v1/admin/skus/{}", "/nowhere/{}"])
def test_a_very_long_name_is_not_repeated_whole(memory_api: Api, path: str) -> None:
    answer = memory_api.get(path.format("x" * 10_000))
    assert answer.status_code == 404
    assert len(answer.content) < 2000
