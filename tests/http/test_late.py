"""Holds whose deadline has passed: they read as expired, their units are back, and a payment
that comes late is honoured while units are left.
"""

from typing import Any

import pytest

from tests.http.api import Api, fresh, line, refused
from tests.http.gateways import until

BACK_S = 1.0
"""Units of an expired hold are on sale again within this time."""

QUANTITIES = {"mixed": 2}


@pytest.fixture(scope="module")
def late(api: Api) -> dict[str, dict[str, Any]]:
    """Reservations that have expired, by what becomes of their late payment; each with its SKU,
    and of that what its name says.
    """
    skus = {
        "available": api.new_sku(1),
        "safety": api.new_sku(3, safety_stock=2),
        "mixed": api.new_sku(3, safety_stock=1),
        "gone": api.new_sku(1),
        "short": api.new_sku(2, safety_stock=1),
        "other": api.new_sku(5),
        "key": api.new_sku(1),
        "limited": api.new_sku(9, buyer_limit=1),
    }
    found = {name: _hold(api, [line(sku, QUANTITIES.get(name, 1))]) for name, sku in skus.items()}
    found["pair"] = _hold(api, [line(api.new_sku(3)), line(api.new_sku(1))])
    assert api.get(f"/v1/stock/{skus['gone']}").json()["status"] == "sold_out"
    for one in found.values():
        api.until_state(one["id"], "expired")
    until(
        lambda: not any(api.terms(one["sku"])["held"] for one in found.values()), timeout_s=BACK_S
    )
    return found


def _hold(api: Api, lines: list[dict[str, Any]]) -> dict[str, Any]:
    given = {"key": fresh("key"), "buyer": fresh("buyer"), "ttl_s": 1}
    return {"sku": lines[0]["sku"], "lines": lines, "id": api.held(lines, **given), **given}


def test_units_are_back_in_the_shop_window(api: Api, late: dict[str, Any]) -> None:
    sku = late["other"]["sku"]
    until(lambda: api.get(f"/v1/stock/{sku}").json()["available"] == 5, timeout_s=BACK_S)


def test_an_expired_hold_reads_so_and_its_units_are_back(api: Api, late: dict[str, Any]) -> None:
    shown = api.get(f"/v1/reservations/{late['other']['id']}").json()
    assert shown["state"] == "expired"
    assert "expires_at" not in shown
    assert api.terms(late["other"]["sku"])["available"] == 5
    made = late["other"]["id"]
    refused(api.step(made, "payment"), 410, "reservation-expired", refund_required=False)
    refused(api.step(made, "release"), 410, "reservation-expired")
    refused(api.step(made, "extend", {"ttl_s": 9}), 410, "reservation-expired")


def test_a_late_payment_is_honoured_from_available(api: Api, late: dict[str, Any]) -> None:
    assert api.confirm(late["available"]["id"]).json()["state"] == "settled"
    terms = api.terms(late["available"]["sku"])
    assert (terms["on_hand"], terms["sold"]) == (0, 1)


def test_a_late_payment_is_honoured_from_safety_stock(api: Api, late: dict[str, Any]) -> None:
    sku = late["safety"]["sku"]
    api.held(sku)
    assert api.terms(sku)["available"] == 0
    assert api.confirm(late["safety"]["id"]).json()["state"] == "settled"
    terms = api.terms(sku)
    assert (terms["on_hand"], terms["safety_stock"], terms["held"]) == (2, 1, 1)


def test_a_late_payment_takes_available_first(api: Api, late: dict[str, Any]) -> None:
    sku = late["mixed"]["sku"]
    api.held(sku)
    assert api.confirm(late["mixed"]["id"]).json()["state"] == "settled"
    terms = api.terms(sku)
    assert (terms["on_hand"], terms["safety_stock"], terms["available"]) == (1, 0, 0)


def test_a_late_payment_without_units_is_to_be_refunded(api: Api, late: dict[str, Any]) -> None:
    made, sku = late["gone"]["id"], late["gone"]["sku"]
    api.held(sku)
    for _ in range(2):
        problem = refused(api.confirm(made), 410, "reservation-expired", refund_required=True)
        assert problem["retryable"] is False
    assert api.terms(sku)["unsettled"] == 0
    assert api.state(made) == "expired"


def test_a_late_payment_is_all_or_nothing(api: Api, late: dict[str, Any]) -> None:
    plenty, scarce = late["pair"]["lines"]
    api.held([scarce])
    refused(api.confirm(late["pair"]["id"]), 410, "reservation-expired", refund_required=True)
    assert api.terms(plenty["sku"])["available"] == 3


def test_safety_stock_is_not_for_holds(api: Api, late: dict[str, Any]) -> None:
    sku = late["short"]["sku"]
    api.held(sku)
    refused(api.reserve(sku), 409, "sold-out", available=0)
    assert api.confirm(late["short"]["id"]).json()["state"] == "settled"


def test_the_key_of_an_expired_hold_still_names_it(api: Api, late: dict[str, Any]) -> None:
    one = late["key"]
    again = api.reserve(one["sku"], key=one["key"], buyer=one["buyer"], ttl_s=1)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert (again.json()["id"], again.json()["state"]) == (one["id"], "expired")
    assert api.terms(one["sku"])["held"] == 0


def test_an_expired_hold_does_not_count_against_the_buyer(api: Api, late: dict[str, Any]) -> None:
    one = late["limited"]
    api.held(one["sku"], buyer=one["buyer"])
    refused(api.reserve(one["sku"], buyer=one["buyer"]), 409, "buyer-limit")
    assert api.confirm(one["id"]).json()["state"] == "settled"


def test_a_listed_hold_past_its_deadline_is_expired(api: Api, late: dict[str, Any]) -> None:
    one = late["other"]
    item = api.get(f"/v1/admin/reservations?sku={one['sku']}").json()["items"][0]
    assert (item["id"], item["state"]) == (one["id"], "expired")
    assert api.get(f"/v1/admin/reservations?sku={one['sku']}&state=held").json()["items"] == []
