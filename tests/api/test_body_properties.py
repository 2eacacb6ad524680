"""Bodies made by chance: the quick check, the explanation and msgspec agree on each."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import decoders
from gateway.api.body import BodyDecoder, decode
from gateway.api.explain import explain, parse
from gateway.api.problems import BadRequest

QUOTY = st.text(alphabet='ab"\\/|: é\n', max_size=4)
LEAVES = st.one_of(
    st.integers(-2, 20_000),
    st.floats(allow_nan=False, allow_infinity=False),
    QUOTY,
    st.sampled_from(["a", "buyer-1", "b/1", None, True]),
)


def text_of(name: str) -> st.SearchStrategy[str]:
    """A JSON string that says `name`, written plainly or with escapes."""
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in name[:1]) + json.dumps(name[1:])[1:-1]
    return st.sampled_from([json.dumps(name), f'"{escaped}"' if name else '""'])


@st.composite
def objects(
    draw: st.DrawFn, fields: dict[str, st.SearchStrategy[str]], missing: float = 0.05
) -> str:
    """An object with these fields, some left out, some twice, in any order."""
    names = [name for name in fields if draw(st.floats(0, 1)) >= missing]
    names += draw(st.lists(st.sampled_from([*fields, "x"]), max_size=1))
    pairs = []
    for name in draw(st.permutations(names)):
        value = draw(fields.get(name, st.just("1")))
        pairs.append(f"{draw(text_of(name))}:{value}")
    return "{" + ",".join(pairs) + "}"


def often(good: str, *, bad: st.SearchStrategy[Any] = LEAVES) -> st.SearchStrategy[str]:
    return st.integers(0, 9).flatmap(lambda n: bad.map(json.dumps) if n == 0 else st.just(good))


LINE = objects({"sku": often('"a"'), "quantity": often("1")})
LINES = st.lists(LINE, min_size=1, max_size=3).map(lambda lines: "[" + ",".join(lines) + "]")
FIELDS = {
    "buyer": often('"b\\u002f1"'),
    "lines": LINES,
    "ttl_s": often("60"),
    "channel": often('"app"'),
}
RESERVATIONS = objects(FIELDS, missing=0.2)
BATCHES = (
    st.lists(objects({**FIELDS, "key": often('"k\\"1"')}, missing=0.1), min_size=1, max_size=3)
    .map(lambda entries: '{"reservations":[' + ",".join(entries) + "]}")
)  # fmt: skip
CONFIRMS = objects({"payment_ref": QUOTY.map(json.dumps)})
EXTENDS = objects({"ttl_s": often("60")})
ADJUSTMENTS = objects({"delta": often("5"), "reason": QUOTY.map(json.dumps)})
SKUS = objects(
    {
        "on_hand": often("9"),
        "safety_stock": often("1"),
        "buyer_limit": often("2"),
        "sale_starts_at": often('"2026-11-11T10:00:00Z"'),
    },
    missing=0.1,
)


def has_repeated_name(body: bytes) -> bool:
    found = False

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        found = found or len(dict(items)) != len(items)
        return dict(items)

    json.loads(body, object_pairs_hook=pairs)
    return found


BODIES: list[tuple[BodyDecoder[Any], st.SearchStrategy[str]]] = [
    (decoders.RESERVATION, RESERVATIONS),
    (decoders.BATCH, BATCHES),
    (decoders.CONFIRM, CONFIRMS),
    (decoders.EXTEND, EXTENDS),
    (decoders.ADJUSTMENT, ADJUSTMENTS),
    (decoders.SKU, SKUS),
]


@given(st.sampled_from(BODIES).flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1])))
def test_accepted_is_what_msgspec_accepts_without_a_repeated_name(
    case: tuple[BodyDecoder[Any], str],
) -> None:
    decoder, text = case
    body = text.encode()
    try:
        value = decoder.parse(body)
    except ValueError:
        accepted = False
    else:
        accepted = not has_repeated_name(body) and not (
            decoder.rules and list(decoder.rules(value))
        )
    try:
        decode(body, decoder)
    except BadRequest as refusal:
        refusal.render(lang="zh")
        told = len(refusal.errors)
    else:
        told = 0
    assert accepted == (told == 0)


@given(st.sampled_from(BODIES).flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1])))
def test_the_explanation_agrees_with_msgspec(case: tuple[BodyDecoder[Any], str]) -> None:
    """What msgspec refuses is explained in our own words; what it accepts has no fault."""
    decoder, text = case
    body = text.encode()
    try:
        decoder.parse(body)
    except msgspec.ValidationError as refusal:
        fault = explain(body, decoder.kind, refusal)
        assert fault is not None
        assert "other" not in {error.rule for error in fault.errors}
    else:
        fault = explain(body, decoder.kind, None)
        rules = {error.rule for error in fault.errors} if fault else set()
        assert rules <= {"duplicate"}
        assert bool(rules) == has_repeated_name(body)


@given(RESERVATIONS)
def test_the_quick_count_is_exact_unless_a_quote_is_escaped(text: str) -> None:
    body = text.encode()
    try:
        value = decoders.RESERVATION.parse(body)
    except ValueError:
        return
    exact = body.count(b'"') == decoders.RESERVATION.quotes(value)
    assert exact != has_repeated_name(body)


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_politely(body: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        decode(body, decoders.RESERVATION)
    status, _, answer = caught.value.render(lang="zh")
    assert status in (400, 422)
    assert json.loads(answer)["errors"]


@given(
    st.recursive(LEAVES, lambda kids: st.lists(kids) | st.dictionaries(QUOTY, kids), max_leaves=12)
)
def test_any_json_is_refused_politely(value: Any) -> None:
    with pytest.raises(BadRequest, match="invalid-request"):
        decode(json.dumps(value).encode(), decoders.RESERVATION)
    assert not isinstance(parse(json.dumps(value).encode()), BadRequest)
