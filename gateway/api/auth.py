"""Who calls: bearer keys, kept as SHA-256, and what each may do."""

import re
from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest
from typing import Final, Protocol

import msgspec

from gateway.api.problems import BadRequest

STOREFRONT: Final = "storefront"
ADMIN: Final = "admin"
METRICS: Final = "metrics"
SCOPES: Final = frozenset({STOREFRONT, ADMIN, METRICS})

REMEMBERED_MAX: Final = 256  # spellings of known keys whose digest is not computed again
HEADER_LENGTH_MAX: Final = 1024

_bearer = re.compile(rb"^bearer +([A-Za-z0-9._~+/=-]{1,512}) *\Z", re.IGNORECASE).search


class Key(Protocol):
    """A configured key: a name for the log, the hash in hex, what it allows."""

    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def scopes(self) -> Iterable[str]: ...


class Caller(msgspec.Struct, frozen=True):
    """Who calls. `name` is "" when the gateway has no keys and everyone may do everything."""

    name: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether the key allows `scope`."""
        return scope in self.scopes


ANYONE: Final = Caller("", SCOPES)


class Authenticator:
    """Finds the caller of a request. Keeps no key in clear beyond the few last used."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._callers = [
            (bytes.fromhex(key.sha256), Caller(key.name, frozenset(key.scopes))) for key in keys
        ]
        self._remembered: dict[bytes, Caller] = {}

    @property
    def open(self) -> bool:
        """Whether there are no keys: everyone is let in."""
        return not self._callers

    def authenticate(self, authorization: bytes | None) -> Caller | None:
        """The caller of this Authorization header; None: no key, or not one of ours."""
        if not self._callers:
            return ANYONE
        if authorization is None:
            return None
        known = self._remembered.get(authorization)
        return known if known is not None else self._recognise(authorization)

    def _recognise(self, authorization: bytes) -> Caller | None:
        bearer = _bearer(authorization) if len(authorization) <= HEADER_LENGTH_MAX else None
        if bearer is None:
            return None
        caller = self._find(sha256(bearer[1]).digest())
        if caller is not None:  # only known keys are remembered: strangers cannot fill it
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[authorization] = caller
        return caller

    def _find(self, digest: bytes) -> Caller | None:
        found: Caller | None = None
        for known, caller in self._callers:  # all of them, in constant time
            if compare_digest(known, digest):
                found = caller
        return found

    def require(self, authorization: bytes | None, scope: str) -> Caller:
        """The caller, if it has `scope`. Raises BadRequest: unauthorized, forbidden."""
        caller = self.authenticate(authorization)
        if caller is None:
            raise _unauthorized(authorization)
        if scope not in caller.scopes:
            raise _forbidden(scope)
        return caller


def _unauthorized(authorization: bytes | None) -> BadRequest:
    if authorization is None:
        return BadRequest("unauthorized")
    challenge = b'Bearer realm="stockgate", error="invalid_token"'
    return BadRequest("unauthorized", headers=[(b"www-authenticate", challenge)])


def _forbidden(scope: str) -> BadRequest:
    challenge = f'Bearer realm="stockgate", error="insufficient_scope", scope="{scope}"'
    return BadRequest(
        "forbidden", params={"scope": scope}, headers=[(b"www-authenticate", challenge.encode())]
    )
