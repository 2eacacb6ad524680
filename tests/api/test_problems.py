"""Problems: every code is complete in both languages, and answers are RFC 9457."""

import json
import string
from typing import Any

import pytest

from gateway.api import rule_texts
from gateway.api.language import EN, LANGUAGES, ZH
from gateway.api.problem_samples import ERRORS, PARAMS, VARIANT_PARAMS, sample
from gateway.api.problem_texts import TEXTS
from gateway.api.problem_texts_sale import VARIANTS
from gateway.api.problems import CATALOGUE, BadRequest, FieldError, as_dict, render

CODES = sorted(CATALOGUE)

# The contract: codes and statuses that clients rely on.
PROMISED = {
    "malformed-json": 400,
    "idempotency-key-missing": 400,
    "idempotency-key-malformed": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not-found": 404,
    "unknown-sku": 404,
    "unknown-reservation": 404,
    "unknown-dead-letter": 404,
    "method-not-allowed": 405,
    "sold-out": 409,
    "buyer-limit": 409,
    "sale-not-open": 409,
    "reservation-released": 409,
    "reservation-confirmed": 409,
    "deduction-rejected": 409,
    "payment-ref-conflict": 409,
    "adjustment-refused": 409,
    "dead-letter-not-waiting": 409,
    "dead-letter-not-retryable": 409,
    "reservation-expired": 410,
    "body-too-large": 413,
    "unsupported-media-type": 415,
    "invalid-request": 422,
    "idempotency-mismatch": 422,
    "fuse-open": 429,
    "internal-error": 500,
    "overloaded": 503,
    "store-unavailable": 503,
    "outcome-unknown": 503,
    "ledger-unavailable": 503,
    "stock-inconsistent": 503,
}


def names_in(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def answer(code: str, **options: Any) -> tuple[int, dict[bytes, bytes], dict[str, Any]]:
    status, headers, body = render(code, **options)
    assert len(dict(headers)) == len(headers), "a header twice"
    assert int(dict(headers)[b"content-length"]) == len(body)
    return status, dict(headers), json.loads(body)


def test_every_promised_code_has_its_status() -> None:
    assert {code: CATALOGUE[code].status for code in PROMISED} == PROMISED


def test_catalogue_and_texts_and_samples_are_about_the_same_codes() -> None:
    assert set(CATALOGUE) == set(TEXTS) == set(PARAMS)
    assert {code for code in CODES if CATALOGUE[code].variant_on} == set(VARIANTS)
    assert set(VARIANTS) == set(VARIANT_PARAMS)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("code", CODES)
def test_texts_are_complete(code: str, lang: str) -> None:
    text = TEXTS[code][lang]
    assert all(part.strip() for part in text)
    chinese = any("\u4e00" <= letter <= "\u9fff" for letter in text.title + text.detail)
    assert chinese == (lang == ZH)
    assert names_in(text.detail) == names_in(TEXTS[code][EN].detail)
    if code in VARIANTS:
        title, detail = VARIANTS[code][lang]
        assert title
        assert names_in(detail) == names_in(VARIANTS[code][EN][1])


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("code", CODES)
def test_samples_fill_every_parameter(code: str, lang: str) -> None:
    told = as_dict(code, lang=lang, params=PARAMS[code], errors=ERRORS.get(code, ()))
    assert "?" not in told["detail"]
    assert "{" not in told["detail"]
    known = set(PARAMS[code]) | set(CATALOGUE[code].defaults) | {"summary"}
    assert names_in(TEXTS[code][lang].detail) <= known


@pytest.mark.parametrize("code", sorted(VARIANTS))
def test_variants_are_other_words_and_never_retryable(code: str) -> None:
    told = as_dict(code, params=VARIANT_PARAMS[code])
    assert told["detail"] != TEXTS[code][EN].detail
    assert told["retryable"] is False
    assert "?" not in told["detail"]
    assert names_in(VARIANTS[code][EN][1]) <= set(VARIANT_PARAMS[code])


@pytest.mark.parametrize("code", CODES)
def test_a_problem_is_rfc_9457(code: str) -> None:
    status, headers, body = answer(code, params=PARAMS[code], instance="/v1/x")
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"content-language"] == b"en"
    assert body["type"] == f"/problems/{code}"
    assert body["status"] == status
    assert body["code"] == code
    assert body["instance"] == "/v1/x"
    assert isinstance(body["retryable"], bool)
    assert body["title"]
    assert body["detail"]


@pytest.mark.parametrize("code", CODES)
def test_a_batch_entry_says_what_the_answer_says(code: str) -> None:
    _, _, body = answer(code, lang=ZH, params=PARAMS[code])
    assert as_dict(code, lang=ZH, params=PARAMS[code]) == body


def test_sold_out_tells_what_is_left() -> None:
    _, _, none = answer("sold-out", params={"sku": "a", "available": 0})
    assert (none["sku"], none["available"], none["retryable"]) == ("a", 0, False)
    _, _, few = answer("sold-out", params={"sku": "a", "available": 3})
    assert "3" in few["detail"]
    assert few["available"] == 3


def test_a_sale_that_opens_later_can_be_retried_and_an_ended_one_cannot() -> None:
    opens = {"sku": "a", "opens_at": "2026-11-11T10:00:00.000Z"}
    _, headers, body = answer("sale-not-open", params=opens, retry_after_s=41.2)
    assert body["retryable"] is True
    assert body["opens_at"] == opens["opens_at"]
    assert headers[b"retry-after"] == b"42"
    closed = {"sku": "a", "closed_at": "2026-11-11T10:00:00.000Z"}
    _, headers, body = answer("sale-not-open", params=closed)
    assert body["retryable"] is False
    assert body["closed_at"] == closed["closed_at"]
    assert b"retry-after" not in headers


def test_refunds_are_told() -> None:
    _, _, late = answer("reservation-expired", params={"id": "x", "refund_required": True})
    assert late["refund_required"] is True
    assert "payment" in late["detail"]
    _, _, idle = answer("reservation-expired", params={"id": "x"})
    assert idle["refund_required"] is False
    assert answer("deduction-rejected", params={"id": "x"})[2]["refund_required"] is True


PASSING = [c for c in CODES if CATALOGUE[c].status == 503 and c != "stock-inconsistent"]


@pytest.mark.parametrize("code", PASSING)
def test_what_is_broken_says_when_to_come_back(code: str) -> None:
    _, headers, body = answer(code, params=PARAMS[code])
    assert int(headers[b"retry-after"]) >= 1
    assert body["retry_after_s"] == int(headers[b"retry-after"])


@pytest.mark.parametrize("code", [code for code in CODES if not CATALOGUE[code].retryable])
def test_what_no_retry_helps_names_no_time_for_one(code: str) -> None:
    """A breach of the invariant among them: somebody has to repair it first."""
    _, headers, body = answer(code, params=PARAMS[code])
    assert body["retryable"] is False
    assert b"retry-after" not in headers
    assert "retry_after_s" not in body
    assert "`Retry-After`" not in body["detail"]


@pytest.mark.parametrize(
    ("asked_s", "jitter", "told_s"),
    [
        (0.0, 0.0, 1),
        (-3, 0.9, 2),
        (0.2, 0.0, 1),
        (1, 0.999, 2),
        (5, 0.0, 5),
        (5, 0.999, 6),
        (2.1, 0, 3),
        (864_000, 0.999, 864_001),
    ],
)
def test_a_known_wait_is_whole_seconds_and_spread_by_one(
    asked_s: float, jitter: float, told_s: int
) -> None:
    _, headers, _ = answer("overloaded", retry_after_s=asked_s, jitter=jitter)
    assert int(headers[b"retry-after"]) == told_s


@pytest.mark.parametrize("wait_s", [0.001, 1, 59.5, 86_400.2, 3_000_000])
@pytest.mark.parametrize("jitter", [0.0, 0.3, 0.5, 0.999])
def test_who_obeys_misses_the_opening_of_a_sale_by_two_seconds_at_most(
    wait_s: float, jitter: float
) -> None:
    params = {"sku": "a", "opens_at": "2026-11-11T10:00:00.000Z"}
    _, _, body = answer("sale-not-open", params=params, retry_after_s=wait_s, jitter=jitter)
    assert wait_s <= body["retry_after_s"] <= wait_s + 2


@pytest.mark.parametrize(("jitter", "told_s"), [(0.0, 2), (0.5, 3), (0.999, 4)])
def test_the_codes_own_wait_is_spread_over_twice_its_time(jitter: float, told_s: int) -> None:
    _, headers, _ = answer("ledger-unavailable", jitter=jitter)
    assert int(headers[b"retry-after"]) == told_s


def test_unauthorized_always_carries_a_challenge() -> None:
    assert answer("unauthorized")[1][b"www-authenticate"].startswith(b"Bearer ")
    own = answer("unauthorized", headers=[(b"www-authenticate", b"Bearer x")])
    assert own[1][b"www-authenticate"] == b"Bearer x"


def test_a_forgotten_parameter_is_a_gap_and_not_a_crash() -> None:
    status, _, body = answer("buyer-limit", params={"sku": "a"})
    assert status == 409
    assert "?" in body["detail"]


def test_an_unknown_language_is_english() -> None:
    assert answer("overloaded", lang="fr")[1][b"content-language"] == b"en"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_field_errors_are_listed_and_the_first_is_in_the_detail(lang: str) -> None:
    errors = [
        FieldError("/a", "null"),
        FieldError("/b", "type", {"expected": "string", "got": "array"}),
    ]
    status, _, body = BadRequest("invalid-request", errors).render(lang=lang)[0], None, None
    assert status == 422
    _, _, body = answer("invalid-request", errors=errors, lang=lang)
    assert [error["pointer"] for error in body["errors"]] == ["/a", "/b"]
    assert "`/a`" in body["detail"]
    assert "array" not in body["errors"][1]["detail"] or lang == EN


def test_clients_own_words_are_cut_short() -> None:
    told = FieldError("/x", "duplicate", {"name": "n" * 5000}).text(EN)
    assert len(told) < 300


@pytest.mark.parametrize("lang", LANGUAGES)
def test_long_paths_and_skus_are_cut_when_they_are_repeated(lang: str) -> None:
    path = "/v1/stock/" + "x" * 10_000
    params = {"sku": "x" * 10_000}
    _, _, body = answer("unknown-sku", params=params, instance=path, lang=lang)
    assert body["instance"] == path[:200] + "…"
    assert body["sku"] == "x" * 200 + "…"
    assert len(json.dumps(body)) < 2000
    assert len(params["sku"]) == 10_000
    _, _, short = answer("unknown-sku", params={"sku": "x" * 200}, instance="/" + "y" * 199)
    assert (short["sku"], short["instance"]) == ("x" * 200, "/" + "y" * 199)


def test_a_field_called_like_a_json_type_keeps_its_name() -> None:
    assert "`array`" in FieldError("/array", "duplicate", {"name": "array"}).text(ZH)


def test_rules_name_the_same_parameters_in_both_languages() -> None:
    for rule, (english, chinese) in rule_texts.RULE_TEXTS.items():
        missing = names_in(english) - names_in(chinese)
        assert not missing or rule == "syntax", rule  # the parser's own words are English
        assert names_in(chinese) <= names_in(english), rule


def test_samples_look_like_answers() -> None:
    assert sample("sale-not-open", EN)["retry_after_s"] == 42
    assert sample("invalid-request", ZH)["errors"][0]["pointer"] == "/lines/0/quantity"
