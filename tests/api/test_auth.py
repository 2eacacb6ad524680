"""Keys: who is let in, and to what."""

import json
from hashlib import sha256

import pytest

from gateway.api.auth import ADMIN, ANYONE, METRICS, REMEMBERED_MAX, STOREFRONT, Authenticator
from gateway.api.problems import BadRequest
from gateway.core.config_schema import KeyConfig


def key(name: str, secret: str, *scopes: str) -> KeyConfig:
    return KeyConfig(name=name, sha256=sha256(secret.encode()).hexdigest(), scopes=scopes)


KEYS = [
    key("shop", "s3cret-shop", STOREFRONT),
    key("ops", "s3cret-ops", STOREFRONT, ADMIN, METRICS),
]


def test_without_keys_everyone_may_do_everything() -> None:
    auth = Authenticator([])
    assert auth.open
    for header in (None, b"Bearer anything", b"nonsense"):
        caller = auth.require(header, ADMIN)
        assert caller is ANYONE
        assert caller.name == ""


@pytest.mark.parametrize(
    "header", [b"Bearer s3cret-shop", b"bearer s3cret-shop", b"BEARER  s3cret-shop "]
)
def test_a_known_key_is_its_caller(header: bytes) -> None:
    auth = Authenticator(KEYS)
    assert not auth.open
    for _ in range(2):  # found, then remembered
        caller = auth.authenticate(header)
        assert caller is not None
        assert caller.name == "shop"
        assert caller.may(STOREFRONT)
        assert not caller.may(ADMIN)


@pytest.mark.parametrize(
    "header",
    [None, b"", b"Bearer", b"Bearer ", b"Bearer s3cret-sho", b"Bearer s3cret-shopx", b"s3cret-shop",
     b"Basic s3cret-shop", b"Bearer s3cret-shop\n", b"Bearer s3cret shop", b"Bearer " + b"x" * 5000,
     b"Bearer s3cret-shop\x00Bearer s3cret-shop", b"Bearer \xff\xfe",
     b"Bearer " + sha256(b"s3cret-shop").hexdigest().encode()],
)  # fmt: skip
def test_strangers_are_told_how_to_come_in(header: bytes | None) -> None:
    auth = Authenticator(KEYS)
    assert auth.authenticate(header) is None
    with pytest.raises(BadRequest) as caught:
        auth.require(header, STOREFRONT)
    status, headers, body = caught.value.render()
    assert status == 401
    challenges = [value for name, value in headers if name == b"www-authenticate"]
    assert len(challenges) == 1
    assert challenges[0].startswith(b"Bearer ")
    assert (b"invalid_token" in challenges[0]) == (header is not None)
    assert json.loads(body)["code"] == "unauthorized"


def test_a_key_without_the_scope_is_told_which_one() -> None:
    with pytest.raises(BadRequest) as caught:
        Authenticator(KEYS).require(b"Bearer s3cret-shop", ADMIN)
    status, headers, body = caught.value.render()
    assert status == 403
    assert b'scope="admin"' in dict(headers)[b"www-authenticate"]
    assert json.loads(body)["scope"] == "admin"
    assert Authenticator(KEYS).require(b"Bearer s3cret-ops", ADMIN).name == "ops"


def test_what_is_remembered_is_bounded_and_strangers_leave_no_trace() -> None:
    auth = Authenticator(KEYS)
    for number in range(2000):
        assert auth.authenticate(b"Bearer stranger-%d" % number) is None
    assert not auth._remembered
    for spaces in range(1, 600):
        assert auth.authenticate(b"Bearer" + b" " * spaces + b"s3cret-shop") is not None
    assert 0 < len(auth._remembered) <= REMEMBERED_MAX
