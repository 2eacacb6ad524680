"""Receipts: what was signed is read back, and nothing else is taken for it."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.ids import make_id
from gateway.core.model import Line
from gateway.sale.receipts import NO_RECEIPTS, VERSION, Receipts, SigningKey

OLD, NEW = b"o" * 32, b"n" * 64
FIELD = "ABCDEFGHJKMNPQ"
ID = make_id(1_800_000_000_000, 0, FIELD)
MIDDLE = "Ab-_6789|ann@shop.example|web||"
LINES = (Line("phone-x:256", 2), Line("case", 1_000_000))
OURS = Receipts([NEW, OLD])
TOKEN = OURS.sign(ID, 1_800_000_900_000, MIDDLE, LINES)

names = st.text("abcXYZ019._:-", min_size=1, max_size=64)
lines = st.lists(
    st.builds(Line, names, st.integers(1, 1_000_000)),
    min_size=1,
    max_size=50,
    unique_by=lambda it: it.sku,
)


@given(st.integers(0, 2**47), names, st.text("abc@+=/-019", max_size=128), lines)
def test_what_was_signed_is_read_back(
    deadline_ms: int, channel: str, buyer: str, wanted: list[Line]
) -> None:
    middle = f"Ab-_6789|{buyer}|{channel}||"
    receipt = OURS.read(OURS.sign(ID, deadline_ms, middle, wanted))
    assert receipt is not None
    assert (receipt.reservation_id, receipt.deadline_ms) == (ID, deadline_ms)
    assert (receipt.created_ms, receipt.field) == (1_800_000_000_000, FIELD)
    assert (receipt.middle, receipt.fingerprint) == (middle, "Ab-_6789")
    assert receipt.lines == tuple(wanted)


def test_a_receipt_is_the_same_every_time_and_fits_json_and_urls() -> None:
    assert OURS.sign(ID, 1_800_000_900_000, MIDDLE, LINES) == TOKEN
    assert all(c.isascii() and (c.isalnum() or c in "._-") for c in TOKEN)


@pytest.mark.parametrize("size", [1, 32, 63, 64, 65, 200])
def test_the_mac_is_hmac_sha256(size: int) -> None:
    secret, text = b"k" * size, TOKEN.encode()
    assert SigningKey(secret).mac(text) == hmac.digest(secret, text, "sha256")


@given(st.integers(0, len(TOKEN) - 1), st.characters())
def test_no_character_can_be_changed(place: int, other: str) -> None:
    altered = TOKEN[:place] + other + TOKEN[place + 1 :]
    assert (OURS.read(altered) is None) == (altered != TOKEN)


@pytest.mark.parametrize("place", range(len(TOKEN)))
def test_no_bit_of_any_byte_can_be_changed(place: int) -> None:
    """Also not those that base64 does not use: the last character of a group has some."""
    for bit in range(7):
        other = chr(ord(TOKEN[place]) ^ 1 << bit)
        assert OURS.read(TOKEN[:place] + other + TOKEN[place + 1 :]) is None


@given(st.integers(0, len(TOKEN)), st.text(min_size=1, max_size=8))
def test_nothing_can_be_added(place: int, more: str) -> None:
    assert OURS.read(TOKEN[:place] + more + TOKEN[place:]) is None


@given(st.integers(0, len(TOKEN) - 1), st.integers(1, len(TOKEN)))
def test_nothing_can_be_left_out(place: int, count: int) -> None:
    assert OURS.read(TOKEN[:place] + TOKEN[place + count :]) is None


@given(st.text(max_size=200))
@example("")
@example("v1.")
@example("v1..")
@example("v1.AAAA.")
@example("v1.AAAA.AAAA")
@example("v1." + "A" * 43)
@example("v1.=.=")
@example("\ud800")
def test_anything_else_is_no_receipt(token: str) -> None:
    assert OURS.read(token) is None
    assert OURS.read("v1." + token) is None


def test_the_first_secret_signs_and_all_verify() -> None:
    before = Receipts([OLD]).sign(ID, 5, MIDDLE, LINES)
    assert OURS.read(before) is not None
    assert Receipts([NEW]).read(TOKEN) is not None
    assert Receipts([OLD]).read(TOKEN) is None, "NEW signed it"
    assert Receipts([NEW]).read(before) is None, "OLD was taken out"


def test_another_deployments_receipts_are_not_ours() -> None:
    assert Receipts([b"x" * 32]).read(TOKEN) is None


def test_without_secrets_there_are_no_receipts() -> None:
    assert NO_RECEIPTS.sign(ID, 5, MIDDLE, LINES) == ""
    assert NO_RECEIPTS.read(TOKEN) is None
    assert (NO_RECEIPTS.enabled, OURS.enabled) == (False, True)


def test_the_key_id_tells_nothing_of_the_secret() -> None:
    key = SigningKey(NEW)
    assert key.id.encode() not in NEW
    assert not sha256(NEW).hexdigest().startswith(key.id)


class Careless(Receipts):
    """Takes any signature."""

    def _is_signed(self, key: SigningKey, payload: bytes, token: str) -> bool:
        return True


def test_without_the_check_an_altered_receipt_would_be_taken() -> None:
    """The negative control: it is the signature that refuses, not the parser."""
    text = TOKEN.removeprefix(VERSION)
    signed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    more = urlsafe_b64encode(signed.replace(b"256*2", b"256*9")).decode().rstrip("=")
    altered = VERSION + more
    assert OURS.read(altered) is None
    taken = Careless([NEW, OLD]).read(altered)
    assert taken is not None
    assert taken.lines[0] == Line("phone-x:256", 9)
