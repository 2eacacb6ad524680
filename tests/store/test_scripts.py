"""The loader: includes resolved, headers complete, and clear words when something is missing."""

import re
from hashlib import sha1
from pathlib import Path

import pytest

from gateway.core.errors import SetupError
from gateway.store import scripts

COMMANDS = sorted(path.stem for path in (scripts.lua_root() / "commands").glob("*.lua"))

GOOD = """-- Does a thing,
-- and says so.
--
-- KEYS:
--   KEYS[1] the hash
-- ARGV:
--   ARGV[1] clock, ms
--   ARGV[2] count: how many
-- Returns: flat array: now ms,
--   then the rest
--@include codes
-- Not part of the header
return {}
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("commands", "includes"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(scripts, "lua_root", lambda: tmp_path)
    scripts.load.cache_clear()
    monkeypatch.setattr(scripts, "load", scripts.load.__wrapped__)
    return tmp_path


def test_a_header_is_parsed() -> None:
    assert scripts.parse_header(GOOD) == scripts.Header(
        purpose="Does a thing, and says so.",
        keys=("KEYS[1] the hash",),
        argv=("ARGV[1] clock, ms", "ARGV[2] count: how many"),
        returns="flat array: now ms, then the rest",
    )


@pytest.mark.parametrize("part", ["purpose", "KEYS", "ARGV", "Returns"])
def test_a_header_without_a_part_is_refused(part: str) -> None:
    lines = GOOD.splitlines()
    cuts = {"purpose": (0, 3), "KEYS": (3, 5), "ARGV": (5, 8), "Returns": (8, 10)}
    begin, end = cuts[part]
    with pytest.raises(ValueError, match=f"header has no {part}"):
        scripts.parse_header("\n".join(lines[:begin] + lines[end:]))


@pytest.mark.parametrize("text", ["", "return 1", "\n" + GOOD])
def test_a_command_without_a_header_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="header has no"):
        scripts.parse_header(text)


def test_includes_stand_where_they_are_named(root: Path) -> None:
    (root / "includes" / "codes.lua").write_text("local a = 1\n")
    (root / "includes" / "more.lua").write_text("local b = a\n")
    tail = "local function f()\n--@include more\n  return b\nend\n"
    (root / "commands" / "thing.lua").write_text(GOOD + tail)
    loaded = scripts.load("thing")
    head, _, rest = GOOD.partition("--@include codes\n")
    assert loaded.text == f"{head}local a = 1\n\n{rest}{tail}".replace(
        "--@include more\n", "local b = a\n\n"
    )
    assert loaded.sha == sha1(loaded.text.encode()).hexdigest()
    assert (loaded.name, loaded.header.purpose) == ("thing", "Does a thing, and says so.")


def test_constants_are_written_out(root: Path) -> None:
    (root / "includes" / "codes.lua").write_text("local DONE = 9\nlocal MAX = 10 -- at most\n")
    body = "local NOW = MAX\nlocal DONE_AT = DONE + MAX\nreturn { DONE, 'UNDONE', DONE_AT, NOW }\n"
    (root / "commands" / "thing.lua").write_text(GOOD + body)
    text = scripts.load("thing").text
    assert "local DONE = " not in text
    assert text.endswith(
        "local NOW = 10\nlocal DONE_AT = 9 + 10\nreturn { 9, 'UNDONE', DONE_AT, NOW }\n"
    )


def test_rules_are_rows_of_the_table(root: Path) -> None:
    (root / "includes" / "codes.lua").write_text("")
    (root / "commands" / "thing.lua").write_text(GOOD + "--@rules pay settle\n")
    text = scripts.load("thing").text
    row = "h = 'p', p = 10, c = 13, s = 13, j = 14, r = 12, x = 11"
    assert f"local PAY_RULES = {{ {row} }}\nlocal SETTLE_RULES = {{ h = 19," in text


@pytest.mark.parametrize("name", COMMANDS)
def test_no_name_is_a_constant_of_two_values(name: str) -> None:
    root = scripts.lua_root()
    command = (root / "commands" / f"{name}.lua").read_text()
    parts = [
        (root / "includes" / f"{part}.lua").read_text()
        for part in re.findall(r"^--@include (\w+)$", command, re.MULTILINE)
    ]
    names = re.findall(r"^local ([A-Z][A-Z_]*) = ", "\n".join([*parts, command]), re.MULTILINE)
    assert len(names) == len(set(names))


def test_a_missing_command_or_include_is_named(root: Path) -> None:
    with pytest.raises(SetupError, match=r"commands.thing\.lua"):
        scripts.load("thing")
    (root / "commands" / "thing.lua").write_text(GOOD)
    with pytest.raises(SetupError, match=r"includes.codes\.lua"):
        scripts.load("thing")


def test_missing_files_say_where_they_were_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "_PACKAGE", tmp_path / "gateway")
    with pytest.raises(SetupError, match="Lua commands are missing") as missing:
        scripts.lua_root()
    assert str(tmp_path / "lua") in missing.value.message
    assert "reinstall" in missing.value.hint


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_says_what_it_takes(name: str) -> None:
    loaded = scripts.load(name)
    assert loaded.header.keys[0].startswith(("KEYS[1] reservations", "KEYS[1] terms hash"))
    assert "clock override, ms" in loaded.header.argv[0]
    assert "now ms" in loaded.header.returns


def test_every_command_is_known() -> None:
    acts = {"pay", "confirm", "release", "extend"}
    chores = {"expire_due", "forget_ended", "move_stock", "restore", "snapshot", "show"}
    letters = {"note_faults", "bury", "redrive", "tidy_outbox"}
    leases = {"lease_grant", "lease_list", "lease_release", "lease_renew", "raise_fence"}
    rebuilding = {"beat_mark", "close_sku", "mend_records", "open_sku"}
    audits = {"recount", "repair", "remind"}
    holds = {"hold", "hold_rush"}
    known = holds | {"settle", "reject"} | acts | chores | letters | leases | audits
    known |= rebuilding
    assert set(COMMANDS) == known
