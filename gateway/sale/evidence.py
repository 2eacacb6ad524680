"""What is known of one SKU at one instant, and what follows from it. No I/O.

The ledger is the truth for on_hand, sold, safety_stock and the settings, reservations are it for
held, unsettled and the buyers' counts, and available is what remains.
"""

from collections.abc import Iterable, Mapping

import msgspec

from gateway.core.model import HeldLine, Reservation, SkuTerms, State
from gateway.ledger import Outcome, StockRow

_HELD = (State.HELD, State.PAYING)
_BOUGHT = (*_HELD, State.CONFIRMED, State.SETTLED)

TERMS = ("on_hand", "available", "held", "unsettled", "safety_stock", "sold")


class Confirmed(msgspec.Struct, frozen=True):
    """A line that is paid and not settled in Redis."""

    reservation_id: str
    quantity: int
    from_safety: int


class Sums(msgspec.Struct):
    """Units of one SKU summed over its reservations; counted: by buyer, of a limited SKU."""

    held: int = 0
    unsettled: int = 0
    settled: int = 0
    confirmed: list[Confirmed] = msgspec.field(default_factory=list)
    counted: dict[str, int] = msgspec.field(default_factory=dict)

    def add(self, reservation: Reservation, line: HeldLine) -> None:
        """Add one line of a reservation."""
        state = reservation.state
        if state in _HELD:
            self.held += line.quantity
        elif state is State.CONFIRMED:
            self.unsettled += line.quantity
            self.confirmed.append(Confirmed(reservation.id, line.quantity, line.from_safety))
        elif state is State.SETTLED:
            self.settled += line.quantity
        if line.counted and state in _BOUGHT:
            buyer = reservation.buyer
            self.counted[buyer] = self.counted.get(buyer, 0) + line.quantity


def sum_up(reservations: Iterable[Reservation], into: dict[str, Sums]) -> None:
    """Add every line of the reservations to the sums of its SKU."""
    for reservation in reservations:
        for line in reservation.lines:
            if isinstance(line, HeldLine):
                into.setdefault(line.sku, Sums()).add(reservation, line)


class Book(msgspec.Struct, frozen=True):
    """What the ledger says of a SKU, and of its confirmed reservations."""

    row: StockRow
    outcomes: Mapping[str, Outcome]


class Evidence(msgspec.Struct, frozen=True):
    """One SKU at one instant.

    sums, buyers, book: None where that could not be read as of the same instant.
    repairs: how often the SKU had been repaired; None where that was not read.
    """

    terms: SkuTerms
    sums: Sums | None
    buyers: Mapping[str, int] | None = None
    book: Book | None = None
    repairs: int | None = None


class Drift(msgspec.Struct, frozen=True):
    """One counter that is not what it has to be; subject: whose, where it is a buyer's."""

    sku: str
    term: str
    found: int
    expected: int
    subject: str = ""
    detail: str = ""

    @property
    def difference(self) -> tuple[str, str, str, int, str]:
        """What makes two sights of it the same drift."""
        return (self.sku, self.term, self.subject, self.found - self.expected, self.detail)


def judge(evidence: Evidence) -> list[Drift]:
    """Everything that does not add up. Of what is not known nothing is said."""
    terms, right = evidence.terms, right_terms(evidence)
    drifts = []
    for term in TERMS:
        found, expected = getattr(terms, term), right.get(term)
        if expected is not None and found != expected:
            drifts.append(Drift(terms.sku, term, found, expected))
    if not drifts:
        drifts += _whole_drifts(terms, evidence.book)
    return [*drifts, *_settings_drifts(terms, evidence.book), *_buyer_drifts(evidence)]


def right_terms(evidence: Evidence) -> dict[str, int]:
    """Each term as the reservations and the ledger have it, as far as they are known."""
    right: dict[str, int] = {}
    sums, book = evidence.sums, evidence.book
    if sums is not None:
        right |= {"held": sums.held, "unsettled": sums.unsettled}
    if sums is not None and book is not None:
        right |= _mirrored(book, sums)
        parts = right["held"] + right["unsettled"] + right["safety_stock"]
        right["available"] = right["on_hand"] - parts
    return right


def _mirrored(book: Book, sums: Sums) -> dict[str, int]:
    """The ledger's terms, without what it took that Redis has still to mirror."""
    ahead = safety_taken = 0
    for line in sums.confirmed:
        outcome = book.outcomes.get(line.reservation_id)
        if outcome is not None and outcome.settled:
            ahead += line.quantity
        else:
            safety_taken += line.from_safety
    return {
        "on_hand": book.row.on_hand + ahead,
        "sold": book.row.sold - ahead,
        "safety_stock": max(0, book.row.safety_stock - safety_taken),
    }


def _whole_drifts(terms: SkuTerms, book: Book | None) -> list[Drift]:
    """What is wrong whichever reservations there are, if that says no more than this."""
    parts = terms.available + terms.held + terms.unsettled + terms.safety_stock
    if terms.available < 0 and terms.on_hand == parts:
        return [Drift(terms.sku, "short", terms.available, 0)]
    if not terms.balanced:
        return [Drift(terms.sku, "balance", terms.on_hand, parts)]
    total = terms.on_hand + terms.sold
    if book is not None and total != book.row.received:
        return [Drift(terms.sku, "received", total, book.row.received)]
    return []


def _settings_drifts(terms: SkuTerms, book: Book | None) -> list[Drift]:
    if book is None or terms.settings == book.row.settings:
        return []
    found, expected = (msgspec.json.encode(s).decode() for s in (terms.settings, book.row.settings))
    return [Drift(terms.sku, "settings", 0, 0, detail=f"Redis {found}, ledger {expected}")]


def _buyer_drifts(evidence: Evidence) -> list[Drift]:
    """Purchases that were forgotten with their reservations still count: a count may be more,
    unless all that was sold is still remembered.
    """
    terms, sums, kept = evidence.terms, evidence.sums, evidence.buyers
    if sums is None or kept is None:
        return []
    remembered = sums.settled == terms.sold
    drifts = []
    for buyer in sorted({*kept, *sums.counted}):
        found, expected = kept.get(buyer, 0), sums.counted.get(buyer, 0)
        if found < expected or (remembered and found != expected):
            drifts.append(Drift(terms.sku, "buyer", found, expected, subject=buyer))
    return drifts
