"""Headers: idempotency keys, preferences, languages, ETags, names of requests; and times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import times
from gateway.api.headers import (
    NO_PREFERENCE,
    Prefer,
    RequestIds,
    etag_matches,
    idempotency_key,
    index,
    language,
    prefer,
    traceparent,
)
from gateway.api.problems import BadRequest
from gateway.core.clock import SystemClock

PRINTABLE = st.text(
    alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255
)


def test_an_index_is_a_dict_of_the_headers() -> None:
    assert index([(b"a", b"1"), (b"b", b"2")]) == {b"a": b"1", b"b": b"2"}


def test_repeated_lists_are_joined_and_repeated_others_made_invalid() -> None:
    preferences = [(b"prefer", b"wait=1"), (b"prefer", b"respond-async")]
    found = index([*preferences, (b"idempotency-key", b"a"), (b"idempotency-key", b"a")])
    assert prefer(found[b"prefer"]) == Prefer(1, True)
    with pytest.raises(BadRequest, match="idempotency-key-malformed"):
        idempotency_key(found[b"idempotency-key"])


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b"abc", "abc"),
        (b'"abc"', "abc"),
        (b"  abc\t", "abc"),
        (b'"a\\"b\\\\c"', 'a"b\\c'),
        (b"a b", "a b"),
        (b"k" * 255, "k" * 255),
        (b'"' + b"k" * 255 + b'"', "k" * 255),
        (b'a"b', 'a"b'),
        (b"8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
    ],
)
def test_keys(value: bytes, key: str) -> None:
    assert idempotency_key(value) == key


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b" ", b'""', b'"', b'"abc', b'"a"b"', b'"a\\c"', b'" a"', b"k" * 256),
        *(b'"' + b"k" * 256 + b'"', b"a\x00b", b"a\nb", b"\xc3\xa9", b"a\x7f", b"a\x00a"),
    ],
)
def test_malformed_keys(value: bytes) -> None:
    with pytest.raises(BadRequest, match="idempotency-key-malformed"):
        idempotency_key(value)


def test_a_missing_key_is_its_own_problem() -> None:
    with pytest.raises(BadRequest, match="idempotency-key-missing"):
        idempotency_key(None)


@given(PRINTABLE)
def test_both_forms_name_the_same_key(text: str) -> None:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if text != text.strip():
        with pytest.raises(BadRequest):
            idempotency_key(quoted.encode())
    else:
        assert idempotency_key(quoted.encode()) == text
        if not text.startswith('"'):
            assert idempotency_key(text.encode()) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, NO_PREFERENCE),
        (b"", NO_PREFERENCE),
        (b"wait=5", Prefer(5)),
        (b"Wait = 5", Prefer(5)),
        (b'wait="5"', Prefer(5)),
        (b"wait=0", Prefer(0)),
        (b"respond-async", Prefer(None, True)),
        (b"respond-async, wait=10", Prefer(10, True)),
        (b"return=minimal; foo=bar, wait=3", Prefer(3)),
        (b"wait=1, wait=2", Prefer(1)),
        (b"wait=-1", NO_PREFERENCE),
        (b"wait=1.5", NO_PREFERENCE),
        (b"wait=", NO_PREFERENCE),
        (b"wait", NO_PREFERENCE),
        (b"wait=99999999999", NO_PREFERENCE),
        (b"wait=\xb2", NO_PREFERENCE),
        (b"wait=3601", NO_PREFERENCE),
        (b",,;=", NO_PREFERENCE),
    ],
)
def test_preferences(value: bytes | None, expected: Prefer) -> None:
    assert prefer(value) == expected


def test_patience() -> None:
    assert NO_PREFERENCE.patience_s(2.0, most_s=30) == 2.0
    assert Prefer(5).patience_s(2.0, most_s=30) == 5.0
    assert Prefer(500).patience_s(2.0, most_s=30) == 30
    assert Prefer(None, True).patience_s(2.0, most_s=30) == 0
    assert Prefer(4, True).patience_s(2.0, most_s=30) == 4
    assert Prefer(500, True).applied(most_s=30) == "respond-async, wait=30"
    assert NO_PREFERENCE.applied(most_s=30) == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "en"),
        (b"", "en"),
        (b"zh", "zh"),
        (b"zh-CN", "zh"),
        (b"ZH-Hant-TW", "zh"),
        (b"zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (b"en-US,en;q=0.9,zh;q=0.8", "en"),
        (b"en,zh", "en"),
        (b"zh,en", "zh"),
        (b"fr,zh;q=0.5", "zh"),
        (b"fr", "en"),
        (b"*", "en"),
        (b"zh;q=0", "en"),
        (b"en;q=0,zh;q=0", "en"),
        (b"zh;q=0.5,*", "en"),
        (b"zh,*;q=0.5", "zh"),
        (b"zh;q=nonsense", "en"),
        (b"zh;q=9", "en"),
        (b"\xff\xfe", "en"),
        (b"zhx", "en"),
        (b"," * 5000, "en"),
    ],
)
def test_languages(value: bytes | None, expected: str) -> None:
    assert language(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, False),
        (b'"a1"', True),
        (b'W/"a1"', True),
        (b'"b", "a1"', True),
        (b"*", True),
        (b'"a"', False),
        (b"a1", False),
        (b"", False),
    ],
)
def test_etags(value: bytes | None, expected: bool) -> None:
    assert etag_matches(value, b'"a1"') is expected


def test_requests_are_named() -> None:
    ids = RequestIds(SystemClock())
    assert ids.name(b"cart-1.A_b") == b"cart-1.A_b"
    fresh = [ids.name(value) for value in (None, b"", b"a b", b"a" * 65, b"a\n", b"\xff", b"<x>")]
    assert len(set(fresh)) == len(fresh)
    assert all(ids.name(name) == name for name in fresh)


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        (b"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later", True),
        (b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", False),
        (b"00-00000000000000000000000000000000-b7ad6b7169203331-01", False),
        (b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", False),
        (b"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", False),
        (b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n", False),
        (b"nonsense", False),
        (None, False),
    ],
)
def test_trace_contexts(value: bytes | None, valid: bool) -> None:
    assert traceparent(value) == (value if valid else None)


@given(st.integers(times.EARLIEST_MS, times.LATEST_MS))
def test_times_survive_the_round_trip(ms: int) -> None:
    text = times.rfc3339(ms)
    assert text.endswith("Z")
    assert len(text) == 24
    assert times.parse_rfc3339(text) == ms


def test_times_are_rounded_down_and_need_an_offset() -> None:
    assert times.rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert times.rfc3339(-1) == "1969-12-31T23:59:59.999Z"
    assert times.parse_rfc3339("2026-11-11T18:00:00.2509+08:00") == 1_794_391_200_250
    with pytest.raises(ValueError, match="offset"):
        times.parse_rfc3339("2026-11-11T18:00:00")
