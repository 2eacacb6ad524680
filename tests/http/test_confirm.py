"""Confirms: settled in the ledger, repeated, refused. Late ones are in test_late.py."""

import sqlite3
from contextlib import closing

import pytest

from tests.http.api import Api, fresh, line, refused
from tests.http.gateways import Gateway


def test_a_confirm_is_settled_in_the_ledger(api: Api) -> None:
    sku = api.new_sku(10)
    made = api.held([line(sku, 2)], buyer="ada", channel="app")
    answer = api.confirm(made, 'pay-"1"\\')
    assert answer.status_code == 200
    assert answer.json() == {
        "id": made,
        "state": "settled",
        "buyer": "ada",
        "lines": [line(sku, 2)],
        "channel": "app",
        "payment_ref": 'pay-"1"\\',
    }
    terms = api.terms(sku)
    found = {name: terms[name] for name in ("on_hand", "held", "unsettled", "sold", "available")}
    assert found == {"on_hand": 8, "held": 0, "unsettled": 0, "sold": 2, "available": 8}


def test_the_same_reference_again_is_the_same_answer(api: Api) -> None:
    sku = api.new_sku(10)
    made = api.held(sku)
    first, again = api.confirm(made, "pay-7"), api.confirm(made, "pay-7")
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert api.terms(sku)["sold"] == 1


def test_another_reference_is_a_conflict(api: Api) -> None:
    made = api.held(api.new_sku())
    api.confirm(made, "pay-1")
    refund = {"refund_required": True, "payment_ref": "pay-2"}
    problem = refused(api.confirm(made, "pay-2"), 409, "payment-ref-conflict", **refund)
    assert "Return the payment `pay-2`" in problem["detail"]
    assert api.get(f"/v1/reservations/{made}").json()["payment_ref"] == "pay-1"


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("respond-async", "respond-async"),
        ("wait=0", "wait=0"),
        ('Wait="0", foo; bar=1', "wait=0"),
        ("respond-async, wait=0", "respond-async, wait=0"),
    ],
)
def test_a_client_need_not_wait(api: Api, prefer: str, applied: str) -> None:
    made = api.held(api.new_sku())
    answer = api.confirm(made, prefer=prefer)
    assert answer.status_code == 202
    assert answer.json()["state"] == "confirmed"
    assert answer.headers["location"] == f"/v1/reservations/{made}"
    assert answer.headers["preference-applied"] == applied
    assert int(answer.headers["retry-after"]) >= 1
    api.until_state(made, "settled")
    assert api.confirm(made, prefer=prefer).status_code == 200


@pytest.mark.parametrize(
    ("prefer", "applied"), [("wait=5", "wait=5"), ("wait=3600", "wait=30"), ("wait=x", None)]
)
def test_a_client_may_say_how_long_it_waits(api: Api, prefer: str, applied: str | None) -> None:
    answer = api.confirm(api.held(api.new_sku()), prefer=prefer)
    assert answer.status_code == 200
    assert answer.headers.get("preference-applied") == applied


def test_a_paying_reservation_is_confirmed(api: Api) -> None:
    made = api.held(api.new_sku())
    api.step(made, "payment")
    assert api.confirm(made).json()["state"] == "settled"


def test_what_was_sold_takes_no_other_step(api: Api) -> None:
    made = api.held(api.new_sku())
    api.confirm(made)
    for name, body in (("payment", {}), ("release", {}), ("extend", {"ttl_s": 60})):
        refused(api.step(made, name, body), 409, "reservation-confirmed", state="settled")
    assert api.state(made) == "settled"


def test_the_key_of_a_sold_reservation_still_names_it(api: Api) -> None:
    sku, key = api.new_sku(), fresh("key")
    made = api.held(sku, key=key, buyer="ada")
    api.confirm(made)
    again = api.reserve(sku, key=key, buyer="ada")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert (again.json()["id"], again.json()["state"]) == (made, "settled")


def test_what_the_ledger_refuses_is_to_be_refunded(redis_api: Api, redis_gateway: Gateway) -> None:
    """The ledger alone decides: here it owns less than Redis has sold."""
    sku = redis_api.new_sku(10)
    waits, asks_later = redis_api.held(sku), redis_api.held(sku)
    with closing(sqlite3.connect(redis_gateway.data / "ledger.sqlite3")) as ledger, ledger:
        ledger.execute("UPDATE stock SET on_hand = 0, received = 0 WHERE sku = ?", [sku])
    refund = {"refund_required": True, "retryable": False}
    refused(redis_api.confirm(waits), 409, "deduction-rejected", **refund)
    assert redis_api.confirm(asks_later, prefer="respond-async").status_code == 202
    redis_api.until_state(asks_later, "rejected")
    for one in (waits, asks_later):
        refused(redis_api.confirm(one), 409, "deduction-rejected", **refund)
        refused(redis_api.step(one, "release"), 409, "deduction-rejected")
        assert redis_api.state(one) == "rejected"
    terms = redis_api.terms(sku)
    assert (terms["held"], terms["unsettled"], terms["sold"]) == (0, 0, 0)
