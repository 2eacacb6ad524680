"""Loading the configuration: file, then environment, then the rules between fields.

A value is taken from `STOCKGATE_<SECTION>_<NAME>` in the environment, else from the TOML file,
else from its default. Relative paths in the file are relative to the file's folder; all others
to the working directory. Every mistake is reported at once, each with its line.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gateway.core.config_notify import NotifyConfig, TargetConfig, checked_target, target_rows
from gateway.core.config_receipts import ReceiptsConfig
from gateway.core.config_rules import SQLITE, broken_rules, check_key, is_loopback
from gateway.core.config_schema import (
    AuditConfig,
    BatchConfig,
    Config,
    ConfirmConfig,
    DemoConfig,
    HoldConfig,
    KeyConfig,
    Origin,
    ReaperConfig,
    RedisConfig,
    RetentionConfig,
    ServerConfig,
    SettlerConfig,
    SnapshotConfig,
)
from gateway.core.errors import SetupError
from gateway.core.fields import (
    FieldDoc,
    Report,
    convert_table,
    convert_text,
    did_you_mean,
    docs_of,
    expected,
    found,
    meta_of,
    redact,
    shown,
)
from gateway.core.toml_lines import KeyPath, line_of, parse_toml, read_text

__all__ = [
    "AuditConfig",
    "BatchConfig",
    "Config",
    "ConfirmConfig",
    "DemoConfig",
    "HoldConfig",
    "KeyConfig",
    "NotifyConfig",
    "Origin",
    "ReaperConfig",
    "RedisConfig",
    "RetentionConfig",
    "ServerConfig",
    "SettlerConfig",
    "SnapshotConfig",
    "TargetConfig",
    "config_as_rows",
    "config_docs",
    "is_loopback",
    "load_config",
]

DEFAULT_FILE = "stockgate.toml"
ENV_PREFIX = "STOCKGATE_"

_FILE_BYTES_MAX = 1024 * 1024
_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "server": ServerConfig,
    "hold": HoldConfig,
    "batch": BatchConfig,
    "redis": RedisConfig,
    "confirm": ConfirmConfig,
    "settler": SettlerConfig,
    "reaper": ReaperConfig,
    "snapshot": SnapshotConfig,
    "retention": RetentionConfig,
    "audit": AuditConfig,
    "demo": DemoConfig,
    "notify": NotifyConfig,
    "receipts": ReceiptsConfig,
}
_TOP_FIELDS = {f.name: f.type for f in msgspec.structs.fields(Config) if meta_of(f.type)}
# What Kubernetes sets by itself for a Service called "stockgate" or "stockgate-redis".
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)\Z|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?\Z")
_SERVICE_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")


class _Setting(NamedTuple):
    """A value as found: where, and the folder that a relative path in it starts from."""

    value: Any
    source: str
    folder: Path


class _Draft:
    """Everything known while loading; `problems` are (source, key or "", complaint)."""

    def __init__(self) -> None:
        self.settings: dict[str, _Setting] = {}
        self.keys: tuple[KeyConfig, ...] = ()
        self.targets: tuple[TargetConfig, ...] = ()
        self.problems: list[tuple[str, str, str]] = []

    def source(self, key: str) -> str:
        setting = self.settings.get(key)
        return setting.source if setting else "default"

    def take(self, key: str, value: Any, source: str, folder: Path) -> None:
        self.settings[key] = _Setting(value, source, folder)

    def complain(self, source: str, key: str, complaint: str) -> None:
        self.problems.append((source, key, complaint))


def load_config(path: str | None, env: Mapping[str, str], *, cwd: Path | None = None) -> Config:
    """The configuration in force.

    Args:
        path: the file given with --config; None takes ./stockgate.toml if there is one.
        env: the process's environment.
        cwd: where relative paths start; the working directory unless given.
    Raises:
        SetupError: names file, line, key, what was found and what is allowed, for every mistake.
    """
    here = (cwd or Path.cwd()).absolute()
    draft = _Draft()
    file = _find_file(path, here)
    if file is not None:
        _read_file(draft, file)
    _read_env(draft, env, here)
    config = _build(draft, file, here)
    for keys, complaint in broken_rules(config):
        named = [key for key in keys if draft.source(key) != "default"] or keys
        draft.complain(draft.source(named[0]), named[0], complaint)
    _refuse_if_wrong(draft)
    return config


def config_as_rows(config: Config) -> list[tuple[str, Any, str]]:
    """Every setting as (dotted key, value, source), safe to show: no password, no key hash.

    A source is "default", "FILE:LINE" or "environment VARIABLE".
    """
    rows: list[tuple[str, Any]] = [(name, getattr(config, name)) for name in _TOP_FIELDS]
    for section, kind in _SECTIONS.items():
        table = getattr(config, section)
        rows += [(f"{section}.{f.name}", shown(f, table)) for f in msgspec.structs.fields(kind)]
    for index, key in enumerate(config.keys):
        rows.append((f"keys[{index}].name", key.name))
        rows.append((f"keys[{index}].sha256", "(hidden)"))
        rows.append((f"keys[{index}].scopes", list(key.scopes)))
    for index, target in enumerate(config.targets):
        rows += target_rows(index, target)
    sources = config.origin.sources
    return [
        (key, redact(value) if isinstance(value, str) else value, sources.get(key, "default"))
        for key, value in rows
    ]


def config_docs() -> list[FieldDoc]:
    """Every setting with its default, range and meaning, in the order of the file."""
    rows = docs_of(Config)
    for section, kind in _SECTIONS.items():
        rows += docs_of(kind, prefix=f"{section}.")
    rows += docs_of(TargetConfig, prefix="notify.targets[].")
    return rows + docs_of(KeyConfig, prefix="keys[].")


# ── the file ─────────────────────────────────────────────────────────────────


def _find_file(path: str | None, here: Path) -> Path | None:
    if path is None:
        default = here / DEFAULT_FILE
        return default if default.exists() else None
    file = here / Path(path).expanduser()
    if not file.exists():
        raise SetupError(
            f"no configuration file at {file} (--config {path})",
            hint=f"Leave --config out to use ./{DEFAULT_FILE}, or the defaults if there is none.",
        )
    return file


def _read_file(draft: _Draft, file: Path) -> None:
    text = read_text(file, what="configuration file", bytes_max=_FILE_BYTES_MAX)

    def place(key: KeyPath) -> str:
        return f"{file}:{line_of(text, key)}"

    for name, value in parse_toml(text, file).items():
        if name in _SECTIONS:
            _read_section(draft, name, value, file, place((name,)), text)
        elif name == "keys":
            _read_keys(draft, value, file, text)
        elif name in _TOP_FIELDS:
            draft.take(name, value, place((name,)), file.parent)
        else:
            known = [*_TOP_FIELDS, *_SECTIONS, "keys"]
            suggestion = _home_of(name) or did_you_mean(name, known)
            draft.complain(place((name,)), name, f"there is no such setting{suggestion}")


def _home_of(name: str) -> str:
    """Where a setting written outside its table belongs."""
    homes = [f"{section}.{name}" for section, kind in _SECTIONS.items()
             if name in kind.__struct_fields__]  # fmt: skip
    return f"; did you mean `{'` or `'.join(homes)}`?" if homes else ""


def _read_section(
    draft: _Draft, section: str, table: Any, file: Path, place: str, text: str
) -> None:
    if not isinstance(table, dict):
        draft.complain(place, section, f"found {found(table)}; allowed: a table, [{section}]")
        return
    known = _SECTIONS[section].__struct_fields__
    for name, value in table.items():
        if (section, name) == ("notify", "targets"):
            _read_targets(draft, value, file, text)
            continue
        key = f"{section}.{name}"
        source = f"{file}:{line_of(text, (section, name))}"
        if name in known:
            draft.take(key, value, source, file.parent)
        else:
            suggestion = _home_of(name) or did_you_mean(name, known, prefix=f"{section}.")
            draft.complain(source, key, f"there is no such setting{suggestion}")


def _read_keys(draft: _Draft, tables: Any, file: Path, text: str) -> None:
    good: list[KeyConfig] = []
    for table, report in _tables(draft, ("keys",), KeyConfig, tables, file, text):
        key = convert_table(KeyConfig, table, report)
        if key is not None:
            check_key(key, good, report)
            good.append(msgspec.structs.replace(key, sha256=key.sha256.lower()))
    draft.keys = tuple(good)


def _read_targets(draft: _Draft, tables: Any, file: Path, text: str) -> None:
    good: list[TargetConfig] = []
    for table, report in _tables(draft, ("notify", "targets"), TargetConfig, tables, file, text):
        target = convert_table(TargetConfig, table, report)
        if target is not None:
            good.append(checked_target(target, good, file.parent, report))
    draft.targets = tuple(good)


def _tables(
    draft: _Draft, path: KeyPath, kind: type[msgspec.Struct], tables: Any, file: Path, text: str
) -> Iterator[tuple[dict[str, Any], Report]]:
    """Each table of an array of them, noted with its line, and how to complain of a field in it."""
    array = ".".join(map(str, path))
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        place = f"{file}:{line_of(text, path)}"
        draft.complain(place, array, f"found {found(tables)}; allowed: [[{array}]] tables")
        return
    for index, table in enumerate(tables):
        whole = (*path, index)

        def report(
            name: str,
            complaint: str,
            table: Any = table,
            whole: KeyPath = whole,
            index: int = index,
        ) -> None:
            line = line_of(text, (*whole, name) if name in table else whole)
            draft.complain(f"{file}:{line}", f"{array}[{index}].{name}", complaint)

        yield table, report
        source = f"{file}:{line_of(text, whole)}"
        for name in kind.__struct_fields__:
            draft.take(f"{array}[{index}].{name}", None, source, file.parent)


# ── the environment ──────────────────────────────────────────────────────────


def _read_env(draft: _Draft, env: Mapping[str, str], here: Path) -> None:
    names = {ENV_PREFIX + key.upper().replace(".", "_"): key for key in _kinds()}
    for variable, text in sorted(env.items()):
        if not variable.startswith(ENV_PREFIX) or _is_service_link(variable, text):
            continue
        source = f"environment {variable}"
        key = names.get(variable)
        if key is None:
            _complain_of_variable(draft, variable, list(names))
            continue
        kind = _kinds()[key]
        try:
            draft.take(key, convert_text(kind, text.strip()), source, here)
        except msgspec.ValidationError:
            draft.complain(source, key, expected(kind, text))


def _kinds() -> dict[str, Any]:
    """The annotated type of every setting that one value can set."""
    kinds: dict[str, Any] = dict(_TOP_FIELDS)
    for section, kind in _SECTIONS.items():
        kinds |= {f"{section}.{f.name}": f.type for f in msgspec.structs.fields(kind)}
    return kinds


def _is_service_link(variable: str, text: str) -> bool:
    return bool(_SERVICE_LINK.search(variable) or _SERVICE_LINK_VALUE.match(text))


def _complain_of_variable(draft: _Draft, variable: str, names: list[str]) -> None:
    """Variables of ours with a section's name in them are typing errors; others are not ours."""
    source = f"environment {variable}"
    section = variable.removeprefix(ENV_PREFIX).partition("_")[0].lower()
    if variable == f"{ENV_PREFIX}KEYS":
        draft.complain(source, "keys", "keys are set in the file only, as [[keys]] tables")
    elif section in _SECTIONS:
        hint = did_you_mean(variable, [n for n in names if n.startswith(ENV_PREFIX)])
        draft.complain(source, "", f"there is no such setting{hint}")


# ── the whole ────────────────────────────────────────────────────────────────


def _refuse_if_wrong(draft: _Draft) -> None:
    if not draft.problems:
        return
    problems = sorted(draft.problems, key=lambda problem: _line_number(problem[0]))
    lines = [": ".join(filter(None, problem)) for problem in problems]
    if len(lines) > 1:
        lines.insert(0, f"the configuration has {len(lines)} mistakes")
    raise SetupError("\n".join(lines), hint="`stockgate config show` lists every setting.")


def _line_number(source: str) -> int:
    line = source.rpartition(":")[2]
    return int(line) if line.isdecimal() else 0


def _build(draft: _Draft, file: Path | None, here: Path) -> Config:
    """The checked values as a Config; reports what does not fit its field."""
    tables: dict[str, dict[str, Any]] = {"": {}, **{section: {} for section in _SECTIONS}}
    for key, setting in draft.settings.items():
        section, _, name = key.rpartition(".")
        if section in tables:
            tables[section][name] = setting.value

    def reporter(prefix: str) -> Any:
        return lambda name, complaint: draft.complain(
            draft.source(prefix + name), prefix + name, complaint
        )

    top = convert_table(Config, tables.pop(""), reporter(""))
    sections = {
        section: convert_table(_SECTIONS[section], table, reporter(f"{section}."))
        for section, table in tables.items()
    }
    _refuse_if_wrong(draft)
    assert top is not None
    sources = {key: setting.source for key, setting in draft.settings.items()}
    origin = Origin(str(file) if file else "", sources)
    whole: Config = msgspec.structs.replace(
        top, **sections, keys=draft.keys, targets=draft.targets, origin=origin
    )
    return _with_absolute_paths(whole, draft, here)


def _with_absolute_paths(config: Config, draft: _Draft, here: Path) -> Config:
    def absolute(key: str, text: str) -> str:
        setting = draft.settings.get(key)
        folder = setting.folder if setting else here
        return str((folder / Path(text).expanduser()).resolve()) if text else ""

    catalogue = absolute("demo.catalogue", config.demo.catalogue)
    secret_file = absolute("receipts.secret_file", config.receipts.secret_file)
    ledger = config.ledger
    file = ledger.removeprefix(f"{SQLITE}/")
    if file != ledger and file not in ("", ":memory:"):
        ledger = f"{SQLITE}/{absolute('ledger', file)}"
    return msgspec.structs.replace(
        config,
        data_dir=absolute("data_dir", config.data_dir),
        ledger=ledger,
        demo=DemoConfig(catalogue=catalogue),
        receipts=msgspec.structs.replace(config.receipts, secret_file=secret_file),
    )
