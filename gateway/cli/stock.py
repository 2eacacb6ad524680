"""`stockgate stock`: SKUs and their units, from the command line."""

import getpass
import re

import click
from msgspec.structs import replace

from gateway.api.schemas import REASON_PATTERN, UNITS_MAX, is_sku
from gateway.cli.common import config_option, show_table, with_core
from gateway.core.catalogue_file import load_catalogue
from gateway.core.clock import SystemClock
from gateway.core.errors import SetupError
from gateway.core.model import SkuSettings, SkuTerms
from gateway.runtime.core import Core, import_catalogue
from gateway.sale.catalogue import Moved
from gateway.sale.outcomes import Refused

PAGE = 500
COLUMNS = (
    "SKU",
    "on hand",
    "available",
    "held",
    "unsettled",
    "safety",
    "sold",
    "buyer limit",
    "hold ttl",
)
UNITS = click.IntRange(0, UNITS_MAX)
DELTA = click.IntRange(-UNITS_MAX, UNITS_MAX)


@click.group()
def stock() -> None:
    """SKUs: list, set, adjust, import."""


@stock.command("list")
@config_option
def list_stock(config_path: str | None) -> None:
    """Every SKU with the terms of its invariant."""
    show_table(COLUMNS, [_row(terms) for terms in with_core(config_path, _all)])


async def _all(core: Core) -> list[SkuTerms]:
    found: list[SkuTerms] = []
    while page := await core.catalogue.page(found[-1].sku if found else "", PAGE):
        found += page
    return found


@stock.command("set")
@click.argument("sku")
@click.option("--on-hand", type=UNITS, required=True, help="Units owned.")
@click.option("--safety-stock", type=UNITS, help="Units that holds never take.")
@click.option("--buyer-limit", type=click.IntRange(0, 10**6), help="Units a buyer; 0: no limit.")
@click.option("--hold-ttl-s", type=click.IntRange(0, 14_400), help="0: the gateway's own.")
@config_option
def set_stock(
    sku: str,
    on_hand: int,
    safety_stock: int | None,
    buyer_limit: int | None,
    hold_ttl_s: int | None,
    config_path: str | None,
) -> None:
    """Create SKU, or set its units; what is not given stays as it is."""

    async def work(core: Core) -> Moved | Refused:
        now = await core.catalogue.get(sku)
        settings = now.settings if now else SkuSettings()
        if buyer_limit is not None:
            settings = replace(settings, buyer_limit=buyer_limit)
        if hold_ttl_s is not None:
            settings = replace(settings, hold_ttl_ms=hold_ttl_s * 1000)
        safety = safety_stock
        if safety is None:
            safety = now.safety_stock if now else 0
        _check(sku, on_hand, safety)
        return await core.catalogue.put(sku, on_hand, safety, settings, _actor())

    _show(with_core(config_path, work))


@stock.command()
@click.argument("sku")
@click.argument("delta", type=DELTA)
@click.option("--reason", required=True, help="Why, for the journal.")
@config_option
def adjust(sku: str, delta: int, reason: str, config_path: str | None) -> None:
    """Add DELTA units to SKU; negative takes away (write it after --)."""

    async def work(core: Core) -> Moved | Refused:
        return await core.catalogue.adjust(sku, delta, reason, _actor(), None)

    if delta == 0:
        raise SetupError("an adjustment by 0 changes nothing")
    if not re.search(REASON_PATTERN, reason):
        raise SetupError("the reason must be 1 to 200 characters on one line, and not blank")
    _show(with_core(config_path, work))


@stock.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--replace", is_flag=True, help="Also set SKUs that exist already.")
@config_option
def import_file(file: str, replace: bool, config_path: str | None) -> None:
    """Create the SKUs of FILE, a TOML or CSV catalogue such as demo/catalogue.toml."""
    entries = load_catalogue(file, SystemClock().now_ms())

    async def work(core: Core) -> tuple[int, int]:
        return await import_catalogue(core.catalogue, entries, actor=_actor(), replace=replace)

    put, left = with_core(config_path, work)
    click.echo(f"{put} SKUs imported, {left} left as they are.")


def _check(sku: str, on_hand: int, safety: int) -> None:
    if not is_sku(sku):
        raise SetupError(
            f"{sku!r} cannot be a SKU",
            hint="Use 1 to 64 letters, digits and . _ : -, beginning with a letter or digit.",
        )
    if safety > on_hand:
        raise SetupError(f"safety stock {safety} is more than the {on_hand} units on hand")


def _show(answer: Moved | Refused) -> None:
    if isinstance(answer, Refused):
        available = answer.params.get("available")
        raise SetupError(
            f"refused: {answer.code}" + (f"; {available} units are available" if available else ""),
            exit_code=1,
        )
    show_table(COLUMNS, [_row(answer.terms)])


def _row(t: SkuTerms) -> tuple[object, ...]:
    ttl = f"{t.settings.hold_ttl_ms // 1000} s" if t.settings.hold_ttl_ms else "default"
    limit = str(t.settings.buyer_limit or "none")
    units = (t.on_hand, t.available, t.held, t.unsettled, t.safety_stock, t.sold)
    return (t.sku, *units, limit, ttl)


def _actor() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        return "cli"
