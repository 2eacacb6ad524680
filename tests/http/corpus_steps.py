"""Bad input to every other call: batches, steps, administration, queries, methods."""

import json
from collections.abc import Iterator
from typing import Any

from tests.http.corpus import ADJUST, ADMIN, BATCH, Bad, reservation

INVALID = "invalid-request"


def _bad(name: str, method: str, path: str, body: Any, pointer: str, **more: Any) -> Bad:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Bad(name, method, path, text, 422, INVALID, pointer, **more)


def _entry(**change: Any) -> dict[str, Any]:
    return reservation(**{"key": "batch-key", **change})


def batches() -> Iterator[Bad]:
    """A batch is refused whole; the pointer leads into the entry at fault."""
    good = _entry(key="good")
    bodies: dict[str, tuple[Any, str]] = {
        "no-list": ({}, "/reservations"),
        "empty": ({"reservations": []}, "/reservations"),
        "501": ({"reservations": [_entry(key=f"k{i}") for i in range(501)]}, "/reservations"),
        "a-list": ([good], ""),
        "key-missing": ({"reservations": [good, _entry(key=...)]}, "/reservations/1/key"),
        "key-empty": ({"reservations": [good, _entry(key="")]}, "/reservations/1/key"),
        "key-space-after": ({"reservations": [_entry(key="a ")]}, "/reservations/0/key"),
        "key-emoji": ({"reservations": [_entry(key="😀")]}, "/reservations/0/key"),
        "key-long": ({"reservations": [_entry(key="k" * 256)]}, "/reservations/0/key"),
        "sku": (
            {"reservations": [good, good, _entry(lines=[{"sku": "{a}", "quantity": 1}])]},
            "/reservations/2/lines/0/sku",
        ),
        "ttl": ({"reservations": [good, _entry(ttl_s=14_401)]}, "/reservations/1/ttl_s"),
        "unknown": ({"reservations": [_entry(hurry=True)]}, "/reservations/0/hurry"),
        "unknown-beside": ({"reservations": [good], "atomic": True}, "/atomic"),
    }
    for name, (body, pointer) in bodies.items():
        yield _bad(f"batch-{name}", "POST", BATCH, body, pointer, key=None)
    repeated = json.dumps({"reservations": [good]}).replace('"buyer"', '"buyer": "b", "buyer"')
    yield _bad("batch-repeated", "POST", BATCH, repeated.encode(), "/reservations/0/buyer")
    large = json.dumps({"reservations": [good]}).encode() + b" " * 1_048_576
    yield Bad("batch-over-the-limit", "POST", BATCH, large, 413, "body-too-large")


def steps() -> Iterator[Bad]:
    """Confirm, extend, pay and release."""
    confirm = "/v1/reservations/{held}/confirm"
    refs: dict[str, Any] = {
        "empty": "",
        "space": "pay 1",
        "pipe": "pay|1",
        "newline": "pay-1\n",
        "emoji": "pay😀",
        "long": "p" * 129,
        "number": 17,
        "null": None,
    }
    for name, ref in refs.items():
        yield _bad(f"confirm-{name}", "POST", confirm, {"payment_ref": ref}, "/payment_ref")
    yield _bad("confirm-missing", "POST", confirm, {}, "/payment_ref")
    yield _bad("confirm-unknown", "POST", confirm, {"payment_ref": "p", "paid": 1}, "/paid")
    twice = b'{"payment_ref":"p","payment_ref":"p"}'
    yield _bad("confirm-repeated", "POST", confirm, twice, "/payment_ref")
    yield Bad("confirm-empty-body", "POST", confirm, b"", 400, "malformed-json", "")
    code = "unsupported-media-type"
    yield Bad("confirm-type", "POST", confirm, b"{}", 415, code, content_type=b"text/plain")

    extend = "/v1/reservations/{held}/extend"
    for name, ttl in {"zero": 0, "over": 14_401, "text": "60", "fraction": 0.5}.items():
        yield _bad(f"extend-{name}", "POST", extend, {"ttl_s": ttl}, "/ttl_s")
    yield _bad("extend-missing", "POST", extend, {}, "/ttl_s")

    for step in ("payment", "release"):
        path = f"/v1/reservations/{{held}}/{step}"
        yield _bad(f"{step}-field", "POST", path, {"force": True}, "/force")
        yield _bad(f"{step}-array", "POST", path, [], "")
        yield Bad(f"{step}-garbage", "POST", path, b"now!", 400, "malformed-json", "")


def administration() -> Iterator[Bad]:
    """SKUs and adjustments."""
    puts: dict[str, tuple[dict[str, Any], str]] = {
        "no-on-hand": ({"safety_stock": 0}, "/on_hand"),
        "no-safety": ({"on_hand": 5}, "/safety_stock"),
        "negative": ({"on_hand": -1, "safety_stock": 0}, "/on_hand"),
        "fraction": ({"on_hand": 1.5, "safety_stock": 0}, "/on_hand"),
        "too-many": ({"on_hand": 10**12 + 1, "safety_stock": 0}, "/on_hand"),
        "safety-above": ({"on_hand": 5, "safety_stock": 6}, "/safety_stock"),
        "limit-zero": ({"on_hand": 5, "safety_stock": 0, "buyer_limit": 0}, "/buyer_limit"),
        "ttl-over": ({"on_hand": 5, "safety_stock": 0, "hold_ttl_s": 14_401}, "/hold_ttl_s"),
        "fuse-zero": ({"on_hand": 5, "safety_stock": 0, "fuse_rps": 0}, "/fuse_rps"),
        "unknown": ({"on_hand": 5, "safety_stock": 0, "onhand": 6}, "/onhand"),
        "null": ({"on_hand": 5, "safety_stock": 0, "buyer_limit": None}, "/buyer_limit"),
    }
    times: dict[str, Any] = {
        "word": "tomorrow",
        "no-zone": "2026-11-11T10:00:00",
        "date": "2026-11-11",
        "number": 1_800_000_000,
        "impossible": "2026-02-30T10:00:00Z",
        "1999": "1999-12-31T23:59:59Z",
        "3000": "3000-01-01T00:00:00Z",
    }
    for name, moment in times.items():
        body = {"on_hand": 5, "safety_stock": 0, "sale_starts_at": moment}
        puts[f"time-{name}"] = (body, "/sale_starts_at")
    window = {"sale_starts_at": "2026-11-11T10:00:00Z", "sale_ends_at": "2026-11-11T10:00:00Z"}
    puts["window"] = ({"on_hand": 5, "safety_stock": 0, **window}, "/sale_ends_at")
    for name, (body, pointer) in puts.items():
        yield _bad(f"put-{name}", "PUT", ADMIN, body, pointer, key=None)
    good = b'{"on_hand":5,"safety_stock":0}'
    for name in ("%7Ba%7D", ":goods", "goods%0A", "%00", "g" * 65, "caf%C3%A9", "%ff"):
        path = f"/v1/admin/skus/{name}"
        yield Bad(f"put-sku-{name[:9]}", "PUT", path, good, 422, INVALID, "", "sku", key=None)
    yield from _adjustments()


def _adjustments() -> Iterator[Bad]:
    deltas: dict[str, Any] = {"zero": 0, "fraction": 1.5, "huge": 10**12 + 1, "text": "1"}
    for name, delta in deltas.items():
        wanted = {"delta": delta, "reason": "found"}
        yield _bad(f"adjust-{name}", "POST", ADJUST, wanted, "/delta")
    reasons: dict[str, Any] = {"empty": "", "blank": "  ", "lines": "a\nb", "long": "r" * 201}
    for name, reason in reasons.items():
        yield _bad(f"adjust-{name}", "POST", ADJUST, {"delta": 1, "reason": reason}, "/reason")
    yield _bad("adjust-missing", "POST", ADJUST, {"delta": 1}, "/reason")
    body = b'{"delta":1,"reason":"found"}'
    code = "idempotency-key-missing"
    yield Bad("adjust-no-key", "POST", ADJUST, body, 400, code, key=None)
    path = "/v1/admin/skus/%7B%7D/adjustments"
    yield Bad("adjust-sku", "POST", path, body, 422, INVALID, "", "sku")


def queries() -> Iterator[Bad]:
    """Parameters of queries."""
    stock, skus, listing = "/v1/stock", "/v1/admin/skus", "/v1/admin/reservations"
    table = {
        f"{stock}": "sku",
        f"{stock}?sku=": "sku",
        f"{stock}?sku=%7Ba%7D": "sku",
        f"{stock}?sku=a%00": "sku",
        f"{stock}?sku=a%ff": "sku",
        f"{stock}?sku=a&sku=b%0A": "sku",
        f"{stock}?sku=a&skus=b": "skus",
        f"{stock}?{'&'.join(['sku=a'] * 101)}": "sku",
        f"{skus}?limit=0": "limit",
        f"{skus}?limit=501": "limit",
        f"{skus}?limit=-1": "limit",
        f"{skus}?limit=1.5": "limit",
        f"{skus}?limit=1e2": "limit",
        f"{skus}?limit=": "limit",
        f"{skus}?limit=%D9%A1": "limit",
        f"{skus}?limit={'9' * 5000}": "limit",
        f"{skus}?limit=1&limit=2": "limit",
        f"{skus}?cursor=%7B": "cursor",
        f"{skus}?page=2": "page",
        f"{listing}?state=lost": "state",
        f"{listing}?state=HELD": "state",
        f"{listing}?state=": "state",
        f"{listing}?sku=%7B%7D": "sku",
        f"{listing}?cursor=x": "cursor",
        f"{listing}?cursor=1.0": "cursor",
        f"{listing}?cursor=0.": "cursor",
        f"{listing}?cursor=0.-1": "cursor",
        f"{listing}?cursor=0.{2**64}": "cursor",
        f"{listing}?cursor=0.{'9' * 100}": "cursor",
        f"{listing}?cursor=0.0.": "cursor",
        f"{listing}?cursor=0.0.7": "cursor",
        f"{listing}?cursor=0.0.{'0' * 27}": "cursor",
        f"{listing}?cursor=0.0.{'u' * 26}": "cursor",
        f"{listing}?cursor=0.x.{'0' * 26}": "cursor",
        f"{listing}?cursor=1.0.{'0' * 26}": "cursor",
        f"{listing}?cursor=0.0.{'0' * 26}.": "cursor",
        f"{listing}?cursor=0.0.{'0' * 26}%0A": "cursor",
        f"{listing}?buyer=ada": "buyer",
    }
    for path, parameter in table.items():
        yield Bad(f"query-{path[3:60]}", "GET", path, b"", 422, INVALID, "", parameter)
    path = f"{stock}?{'&'.join(['sku=a'] * 500)}"
    yield Bad("query-500-parameters", "GET", path, b"", 422, INVALID, "")
