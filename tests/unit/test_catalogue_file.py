"""Catalogues: what they may say, and what is said about mistakes in them."""

from pathlib import Path

import pytest

from gateway.core.catalogue_file import CatalogueEntry, catalogue_docs, load_catalogue
from gateway.core.errors import SetupError
from gateway.core.model import SkuSettings

NOW_MS = 1_800_000_000_000
ROOT = Path(__file__).parents[2]


def load(folder: Path, text: str, name: str = "c.toml") -> list[CatalogueEntry]:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return load_catalogue(file, NOW_MS)


def complaint(folder: Path, text: str, name: str = "c.toml") -> str:
    with pytest.raises(SetupError) as error:
        load(folder, text, name)
    return error.value.message


def test_the_demo_catalogues_say_the_same() -> None:
    entries = load_catalogue(ROOT / "demo" / "catalogue.toml", NOW_MS)
    assert entries == load_catalogue(str(ROOT / "demo" / "catalogue.csv"), NOW_MS)
    by_sku = {entry.sku: entry for entry in entries}
    assert by_sku["phone-x-256"] == CatalogueEntry("phone-x-256", 200, 5, SkuSettings(1))
    assert by_sku["sneaker-42"].settings.sale_starts_ms == NOW_MS + 600_000
    assert by_sku["ticket-gala"].settings.hold_ttl_ms == 120_000


def test_every_field_in_both_formats(tmp_path: Path) -> None:
    expected = CatalogueEntry(
        "a",
        100,
        5,
        SkuSettings(
            buyer_limit=2,
            hold_ttl_ms=60_000,
            sale_starts_ms=1_794_326_400_000,
            sale_ends_ms=NOW_MS + 86_400_000,
            fuse_rps=5_000,
        ),
    )
    toml = """[[sku]]
sku = "a"
on_hand = 100
safety_stock = 5
buyer_limit = 2
hold_ttl_s = 60
sale_starts_at = "2026-11-11T00:00:00+08:00"
sale_ends_at = "+1d"
fuse_rps = 5_000
"""
    assert load(tmp_path, toml) == [expected]
    native = toml.replace('"2026-11-11T00:00:00+08:00"', "2026-11-10T16:00:00Z")
    assert load(tmp_path, native) == [expected]
    header = "sku,on_hand,safety_stock,buyer_limit,hold_ttl_s,sale_starts_at,sale_ends_at,fuse_rps"
    cells = f"\ufeff{header}\r\n"
    cells += '\r\na, 100 ,5,2,60,"2026-11-11t00:00:00.000+08:00",+1d,5000\r\n\r\n'
    assert load(tmp_path, cells, "c.CSV") == [expected]
    assert [doc.key for doc in catalogue_docs()] == header.split(",")


@pytest.mark.parametrize(
    ("text", "moment_ms"),
    [
        ("+30m", NOW_MS + 1_800_000),
        ("-1h", NOW_MS - 3_600_000),
        ("+250ms", NOW_MS + 250),
        ("+5s", NOW_MS + 5_000),
        ("2026-11-10T16:00:00Z", 1_794_326_400_000),
        ("2026-11-10 16:00:00.5z", 1_794_326_400_500),
        ("2026-11-10T15:59:59.999-00:00", 1_794_326_399_999),
    ],
)
def test_times(tmp_path: Path, text: str, moment_ms: int) -> None:
    entry = load(tmp_path, f'[[sku]]\nsku = "a"\non_hand = 1\nsale_starts_at = "{text}"\n')[0]
    assert entry.settings.sale_starts_ms == moment_ms


@pytest.mark.parametrize(
    "text",
    [
        '"30m"',
        '"+30"',
        '"+1.5h"',
        '"+٣m"',
        '"-99999999d"',
        '"+999999999d"',
        '"tomorrow"',
        '"2026-11-11"',
        '"2026-11-11T00:00:00"',
        '"2026-13-11T00:00:00Z"',
        '"2026-11-11T24:01:00Z"',
        '"2026-11-11T00:00:00Z\\n"',
        '"1969-12-31T23:59:59Z"',
        "2026-11-11T00:00:00",
        "2026-11-11",
        "1794326400",
    ],
)
def test_times_that_are_none(tmp_path: Path, text: str) -> None:
    message = complaint(tmp_path, f'[[sku]]\nsku = "a"\non_hand = 1\nsale_ends_at = {text}\n')
    assert f"{tmp_path}/c.toml:4: sale_ends_at: found " in message
    assert "allowed: an RFC 3339 time with its offset" in message


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('sku = "a{b}"\non_hand = 1', ':2: sku: found "a{b}"; allowed: 1 to 64 letters'),
        ('sku = ":a"\non_hand = 1', ":2: sku: found"),
        ('sku = "a\\n"\non_hand = 1', ":2: sku: found"),
        ('sku = ""\non_hand = 1', ":2: sku: found"),
        (f'sku = "{"a" * 65}"\non_hand = 1', ":2: sku: found"),
        ("on_hand = 1", ":1: sku: is missing; allowed: 1 to 64"),
        ('sku = "a"', ":1: on_hand: is missing; allowed: a whole number from 0 to"),
        ('sku = "a"\non_hand = -1', ":3: on_hand: found -1"),
        ('sku = "a"\non_hand = 1.5', ":3: on_hand: found 1.5"),
        ('sku = "a"\non_hand = true', ":3: on_hand: found true"),
        ('sku = "a"\non_hand = "5"', ':3: on_hand: found "5"'),
        ('sku = "a"\non_hand = 9007199254740993', ":3: on_hand: found"),
        ('sku = "a"\non_hand = 1\nhold_ttl_s = 14401', ":4: hold_ttl_s: found 14401; allowed: a"),
        ('sku = "a"\non_hand = 1\nlimit = 1', ":4: limit: there is no such setting"),
        ('sku = "a"\non_hand = 1\nonhand = 1', "did you mean `on_hand`?"),
        ('sku = "a"\non_hand = 1\nsafety_stock = 2', ":4: safety_stock: found 2; allowed: at most"),
        (
            'sku = "a"\non_hand = 1\nsale_starts_at = "+2h"\nsale_ends_at = "+2h"',
            ":5: sale_ends_at: found",
        ),
        ('sku = "a"\non_hand = 1\n[[sku]]\non_hand = 1\nsku = "a"', ':6: sku: found "a"'),
    ],
)
def test_a_wrong_table(tmp_path: Path, row: str, said: str) -> None:
    message = complaint(tmp_path, f"[[sku]]\n{row}\n")
    assert said.replace('found "a"', '"a" is already on line 2') in message or said in message
    assert message.startswith(f"{tmp_path}/c.toml:")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "c.toml: the catalogue has no SKU"),
        ("[sku]\nsku = 1", ":1: sku: allowed: [[sku]] tables"),
        ("sku = [1]", ":1: sku: allowed: [[sku]] tables"),
        (
            "# goods\n[[skus]]\n",
            ":2: skus: a catalogue has only [[sku]] tables; did you mean `sku`?",
        ),
        ("[[sku]", "c.toml:1:"),
    ],
)
def test_a_wrong_document(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "c.csv: the catalogue has no SKU"),
        ("sku,on_hand\n", "c.csv: the catalogue has no SKU"),
        ("sku;on_hand\na;1\n", ":1: columns are separated by semicolons; allowed: commas"),
        ("\nsku\na\n", ":2: on_hand: this column is missing from the header row"),
        ("sku,onhand\n", ":1: onhand: there is no such column; did you mean `on_hand`?"),
        ("sku,on_hand,sku\n", ":1: sku: this column appears more than once"),
        ("sku,on_hand\na,1\nb,\n", ':3: on_hand: found ""; allowed'),
        ("sku,on_hand\na,1_000\n", ':2: on_hand: found "1_000"'),
        ("sku,on_hand\na,1e3\n", ':2: on_hand: found "1e3"'),
        ("sku,on_hand\na,1,2\n", ":2: 3 cells under 2 columns"),
        ("sku,on_hand\na\n", ":2: on_hand: is missing"),
        ("sku,on_hand\na,1\na,2\n", ':3: sku: "a" is already on line 2'),
        ('sku,on_hand\na,"1\n', ":2: this is not valid CSV"),
        ('sku,on_hand\n"a\nb",1\n', ":3: sku: found"),
    ],
)
def test_a_wrong_csv(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text, "c.csv")


def test_all_mistakes_are_told_up_to_ten(tmp_path: Path) -> None:
    rows = "".join(f"s{number},-1\n" for number in range(12))
    lines = complaint(tmp_path, "sku,on_hand\n" + rows, "c.csv").split("\n")
    assert lines[0] == "the catalogue has 12 mistakes; nothing was imported"
    assert len(lines) == 12
    assert lines[-1] == "… and 2 more"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=f"no catalogue at {tmp_path}/absent.csv"):
        load_catalogue(tmp_path / "absent.csv", NOW_MS)
    with pytest.raises(SetupError, match=r"a catalogue is a \.toml or a \.csv file"):
        load_catalogue(tmp_path / "goods.xlsx", NOW_MS)
    with pytest.raises(SetupError, match="CSV may be larger.* is larger than"):
        load(tmp_path, "#" * (256 * 1024 + 1))
    (tmp_path / "latin.csv").write_bytes(b"sku,on_hand\n\xe9,1\n")
    with pytest.raises(SetupError, match=r"latin\.csv:2: this is not UTF-8"):
        load_catalogue(tmp_path / "latin.csv", NOW_MS)
