"""The project keeps its own house rules; test_rules.py shows that each rule bites."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core.codes import Reply
from gateway.store.scripts import load
from tests.tidy import lua_globals, lua_rules, text_rules
from tests.tidy.findings import Finding, project_files, read, report, sources, texts
from tests.tidy.import_rules import module_name, unreachable_modules
from tests.tidy.python_rules import CLOCKED, PRINTED, banned_references, long_functions

GATEWAY = {path: read(path) for path in sources("gateway", ".py")}
COMMANDS = {path: read(path) for path in sources("lua/commands", ".lua")}
INCLUDES = {path: read(path) for path in sources("lua/includes", ".lua")}
PROJECT = dict(texts(project_files()))

# The clock reads time and waits; chance makes seeded generators.
CLOCKS = {"gateway/core/clock.py", "gateway/core/chance.py"}
CODE = ("gateway/", "lua/", "loadtests/", "tests/")

Rule = Callable[[str, str], list[Finding]]


def findings(rule: Rule, files: dict[str, str]) -> list[Finding]:
    return [finding for path, text in files.items() for finding in rule(path, text)]


def test_there_is_something_to_check() -> None:
    assert GATEWAY
    assert COMMANDS
    assert INCLUDES
    assert len(PROJECT) > len(GATEWAY)


def test_functions_are_short() -> None:
    found = findings(long_functions, GATEWAY)
    assert not found, report(found)


def test_files_are_short() -> None:
    code = {p: t for p, t in PROJECT.items() if p.startswith(CODE) and p.endswith((".py", ".lua"))}
    found = findings(text_rules.long_file, code)
    assert not found, report(found)


def test_time_and_chance_come_from_the_clock() -> None:
    clocked = {path: text for path, text in GATEWAY.items() if path not in CLOCKS}
    found = findings(lambda path, text: banned_references(path, text, CLOCKED), clocked)
    assert not found, report(found)


def test_only_the_command_line_prints() -> None:
    quiet = {p: t for p, t in GATEWAY.items() if not p.startswith("gateway/cli/")}
    found = findings(lambda path, text: banned_references(path, text, PRINTED), quiet)
    assert not found, report(found)


def test_every_module_is_used() -> None:
    # Alembic finds its migrations by folder.
    migrations = [module_name(path) for path in GATEWAY if "/migrations/" in path]
    found = unreachable_modules(GATEWAY, ["gateway.__main__", *migrations])
    assert not found, report(found)


def test_commands_explain_themselves() -> None:
    found = findings(lua_rules.command_header, COMMANDS)
    assert not found, report(found)


def test_includes_explain_themselves() -> None:
    found = findings(lua_rules.include_header, INCLUDES)
    assert not found, report(found)


def test_includes_exist_and_are_used() -> None:
    found = lua_rules.broken_includes(COMMANDS, INCLUDES)
    assert not found, report(found)


@pytest.mark.parametrize("path", COMMANDS)
def test_scripts_touch_no_globals(path: str) -> None:
    script = load(Path(path).stem)
    found = lua_globals.global_findings(path, script.text)
    assert not found, report(found)


def test_reply_codes_are_one_list() -> None:
    path = "lua/includes/codes.lua"
    in_lua = lua_rules.reply_codes(INCLUDES[path])
    in_python = {reply.name: int(reply) for reply in Reply}
    assert len(set(in_lua.values())) == len(in_lua) > 0
    found = lua_rules.different_codes(path, in_lua, in_python)
    assert not found, report(found)


def test_nothing_is_left_for_later() -> None:
    found = findings(text_rules.unfinished_marks, PROJECT)
    assert not found, report(found)


def test_no_paths_of_one_machine() -> None:
    found = findings(text_rules.machine_paths, PROJECT)
    assert not found, report(found)
