"""A client of the HTTP API for tests: every answer it gets is held against the contract."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from tests.http.contract import Contract
from tests.http.gateways import until

JSON_TYPE = {"Content-Type": "application/json"}
_numbers = itertools.count(1)
_NOTHING = object()


def fresh(word: str) -> str:
    """A name that no other test uses."""
    return f"{word}-{next(_numbers)}"


def line(sku: str, quantity: int = 1) -> dict[str, Any]:
    """A line of a reservation."""
    return {"sku": sku, "quantity": quantity}


class Api:
    """Calls one gateway. `key` is sent as the bearer key."""

    def __init__(self, url: str, key: str = "", *, timeout_s: float = 15.0) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=timeout_s, trust_env=False, headers=headers)
        self.contract = Contract(self.http.get("/openapi.json").json())

    def close(self) -> None:
        """Hang up."""
        self.http.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = _NOTHING,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One call. `body` goes as JSON; `content` goes as it is, with JSON's type."""
        if body is not _NOTHING:
            content = json.dumps(body).encode()
        given = {**(JSON_TYPE if content is not None else {}), **(headers or {})}
        response = self.http.request(method, path, content=content, headers=given)
        self.contract.check(response)
        return response

    def get(self, path: str, **headers: str) -> httpx.Response:
        """GET; headers by their names with _ for -."""
        return self.call("GET", path, headers=_named(headers))

    def put_sku(
        self, sku: str, on_hand: int, safety_stock: int = 0, **rules: Any
    ) -> dict[str, Any]:
        """The terms of a SKU after it was put."""
        body = {"on_hand": on_hand, "safety_stock": safety_stock, **rules}
        response = self.call("PUT", f"/v1/admin/skus/{sku}", body)
        assert response.status_code in (200, 201), response.text
        return dict(response.json())

    def new_sku(self, on_hand: int = 10, safety_stock: int = 0, **rules: Any) -> str:
        """A SKU of the test's own."""
        sku = fresh("sku")
        self.put_sku(sku, on_hand, safety_stock, **rules)
        return sku

    def terms(self, sku: str) -> dict[str, Any]:
        """All terms of the SKU; the invariant is checked in passing."""
        terms = dict(self.get(f"/v1/admin/skus/{sku}").json())
        parts = ("available", "held", "unsettled", "safety_stock")
        assert terms["on_hand"] == sum(terms[part] for part in parts), terms
        return terms

    def reserve(
        self,
        what: str | Sequence[Mapping[str, Any]],
        *,
        key: str = "",
        buyer: str = "",
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """POST /v1/reservations: a SKU means one unit of it."""
        lines = [line(what)] if isinstance(what, str) else what
        body = {"buyer": buyer or fresh("buyer"), "lines": lines, **more}
        sent = {"Idempotency-Key": key or fresh("key"), **(headers or {})}
        return self.call("POST", "/v1/reservations", body, headers=sent)

    def held(self, what: str | Sequence[Mapping[str, Any]], **more: Any) -> str:
        """The id of a new reservation."""
        response = self.reserve(what, **more)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    def step(
        self, reservation: str, name: str, body: Any = _NOTHING, **headers: str
    ) -> httpx.Response:
        """POST /v1/reservations/{id}/{name}"""
        path = f"/v1/reservations/{reservation}/{name}"
        return self.call("POST", path, body, headers=_named(headers))

    def confirm(self, reservation: str, ref: str = "", **headers: str) -> httpx.Response:
        """Confirm with a payment reference; with one of its own unless `ref` says another."""
        body = {"payment_ref": ref or f"pay-{reservation}"}
        return self.step(reservation, "confirm", body, **headers)

    def state(self, reservation: str) -> str:
        """Where the reservation stands."""
        return str(self.get(f"/v1/reservations/{reservation}").json()["state"])

    def until_state(self, reservation: str, state: str) -> None:
        """Wait until it stands there."""
        until(lambda: self.state(reservation) == state, what=f"{reservation} is {state}")

    def adjust(
        self, sku: str, delta: int, *, key: str = "", reason: str = "found"
    ) -> httpx.Response:
        """POST an adjustment."""
        return self.call(
            "POST",
            f"/v1/admin/skus/{sku}/adjustments",
            {"delta": delta, "reason": reason},
            headers={"Idempotency-Key": key or fresh("key")},
        )


def refused(response: httpx.Response, status: int, code: str, **members: Any) -> dict[str, Any]:
    """The problem, which is the one expected and carries these members."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = dict(response.json())
    assert problem["code"] == code, problem
    found = {name: problem.get(name) for name in members}
    assert found == members, problem
    return problem


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
