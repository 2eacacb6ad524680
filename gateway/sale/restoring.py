"""Brings back what the store forgot, from receipts: as expired reservations, which hold nothing.

What becomes of such a reservation is then for the late-payment rule to say.
"""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.core.model import SkuTerms
from gateway.sale.receipts import Receipt
from gateway.store.commands import StockCommands
from gateway.store.records import fingerprint_of, parse_record


class Restored(NamedTuple):
    """reservation_id: what to confirm; "" when the receipt buys nothing any more.

    missing: instead, a SKU that the store does not have.
    """

    reservation_id: str
    missing: str = ""


class Restorer:
    """Restores reservations of one shard.

    window_ms: how long after its creation a reservation cannot have been forgotten on purpose.
    A later receipt buys nothing: it may be of a reservation that was released.
    """

    def __init__(self, commands: StockCommands, window_ms: int) -> None:
        self._commands = commands
        self._window_ms = window_ms

    async def restore(self, batch: Sequence[Receipt]) -> list[Restored]:
        """What each receipt stands for now, in order.

        Under its key there may be another reservation by now, of a request that was sent again
        after the loss. If that means the same, it is the same purchase, and the one to confirm.
        """
        skus = {line.sku: None for receipt in batch for line in receipt.lines}
        now_ms, found = await self._commands.snapshot(list(skus))
        terms = {it.sku: it for it in found}
        records = await self._commands.restore(
            [
                (receipt.field, _record(receipt, terms))
                for receipt in batch
                if not self._refusal(receipt, terms, now_ms)
            ]
        )
        kept = iter(records)
        return [
            self._refusal(receipt, terms, now_ms) or self._named(receipt, next(kept))
            for receipt in batch
        ]

    def _refusal(
        self, receipt: Receipt, terms: dict[str, SkuTerms], now_ms: int
    ) -> Restored | None:
        if now_ms > receipt.created_ms + self._window_ms:
            return Restored("")
        missing = [line.sku for line in receipt.lines if line.sku not in terms]
        return Restored("", missing[0]) if missing else None

    def _named(self, receipt: Receipt, record: bytes) -> Restored:
        if fingerprint_of(record) != receipt.fingerprint:
            return Restored("")
        return Restored(parse_record(receipt.field, self._commands.shard, record).id)


def _record(receipt: Receipt, terms: dict[str, SkuTerms]) -> str:
    """As lua/includes/records.lua writes it. Units count against the limit there is now."""
    lines = [
        f"{line.sku}*{line.quantity}{'*1' if terms[line.sku].settings.buyer_limit else ''}"
        for line in receipt.lines
    ]
    head = f"x|{receipt.created_ms}|{receipt.deadline_ms}|{receipt.middle}"
    return head + ",".join(lines)
