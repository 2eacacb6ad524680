"""Negative controls: every tidy rule reports what breaks it and passes what does not."""

from textwrap import dedent

import pytest

from tests.tidy import lua_globals, lua_rules, text_rules
from tests.tidy.import_rules import unreachable_modules
from tests.tidy.python_rules import CLOCKED, PRINTED, banned_references, long_functions

GOOD_COMMAND = """\
-- Moves units from one shelf to another.
-- KEYS:
--   KEYS[1] the shelves
-- ARGV:
--   ARGV[1] quantity, units
--   ARGV[2] name of the shelf
-- Returns: 1 when moved
--@include codes
local quantity = tonumber(ARGV[1])
return redis.call('HINCRBY', KEYS[1], ARGV[2], quantity)
"""


def test_long_function() -> None:
    body = "".join(f"    x{i} = {i}\n" for i in range(5))
    documented = f'def f():\n    """One.\n\n    Two.\n    """\n{body}'
    assert [f.line for f in long_functions("a.py", f"\ndef f():\n{body}", 5)] == [2]
    assert long_functions("a.py", f"async def f():\n{body}", 5)
    assert long_functions("a.py", f"class A:\n  def f(self):\n{body}", 5)
    assert not long_functions("a.py", documented, 6), "the docstring does not count"
    assert long_functions("a.py", documented, 5)


@pytest.mark.parametrize(
    ("snippet", "name"),
    [
        ("import time\ntime.time()", "time.time"),
        ("import time as t\nt.monotonic()", "time.monotonic"),
        ("from time import monotonic\nmonotonic()", "time.monotonic"),
        ("import time\nfield(default_factory=time.time)", "time.time"),
        ("def f():\n    import random\n    random.random()", "random.random"),
        ("from random import Random as R\nR(1)", "random.Random"),
        ("from datetime import datetime, UTC\ndatetime.now(UTC)", "datetime.datetime.now"),
        ("import datetime as d\nd.datetime.utcnow()", "datetime.datetime.utcnow"),
        ("from datetime import date\ndate.today()", "datetime.date.today"),
        ("import asyncio\nasync def f():\n    await asyncio.sleep(1)", "asyncio.sleep"),
        ("from asyncio import wait_for as w\nw(x, 1)", "asyncio.wait_for"),
        ("import asyncio as a\na.timeout(1)", "asyncio.timeout"),
    ],
)
def test_time_and_chance_are_found(snippet: str, name: str) -> None:
    found = banned_references("a.py", snippet, CLOCKED)
    assert found
    assert {f.message for f in found} == {f"{name} is not used here"}


@pytest.mark.parametrize(
    "snippet",
    [
        "import secrets\nsecrets.token_hex()",
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)",
        "import asyncio\nasyncio.create_task(x)",
        "from random import Random\ndef f(chance: Random) -> Random | None: ...",
        "self.clock.sleep(1)\ntime = record.time\ntime.seconds()",
    ],
)
def test_what_only_looks_like_time_passes(snippet: str) -> None:
    assert not banned_references("a.py", snippet, CLOCKED)


def test_print() -> None:
    assert banned_references("a.py", "print('x')", PRINTED)
    assert banned_references("a.py", "emit = print", PRINTED)
    assert not banned_references("a.py", "console.print('x')", PRINTED)


def test_unused_module() -> None:
    files = {
        "g/__init__.py": "",
        "g/__main__.py": "from g import a\nfrom .sub import deep\n",
        "g/a.py": "def f():\n    import g.b\n",
        "g/b.py": "run('g.named:app')\n",
        "g/named.py": "",
        "g/sub/__init__.py": "",
        "g/sub/deep.py": "from ..c import x\n",
        "g/c.py": "",
        "g/dead.py": "import g.dead_too\n",
        "g/dead_too.py": "",
    }
    found = unreachable_modules(files, ["g.__main__"])
    assert [f.path for f in found] == ["g/dead.py", "g/dead_too.py"]


def test_long_file() -> None:
    assert text_rules.long_file("a.py", "x\n" * 401)
    assert not text_rules.long_file("a.py", "x\n" * 400)


@pytest.mark.parametrize("mark", ["TO" + "DO", "FIX" + "ME", "XX" + "X"])
def test_unfinished_mark(mark: str) -> None:
    assert [f.line for f in text_rules.unfinished_marks("a.py", f"x\n# {mark}: later\n")] == [2]
    assert not text_rules.unfinished_marks("a.py", f"{mark}S_AND_MORE")


@pytest.mark.parametrize("folder", ["home", "Users", "root", "work", "mnt"])
def test_machine_path(folder: str) -> None:
    path = "/" + folder + "/someone/x"
    assert text_rules.machine_paths("a.md", f"see {path}")
    assert text_rules.machine_paths("a.md", f"file://{path}")
    assert not text_rules.machine_paths("a.md", f"https://example.org{path}")
    assert not text_rules.machine_paths("a.md", f"docs{path}")


def test_complete_header() -> None:
    assert not lua_rules.command_header("a.lua", GOOD_COMMAND)


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("-- Moves units from one shelf to another.\n", "header has no purpose"),
        ("-- KEYS:\n--   KEYS[1] the shelves\n", "header has no KEYS"),
        ("-- Returns: 1 when moved\n", "header has no Returns"),
        ("--   ARGV[2] name of the shelf\n", "ARGV[2] is used but not described"),
        (", units", "ARGV[1] is a number: say of what"),
    ],
)
def test_incomplete_header(remove: str, message: str) -> None:
    assert remove in GOOD_COMMAND
    found = lua_rules.command_header("a.lua", GOOD_COMMAND.replace(remove, ""))
    assert any(message in f.message for f in found), found


@pytest.mark.parametrize("described", ["ARGV[2..4] shelves", "ARGV[2..1+n] shelves"])
def test_a_range_describes_what_it_spans(described: str) -> None:
    command = GOOD_COMMAND.replace("ARGV[2] name of the shelf", described)
    assert not lua_rules.command_header("a.lua", command + "return ARGV[3]")
    outside = lua_rules.command_header("a.lua", command.replace("[2..", "[3.."))
    assert [f.message for f in outside] == ["ARGV[2] is used but not described"]


def test_include_without_purpose() -> None:
    assert lua_rules.include_header("a.lua", "local x = 1\n-- about x\n")
    assert not lua_rules.include_header("a.lua", "-- About x.\nlocal x = 1\n")


def test_broken_includes() -> None:
    commands = {"lua/commands/a.lua": "--@include one\n--@include lost\n"}
    available = {
        "lua/includes/one.lua": "--@include idle\n",
        "lua/includes/idle.lua": "",
    }
    found = {(f.path, f.message) for f in lua_rules.broken_includes(commands, available)}
    assert found == {
        ("lua/commands/a.lua", "includes lost, which is not in lua/includes"),
        ("lua/includes/one.lua", "an include includes nothing: name idle in the commands"),
        ("lua/includes/idle.lua", "no command includes this"),
    }


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("local a = 1\nb = a", "sets global b"),
        ("function f() end", "sets global f"),
        ("local function f()\n  for i = 1, 3 do\n    total = i\n  end\nend", "sets global total"),
        ("return tonumbr(ARGV[1])", "reads global tonumbr"),
        ("return os.time()", "reads global os"),
        ("return cmsgpack.pack(1)", "reads global cmsgpack"),
        ("local x =", "does not compile"),
    ],
)
def test_globals_are_found(script: str, message: str) -> None:
    found = lua_globals.global_findings("a.lua", script)
    assert len(found) == 1
    assert message in found[0].message


def test_lines_of_globals() -> None:
    script = dedent("""\
        local text, yes, none = 'a', true, nil
        local function inner()
          return function() leaked = text end
        end
        return inner""")
    assert lua_globals.global_accesses(script) == [("leaked", 3, True)]


def test_locals_and_what_redis_offers_pass() -> None:
    script = "local n = tonumber(ARGV[1]) or 0.5\nreturn redis.call('INCRBY', KEYS[1], n)"
    assert not lua_globals.global_findings("a.lua", script)


def test_different_reply_codes() -> None:
    lua = lua_rules.reply_codes("-- Codes.\nlocal HELD = 1\nlocal SOLD_OUT = 2 -- why\n")
    assert lua == {"HELD": 1, "SOLD_OUT": 2}
    assert not lua_rules.different_codes("c.lua", lua, {"HELD": 1, "SOLD_OUT": 2})
    assert lua_rules.different_codes("c.lua", lua, {"HELD": 1, "SOLD_OUT": 3})
    assert lua_rules.different_codes("c.lua", lua, {"HELD": 1})
    assert lua_rules.different_codes("c.lua", lua, {**lua, "NEW": 4})
