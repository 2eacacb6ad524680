"""Administration: SKUs, adjustments, listings, configuration."""

from typing import Any

import httpx
import pytest

from tests.http.api import Api, fresh, line, refused
from tests.http.gateways import Gateway


def test_a_sku_is_created_then_changed(api: Api) -> None:
    sku = fresh("sku")
    rules = {
        "buyer_limit": 2,
        "hold_ttl_s": 120,
        "sale_starts_at": "2026-01-01T08:00:00+08:00",
        "sale_ends_at": "2999-12-31T23:59:59.999Z",
        "fuse_rps": 100,
    }
    body = {"on_hand": 10, "safety_stock": 3, **rules}
    created = api.call("PUT", f"/v1/admin/skus/{sku}", body)
    assert created.status_code == 201
    assert created.headers["location"] == f"/v1/admin/skus/{sku}"
    terms = {
        "sku": sku,
        "on_hand": 10,
        "available": 7,
        "held": 0,
        "unsettled": 0,
        "safety_stock": 3,
        "sold": 0,
        "version": 1,
        **rules,
        "sale_starts_at": "2026-01-01T00:00:00.000Z",
    }
    assert created.json() == terms
    assert api.get(f"/v1/admin/skus/{sku}").json() == terms

    changed = api.call("PUT", f"/v1/admin/skus/{sku}", {"on_hand": 12, "safety_stock": 1})
    assert changed.status_code == 200
    assert "location" not in changed.headers
    assert set(changed.json()) == set(terms) - set(rules)
    assert (changed.json()["on_hand"], changed.json()["available"]) == (12, 11)


def test_the_rules_of_a_sku_are_kept(api: Api) -> None:
    made = api.reserve(api.new_sku(5, hold_ttl_s=77)).json()
    assert made["expires_in_s"] == 77


def test_the_same_put_again_changes_nothing(api: Api) -> None:
    sku = api.new_sku(10, 2, buyer_limit=1)
    before = api.terms(sku)
    after = api.put_sku(sku, 10, 2, buyer_limit=1)
    same = ("on_hand", "available", "safety_stock", "buyer_limit", "sold")
    assert {k: after[k] for k in same} == {k: before[k] for k in same}


def test_units_that_buyers_have_cannot_be_taken(api: Api) -> None:
    sku = api.new_sku(10)
    api.held([line(sku, 6)])
    version = api.terms(sku)["version"]
    body = {"on_hand": 5, "safety_stock": 0}
    refused(api.call("PUT", f"/v1/admin/skus/{sku}", body), 409, "adjustment-refused", available=4)
    body = {"on_hand": 10, "safety_stock": 5}
    refused(api.call("PUT", f"/v1/admin/skus/{sku}", body), 409, "adjustment-refused", sku=sku)
    refused(api.adjust(sku, -5), 409, "adjustment-refused", available=4)
    assert api.terms(sku)["version"] == version
    assert api.adjust(sku, -4).json()["available"] == 0


def test_an_adjustment_happens_once(api: Api) -> None:
    sku, key = api.new_sku(10, 2), fresh("key")
    first = api.adjust(sku, 5, key=key, reason="delivery 4711")
    assert first.status_code == 201
    assert first.json() == {
        "sku": sku,
        "delta": 5,
        "reason": "delivery 4711",
        "seq": 2,
        "on_hand": 15,
        "available": 13,
    }
    assert "idempotent-replayed" not in first.headers
    again = api.adjust(sku, 5, key=key, reason="delivery 4711")
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    refused(api.adjust(sku, 6, key=key, reason="delivery 4711"), 422, "idempotency-mismatch")
    refused(api.adjust(api.new_sku(), 5, key=key), 422, "idempotency-mismatch")
    assert api.terms(sku)["on_hand"] == 15


def test_an_adjustment_of_nothing_known(api: Api) -> None:
    refused(api.adjust(fresh("nowhere"), 5), 404, "unknown-sku")
    refused(api.get("/v1/admin/skus/nowhere"), 404, "unknown-sku")
    refused(api.get("/v1/admin/skus/%7Ba%7D"), 404, "unknown-sku")


def test_adjustments_below_zero_are_refused(api: Api) -> None:
    sku = api.new_sku(10, 4)
    refused(api.adjust(sku, -7), 409, "adjustment-refused", available=6)
    refused(api.adjust(sku, -11), 409, "adjustment-refused", available=6)
    assert api.adjust(sku, -6).json()["on_hand"] == 4


def pages(api: Api, path: str, name: str) -> list[Any]:
    """Every item of a listing, page by page."""
    found: list[Any] = []
    cursor, joint = "", "&" if "?" in path else "?"
    limit = int(httpx.QueryParams(path.partition("?")[2]).get("limit", "100"))
    for _ in range(200):
        page = api.get(f"{path}{joint}cursor={cursor}" if cursor else path).json()
        assert len(page["items"]) <= limit
        found += [item[name] for item in page["items"]]
        cursor = page.get("next", "")
        if not cursor:
            return found
    raise AssertionError(f"{path} does not end: {len(found)} items")


def test_skus_are_listed_by_name_in_pages(api: Api) -> None:
    mine = sorted(api.new_sku() for _ in range(5))
    everything = pages(api, "/v1/admin/skus?limit=500", "sku")
    assert everything == sorted(everything)
    assert set(mine) <= set(everything)
    assert pages(api, "/v1/admin/skus?limit=2", "sku") == everything
    exact = pages(api, f"/v1/admin/skus?limit={len(everything)}", "sku")
    assert exact == everything


def test_reservations_are_listed_by_sku_and_state(api: Api) -> None:
    sku, other = api.new_sku(50), api.new_sku(50)
    held = {api.held(sku) for _ in range(7)}
    sold = {api.held([line(other), line(sku)]) for _ in range(3)}
    for one in sold:
        api.confirm(one)
    released = api.held(sku)
    api.step(released, "release")
    elsewhere = api.held(other)

    def listed(query: str) -> set[str]:
        return set(pages(api, f"/v1/admin/reservations?{query}", "id"))

    assert listed(f"sku={sku}") == held | sold | {released}
    assert listed(f"sku={sku}&limit=3") == held | sold | {released}
    assert listed(f"sku={sku}&state=held&limit=2") == held
    assert listed(f"sku={other}&state=settled") == sold
    assert listed(f"sku={sku}&state=released") == {released}
    assert listed(f"sku={sku}&state=rejected") == set()
    assert {elsewhere, released} | held | sold <= listed("limit=500")
    assert elsewhere in listed("state=held")


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8])
def test_a_page_keeps_its_limit_and_no_reservation_comes_twice(api: Api, limit: int) -> None:
    sku = api.new_sku(50)
    held = sorted(api.held(sku) for _ in range(7))
    listed = pages(api, f"/v1/admin/reservations?sku={sku}&limit={limit}", "id")
    assert sorted(listed) == held


def test_pages_of_different_limits_go_on_from_each_other(api: Api) -> None:
    sku = api.new_sku(50)
    held = sorted(api.held(sku) for _ in range(7))
    listed, cursor = [], ""
    for limit in (1, 3, 1, 500):
        path = f"/v1/admin/reservations?sku={sku}&limit={limit}"
        page = api.get(f"{path}&cursor={cursor}" if cursor else path).json()
        listed += [item["id"] for item in page["items"]]
        cursor = page.get("next", "")
        if not cursor:
            break
    assert sorted(listed) == held


def test_the_configuration_in_force(memory_api: Api, memory_gateway: Gateway) -> None:
    answer = memory_api.get("/v1/admin/config")
    settings = {row["name"]: row for row in answer.json()["settings"]}
    assert settings["store"]["value"] == "memory://"
    assert settings["hold.ttl_s"] == {"name": "hold.ttl_s", "value": 900, "source": "default"}
    assert settings["server.port"]["source"].startswith(str(memory_gateway.config))
