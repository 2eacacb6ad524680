"""Signatures: the Standard Webhooks rules, and DingTalk's `sign` parameter."""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import urlencode

from gateway.core.config_notify import secret_key


def webhook_signature(secrets: Iterable[str], message_id: str, sent_s: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature a secret, separated by spaces.

    sent_s: the value of `webhook-timestamp`, seconds since the epoch.
    """
    signed = f"{message_id}.{sent_s}.".encode() + body
    return " ".join(f"v1,{_base64_hmac(secret_key(secret), signed)}" for secret in secrets)


def dingtalk_query(secret: str, sent_ms: int) -> str:
    """What a DingTalk robot with a secret wants in the URL's query."""
    signed = f"{sent_ms}\n{secret}".encode()
    return urlencode({"timestamp": sent_ms, "sign": _base64_hmac(secret.encode(), signed)})


def _base64_hmac(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
