"""Finds the globals a Lua script touches, in the bytecode of the compiler that Redis uses (5.1).

A script that sets a global is refused by Redis, and on fakeredis it spoils every script after it;
one that reads an unknown global fails only on the path that reads it.
"""

import struct
from typing import NamedTuple

from lupa import lua51

from tests.tidy.findings import Finding

# What scripts may read: Redis's own names, and of Lua's what all of our stores have.
_REDIS = {"ARGV", "KEYS", "redis"}
_LIBRARIES = {"math", "string", "table"}
_FUNCTIONS = {"assert", "error", "ipairs", "next", "pairs", "pcall", "select"}
_CONVERSIONS = {"tonumber", "tostring", "type", "unpack"}
_TABLES = {"getmetatable", "rawequal", "rawget", "rawset", "setmetatable"}
OFFERED = frozenset(_REDIS | _LIBRARIES | _FUNCTIONS | _CONVERSIONS | _TABLES)

_GETGLOBAL, _SETGLOBAL = 5, 7
_OPCODE_BITS, _BX_SHIFT = 0x3F, 14
_BOOLEAN, _NUMBER, _STRING = 1, 3, 4
_HEADER_BYTES = 12


class Access(NamedTuple):
    """One instruction that touches a global."""

    name: str
    line: int
    is_write: bool


def global_findings(path: str, script: str) -> list[Finding]:
    """Globals the script sets, and those it reads that Redis does not offer."""
    try:
        accesses = global_accesses(script)
    except lua51.LuaError as error:
        return [Finding(path, 0, f"does not compile: {error}")]
    return [
        Finding(path, access.line, f"{'sets' if access.is_write else 'reads'} global {access.name}")
        for access in accesses
        if access.is_write or access.name not in OFFERED
    ]


def global_accesses(script: str) -> list[Access]:
    """Every instruction that reads or sets a global, in the order of the compiled functions."""
    lua = lua51.LuaRuntime(encoding=None)
    compile_ = lua.eval(b"function(s) return string.dump(assert(loadstring(s, '=script'))) end")
    return _Bytecode(compile_(script.encode())).function()


class _Bytecode:
    """Reads what string.dump wrote on this machine: little-endian, 4-byte int, 8-byte size_t."""

    def __init__(self, dump: bytes) -> None:
        assert dump[:5] == b"\x1bLuaQ", "not Lua 5.1 bytecode"
        assert dump[6:_HEADER_BYTES] == bytes((1, 4, 8, 4, 8, 0)), "unexpected sizes"
        self._dump = dump
        self._at = _HEADER_BYTES

    def function(self) -> list[Access]:
        """One function and those defined inside it."""
        self._string()
        self._skip(4 + 4 + 4)  # lines of the definition, then four one-byte counts
        code = [self._integer() for _ in range(self._integer())]
        constants = [self._constant() for _ in range(self._integer())]
        inner = [access for _ in range(self._integer()) for access in self.function()]
        lines = [self._integer() for _ in range(self._integer())]
        for _ in range(self._integer()):  # local variables: name, first and last instruction
            self._string()
            self._skip(8)
        for _ in range(self._integer()):  # names of upvalues
            self._string()
        own = [
            Access(str(constants[word >> _BX_SHIFT]), line, opcode == _SETGLOBAL)
            for word, line in zip(code, lines, strict=True)
            if (opcode := word & _OPCODE_BITS) in {_GETGLOBAL, _SETGLOBAL}
        ]
        return own + inner

    def _constant(self) -> str | float | bool | None:
        kind = self._take(1)[0]
        if kind == _STRING:
            return self._string()
        if kind == _NUMBER:
            number: float = struct.unpack("<d", self._take(8))[0]
            return number
        return bool(self._take(1)[0]) if kind == _BOOLEAN else None

    def _string(self) -> str:
        size: int = struct.unpack("<Q", self._take(8))[0]
        return self._take(size)[:-1].decode(errors="replace") if size else ""

    def _integer(self) -> int:
        number: int = struct.unpack("<I", self._take(4))[0]
        return number

    def _take(self, size: int) -> bytes:
        taken = self._dump[self._at : self._at + size]
        self._at += size
        return taken

    def _skip(self, size: int) -> None:
        self._at += size
