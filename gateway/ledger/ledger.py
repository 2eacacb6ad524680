"""The ledger as the rest of the gateway sees it."""

from collections.abc import Sequence
from functools import partial
from typing import Self

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from gateway.core.clock import Clock
from gateway.core.marks import Mark
from gateway.ledger import (
    audit,
    deduct,
    fences,
    marks,
    moves,
    opening,
    payment_refs,
    reads,
    rebuilding,
    settings,
)
from gateway.ledger.audit_book import AuditBook
from gateway.ledger.dead_letters import DeadLetterBook
from gateway.ledger.engine import Database
from gateway.ledger.opening import LedgerState
from gateway.ledger.types import (
    Deduction,
    LedgerCheck,
    Move,
    MoveAnswer,
    MoveRequest,
    Outcome,
    Recorded,
    StockRow,
)

AUDIT_TIMEOUT_S = 600.0


class Ledger:
    """Decides what is sold. Every call is one transaction with a deadline.

    Raises (every call):
        LedgerUnavailable: the ledger could not be asked, or did not answer in time. What it was
            asked for may then still happen; each change is safe to ask for again.
        InvariantBreach: the ledger's own constraints refused the change; nothing was written.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.letters = DeadLetterBook(database, clock)
        self.audits = AuditBook(database, clock)

    @classmethod
    async def open(cls, url: str, clock: Clock, *, timeout_s: float = 5.0, migrate: bool) -> Self:
        """Open the ledger at `url`, a database address such as sqlite:///ledger.db.

        migrate: create or upgrade the tables where needed, instead of asking for it.
        timeout_s: the deadline of every call.

        Raises:
            SetupError: a person must act: no such file, not a database, no right to write it,
                tables of another version.
            LedgerUnavailable: the database server does not answer.
        """
        return cls(await opening.open_database(url, clock, timeout_s, migrate=migrate), clock)

    @staticmethod
    async def look(url: str, clock: Clock, *, timeout_s: float = 5.0) -> LedgerState:
        """Where the ledger at `url` is and the version of its tables; makes and changes nothing.

        Raises as `open`.
        """
        return await opening.look(url, clock, timeout_s)

    async def deduct(self, batch: Sequence[Deduction]) -> list[Outcome]:
        """Take each reservation exactly once, whole or not at all; outcomes in input order.

        Refusals are outcomes too, and final: `shortfall`, `unknown-sku`, `payment-ref-used`.
        """
        if not batch:
            return []
        now_ms = self._clock.now_ms()
        try:
            return await self._database.attempt(
                partial(deduct.deduct_new, batch=batch, now_ms=now_ms)
            )
        except DBAPIError:
            return await self._database.write(partial(deduct.deduct, batch=batch, now_ms=now_ms))

    async def begin_move(self, request: MoveRequest) -> MoveAnswer:
        """Number a change of a SKU; the store applies it next, then `finish_move`.

        Raises:
            LeaseLost: the request carries a stale fence.
        """
        now_ms = self._clock.now_ms()
        return await self._database.write(partial(moves.begin, request=request, now_ms=now_ms))

    async def finish_move(self, sku: str, seq: int, applied: bool) -> StockRow:
        """Close a move with the store's verdict. The first verdict stays; repeats change nothing.

        A refused move leaves no trace in the stock: what it had raised is taken back.

        Raises:
            LookupError: there is no such move.
        """
        now_ms = self._clock.now_ms()
        return await self._database.write(
            partial(moves.finish, sku=sku, seq=seq, applied=applied, now_ms=now_ms)
        )

    async def move(self, sku: str, seq: int) -> Move | None:
        """A move as it stands; None when there is no such move."""
        return await self._database.read(partial(moves.find, sku=sku, seq=seq))

    async def pending_moves(self) -> list[Move]:
        """Moves whose second step is missing, oldest first; at most one a SKU."""
        return await self._database.read(moves.pending)

    async def stock(
        self, skus: Sequence[str] | None = None, *, after: str = "", limit: int | None = None
    ) -> list[StockRow]:
        """The rows of `skus` that exist, or all rows above `after`, at most `limit`; by SKU."""
        if skus is not None:
            return await self._database.read(partial(reads.stock_of, skus=skus))
        return await self._database.read(partial(reads.stock_page, after=after, limit=limit))

    async def deduction(self, reservation_id: str) -> Recorded | None:
        """What was decided about a reservation, None when nothing was."""
        return await self._database.read(partial(reads.deduction_of, reservation_id=reservation_id))

    async def bought_with(self, payment_ref: str) -> str | None:
        """The reservation that was settled with a payment reference; None when none was."""
        return await self._database.read(partial(payment_refs.owner_of, payment_ref=payment_ref))

    async def unknown_of(self, reservation_ids: Sequence[str]) -> list[str]:
        """Those about which nothing was decided, in the order given."""
        return await self._database.read(partial(reads.unknown_of, reservation_ids=reservation_ids))

    async def outcomes(self, reservation_ids: Sequence[str]) -> dict[str, Outcome]:
        """What was decided about those that were decided, by reservation id."""
        return await self._database.read(
            partial(deduct.recorded_outcomes, reservation_ids=reservation_ids)
        )

    async def owned(self) -> dict[str, tuple[StockRow, Move | None]]:
        """Every SKU with its pending move, at one moment."""
        return await self._database.read(rebuilding.owned, timeout_s=AUDIT_TIMEOUT_S)

    async def bought(self, skus: Sequence[str]) -> dict[str, dict[str, int]]:
        """Units sold, by SKU and buyer. Reads all that was sold of the SKUs."""
        return await self._database.read(
            partial(rebuilding.bought, skus=skus), timeout_s=AUDIT_TIMEOUT_S
        )

    async def in_letters(self, reservation_ids: Sequence[str]) -> set[str]:
        """Those whose dead letter is not done with: nobody else puts them on their way."""
        return await self._database.read(
            partial(rebuilding.in_letters, reservation_ids=reservation_ids)
        )

    async def mark(self, shard: int) -> Mark:
        """The shard's mark; NO_MARK when none was recorded."""
        return await self._database.read(partial(marks.find, shard=shard))

    async def raise_mark(self, shard: int, seen: Mark) -> Mark:
        """Remember a count that was seen in Redis, if it is the highest; the mark now."""
        return await self._database.write(partial(marks.raise_count, shard=shard, seen=seen))

    async def replace_mark(self, shard: int, mark: Mark, before: str) -> Mark:
        """Let another generation follow `before`, unless another has already; the mark now."""
        return await self._database.write(
            partial(marks.replace, shard=shard, mark=mark, before=before)
        )

    async def last_token(self, name: str) -> int:
        """The highest token recorded for a lease; 0 when none was."""
        return await self._database.read(partial(fences.last_token, name=name))

    async def record_token(self, name: str, token: int) -> bool:
        """Record a lease's token above all before, and refuse those from now on.

        False, and no change, when it is not above them.
        """
        return await self._database.write(partial(fences.record_token, name=name, token=token))

    async def keep_setting(self, name: str, value: str) -> str:
        """The deployment's value of `name`, for all its gateways; the first one given stays."""
        return await self._database.write(partial(settings.keep, name=name, value=value))

    async def audit(self, *, timeout_s: float = AUDIT_TIMEOUT_S) -> list[LedgerCheck]:
        """Recompute every SKU's counters from the rows, on one snapshot. Reads all rows."""
        return await self._database.read(audit.audit, timeout_s=timeout_s)

    async def ping(self) -> None:
        """Return when the ledger answers."""
        await self._database.read(_ping)

    async def close(self) -> None:
        """Let running work end and close the connections."""
        await self._database.close()


def _ping(connection: Connection) -> None:
    connection.execute(select(1))
