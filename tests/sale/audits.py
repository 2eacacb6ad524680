"""Steps of the audit's tests: an auditor of a sale, and drift planted in every counter."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gateway.core.config import AuditConfig
from gateway.core.events import Event
from gateway.ledger import AuditRun
from gateway.runtime.audit import open_auditor
from gateway.sale.auditor import Auditor
from gateway.store import keys
from tests.sale.steps import Sale

SKU = "phone"
QUICK = AuditConfig(compare_s=0.1, records_per_s=1_000_000, recount_max=20_000)


def auditor_of(sale: Sale, told: list[Event] | None = None, **changes: Any) -> Auditor:
    """An auditor of its own, as another process would have it."""
    config = msgspec.structs.replace(QUICK, **changes)
    core = msgspec.structs.replace(
        sale.core, config=msgspec.structs.replace(sale.core.config, audit=config)
    )
    return open_auditor(core, sale.stack, tell=(told if told is not None else []).append)


async def shift(sale: Sale, term: str, by: int, sku: str = SKU) -> None:
    """Change one counter behind everybody's back."""
    await sale.raw("HINCRBY", keys.sku(0, sku), term, by)


async def runs(sale: Sale) -> list[AuditRun]:
    """All audits with their findings, the latest first."""
    book = sale.ledger.audits
    found = [await book.get(run.id) for run in await book.page()]
    return [run for run in found if run is not None]


Plant = Callable[[Sale], Awaitable[None]]


def a_shift(term: str, by: int) -> Plant:
    async def plant(sale: Sale) -> None:
        await shift(sale, term, by)

    return plant


async def two_that_balance(sale: Sale) -> None:
    await shift(sale, "held", 2)
    await shift(sale, "available", -2)


async def sold_and_on_hand(sale: Sale) -> None:
    for term, by in (("sold", 1), ("on_hand", -1), ("available", -1)):
        await shift(sale, term, by)


async def no_number(sale: Sale) -> None:
    await sale.raw("HSET", keys.sku(0, SKU), "held", "many")


async def a_buyer_more(sale: Sale) -> None:
    await sale.raw("HINCRBY", keys.buyers(0, SKU), "ann", 1)


async def a_buyer_less(sale: Sale) -> None:
    await sale.raw("HDEL", keys.buyers(0, SKU), "ann")


async def a_stranger_counts(sale: Sale) -> None:
    await sale.raw("HSET", keys.buyers(0, SKU), "nobody", 3)


async def other_settings(sale: Sale) -> None:
    await sale.raw("HSET", keys.sku(0, SKU), "settings", "9|0|0|0|0")


DRIFTS: dict[str, Plant] = {
    **{
        f"{term}{by:+}": a_shift(term, by)
        for term in ("on_hand", "available", "held", "unsettled", "safety_stock", "sold")
        for by in (-1, 3)
    },
    "held-and-available": two_that_balance,
    "sold-and-on_hand": sold_and_on_hand,
    "no-number": no_number,
    "buyer+1": a_buyer_more,
    "buyer-gone": a_buyer_less,
    "buyer-unknown": a_stranger_counts,
    "settings": other_settings,
}


async def a_busy_shop(sale: Sale) -> None:
    """Reservations in every state that counts."""
    await sale.put(SKU, 500, 5, buyer_limit=400)
    await sale.put("case", 500)
    settler = sale.settler()
    for _ in range(3):
        await sale.confirmed((SKU, 2), ("case", 1), buyer="ann")
    while await sale.outbox_length():
        await settler.step()
    await sale.held((SKU, 3), buyer="ann")
    await sale.confirmed((SKU, 1), buyer="bo")
