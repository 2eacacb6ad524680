"""Making, showing, paying, releasing and extending reservations, as the contract says."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.http.api import Api, fresh, line, refused

UNKNOWN_ID = "01KZ3V9Q2M00X4T7B2N8R6W1CD"


def seconds_to(text: str) -> float:
    return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()


def at(**offset: float) -> str:
    return (datetime.now(UTC) + timedelta(**offset)).isoformat()


def test_a_reservation_is_created(api: Api) -> None:
    sku, buyer = api.new_sku(10), fresh("buyer")
    answer = api.reserve([line(sku, 3)], buyer=buyer, ttl_s=60, channel="app")
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["location"] == f"/v1/reservations/{made['id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    assert "idempotent-replayed" not in answer.headers
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", made.pop("id"))
    assert 55 < seconds_to(made.pop("expires_at")) <= 60
    assert made.pop("receipt").startswith("v1.")
    assert made == {
        "state": "held",
        "buyer": buyer,
        "lines": [line(sku, 3)],
        "expires_in_s": 60,
        "channel": "app",
    }
    assert api.terms(sku)["held"] == 3


def test_the_plainest_reservation_has_the_members_of_the_contract(api: Api) -> None:
    made = api.reserve(api.new_sku()).json()
    members = ["id", "state", "buyer", "lines", "expires_at", "expires_in_s", "receipt"]
    assert list(made) == members
    assert made["expires_in_s"] == 900


def test_a_replay_gives_the_same_answer_and_holds_nothing_more(api: Api) -> None:
    sku, key = api.new_sku(10), fresh("key")
    first = api.reserve(sku, key=key, buyer="ada")
    again = api.reserve(sku, key=key, buyer="ada")
    assert again.status_code == 201
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    same = ("id", "state", "buyer", "lines", "expires_at", "receipt")
    assert {k: again.json()[k] for k in same} == {k: first.json()[k] for k in same}
    assert api.terms(sku)["held"] == 1


def test_a_replay_shows_the_reservation_as_it_is_now(api: Api) -> None:
    sku, key = api.new_sku(10), fresh("key")
    first = api.held(sku, key=key, buyer="ada")
    api.step(first, "release")
    again = api.reserve(sku, key=key, buyer="ada")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert (again.json()["id"], again.json()["state"]) == (first, "released")
    assert api.terms(sku)["held"] == 0


def test_the_quoted_and_the_bare_key_are_one(api: Api) -> None:
    sku, key = api.new_sku(10), fresh("key")
    first = api.reserve(sku, key=key, buyer="ada").json()
    assert api.reserve(sku, key=f'"{key}"', buyer="ada").json()["id"] == first["id"]


def test_the_same_meaning_in_another_spelling_is_a_replay(api: Api) -> None:
    sku, key = api.new_sku(10), fresh("key")
    first = api.reserve(sku, key=key, buyer="ada").json()["id"]
    body = f' {{"lines" : [ {{"quantity":1, "sku":"{sku}"}} ],\n "buyer":"\\u0061da"}} '
    again = api.call(
        "POST", "/v1/reservations", content=body.encode(), headers={"Idempotency-Key": key}
    )
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["id"] == first


@pytest.mark.parametrize(
    "change",
    [
        {"buyer": "bob"},
        {"ttl_s": 61},
        {"channel": "web"},
        {"quantity": 2},
        {"more": True},
        {"sku": True},
    ],
)
def test_the_same_key_with_another_body_is_refused(api: Api, change: dict[str, Any]) -> None:
    sku, other, key = api.new_sku(10), api.new_sku(10), fresh("key")
    api.held(sku, key=key, buyer="ada", ttl_s=60, channel="app")
    lines = [line(other if "sku" in change else sku, change.get("quantity", 1))]
    if "more" in change:
        lines.append(line(other))
    body = {"buyer": "ada", "ttl_s": 60, "channel": "app", **change}
    body = {name: body[name] for name in ("buyer", "ttl_s", "channel")}
    refused(api.reserve(lines, key=key, **body), 422, "idempotency-mismatch")
    assert api.terms(sku)["held"] == 1
    assert api.terms(other)["held"] == 0


def test_sold_out_names_the_sku_and_what_is_left(api: Api) -> None:
    plenty, scarce = api.new_sku(10), api.new_sku(5, safety_stock=2)
    problem = refused(
        api.reserve([line(plenty), line(scarce, 4)]), 409, "sold-out", sku=scarce, available=3
    )
    assert "at most 3" in problem["detail"]
    assert problem["retryable"] is False
    assert api.terms(plenty)["held"] == 0
    api.held([line(scarce, 3)])
    refused(api.reserve(scarce), 409, "sold-out", sku=scarce, available=0)


def test_lines_of_one_sku_are_summed(api: Api) -> None:
    sku = api.new_sku(5)
    refused(api.reserve([line(sku, 3), line(sku, 3)]), 409, "sold-out", available=5)
    made = api.reserve([line(sku, 3), line(sku, 2)]).json()
    assert made["lines"] == [line(sku, 5)]
    assert api.terms(sku)["available"] == 0


def test_the_buyer_limit_counts_over_reservations(api: Api) -> None:
    sku, buyer = api.new_sku(10, buyer_limit=2), fresh("buyer")
    first = api.held(sku, buyer=buyer)
    refused(api.reserve([line(sku, 2)], buyer=buyer), 409, "buyer-limit", sku=sku, limit=2)
    second = api.held(sku, buyer=buyer)
    refused(api.reserve(sku, buyer=buyer), 409, "buyer-limit")
    assert api.confirm(first).status_code == 200
    refused(api.reserve(sku, buyer=buyer), 409, "buyer-limit")
    api.step(second, "release")
    api.held(sku, buyer=buyer)
    api.held(sku)


def test_a_sale_that_has_not_opened_says_when(api: Api) -> None:
    sku = api.new_sku(5, sale_starts_at=at(seconds=90))
    answer = api.reserve(sku)
    problem = refused(answer, 409, "sale-not-open", sku=sku, retryable=True)
    assert 60 < seconds_to(problem["opens_at"]) <= 90
    assert 85 <= int(answer.headers["retry-after"]) <= 92
    assert api.get(f"/v1/stock/{sku}").json()["status"] == "upcoming"


def test_a_client_that_obeys_is_in_time_for_a_sale_days_ahead(api: Api) -> None:
    sku = api.new_sku(5, sale_starts_at=at(days=9))
    for _ in range(10):
        problem = refused(api.reserve(sku), 409, "sale-not-open")
        left_s = seconds_to(problem["opens_at"])
        assert left_s <= problem["retry_after_s"] <= left_s + 3  # 2 and the answer's own way


def test_a_sale_that_has_ended_says_so(api: Api) -> None:
    sku = api.new_sku(5, sale_starts_at=at(hours=-2), sale_ends_at=at(hours=-1))
    answer = api.reserve(sku)
    problem = refused(answer, 409, "sale-not-open", retryable=False)
    assert "opens_at" not in problem
    assert seconds_to(problem["closed_at"]) < -3500
    assert "retry-after" not in answer.headers
    assert api.get(f"/v1/stock/{sku}").json()["status"] == "ended"


def test_an_unknown_sku_is_named(api: Api) -> None:
    sku = api.new_sku(5)
    refused(api.reserve([line(sku), line("nowhere")]), 404, "unknown-sku", sku="nowhere")
    assert api.terms(sku)["held"] == 0


def test_a_refusal_leaves_the_key_free(api: Api) -> None:
    sku, key = api.new_sku(0), fresh("key")
    refused(api.reserve(sku, key=key, buyer="ada"), 409, "sold-out")
    api.put_sku(sku, 1)
    assert api.reserve(sku, key=key, buyer="ada").status_code == 201


def test_a_reservation_is_shown(api: Api) -> None:
    sku = api.new_sku(5)
    made = api.reserve(sku, buyer="ada").json()
    shown = api.get(f"/v1/reservations/{made['id']}")
    assert shown.status_code == 200
    left = shown.json().pop("expires_in_s")
    assert 890 < left <= 900
    assert {**shown.json(), "expires_in_s": 900, "receipt": made["receipt"]} == made


@pytest.mark.parametrize("reservation", [UNKNOWN_ID, "x", UNKNOWN_ID.lower(), "%2e%2e", "0" * 400])
@pytest.mark.parametrize("step", ["", "/payment", "/release", "/extend", "/confirm"])
def test_a_reservation_nobody_made_is_unknown(memory_api: Api, reservation: str, step: str) -> None:
    bodies = {"/extend": {"ttl_s": 1}, "/confirm": {"payment_ref": "p"}}
    path = f"/v1/reservations/{reservation}{step}"
    if step in bodies:
        answer = memory_api.call("POST", path, bodies[step])
    else:
        answer = memory_api.call("POST" if step else "GET", path)
    refused(answer, 404, "unknown-reservation")


def test_an_id_with_another_time_is_not_the_reservation(api: Api) -> None:
    made = api.held(api.new_sku())
    refused(api.get(f"/v1/reservations/0000000000{made[10:]}"), 404, "unknown-reservation")
    refused(api.confirm(f"0000000000{made[10:]}"), 404, "unknown-reservation")
    assert api.state(made) == "held"


def test_payment_moves_the_deadline_once(api: Api) -> None:
    made = api.held(api.new_sku(), ttl_s=60)
    first = api.step(made, "payment").json()
    assert first["state"] == "paying"
    assert first["expires_in_s"] == 1800
    again = api.step(made, "payment", {})
    assert again.status_code == 200
    assert again.json()["expires_at"] == first["expires_at"]


def test_payment_never_shortens_a_hold(api: Api) -> None:
    made = api.reserve(api.new_sku(), ttl_s=14_400).json()
    paying = api.step(made["id"], "payment").json()
    assert paying["expires_at"] == made["expires_at"]


def test_a_release_gives_the_units_back_and_may_be_repeated(api: Api) -> None:
    sku = api.new_sku(5)
    made = api.held([line(sku, 2)], buyer="ada")
    for _ in range(2):
        answer = api.step(made, "release")
        assert answer.status_code == 200
        assert answer.json() == {
            "id": made,
            "state": "released",
            "buyer": "ada",
            "lines": [line(sku, 2)],
        }
        assert api.terms(sku)["available"] == 5


def test_what_was_released_takes_no_other_step(api: Api) -> None:
    made = api.held(api.new_sku())
    api.step(made, "release")
    refused(api.step(made, "payment"), 409, "reservation-released", refund_required=False)
    refused(api.step(made, "extend", {"ttl_s": 60}), 409, "reservation-released")
    refused(api.confirm(made), 409, "reservation-released", refund_required=True)


def test_an_extension_is_capped_and_never_shortens(api: Api) -> None:
    made = api.held(api.new_sku(), ttl_s=60)
    assert api.step(made, "extend", {"ttl_s": 120}).json()["expires_in_s"] == 120
    assert 118 <= api.step(made, "extend", {"ttl_s": 30}).json()["expires_in_s"] <= 120
    first = api.step(made, "extend", {"ttl_s": 14_400}).json()
    again = api.step(made, "extend", {"ttl_s": 14_400}).json()
    assert first["expires_in_s"] == 14_400
    assert again["expires_at"] == first["expires_at"]


def test_an_extension_keeps_the_state(api: Api) -> None:
    made = api.held(api.new_sku())
    api.step(made, "payment")
    assert api.step(made, "extend", {"ttl_s": 3600}).json()["state"] == "paying"


def test_every_reservation_has_an_id_of_its_own(api: Api) -> None:
    sku = api.new_sku(100)
    ids = {api.held(sku) for _ in range(30)}
    assert len(ids) == 30
    assert api.terms(sku)["held"] == 30
