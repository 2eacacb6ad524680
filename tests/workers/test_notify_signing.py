"""Signatures, against vectors published by those who defined them."""

import base64
import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.core.config_notify import secret_key
from gateway.core.event_words import LANGUAGES
from gateway.core.events import EventKind
from gateway.workers.notify_formats import (
    DINGTALK_TEXT_BYTES_MAX,
    WECOM_TEXT_BYTES_MAX,
    compose,
    judge,
    log_line,
)
from gateway.workers.notify_signing import dingtalk_query, webhook_signature
from tests.workers.notices import OTHER_SECRET, SECRET, answer, notice, target

MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SENT_S = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
NOW_MS = 1_750_000_031_000
MANUAL = Path(__file__).parents[2] / "docs" / "notifications.md"


def verified(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """What a receiver does."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(
        hmac.compare_digest(one, f"v1,{expected}") for one in headers["webhook-signature"].split()
    )


def test_the_published_vector_of_standard_webhooks() -> None:
    assert webhook_signature([SECRET], MESSAGE_ID, SENT_S, BODY) == SIGNATURE


def test_the_receiver_in_the_manual_verifies_it() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    headers = {"webhook-id": MESSAGE_ID, "webhook-timestamp": str(SENT_S)}
    headers["webhook-signature"] = f"v1,AAAA {SIGNATURE}"
    names["verify"](SECRET, headers, BODY, SENT_S + 299.0)
    for secret, body, now_s in (
        (OTHER_SECRET, BODY, SENT_S),
        (SECRET, BODY + b" ", SENT_S),
        (SECRET, BODY, SENT_S + 301),
    ):
        with pytest.raises(ValueError, match="too old|not signed"):
            names["verify"](secret, headers, body, now_s)


def test_every_secret_signs_so_that_one_can_replace_another() -> None:
    both = webhook_signature([OTHER_SECRET, SECRET], MESSAGE_ID, SENT_S, BODY).split(" ")
    assert both[1] == SIGNATURE
    assert both[0] == webhook_signature([OTHER_SECRET], MESSAGE_ID, SENT_S, BODY) != SIGNATURE


@pytest.mark.parametrize(
    ("message_id", "sent_s", "body"),
    [("msg_2", SENT_S, BODY), (MESSAGE_ID, SENT_S + 1, BODY), (MESSAGE_ID, SENT_S, BODY + b" ")],
)
def test_a_signature_covers_everything(message_id: str, sent_s: int, body: bytes) -> None:
    assert webhook_signature([SECRET], message_id, sent_s, body) != SIGNATURE


@pytest.mark.parametrize("wrong", ["", "whsec_", "MfKQ9r8G", "whsec_a", "whsec_%%%%", "v1,AAAA"])
def test_what_is_no_secret(wrong: str) -> None:
    with pytest.raises(ValueError, match="not"):
        secret_key(wrong)


def test_a_webhook_is_signed_as_sent() -> None:
    it = target(secrets=(OTHER_SECRET, SECRET))
    request = compose(it, notice(), NOW_MS, 5.0)
    assert request.headers["webhook-id"] == "msg_1"
    assert request.headers["webhook-timestamp"] == str(NOW_MS // 1000)
    assert verified(request.headers, request.body, SECRET)
    assert verified(request.headers, request.body, OTHER_SECRET)
    assert not verified(request.headers, request.body + b" ", SECRET)
    payload = json.loads(request.body)
    assert payload["type"] == "drift.found"
    assert payload["timestamp"] == "2025-06-15T15:07:10.000Z"
    assert payload["data"]["severity"] == "critical"
    assert payload["data"]["skus"] == ["phone"]
    assert (payload["data"]["times"], payload["data"]["count"]) == (3, 3)
    assert payload["data"]["first_at"] == "2025-06-15T15:06:40.000Z"


def test_dingtalk_signs_in_the_url() -> None:
    """Computed by the formula its manual gives: HMAC-SHA256 of "timestamp\\nsecret" by secret."""
    query = dingtalk_query("this is secret", 1577262236757)
    signed = hmac.new(b"this is secret", b"1577262236757\nthis is secret", hashlib.sha256).digest()
    assert parse_qs(query) == {
        "timestamp": ["1577262236757"],
        "sign": [base64.b64encode(signed).decode()],
    }
    assert "+" not in query, "a plus sign would arrive as a blank"


def test_a_robot_of_dingtalk() -> None:
    url = "https://oapi.dingtalk.com/robot/send?access_token=abc"
    it = target(url, kind="dingtalk", secrets=("SECxyz",), language="zh")
    request = compose(it, notice(), NOW_MS, 5.0)
    assert request.url == f"{url}&{dingtalk_query('SECxyz', NOW_MS)}"
    message = json.loads(request.body)
    assert message["msgtype"] == "text"
    assert message["text"]["content"].startswith(
        "[Stockgate] 严重: Redis 与账本不一致 (3); SKU phone"
    )
    unsigned = compose(target(url, kind="dingtalk", secrets=()), notice(), NOW_MS, 5.0)
    assert unsigned.url == url
    bare = compose(target("https://h/r", kind="dingtalk", secrets=("s",)), notice(), NOW_MS, 5.0)
    assert urlsplit(bare.url).query == dingtalk_query("s", NOW_MS)


@pytest.mark.parametrize(
    ("kind", "bytes_max"), [("wecom", WECOM_TEXT_BYTES_MAX), ("dingtalk", DINGTALK_TEXT_BYTES_MAX)]
)
def test_a_robot_gets_no_more_than_it_takes(kind: str, bytes_max: int) -> None:
    long = notice(detail="库" * 9_000)
    request = compose(target(kind=kind, secrets=(), language="zh"), long, NOW_MS, 5.0)
    content = json.loads(request.body)["text"]["content"]
    assert bytes_max - 4 <= len(content.encode()) <= bytes_max
    assert content.endswith("库…")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", EventKind)
def test_every_event_has_words(kind: EventKind, language: str) -> None:
    request = compose(target(language=language), notice(kind=kind), NOW_MS, 5.0)
    data = json.loads(request.body)["data"]
    assert data["text"].startswith("[Stockgate] ")
    assert "3" in data["text"]
    assert len(data["advice"]) >= 8
    assert "\n" not in data["text"] + data["advice"]


def test_the_manual_lists_every_event() -> None:
    listed = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", MANUAL.read_text(encoding="utf-8")))
    assert {kind.value for kind in EventKind} - {"notify.test"} <= listed


def test_nothing_in_a_notice_can_begin_a_line_of_the_log() -> None:
    forged = "x\r\n2026-01-01 CRITICAL forged\u2028\x85\x1b[31m\u202e\ud800"
    line = log_line(notice(skus=(forged,), reservations=(forged,), cause=forged, detail=forged))
    assert line.isascii()
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["data"]["detail"] == forged, "nothing is lost either"


# ── what an answer means ─────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "taken", "can_retry"),
    [
        (200, True, True),
        (204, True, True),
        (301, False, False),
        (308, False, False),
        (400, False, False),
        (401, False, False),
        (404, False, False),
        (408, False, True),
        (410, False, False),
        (429, False, True),
        (500, False, True),
        (503, False, True),
    ],
)
def test_the_status_decides_for_a_webhook(status: int, taken: bool, can_retry: bool) -> None:
    verdict = judge(target(), answer(status, b'{"errcode": 7}'), NOW_MS)
    assert verdict.taken is taken
    assert taken or verdict.can_retry is can_retry
    assert str(status) in verdict.reason


@pytest.mark.parametrize(
    ("kind", "body", "taken", "can_retry"),
    [
        ("dingtalk", '{"errcode":0,"errmsg":"ok"}', True, True),
        ("dingtalk", '{"errcode":310000,"errmsg":"sign not match"}', False, False),
        ("dingtalk", '{"errcode":130101,"errmsg":"send too fast"}', False, True),
        ("dingtalk", '{"errcode":-1,"errmsg":"busy"}', False, True),
        ("wecom", '{"errcode":0,"errmsg":"ok"}', True, True),
        ("wecom", '{"errcode":93000,"errmsg":"invalid webhook url"}', False, False),
        ("wecom", '{"errcode":45009,"errmsg":"api freq out of limit"}', False, True),
        ("wecom", "", False, True),
        ("wecom", "<html>captive portal</html>", False, True),
        ("wecom", '{"ok":true}', False, True),
        ("wecom", '{"errcode":"0"}', False, True),
        ("wecom", "[" * 10_000, False, True),
    ],
)
def test_a_robot_says_200_to_what_it_did_not_do(
    kind: str, body: str, taken: bool, can_retry: bool
) -> None:
    verdict = judge(target(kind=kind, secrets=()), answer(200, body.encode()), NOW_MS)
    assert verdict.taken is taken
    assert taken or verdict.can_retry is can_retry
    assert "errcode" in verdict.reason


def test_a_robots_answer_must_be_whole() -> None:
    cut = answer(200, b'{"errcode":0}', complete=False)
    assert not judge(target(kind="wecom", secrets=()), cut, NOW_MS).taken


def test_what_a_robot_says_is_one_line() -> None:
    said = answer(200, b'{"errcode":1,"errmsg":"a\\nCRITICAL b\\u001b[31m"}')
    assert judge(target(kind="wecom", secrets=()), said, NOW_MS).reason == (
        "errcode 1: a CRITICAL b [31m"
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("17", 17.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("٣", 0.0),
        ("9" * 400, 999_999_999.0),
        ("Sun, 15 Jun 2025 15:07:41 GMT", 30.0),
        ("Sun, 15 Jun 2025 15:00:00 GMT", 0.0),
        ("tomorrow", 0.0),
        ("", 0.0),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    assert judge(target(), answer(503, retry_after=value), NOW_MS).retry_after_s == seconds
