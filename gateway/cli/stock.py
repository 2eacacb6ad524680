"""`stockgate stock`: SKUs and their units, from the command line."""

import re
from typing import Any

import click
from msgspec.structs import replace

from gateway.api.times import EARLIEST_MS, LATEST_MS, parse_rfc3339
from gateway.cli.common import check_words, config_option, counted, operator
from gateway.cli.stores import with_core
from gateway.cli.tables import show_table
from gateway.core.catalogue_file import load_catalogue
from gateway.core.clock import SystemClock
from gateway.core.errors import SetupError
from gateway.core.model import UNITS_MAX, SkuSettings, SkuTerms, is_sku
from gateway.runtime.core import Core, import_catalogue
from gateway.sale.catalogue import Moved
from gateway.sale.outcomes import Refused

PAGE = 500
COLUMNS = (
    "SKU",
    "on hand",
    "avail.",
    "held",
    "unsett.",
    "safety",
    "sold",
    "limit",
    "hold ttl",
)


class _Delta(click.IntRange):
    """Units to add or take away."""

    name = "units"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not re.fullmatch(r"[+-]?[0-9]+", str(value)):
            self.fail(f"{value!r} is no number of units, such as 5 or -2", param, ctx)
        return int(super().convert(value, param, ctx))


def _moment(text: str) -> int:
    """A time as milliseconds since the epoch; 0 for "none"."""
    if text == "none":
        return 0
    try:
        ms = parse_rfc3339(text)
    except (ValueError, OverflowError):
        ms = 0
    if not EARLIEST_MS <= ms <= LATEST_MS:
        raise click.BadParameter(f"{text!r} is no time such as 2026-11-11T10:00:00Z")
    return ms


UNITS = click.IntRange(0, UNITS_MAX)
DELTA = _Delta(-UNITS_MAX, UNITS_MAX)


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
@click.option("--sale-starts-at", type=_moment, metavar="TIME", help="RFC 3339; none: at once.")
@click.option("--sale-ends-at", type=_moment, metavar="TIME", help="RFC 3339; none: never.")
@config_option
def set_stock(
    sku: str,
    on_hand: int,
    safety_stock: int | None,
    buyer_limit: int | None,
    hold_ttl_s: int | None,
    sale_starts_at: int | None,
    sale_ends_at: int | None,
    config_path: str | None,
) -> None:
    """Create SKU, or set its units; what is not given stays as it is."""
    _check_sku(sku)
    wanted = {
        "buyer_limit": buyer_limit,
        "hold_ttl_ms": None if hold_ttl_s is None else hold_ttl_s * 1000,
        "sale_starts_ms": sale_starts_at,
        "sale_ends_ms": sale_ends_at,
    }

    async def work(core: Core) -> Moved | Refused:
        now = await core.catalogue.get(sku)
        settings = _settings(now.settings if now else SkuSettings(), wanted)
        safety = safety_stock
        if safety is None:
            safety = now.safety_stock if now else 0
        if safety > on_hand:
            raise SetupError(f"safety stock {safety} is more than the {on_hand} units on hand")
        return await core.catalogue.put(sku, on_hand, safety, settings, operator())

    _show(with_core(config_path, work, creates=True))


# A DELTA such as -2 is an argument, not an option that there is not.
@stock.command(context_settings={"ignore_unknown_options": True})
@click.argument("sku")
@click.argument("delta", type=DELTA)
@click.option("--reason", required=True, help="Why, for the journal.")
@config_option
def adjust(sku: str, delta: int, reason: str, config_path: str | None) -> None:
    """Add DELTA units to SKU; negative takes away."""

    async def work(core: Core) -> Moved | Refused:
        return await core.catalogue.adjust(sku, delta, reason, operator(), None)

    _check_sku(sku)
    if delta == 0:
        raise SetupError("an adjustment by 0 changes nothing")
    check_words("reason", reason)
    _show(with_core(config_path, work))


@stock.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--replace", is_flag=True, help="Also set SKUs that exist already.")
@config_option
def import_file(file: str, replace: bool, config_path: str | None) -> None:
    """Create the SKUs of FILE, a TOML or CSV catalogue such as demo/catalogue.toml."""
    entries = load_catalogue(file, SystemClock().now_ms())

    async def work(core: Core) -> tuple[int, int]:
        return await import_catalogue(core.catalogue, entries, actor=operator(), replace=replace)

    put, left = with_core(config_path, work, creates=True)
    kept = "it is" if left == 1 else "they are"
    click.echo(f"{counted(put, 'SKU')} imported, {left} left as {kept}.")


def _settings(now: SkuSettings, wanted: dict[str, int | None]) -> SkuSettings:
    """The settings now, with those that were given."""
    given = {name: value for name, value in wanted.items() if value is not None}
    settings = replace(now, **given)
    if settings.sale_ends_ms and settings.sale_ends_ms <= settings.sale_starts_ms:
        raise SetupError("the sale must end after it starts")
    return settings


def _check_sku(sku: str) -> None:
    if not is_sku(sku):
        raise SetupError(
            f"{sku!r} cannot be a SKU",
            hint="Use 1 to 64 letters, digits and . _ : -, beginning with a letter or digit.",
        )


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
