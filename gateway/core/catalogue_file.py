"""A catalogue that a person wrote: SKUs with their stock and the rules of their sale.

TOML has one `[[sku]]` table per SKU; CSV has a header row with the same names, and an empty cell
means the default. Times are RFC 3339 ("2026-11-11T00:00:00+08:00") or relative to the moment of
the import ("+30m", "-1h"; units ms, s, m, h, d).
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gateway.core.errors import SetupError
from gateway.core.fields import (
    FieldDoc,
    convert_table,
    convert_text,
    did_you_mean,
    docs_of,
    expected,
    found,
)
from gateway.core.model import SKU_PATTERN, UNITS_MAX, SkuSettings
from gateway.core.toml_lines import KeyPath, line_of, parse_toml, read_text

TOML_BYTES_MAX = 256 * 1024
CSV_BYTES_MAX = 64 * 1024 * 1024

_SHOWN_MAX = 10
_RELATIVE = re.compile(r"([+-])([0-9]{1,9})(ms|s|m|h|d)\Z")
_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII
)
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TIME_MS_MAX = 253_402_300_799_999  # the end of year 9999
_TIME_ALLOWED = 'an RFC 3339 time with its offset, or one relative to the import such as "+30m"'

Place = Callable[[], int]
Report = Callable[[str, str], None]


class CatalogueEntry(msgspec.Struct, frozen=True):
    """One SKU to create: units received, units kept back, and the rules of its sale."""

    sku: str
    on_hand: int
    safety_stock: int = 0
    settings: SkuSettings = SkuSettings()


class _Row(msgspec.Struct, frozen=True):
    """The fields of a catalogue as they are written."""

    sku: Annotated[
        str,
        Meta(
            pattern=SKU_PATTERN,
            description="Name of the SKU.",
            extra={"allowed": "1 to 64 letters, digits, . _ : or -, the first a letter or digit"},
        ),
    ]
    on_hand: Annotated[int, Meta(ge=0, le=UNITS_MAX, description="Units the ledger owns.")]
    safety_stock: Annotated[
        int, Meta(ge=0, le=UNITS_MAX, description="Units of on_hand kept back for late payments.")
    ] = 0
    buyer_limit: Annotated[
        int, Meta(ge=0, le=1_000_000, description="Units one buyer may have; 0 is no limit.")
    ] = 0
    hold_ttl_s: Annotated[
        int, Meta(ge=0, le=14_400, description="How long a hold lasts; 0 is the default.")
    ] = 0
    sale_starts_at: Annotated[
        str, Meta(description="No holds before this.", extra={"allowed": _TIME_ALLOWED})
    ] = ""
    sale_ends_at: Annotated[
        str, Meta(description="No holds from this on.", extra={"allowed": _TIME_ALLOWED})
    ] = ""
    fuse_rps: Annotated[
        int,
        Meta(ge=0, le=1_000_000, description="Hold requests/s that open the fuse; 0 the default."),
    ] = 0


_KINDS = {field.name: field.type for field in msgspec.structs.fields(_Row)}
_REQUIRED = [field.name for field in msgspec.structs.fields(_Row) if field.required]


class _Mistakes:
    """Complaints with their lines; a line is looked up only for those that are shown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.all: list[tuple[Place, str]] = []

    def add(self, place: Place, complaint: str) -> None:
        self.all.append((place, complaint))

    def raise_if_any(self) -> None:
        if not self.all:
            return
        lines = [f"{self.path}:{place()}: {text}" for place, text in self.all[:_SHOWN_MAX]]
        if len(self.all) > 1:
            lines.insert(0, f"the catalogue has {len(self.all)} mistakes; nothing was imported")
        if len(self.all) > _SHOWN_MAX:
            lines.append(f"… and {len(self.all) - _SHOWN_MAX} more")
        raise SetupError("\n".join(lines))


def load_catalogue(path: str | Path, now_ms: int) -> list[CatalogueEntry]:
    """The SKUs in a `.toml` or `.csv` file, in its order.

    Args:
        path: the file.
        now_ms: the moment relative times count from, milliseconds since the epoch.
    Raises:
        SetupError: with file and line of every mistake; then nothing is to be imported.
    """
    file = Path(path)
    readers = {".toml": _toml_rows, ".csv": _csv_rows}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise SetupError(f"{file}: a catalogue is a .toml or a .csv file")
    mistakes = _Mistakes(file)
    entries = _entries(reader(file, mistakes), now_ms, mistakes)
    mistakes.raise_if_any()
    if not entries:
        raise SetupError(f"{file}: the catalogue has no SKU", hint="It needs at least one.")
    return entries


def catalogue_docs() -> list[FieldDoc]:
    """Every field of a catalogue with its default, range and meaning."""
    return docs_of(_Row)


# ── the two formats: (table, line of a field), row by row ────────────────────

_Located = tuple[dict[str, Any], Callable[[str], Place]]


def _toml_rows(file: Path, mistakes: _Mistakes) -> Iterator[_Located]:
    text = read_text(file, what="catalogue (TOML; CSV may be larger)", bytes_max=TOML_BYTES_MAX)
    document = parse_toml(text, file)

    def at(*key: str | int) -> Place:
        return lambda: _line_or_table(text, key)

    for name in document.keys() - {"sku"}:
        hint = did_you_mean(name, ["sku"])
        mistakes.add(at(name), f"{name}: a catalogue has only [[sku]] tables{hint}")
    tables = document.get("sku", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        mistakes.add(at("sku"), "sku: allowed: [[sku]] tables, in double brackets")
        return
    for index, table in enumerate(tables):
        yield table, lambda name, index=index: at("sku", index, name)  # type: ignore[misc]


def _line_or_table(text: str, key: KeyPath) -> int:
    """The line of `key`, or of the table that should have had it."""
    line = line_of(text, key)
    return line if line > 1 or len(key) == 1 else line_of(text, key[:-1])


def _csv_rows(file: Path, mistakes: _Mistakes) -> Iterator[_Located]:
    text = read_text(file, what="catalogue", bytes_max=CSV_BYTES_MAX)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)

    def at(line: int) -> Callable[[str], Place]:
        return lambda _name: lambda: line

    header: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header:
                yield from _csv_row(header, cells, at(reader.line_num), mistakes)
                continue
            header = [cell.strip() for cell in cells]
            if not _good_header(header, at(reader.line_num), mistakes):
                return
    except csv.Error as error:
        mistakes.add(at(reader.line_num)(""), f"this is not valid CSV: {error}")


def _good_header(header: list[str], at: Callable[[str], Place], mistakes: _Mistakes) -> bool:
    before = len(mistakes.all)
    if len(header) == 1 and ";" in header[0]:
        mistakes.add(at(""), "columns are separated by semicolons; allowed: commas")
        return False
    for name in header:
        if name not in _KINDS:
            mistakes.add(at(name), f"{name}: there is no such column{did_you_mean(name, _KINDS)}")
        elif header.count(name) > 1:
            mistakes.add(at(name), f"{name}: this column appears more than once")
    for name in _REQUIRED:
        if name not in header:
            mistakes.add(at(name), f"{name}: this column is missing from the header row")
    return len(mistakes.all) == before


def _csv_row(
    header: list[str], cells: list[str], at: Callable[[str], Place], mistakes: _Mistakes
) -> Iterator[_Located]:
    if len(cells) > len(header):
        complaint = f"{len(cells)} cells under {len(header)} columns; quote text that has commas"
        mistakes.add(at(""), complaint)
        return
    table: dict[str, Any] = {}
    before = len(mistakes.all)
    for name, cell in zip(header, cells, strict=False):
        text = cell.strip()
        if not text and name not in _REQUIRED:
            continue
        try:
            table[name] = convert_text(_KINDS[name], text)
        except msgspec.ValidationError:
            mistakes.add(at(name), f"{name}: {expected(_KINDS[name], text)}")
    if len(mistakes.all) == before:
        yield table, at


# ── from a table to an entry ─────────────────────────────────────────────────


def _entries(rows: Iterator[_Located], now_ms: int, mistakes: _Mistakes) -> list[CatalogueEntry]:
    entries: list[CatalogueEntry] = []
    seen: dict[str, Place] = {}
    for table, at in rows:

        def report(name: str, complaint: str, at: Callable[[str], Place] = at) -> None:
            mistakes.add(at(name), f"{name}: {complaint}")

        entry = _entry(table, now_ms, report)
        if entry is None:
            continue
        if entry.sku in seen:
            report("sku", f"{found(entry.sku)} is already on line {seen[entry.sku]()}")
        seen.setdefault(entry.sku, at("sku"))
        entries.append(entry)
    return entries


def _entry(table: Mapping[str, Any], now_ms: int, report: Report) -> CatalogueEntry | None:
    row = convert_table(_Row, _times_as_text(table), report)
    if row is None:
        return None
    starts_ms = _time_ms("sale_starts_at", row.sale_starts_at, now_ms, report)
    ends_ms = _time_ms("sale_ends_at", row.sale_ends_at, now_ms, report)
    if row.safety_stock > row.on_hand:
        report("safety_stock", f"found {row.safety_stock}; allowed: at most on_hand, {row.on_hand}")
    if starts_ms and ends_ms and ends_ms <= starts_ms:
        report("sale_ends_at", f"found {found(row.sale_ends_at)}; allowed: after sale_starts_at")
    settings = SkuSettings(
        buyer_limit=row.buyer_limit,
        hold_ttl_ms=row.hold_ttl_s * 1_000,
        sale_starts_ms=starts_ms,
        sale_ends_ms=ends_ms,
        fuse_rps=row.fuse_rps,
    )
    return CatalogueEntry(row.sku, row.on_hand, row.safety_stock, settings)


def _times_as_text(table: Mapping[str, Any]) -> dict[str, Any]:
    """TOML has times of its own; those that state their offset are taken too."""
    return {
        name: value.isoformat() if isinstance(value, datetime) and value.tzinfo else value
        for name, value in table.items()
    }


def _time_ms(name: str, text: str, now_ms: int, report: Report) -> int:
    """`text` as milliseconds since the epoch; 0 when empty, or after reporting it."""
    if not text:
        return 0
    moment_ms = _relative_ms(text, now_ms) or _absolute_ms(text)
    if moment_ms is None or not 0 < moment_ms <= _TIME_MS_MAX:
        report(name, expected(_KINDS[name], text))
        return 0
    return moment_ms


def _relative_ms(text: str, now_ms: int) -> int | None:
    match = _RELATIVE.match(text)
    if match is None:
        return None
    distance_ms = int(match[2]) * _UNIT_MS[match[3]]
    return now_ms + distance_ms if match[1] == "+" else now_ms - distance_ms


def _absolute_ms(text: str) -> int | None:
    if not _RFC_3339.match(text):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        return round(moment.timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None
