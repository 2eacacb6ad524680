"""Bodies: what is refused, how it is said, and that the quick check misses nothing."""

import json
from typing import Any

import pytest

from gateway.api import decoders
from gateway.api.body import BodyDecoder, decode
from gateway.api.problems import BadRequest

GOOD = {"buyer": "buyer-1", "lines": [{"sku": "phone", "quantity": 2}]}
SKU_BODY = {"on_hand": 10, "safety_stock": 2}


def refused(body: bytes | str, decoder: BodyDecoder[Any] = decoders.RESERVATION) -> BadRequest:
    raw = body.encode() if isinstance(body, str) else body
    with pytest.raises(BadRequest) as caught:
        decode(raw, decoder)
    for lang in ("en", "zh"):
        status, _, answer = caught.value.render(lang=lang, instance="/x")
        assert 400 <= status < 500
        json.loads(answer)
    return caught.value


def faults(body: bytes | str, decoder: BodyDecoder[Any] = decoders.RESERVATION) -> dict[str, str]:
    error = refused(body, decoder)
    assert error.code == "invalid-request"
    return {fault.pointer: fault.rule for fault in error.errors}


def with_quantity(text: str) -> str:
    return '{"buyer":"b","lines":[{"sku":"a","quantity":' + text + "}]}"


def test_a_good_body_becomes_its_struct() -> None:
    it = decode(json.dumps({**GOOD, "ttl_s": 60, "channel": "app"}).encode(), decoders.RESERVATION)
    assert (it.buyer, it.ttl_s, it.channel) == ("buyer-1", 60, "app")
    assert (it.lines[0].sku, it.lines[0].quantity) == ("phone", 2)
    it = decode(json.dumps(GOOD).encode(), decoders.RESERVATION)
    assert (it.ttl_s, it.channel) == (0, "")


@pytest.mark.parametrize("text", ["1.5", "1.0", "1e3", "1E0", "10e-1", "1e400", "-0.0"])
def test_quantities_with_fractions_or_exponents_are_refused(text: str) -> None:
    assert faults(with_quantity(text)) == {"/lines/0/quantity": "whole"}


@pytest.mark.parametrize(
    "text", ["0", "-1", "-0", "1000001", "1" + "0" * 30, "9" * 5000, "-" + "9" * 5000]
)
def test_quantities_out_of_range_are_refused(text: str) -> None:
    assert faults(with_quantity(text)) == {"/lines/0/quantity": "range"}


@pytest.mark.parametrize("text", ['"1"', "true", "[1]", "{}"])
def test_quantities_of_other_types_are_refused(text: str) -> None:
    assert faults(with_quantity(text)) == {"/lines/0/quantity": "type"}


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "01", "+1", "0x10", "1.", ".5", "1_000"]
)
def test_numbers_that_are_not_json_are_malformed_and_placed(text: str) -> None:
    error = refused(with_quantity(text))
    assert error.code == "malformed-json"
    assert 44 <= int(str(error.errors[0].params["byte"])) <= 44 + len(text)


@pytest.mark.parametrize(
    "sku",
    [
        "",
        " a",
        ":a",
        "{a}",
        "a b",
        "a\n",
        "a\r\n",
        "a\x00",
        "\x00",
        "a\u2028",
        "é",
        "😀",
        "a" * 65,
        "x" * 10_240,
        "-a",
        "a/b",
        "*",
    ],
)
def test_bad_skus_are_pointed_at(sku: str) -> None:
    body = json.dumps(
        {"buyer": "b", "lines": [{"sku": "ok", "quantity": 1}, {"sku": sku, "quantity": 1}]}
    )
    assert faults(body) == {"/lines/1/sku": "sku"}


@pytest.mark.parametrize("sku", ["a", "A" * 64, "0:._-", "phone-x.256:red_1"])
def test_good_skus(sku: str) -> None:
    body = json.dumps({"buyer": "b", "lines": [{"sku": sku, "quantity": 1}]}).encode()
    assert decode(body, decoders.RESERVATION).lines[0].sku == sku


@pytest.mark.parametrize(
    ("change", "pointer", "rule"),
    [
        ({"buyer": "b\n"}, "/buyer", "buyer"),
        ({"buyer": "b" * 129}, "/buyer", "buyer"),
        ({"buyer": None}, "/buyer", "null"),
        ({"buyer": 7}, "/buyer", "type"),
        ({"lines": []}, "/lines", "size"),
        ({"lines": [{"sku": "a", "quantity": 1}] * 51}, "/lines", "size"),
        ({"lines": [{"sku": "a", "quantity": 1}] * 1000}, "/lines", "size"),
        ({"lines": {}}, "/lines", "type"),
        ({"lines": None}, "/lines", "null"),
        ({"lines": [None]}, "/lines/0", "null"),
        ({"lines": [5]}, "/lines/0", "type"),
        ({"lines": [{"sku": "a"}]}, "/lines/0/quantity", "required"),
        ({"lines": [{"quantity": 1}]}, "/lines/0/sku", "required"),
        ({"lines": [{"sku": "a", "quantity": 1, "price": 1}]}, "/lines/0/price", "unknown"),
        ({"ttl_s": 0}, "/ttl_s", "range"),
        ({"ttl_s": 14_401}, "/ttl_s", "range"),
        ({"ttl_s": None}, "/ttl_s", "null"),
        ({"channel": ""}, "/channel", "channel"),
        ({"channel": "c" * 33}, "/channel", "channel"),
        ({"channel": None}, "/channel", "null"),
        ({"foo": 1}, "/foo", "unknown"),
        ({"a/b~c": 1}, "/a~1b~0c", "unknown"),
        ({"": 1}, "/", "unknown"),
    ],
)
def test_every_fault_has_its_pointer(change: dict[str, Any], pointer: str, rule: str) -> None:
    assert faults(json.dumps({**GOOD, **change})) == {pointer: rule}


def test_all_faults_are_told_at_once_up_to_a_bound() -> None:
    body = {"lines": [{"sku": "", "quantity": 0}], "ttl_s": "1", "x": 1}
    assert faults(json.dumps(body)) == {
        "/x": "unknown",
        "/buyer": "required",
        "/lines/0/sku": "sku",
        "/lines/0/quantity": "range",
        "/ttl_s": "type",
    }
    many = {**GOOD, "lines": [{"sku": "", "quantity": 0}] * 50}
    assert len(refused(json.dumps(many)).errors) == 20


@pytest.mark.parametrize("body", ["5", '"x"', "[]", "null", "true", "[" + json.dumps(GOOD) + "]"])
def test_a_body_that_is_no_object(body: str) -> None:
    assert set(faults(body)) == {""}


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "empty-body"),
        (b" \n", "empty-body"),
        (b"{", "syntax"),
        (b'{"buyer":"b",}', "syntax"),
        (b"{'buyer':'b'}", "syntax"),
        (b'{"buyer":"b"} {}', "syntax"),
        (b'{"buyer":"a\nb"}', "syntax"),
        (b'{"buyer":"\\x"}', "syntax"),
        (b"\xef\xbb\xbf{}", "syntax"),
        (b'{"buyer":"\xff"}', "encoding"),
        (b"\xff\xfe{\x00}\x00", "encoding"),
        (b'{"buyer":"\xed\xa0\x80"}', "encoding"),
        (b'{"buyer":"\\ud800"}', "surrogate"),
        (b'{"buyer":"\\ude00","x":1}', "surrogate"),
        (b"[" * 1000 + b"]" * 1000, "depth"),
        (b"[" * 100_000, "depth"),
        (b'{"buyer":' * 1000 + b"1" + b"}" * 1000, "depth"),
        (b'{"x":' + b"[" * 1000 + b"]" * 1000 + b"}", "depth"),
        (b'{"buyer":"b","lines":' + b"[" * 1000 + b"]" * 1000 + b"}", "depth"),
    ],
)
def test_malformed_bodies(body: bytes, rule: str) -> None:
    error = refused(body)
    if error.code == "invalid-request":  # a struct may refuse the type before the depth shows
        assert rule in ("depth", "surrogate")
    else:
        assert (error.code, error.errors[0].rule) == ("malformed-json", rule)


def test_the_place_of_a_syntax_error_counts_bytes_and_columns() -> None:
    error = refused('{\n "buyer": "é" 1}')
    assert error.errors[0].params["byte"] == 17
    assert error.errors[0].params["line"] == 2
    assert error.errors[0].params["column"] == 15


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ('{"buyer":"b","buyer":"b","lines":[{"sku":"a","quantity":1}]}', "/buyer"),
        (
            '{"buyer":"b","lines":[{"sku":"a","quantity":1}],"lines":[{"sku":"a","quantity":1}]}',
            "/lines",
        ),
        ('{"buyer":"b","lines":[{"sku":"a","quantity":1,"quantity":1}]}', "/lines/0/quantity"),
        ('{"buyer":"b","lines":[{"sku":"a","quantity":1}],"ttl_s":5,"ttl_s":5}', "/ttl_s"),
        ('{"b\\u0075yer":"b","buyer":"b","lines":[{"sku":"a","quantity":1}]}', "/buyer"),
    ],
)
def test_names_that_come_twice(body: str, pointer: str) -> None:
    assert faults(body) == {pointer: "duplicate"}


def test_escapes_alone_are_no_fault() -> None:
    body = b'{"b\\u0075yer":"b\\/1","lines":[{"sku":"\\u0061","quantity":1}]}'
    it = decode(body, decoders.RESERVATION)
    assert (it.buyer, it.lines[0].sku) == ("b/1", "a")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"reservations": []}, {"/reservations": "size"}),
        ({"reservations": [GOOD]}, {"/reservations/0/key": "required"}),
        ({"reservations": [{**GOOD, "key": ""}]}, {"/reservations/0/key": "key"}),
        ({"reservations": [{**GOOD, "key": "a "}]}, {"/reservations/0/key": "key"}),
        ({"reservations": [{**GOOD, "key": "k" * 256}]}, {"/reservations/0/key": "key"}),
        ({"reservations": [{**GOOD, "key": "é"}]}, {"/reservations/0/key": "key"}),
        ({"reservations": [{**GOOD, "key": "a"}] * 501}, {"/reservations": "size"}),
        (
            {"reservations": [{**GOOD, "key": "a"}, {"key": "b", "buyer": "b", "lines": []}]},
            {"/reservations/1/lines": "size"},
        ),
    ],
)
def test_batches(body: dict[str, Any], expected: dict[str, str]) -> None:
    assert faults(json.dumps(body), decoders.BATCH) == expected


@pytest.mark.parametrize("key", ["a", 'quoted "key"', "back\\slash", "k" * 255, "a b"])
def test_batch_keys(key: str) -> None:
    body = {"reservations": [{**GOOD, "key": key}] * 500}
    assert decode(json.dumps(body).encode(), decoders.BATCH).reservations[499].key == key


@pytest.mark.parametrize("ref", ["", "a b", "a|b", "a\n", "é", "p" * 129, " "])
def test_bad_payment_refs(ref: str) -> None:
    assert faults(json.dumps({"payment_ref": ref}), decoders.CONFIRM) == {
        "/payment_ref": "payment-ref"
    }


@pytest.mark.parametrize("ref", ["a", 'x"y\\z', "{}~!", "p" * 128])
def test_good_payment_refs(ref: str) -> None:
    assert decode(json.dumps({"payment_ref": ref}).encode(), decoders.CONFIRM).payment_ref == ref


def test_a_repeated_name_cannot_hide_behind_quotes_in_a_value() -> None:
    assert faults('{"payment_ref":"\\u0022","payment_ref":"\\u0022"}', decoders.CONFIRM)
    assert faults('{"delta":1,"delta":2,"reason":"\\u0022\\u0022"}', decoders.ADJUSTMENT) == {
        "/delta": "duplicate"
    }


@pytest.mark.parametrize(
    ("change", "pointer", "rule"),
    [
        ({"safety_stock": 11}, "/safety_stock", "safety-above-on-hand"),
        ({"on_hand": -1}, "/on_hand", "range"),
        ({"on_hand": 10**12 + 1}, "/on_hand", "range"),
        ({"buyer_limit": 0}, "/buyer_limit", "range"),
        ({"buyer_limit": None}, "/buyer_limit", "null"),
        ({"sale_starts_at": "2026-11-11"}, "/sale_starts_at", "time"),
        ({"sale_starts_at": "2026-11-11T10:00:00"}, "/sale_starts_at", "time"),
        ({"sale_starts_at": "2026-02-30T10:00:00Z"}, "/sale_starts_at", "time"),
        ({"sale_starts_at": 1794391200}, "/sale_starts_at", "type"),
        ({"sale_starts_at": None}, "/sale_starts_at", "null"),
        ({"sale_starts_at": "0001-01-01T00:00:00+14:00"}, "/sale_starts_at", "time-range"),
        ({"sale_ends_at": "9999-12-31T23:59:59-14:00"}, "/sale_ends_at", "time-range"),
        (
            {"sale_starts_at": "2026-11-11T10:00:00+08:00", "sale_ends_at": "2026-11-11T02:00:00Z"},
            "/sale_ends_at",
            "ends-before-starts",
        ),
    ],
)
def test_sku_rules(change: dict[str, Any], pointer: str, rule: str) -> None:
    assert faults(json.dumps({**SKU_BODY, **change}), decoders.SKU) == {pointer: rule}


def test_a_sku_in_the_models_units() -> None:
    body = {
        **SKU_BODY,
        "hold_ttl_s": 60,
        "sale_starts_at": "2026-11-11T18:00:00.250+08:00",
        "sale_ends_at": "2026-11-11T12:00:00Z",
    }
    settings = decode(json.dumps(body).encode(), decoders.SKU).settings()
    assert settings.hold_ttl_ms == 60_000
    assert settings.sale_starts_ms == 1_794_391_200_250
    assert settings.sale_ends_ms == 1_794_398_400_000
    assert decode(json.dumps(SKU_BODY).encode(), decoders.SKU).settings().sale_starts_ms == 0


@pytest.mark.parametrize(
    ("body", "pointer", "rule"),
    [
        ({"delta": 0, "reason": "r"}, "/delta", "delta-zero"),
        ({"delta": 1.0, "reason": "r"}, "/delta", "whole"),
        ({"delta": 1, "reason": ""}, "/reason", "reason"),
        ({"delta": 1, "reason": "  "}, "/reason", "reason"),
        ({"delta": 1, "reason": "a\nb"}, "/reason", "reason"),
        ({"delta": 1, "reason": "r" * 201}, "/reason", "reason"),
        ({"delta": 1}, "/reason", "required"),
    ],
)
def test_adjustments(body: dict[str, Any], pointer: str, rule: str) -> None:
    assert faults(json.dumps(body), decoders.ADJUSTMENT) == {pointer: rule}


def test_reasons_may_be_in_any_language() -> None:
    body = json.dumps({"delta": -2, "reason": '仓库短缺 "A7" 😀'}).encode()
    assert decode(body, decoders.ADJUSTMENT).reason == '仓库短缺 "A7" 😀'


@pytest.mark.parametrize("body", [b"", b"{}", b" { } "])
def test_calls_without_fields_take_no_body_or_an_empty_object(body: bytes) -> None:
    decoders.decode_empty(body)


def test_calls_without_fields_refuse_fields() -> None:
    assert faults('{"ttl_s":1}', decoders.EMPTY) == {"/ttl_s": "no-body"}
    assert faults("[]", decoders.EMPTY) == {"": "type"}
