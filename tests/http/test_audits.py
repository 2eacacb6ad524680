"""Audits over HTTP and on the command line: started, listed, shown."""

from tests.http.api import Api, refused
from tests.http.gateways import Gateway, until

AUDITS = "/v1/admin/audits"


def test_an_audit_is_started_and_says_what_it_checked(
    redis_api: Api, redis_gateway: Gateway
) -> None:
    sku = redis_api.new_sku(10, buyer_limit=5)
    redis_api.held([{"sku": sku, "quantity": 2}])
    started = redis_api.call("POST", AUDITS)
    assert started.status_code == 202
    where = started.headers["location"]
    assert where == f"{AUDITS}/{started.json()['id']}"

    until(lambda: redis_api.get(where).json()["state"] != "running", what="the audit's end")
    made = redis_api.get(where).json()
    assert (made["state"], made["trigger"], made["findings"]) == ("done", "demand", [])
    assert made["checked"]["skus"] >= 1
    assert made["checked"]["reservations"] >= 1
    assert made["checked"]["ledger_rows"] >= 1
    assert made["took_s"] >= 0

    newest = redis_api.get(f"{AUDITS}?limit=1").json()
    assert newest["items"][0]["id"] == made["id"]
    assert newest["next"] == made["id"]
    assert all(int(a["id"]) < int(made["id"]) for a in _after(redis_api, newest["next"]))

    shown = redis_gateway.cli("audit", "show", made["id"])
    assert "nothing left to repair" in shown.stdout
    assert made["id"] in redis_gateway.cli("audit", "list").stdout
    assert "Checked" in redis_gateway.cli("audit", "run").stdout


def _after(api: Api, cursor: str) -> list[dict[str, str]]:
    return list(api.get(f"{AUDITS}?cursor={cursor}").json()["items"])


def test_what_is_no_audit_is_told_so(api: Api) -> None:
    refused(api.get(f"{AUDITS}/999999999"), 404, "unknown-audit")
    refused(api.get(f"{AUDITS}/nonsense"), 404, "unknown-audit")
    refused(api.get(f"{AUDITS}?cursor=nonsense"), 422, "invalid-request")
