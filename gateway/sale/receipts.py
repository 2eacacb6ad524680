"""Signed receipts: what was held, in the buyer's own hands, should the store forget it.

A receipt is `v1.` and, in one piece of base64url, a payload and its HMAC-SHA256 of 32 bytes. The
payload is text: key id, reservation id, deadline ms, and the record's own middle and lines. Every
hold pays for one, so it is made in as few steps as there are.
"""

import hmac
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from gateway.core.ids import split_id
from gateway.core.model import Line

VERSION: Final = "v1."
MAC_BYTES: Final = 32
KEY_ID_LENGTH: Final = 6

_BLOCK_BYTES: Final = 64  # of SHA-256
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")


class Receipt(NamedTuple):
    """What a receipt says. `middle` and `lines` are those of the store's record.

    created_ms, field: of the reservation's id.
    """

    reservation_id: str
    created_ms: int
    field: str
    deadline_ms: int
    middle: str
    lines: tuple[Line, ...]

    @property
    def fingerprint(self) -> str:
        """Tells whether another reservation under the same key means the same."""
        return self.middle.partition("|")[0]


class SigningKey:
    """One secret. Its id is part of each receipt and says nothing about it."""

    def __init__(self, secret: bytes) -> None:
        self.id = sha256(b"stockgate receipt key\0" + secret).hexdigest()[:KEY_ID_LENGTH]
        short = sha256(secret).digest() if len(secret) > _BLOCK_BYTES else secret
        padded = short.ljust(_BLOCK_BYTES, b"\0")
        self._inner = sha256(padded.translate(_INNER)).copy
        self._outer = sha256(padded.translate(_OUTER)).copy

    def mac(self, text: bytes) -> bytes:
        """HMAC-SHA256; its first two steps are done beforehand."""
        inner, outer = self._inner(), self._outer()
        inner.update(text)
        outer.update(inner.digest())
        return outer.digest()

    def token(self, payload: bytes) -> str:
        """The receipt with this payload."""
        text = b2a_base64(payload + self.mac(payload), newline=False)
        return VERSION + text.translate(_TO_URL, b"=").decode()


class Receipts:
    """Makes and checks receipts: the first secret signs, all verify; without secrets, none."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._keys = {key.id: key for key in map(SigningKey, secrets)}
        self._first = next(iter(self._keys.values()), None)

    @property
    def enabled(self) -> bool:
        """Whether receipts are given out."""
        return self._first is not None

    def sign(
        self, reservation_id: str, deadline_ms: int, middle: str, lines: Sequence[Line]
    ) -> str:
        """The receipt of a reservation; "" when none are given out."""
        key = self._first
        if key is None:
            return ""
        line = lines[0]
        text = f"{key.id}|{reservation_id}|{deadline_ms}|{middle}{line.sku}*{line.quantity}"
        if len(lines) > 1:
            text += "".join([f",{line.sku}*{line.quantity}" for line in lines[1:]])
        return key.token(text.encode())

    def read(self, token: str) -> Receipt | None:
        """What a receipt of ours says; None when it is not one, in every byte."""
        payload = _payload(token)
        key_id, _, rest = payload.partition(b"|")
        key = self._keys.get(key_id.decode("latin-1"))
        if key is None or not self._is_signed(key, payload, token):
            return None
        return _parse(rest.decode())

    def _is_signed(self, key: SigningKey, payload: bytes, token: str) -> bool:
        """Whether it is, letter by letter, the token of its payload: base64 leaves some leeway."""
        return hmac.compare_digest(key.token(payload).encode(), token.encode("utf-8", "replace"))


NO_RECEIPTS: Final = Receipts(())


def _payload(token: str) -> bytes:
    """What the token would sign; empty when it cannot be read."""
    text = token.removeprefix(VERSION).encode("utf-8", "replace").translate(_FROM_URL)
    try:
        return a2b_base64(text + b"=" * (-len(text) % 4))[:-MAC_BYTES]
    except Error:
        return b""


def _parse(text: str) -> Receipt | None:
    """The payload after its key id. It was signed, so it is well formed."""
    reservation_id, deadline, middle = text.split("|", 2)
    middle, bar, lines = middle.rpartition("|")
    place = split_id(reservation_id)
    if place is None:
        return None
    return Receipt(
        reservation_id=reservation_id,
        created_ms=place[0],
        field=place[2],
        deadline_ms=int(deadline),
        middle=middle + bar,
        lines=tuple(_line(part) for part in lines.split(",")),
    )


def _line(text: str) -> Line:
    sku, _, quantity = text.partition("*")
    return Line(sku, int(quantity))
