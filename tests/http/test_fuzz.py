"""Whatever is sent, the gateway answers below 500 and the connection goes on."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.api import Api
from tests.http.raw import JSON_TYPE, Connection

FUZZ = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SKU = "fuzzed"
ID = "01KZ3V9Q2M00X4T7B2N8R6W1CD"

CALLS = (
    ("POST", "/v1/reservations"),
    ("POST", "/v1/reservations/batch"),
    ("POST", f"/v1/reservations/{ID}/confirm"),
    ("POST", f"/v1/reservations/{ID}/extend"),
    ("POST", f"/v1/reservations/{ID}/payment"),
    ("PUT", "/v1/admin/skus/fuzz"),
    ("POST", f"/v1/admin/skus/{SKU}/adjustments"),
)
NAMES = (
    "buyer",
    "lines",
    "sku",
    "quantity",
    "ttl_s",
    "channel",
    "key",
    "reservations",
    "payment_ref",
    "on_hand",
    "safety_stock",
    "buyer_limit",
    "hold_ttl_s",
    "sale_starts_at",
    "delta",
    "reason",
)
HEADERS = (
    b"Accept-Language",
    b"Authorization",
    b"Content-Type",
    b"Idempotency-Key",
    b"If-None-Match",
    b"Prefer",
    b"Traceparent",
    b"X-Request-Id",
    b"Accept",
    b"Expect",
    b"Cookie",
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 12)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from([SKU, "ada", "2026-11-11T10:00:00Z", "9999-12-31T23:59:59Z"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=6), inner, max_size=5)
    ),
    max_leaves=12,
)
lines = st.lists(
    st.fixed_dictionaries({"sku": st.just(SKU) | scalars, "quantity": st.just(1) | scalars}),
    max_size=4,
)
nearly = st.fixed_dictionaries(
    {},
    optional={
        "buyer": st.just("ada") | scalars,
        "lines": lines,
        "ttl_s": st.just(60) | scalars,
        "channel": scalars,
        "payment_ref": st.text(max_size=8),
        "on_hand": st.integers(-1, 9) | scalars,
        "safety_stock": st.integers(-1, 9) | scalars,
        "sale_starts_at": st.datetimes().map(str) | scalars,
        "sale_ends_at": st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
        "delta": st.integers(-3, 3) | scalars,
        "reason": st.text(max_size=8),
    },
)
bodies = (
    (values | nearly).map(lambda value: json.dumps(value).encode())
    | (values | nearly).map(
        lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    )
    | st.binary(max_size=60)
)
header_values = st.binary(max_size=40).map(
    lambda raw: bytes(byte for byte in raw if byte >= 0x20 and byte != 0x7F).strip()
)
paths = st.lists(
    st.sampled_from(["v1", "stock", "reservations", "admin", "skus", "batch", "confirm", SKU, ID])
    | st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), max_size=6)
    | st.binary(max_size=3).map(lambda raw: "".join(f"%{byte:02x}" for byte in raw)),
    max_size=6,
).map(lambda steps: ("/" + "/".join(steps)).replace(" ", "").replace("#", ""))


@pytest.fixture(scope="module")
def port(memory_api: Api) -> int:
    memory_api.put_sku(SKU, 1_000_000)
    return memory_api.http.base_url.port or 0


@pytest.fixture(scope="module")
def shared(port: int) -> Any:
    """A connection that is used until the server ends it."""
    kept = [Connection(port)]
    yield kept
    kept[0].close()


def survive(shared: list[Connection], port: int, *sent: Any) -> None:
    answer = shared[0].request(*sent)
    assert answer.status < 500, (sent, answer)
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["status"] == answer.status
    if answer.closes:
        shared.pop().close()
        shared.append(Connection(port))
    assert shared[0].is_usable()


@FUZZ
@given(call=st.sampled_from(CALLS), body=bodies, key=st.sampled_from([b"a", b"b", b"c"]))
def test_bodies(shared: list[Connection], port: int, call: Any, body: bytes, key: bytes) -> None:
    survive(shared, port, *call, [JSON_TYPE, (b"Idempotency-Key", key)], body)


@FUZZ
@given(
    call=st.sampled_from([*CALLS, ("GET", "/v1/stock/nowhere"), ("GET", "/"), ("GET", "/docs")]),
    headers=st.lists(st.tuples(st.sampled_from(HEADERS), header_values), max_size=6),
)
def test_headers(shared: list[Connection], port: int, call: Any, headers: Any) -> None:
    survive(shared, port, *call, headers, b"{}" if call[0] != "GET" else b"")


@FUZZ
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    path=paths,
    query=st.lists(
        st.tuples(
            st.sampled_from(["sku", "state", "cursor", "limit", "x", ""]),
            st.sampled_from(["", "1", "0", "held", SKU, "0.1", "%ff", "%00", "a%26b", "9" * 30]),
        ),
        max_size=5,
    ),
)
def test_addresses(shared: list[Connection], port: int, method: str, path: str, query: Any) -> None:
    target = path + ("?" + "&".join(f"{n}={v}" for n, v in query) if query else "")
    if method == "HEAD":
        assert shared[0].request(method, target).status < 500
        return
    survive(shared, port, method, target)


@FUZZ
@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"PUT "]))
def test_bytes(memory_api: Api, port: int, data: bytes, start: bytes) -> None:
    with Connection(port) as connection:
        connection.send(start + data + b"\r\n\r\n")
        said = connection.finish()
    assert said == b"" or 200 <= int(said.split()[1]) < 500
    assert memory_api.get("/livez").status_code == 200
