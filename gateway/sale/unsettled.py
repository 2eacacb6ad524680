"""Confirmed reservations that nobody is settling, and holds that nobody expires.

Confirming and sending are one script, so a confirmed reservation is in the outbox, or has a dead
letter, until the ledger's word is mirrored. One that is in neither is looked up in the ledger:
settled there is mirrored, refused there too, and what the ledger does not know is sent again, which
has one effect however often it is done: the ledger takes a reservation's id once.
"""

from collections.abc import Sequence

from gateway.core.clock import Clock
from gateway.core.codes import Reply
from gateway.core.ids import split_id
from gateway.core.model import Reservation, State
from gateway.lease import Lease
from gateway.ledger import Ledger
from gateway.sale.comparing import Corner, is_stuck
from gateway.sale.evidence import Drift
from gateway.store.records import parse_record

OUTBOX_PAGE = 1_000
CHECKED_MAX = 500
"""Reservations looked after in one go; the others in the next."""

NO_ENTRY = "0-0"
DONE = (Reply.DONE, Reply.UNCHANGED)


class Unsettled:
    """Remembers since when each reservation is seen confirmed."""

    def __init__(self, ledger: Ledger, limit_s: float, clock: Clock) -> None:
        self._ledger = ledger
        self._limit_s = limit_s
        self._clock = clock
        self._since_s: dict[str, float] = {}

    async def forsaken(self, corner: Corner, confirmed: Sequence[Reservation]) -> list[Drift]:
        """Those confirmed for over the limit that are on no way to the ledger."""
        now_s = self._clock.monotonic()
        self._since_s = {r.id: self._since_s.get(r.id, now_s) for r in confirmed}
        late = [r for r in confirmed if now_s - self._since_s[r.id] >= self._limit_s]
        if not late:
            return []
        sent = await self._sent(corner)
        # Sent, then looked at again: what is confirmed still was so all the time.
        lost = [r for r in late if r.id[12:] not in sent][:CHECKED_MAX]
        lost = [r for r in await still(corner, lost) if r.state is State.CONFIRMED]
        aside = await self._ledger.audits.set_aside([r.id for r in lost]) if lost else set()
        return [
            Drift(r.lines[0].sku, "unsettled-reservation", 1, 0, subject=r.id)
            for r in lost
            if r.id not in aside
        ]

    async def _sent(self, corner: Corner) -> set[str]:
        found, after = await corner.listing.outbox_fields("", OUTBOX_PAGE)
        while after:
            more, after = await corner.listing.outbox_fields(after, OUTBOX_PAGE)
            found |= more
        return found


async def stuck_holds(corner: Corner, stuck: Sequence[Reservation]) -> list[Drift]:
    """Holds past their deadline that are there still."""
    looked_at = await still(corner, stuck[:CHECKED_MAX])
    now_ms = await corner.listing.now_ms()
    return [
        Drift(r.lines[0].sku, "stuck-hold", 1, 0, subject=r.id)
        for r in looked_at
        if is_stuck(r, now_ms)
    ]


async def still(corner: Corner, reservations: Sequence[Reservation]) -> list[Reservation]:
    """The reservations as they are now, without those that are gone."""
    if not reservations:
        return []
    fields = [r.id[12:] for r in reservations]
    _, records = await corner.commands.show(fields)
    shard = corner.commands.shard
    pairs = zip(fields, records, strict=True)
    return [parse_record(field, shard, record) for field, record in pairs if record]


async def send_on(corner: Corner, ledger: Ledger, lease: Lease, reservation_id: str) -> str:
    """Mirror the ledger's word, or send the reservation again; what was done, '' if nothing."""
    parts = split_id(reservation_id)
    if parts is None:
        return ""
    created_ms, _, field = parts
    decided = await ledger.deduction(reservation_id)
    lease.check()
    if decided is None:
        code, _ = await corner.commands.redrive(field, created_ms, f"audit.{lease.token}")
        return "sent to the ledger again" if code in DONE else ""
    mirror = corner.commands.settle if decided.settled else corner.commands.reject
    [code] = await mirror([(NO_ENTRY, field)])
    word = "settled" if decided.settled else "rejected"
    return f"{word} as the ledger has it" if code in DONE else ""
