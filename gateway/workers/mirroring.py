"""Mirroring the ledger's decisions into the store, in script calls of bounded size."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence

from gateway.core import faults, metrics
from gateway.core.codes import Reply
from gateway.core.errors import InvariantBreach
from gateway.store.commands import StockCommands
from gateway.store.outbox import Entry
from gateway.workers.deducting import Failure

_log = logging.getLogger(__name__)

MIRROR_LINES_MAX = 500
"""Lines of reservations mirrored in one script call."""

Mirror = Callable[[Sequence[tuple[str, str]]], Awaitable[list[Reply]]]

_MIRRORED = (Reply.DONE, Reply.UNCHANGED)
_GONE = Reply.UNKNOWN_RESERVATION  # acknowledged by the script: nothing is left to be moved


class Mirrorer:
    """Moves reservations in the store to where the ledger has them, and acknowledges them."""

    def __init__(self, commands: StockCommands) -> None:
        self._commands = commands

    async def settle(self, entries: Sequence[Entry]) -> list[Failure]:
        """Mirror what was sold; those that cannot be mirrored now."""
        return await self._mirror("settled", self._commands.settle, entries)

    async def reject(self, entries: Sequence[Entry]) -> list[Failure]:
        """Mirror what was refused; those that cannot be mirrored now."""
        return await self._mirror("rejected", self._commands.reject, entries)

    async def _mirror(
        self, outcome: str, command: Mirror, entries: Sequence[Entry]
    ) -> list[Failure]:
        failures: list[Failure] = []
        for piece in _pieces(entries):
            codes = await _run(command, piece)
            metrics.SETTLED.labels(outcome).inc(sum(code in _MIRRORED for code in codes))
            for entry, code in zip(piece, codes, strict=True):
                if code not in _MIRRORED:
                    failures += _failure(outcome, entry, code)
        return failures


async def _run(command: Mirror, piece: Sequence[Entry]) -> list[Reply]:
    """One call for all; one each when their sum would break the store's counters."""
    try:
        return await command([(e.entry_id, e.field) for e in piece])
    except InvariantBreach:
        if len(piece) == 1:
            return [Reply.INVARIANT_BREACH]
        return [code for entry in piece for code in await _run(command, [entry])]


def _failure(outcome: str, entry: Entry, code: Reply) -> list[Failure]:
    if code is Reply.REBUILDING:
        return [Failure(entry, faults.STOCK_INCONSISTENT, "a SKU of it is being rebuilt")]
    metrics.INVARIANT_BREACHES.inc()
    words = f"{outcome} reservation {entry.reservation.id} cannot be mirrored: {code.name.lower()}"
    _log.error("%s", words)
    if code is _GONE:
        return []
    breach = code is Reply.INVARIANT_BREACH
    cause = faults.STOCK_INCONSISTENT if breach else faults.MIRROR_REFUSED
    return [Failure(entry, cause, words)]


def _pieces(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Cut so that one script call does not hold Redis for long: by lines, not by entries."""
    piece: list[Entry] = []
    lines = 0
    for entry in entries:
        more = len(entry.reservation.lines)
        if piece and lines + more > MIRROR_LINES_MAX:
            yield piece
            piece, lines = [], 0
        piece.append(entry)
        lines += more
    if piece:
        yield piece
