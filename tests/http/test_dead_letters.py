"""Dead letters over HTTP and on the command line: listed, shown, retried, dismissed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.http.api import Api, fresh, refused
from tests.http.gateways import Gateway, until

LETTERS = "/v1/admin/dead-letters"


@contextmanager
def ledger_that_refuses(gateway: Gateway, buyer: str) -> Iterator[None]:
    """While it lasts, a constraint of the ledger refuses to take down what `buyer` has bought."""
    with closing(sqlite3.connect(gateway.data / "ledger.sqlite3")) as ledger:
        with ledger:
            ledger.execute(
                "CREATE TRIGGER poison BEFORE INSERT ON deductions WHEN NEW.outcome = 'settled'"
                f" AND NEW.buyer = '{buyer}' BEGIN SELECT RAISE(ABORT, 'refused here'); END"
            )
        try:
            yield
        finally:
            with ledger:
                ledger.execute("DROP TRIGGER poison")


def letter_of(api: Api, reservation: str) -> dict[str, Any] | None:
    items = api.get(f"{LETTERS}?limit=500").json()["items"]
    return next((it for it in items if it.get("reservation_id") == reservation), None)


@pytest.fixture
def given_up(redis_api: Api, redis_gateway: Gateway) -> tuple[str, str, dict[str, Any]]:
    """A SKU, a reservation of two of its ten units, and the dead letter that it became."""
    sku, buyer = redis_api.new_sku(10), fresh("poison")
    with ledger_that_refuses(redis_gateway, buyer):
        made = redis_api.held([{"sku": sku, "quantity": 2}], buyer=buyer)
        assert redis_api.confirm(made, prefer="respond-async").status_code == 202
        letter = until(lambda: letter_of(redis_api, made), what="a dead letter", timeout_s=30)
    return sku, made, letter


def test_a_letter_is_retried(
    given_up: tuple[str, str, dict[str, Any]], redis_api: Api, redis_gateway: Gateway
) -> None:
    sku, made, letter = given_up
    assert (letter["state"], letter["reason"], letter["tries"]) == ("waiting", "ledger-refused", 3)
    assert "refused here" in letter["detail"]
    path = f"{LETTERS}/{letter['id']}"
    assert redis_api.get(path).json() == letter
    assert redis_api.state(made) == "confirmed"
    assert redis_api.terms(sku)["unsettled"] == 2
    verified = redis_gateway.cli("verify")
    assert "dead letter" in verified.stdout
    assert sku not in verified.stderr

    retried = redis_api.call("POST", f"{path}/retry")
    assert (retried.status_code, retried.json()["state"]) == (200, "retrying")
    redis_api.until_state(made, "settled")
    until(lambda: redis_api.get(path).json()["state"] == "resolved", what="it is resolved")
    problem = redis_api.call("POST", f"{path}/retry")
    refused(problem, 409, "dead-letter-not-waiting", letter_state="resolved")
    assert redis_api.terms(sku)["sold"] == 2
    assert redis_api.confirm(made).status_code == 200


def test_a_letter_is_dismissed(given_up: tuple[str, str, dict[str, Any]], redis_api: Api) -> None:
    sku, made, letter = given_up
    path = f"{LETTERS}/{letter['id']}"
    refused(redis_api.call("POST", f"{path}/dismiss", {}), 422, "invalid-request")
    dismissed = redis_api.call("POST", f"{path}/dismiss", {"note": "cancelled by phone"}).json()
    assert (dismissed["state"], dismissed["outcome"]) == ("dismissed", "rejected")
    assert (dismissed["refund_required"], dismissed["note"]) == (True, "cancelled by phone")
    assert redis_api.terms(sku)["available"] == 10
    refused(redis_api.confirm(made), 409, "deduction-rejected", refund_required=True)
    for step, body in (("retry", {}), ("dismiss", {"note": "again"})):
        problem = redis_api.call("POST", f"{path}/{step}", body)
        refused(problem, 409, "dead-letter-not-waiting", letter_state="dismissed")


def test_the_command_line_does_the_same(
    given_up: tuple[str, str, dict[str, Any]], redis_api: Api, redis_gateway: Gateway
) -> None:
    sku, made, letter = given_up
    cli = redis_gateway.cli
    listed = cli("dead-letters", "list")
    assert (listed.returncode, made in listed.stdout) == (0, True)
    shown = cli("dead-letters", "show", letter["id"])
    assert "refused here" in shown.stdout
    unsure = cli("dead-letters", "dismiss", letter["id"], "--note", "why")
    assert unsure.returncode != 0
    assert redis_api.get(f"{LETTERS}/{letter['id']}").json()["state"] == "waiting"
    done = cli("dead-letters", "dismiss", letter["id"], "--note", "why", "--yes")
    assert done.returncode == 0
    assert "return the buyer's payment" in done.stdout
    assert redis_api.terms(sku)["available"] == 10
    again = cli("dead-letters", "retry", letter["id"])
    assert (again.returncode, "Traceback" in again.stderr) == (1, False)
    assert "it is dismissed already" in again.stderr
    assert made not in cli("dead-letters", "list").stdout
    assert made in cli("dead-letters", "list", "--all").stdout


def test_letters_are_listed_in_pages(memory_api: Api, redis_api: Api) -> None:
    assert memory_api.get(LETTERS).json() == {"items": []}
    assert memory_api.get(f"{LETTERS}?state=dismissed&limit=1").json() == {"items": []}
    for query in ("state=gone", "limit=0", "cursor=x", "limit=501", "page=1"):
        refused(memory_api.get(f"{LETTERS}?{query}"), 422, "invalid-request")
    everything = redis_api.get(f"{LETTERS}?limit=500").json()["items"]
    page = redis_api.get(f"{LETTERS}?limit=1").json()
    seen = page["items"]
    while "next" in page:
        page = redis_api.get(f"{LETTERS}?limit=1&cursor={page['next']}").json()
        seen += page["items"]
    assert [it["id"] for it in seen] == [it["id"] for it in everything]


@pytest.mark.parametrize("name", ["1000000", "x", "0", "9" * 30])
def test_there_is_no_such_letter(memory_api: Api, name: str) -> None:
    path = f"{LETTERS}/{name}"
    refused(memory_api.get(path), 404, "unknown-dead-letter")
    refused(memory_api.call("POST", f"{path}/retry"), 404, "unknown-dead-letter")
    problem = memory_api.call("POST", f"{path}/dismiss", {"note": "x"})
    refused(problem, 404, "unknown-dead-letter")


def test_a_payment_buys_one_reservation(redis_api: Api) -> None:
    sku, ref = redis_api.new_sku(10), fresh("pay")
    first, second = redis_api.held(sku), redis_api.held(sku)
    assert redis_api.confirm(first, ref).status_code == 200
    conflict = redis_api.confirm(second, ref)
    problem = refused(conflict, 409, "payment-ref-conflict", refund_required=False)
    assert "another reservation" in problem["title"]
    assert redis_api.state(second) == "held", "and can still be paid"
    assert redis_api.confirm(second).status_code == 200
    more = fresh("pay")
    wanted = {"refund_required": True, "payment_ref": more}
    refused(redis_api.confirm(first, more), 409, "payment-ref-conflict", **wanted)
    assert redis_api.confirm(first, ref).json()["state"] == "settled", "a replay stays one"
    # The other one's money: nothing is to be returned.
    theirs = refused(redis_api.confirm(second, ref), 409, "payment-ref-conflict")
    assert theirs["refund_required"] is False
