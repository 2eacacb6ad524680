"""Signed receipts: what was held, in the buyer's own hands, should the store forget it.

A receipt is `v1.<payload>.<mac>` in base64url. The payload is text: key id, reservation id,
deadline ms, and the record's own middle and lines. The mac is HMAC-SHA256 over all before it, as
it is written, so that no other text than the one given out is a receipt.
"""

import hmac
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from gateway.core.ids import split_id
from gateway.core.model import Line

VERSION: Final = b"v1."
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
        self._inner = sha256(padded.translate(_INNER))
        self._outer = sha256(padded.translate(_OUTER))

    def mac(self, text: bytes) -> bytes:
        """HMAC-SHA256. Its two first steps are done beforehand: every hold pays for the rest."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.digest()


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
        if len(lines) == 1:
            text = f"{lines[0].sku}*{lines[0].quantity}"
        else:
            text = ",".join([f"{line.sku}*{line.quantity}" for line in lines])
        payload = f"{key.id}|{reservation_id}|{deadline_ms}|{middle}{text}"
        head = VERSION + _encode(payload.encode())
        return (head + b"." + _encode(key.mac(head))).decode()

    def read(self, token: str) -> Receipt | None:
        """What a receipt of ours says; None when it is not one, in every byte."""
        head, dot, given = token.encode("utf-8", "replace").rpartition(b".")
        payload = _decode(head)
        if not dot or payload is None:
            return None
        key_id, _, rest = payload.partition("|")
        key = self._keys.get(key_id)
        if key is None or not self._is_signed(key, head, given):
            return None
        return _parse(rest)

    def _is_signed(self, key: SigningKey, head: bytes, given: bytes) -> bool:
        return hmac.compare_digest(_encode(key.mac(head)), given)


NO_RECEIPTS: Final = Receipts(())


def _encode(data: bytes) -> bytes:
    return b2a_base64(data, newline=False).translate(_TO_URL, b"=")


def _decode(head: bytes) -> str | None:
    if not head.startswith(VERSION):
        return None
    text = head[len(VERSION) :].translate(_FROM_URL)
    try:
        return a2b_base64(text + b"=" * (-len(text) % 4)).decode()
    except (Error, UnicodeDecodeError):
        return None


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
