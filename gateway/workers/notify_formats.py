"""What each kind of target is sent, and what its answer means."""

import json
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, cast

import msgspec

from gateway import __version__
from gateway.core.config_notify import TargetConfig
from gateway.core.event_words import Language, advice, headline
from gateway.core.events import Notice, one_line
from gateway.core.times import rfc3339
from gateway.workers.notify_http import Answer, Outgoing
from gateway.workers.notify_signing import dingtalk_query, webhook_signature

WECOM_TEXT_BYTES_MAX = 2_048
DINGTALK_TEXT_BYTES_MAX = 16_000

REASON_CHARS_MAX = 200

# A robot's own errors that pass: busy, or called too often.
_PASSING_ERRCODES = {
    "dingtalk": {-1, 90018, 90030, 130101, 130102, 410100},
    "wecom": {-1, 45009, 45033},
}
# Refusals of a web server that pass: too slow, too early, too often.
_PASSING_STATUSES = {408, 425, 429}


class Verdict(NamedTuple):
    """Whether a message was taken, and if not, why. retry_after_s: as the target wished."""

    taken: bool
    reason: str
    can_retry: bool = True
    retry_after_s: float = 0.0


def compose(target: TargetConfig, notice: Notice, now_ms: int, timeout_s: float) -> Outgoing:
    """The request that tells `target` of `notice`, signed as of now."""
    url, headers = target.url, {"content-type": "application/json; charset=utf-8"}
    headers["user-agent"] = f"Stockgate/{__version__}"
    language = cast("Language", target.language)
    if target.kind == "webhook":
        body = _json(_payload(notice, language))
        sent_s = now_ms // 1000
        headers["webhook-id"] = notice.id
        headers["webhook-timestamp"] = str(sent_s)
        headers["webhook-signature"] = webhook_signature(target.secrets, notice.id, sent_s, body)
    else:
        bytes_max = WECOM_TEXT_BYTES_MAX if target.kind == "wecom" else DINGTALK_TEXT_BYTES_MAX
        text = f"{headline(notice, language)}\n{advice(notice, language)}"
        body = _json({"msgtype": "text", "text": {"content": _cut(text, bytes_max)}})
        if target.kind == "dingtalk" and target.secrets:
            joint = "&" if "?" in url else "?"
            url = f"{url}{joint}{dingtalk_query(target.secrets[0], now_ms)}"
    return Outgoing(url, headers, body, target.allowed_networks, timeout_s)


def judge(target: TargetConfig, answer: Answer, now_ms: int) -> Verdict:
    """What the answer means. A robot says 200 to what it did not do: its errcode decides."""
    if 200 <= answer.status < 300:
        taken = Verdict(True, f"HTTP {answer.status}")
        return taken if target.kind == "webhook" else _judge_errcode(target.kind, answer)
    if 300 <= answer.status < 400:
        reason = f"HTTP {answer.status}: redirects are not followed; set the final URL"
        return Verdict(False, reason, can_retry=False)
    passes = answer.status >= 500 or answer.status in _PASSING_STATUSES
    after_s = _retry_after_s(answer.headers.get("retry-after", ""), now_ms)
    return Verdict(False, f"HTTP {answer.status}{_excerpt(answer)}", passes, after_s)


def log_line(notice: Notice) -> str:
    """The notice as one line of JSON in ASCII: nothing in it can begin another line."""
    return json.dumps(_payload(notice, "en"), ensure_ascii=True)


def _payload(notice: Notice, language: Language) -> dict[str, Any]:
    return {
        "type": notice.kind.value,
        "timestamp": rfc3339(notice.last_ms),
        "data": {
            "severity": notice.severity.value,
            "text": headline(notice, language),
            "advice": advice(notice, language),
            "skus": list(notice.skus),
            "reservations": list(notice.reservations),
            "cause": notice.cause,
            "detail": notice.detail,
            "times": notice.times,
            "count": notice.count,
            "first_at": rfc3339(notice.first_ms),
            "last_at": rfc3339(notice.last_ms),
        },
    }


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _cut(text: str, bytes_max: int) -> str:
    """`text` in at most `bytes_max` bytes of UTF-8, cut between characters."""
    raw = text.encode()
    if len(raw) <= bytes_max:
        return text
    return raw[: bytes_max - len("…".encode())].decode(errors="ignore") + "…"


class _RobotAnswer(msgspec.Struct):
    errcode: int
    errmsg: str = ""


def _judge_errcode(kind: str, answer: Answer) -> Verdict:
    if not answer.complete:
        return Verdict(False, "the answer is too long to be a robot's", can_retry=False)
    try:
        said = msgspec.json.decode(answer.body, type=_RobotAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Verdict(False, "the answer is not a robot's: no errcode in it")
    reason = f"errcode {said.errcode}"
    if said.errcode == 0:
        return Verdict(True, f"HTTP {answer.status}, {reason}")
    reason = f"{reason}: {one_line(said.errmsg, REASON_CHARS_MAX)}"
    return Verdict(False, reason, can_retry=said.errcode in _PASSING_ERRCODES[kind])


def _excerpt(answer: Answer) -> str:
    text = one_line(answer.body.decode(errors="replace"), REASON_CHARS_MAX)
    return f": {text}" if text else ""


def _retry_after_s(value: str, now_ms: int) -> float:
    """Seconds from now of a Retry-After header in either form; 0 when there is none."""
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
        return max(0.0, moment.timestamp() - now_ms / 1000)
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
