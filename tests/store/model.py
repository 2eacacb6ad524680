"""What the commands of a shard should do, in a few dictionaries.

Time comes in whole buckets, and a reservation past its deadline has expired: whether it was swept
already makes no difference to any answer.
"""

from collections import Counter
from dataclasses import dataclass, field

from gateway.core.codes import Reply
from gateway.core.model import SkuSettings, State
from gateway.core.transitions import TRANSITIONS, Event
from gateway.store.commands import HoldRequest
from tests.store.shop import LIVE, START_MS, TTL_MS, Terms


@dataclass
class Shelf:
    """One SKU."""

    settings: SkuSettings
    seq: int = 0
    refused: int = 0
    received: int = 0
    on_hand: int = 0
    available: int = 0
    held: int = 0
    unsettled: int = 0
    safety: int = 0
    sold: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def terms(self) -> Terms:
        return Terms(
            self.on_hand, self.available, self.held, self.unsettled, self.safety, self.sold
        )


@dataclass
class Part:
    """A line: which units, whether they count for the buyer, how many are safety stock."""

    sku: str
    quantity: int
    counted: bool
    from_safety: int = 0


@dataclass
class Row:
    """One reservation."""

    state: State
    middle: str
    buyer: str
    parts: list[Part]
    created: int
    deadline: int
    ref: str = ""


class Model:
    """A shard. Every method answers what the command of its name should."""

    def __init__(self) -> None:
        self.now = START_MS
        self.shelves: dict[str, Shelf] = {}
        self.rows: dict[str, Row] = {}

    def pass_ms(self, ms: int) -> None:
        self.now += ms
        for row in self.rows.values():
            if row.state in LIVE and row.deadline <= self.now:
                self._give_back(row, State.EXPIRED)

    # Stock.

    def move(
        self, sku: str, seq: int, on_hand: int, safety: int, settings: SkuSettings | None
    ) -> tuple[Reply, int]:
        shelf = self.shelves.get(sku)
        if shelf is None:
            if seq != 1:
                return Reply.UNKNOWN_SKU, 0
            shelf = Shelf(SkuSettings())
        if seq <= shelf.seq:
            if seq < shelf.seq:
                return Reply.OUT_OF_ORDER, shelf.seq
            refused = shelf.refused == seq
            return (Reply.TOO_FEW, shelf.available) if refused else (Reply.UNCHANGED, 0)
        if shelf.available + on_hand - safety < 0 or shelf.safety + safety < 0:
            if sku in self.shelves:
                shelf.seq = shelf.refused = seq
            return Reply.TOO_FEW, shelf.available
        self.shelves[sku] = shelf
        shelf.on_hand += on_hand
        shelf.received += on_hand
        shelf.safety += safety
        shelf.available += on_hand - safety
        shelf.seq = seq
        shelf.settings = settings or shelf.settings
        return Reply.DONE, 0

    # Holds.

    def hold(self, asked: HoldRequest) -> tuple[Reply, int | None, int]:
        """code, a (None: the record), b."""
        row = self.rows.get(asked.field)
        if row is not None:
            same = row.middle == asked.middle
            return (Reply.REPLAYED, None, 0) if same else (Reply.IDEMPOTENCY_MISMATCH, 0, 0)
        sums: dict[str, tuple[int, int]] = {}
        for index, line in enumerate(asked.lines):
            first, quantity = sums.get(line.sku, (index, 0))
            sums[line.sku] = (first, quantity + line.quantity)
        for sku, (index, quantity) in sums.items():
            refusal = self._refuse(sku, asked.buyer, quantity)
            if refusal:
                return (*refusal, index)
        deadline = self.now + self._ttl(asked.ttl_ms, list(sums))
        parts = [self._take(sku, asked.buyer, quantity) for sku, (_, quantity) in sums.items()]
        self.rows[asked.field] = Row(
            State.HELD, asked.middle, asked.buyer, parts, self.now, deadline
        )
        return Reply.HELD, deadline, 0

    def _refuse(self, sku: str, buyer: str, quantity: int) -> tuple[Reply, int] | None:
        shelf = self.shelves.get(sku)
        if shelf is None:
            return Reply.UNKNOWN_SKU, 0
        rules = shelf.settings
        if self.now < rules.sale_starts_ms:
            return Reply.SALE_NOT_OPEN, rules.sale_starts_ms
        if 0 < rules.sale_ends_ms <= self.now:
            return Reply.SALE_NOT_OPEN, -rules.sale_ends_ms
        if rules.buyer_limit and shelf.counts[buyer] + quantity > rules.buyer_limit:
            return Reply.BUYER_LIMIT, rules.buyer_limit
        if shelf.available < quantity:
            return Reply.SOLD_OUT, shelf.available
        return None

    def _ttl(self, asked_ms: int, skus: list[str]) -> int:
        own = [self.shelves[sku].settings.hold_ttl_ms for sku in skus]
        return asked_ms or min((ttl for ttl in own if ttl), default=TTL_MS)

    def _take(self, sku: str, buyer: str, quantity: int) -> Part:
        shelf = self.shelves[sku]
        shelf.available -= quantity
        shelf.held += quantity
        counted = shelf.settings.buyer_limit > 0
        if counted:
            shelf.counts[buyer] += quantity
        return Part(sku, quantity, counted)

    # Steps.

    def act(self, event: Event, name: str, argument: str | int) -> Reply:
        row = self.rows.get(name)
        if row is None:
            return Reply.UNKNOWN_RESERVATION
        if event is Event.CONFIRM and self._is_taken(str(argument), row):
            return Reply.PAYMENT_REF_USED
        rule = TRANSITIONS[event][row.state]
        if event is Event.CONFIRM and rule is Reply.UNCHANGED and row.ref != argument:
            return Reply.PAYMENT_REF_CONFLICT
        if isinstance(rule, Reply):
            return rule
        return getattr(self, f"_{event.value}")(row, rule, argument)

    def _is_taken(self, ref: str, row: Row) -> bool:
        bought = (State.CONFIRMED, State.SETTLED)
        return any(r is not row and r.ref == ref and r.state in bought for r in self.rows.values())

    def _pay(self, row: Row, state: State, window_ms: int) -> Reply:
        row.state = state
        row.deadline = max(row.deadline, self.now + window_ms)
        return Reply.DONE

    def _extend(self, row: Row, state: State, argument: str) -> Reply:
        ttl_ms, cap_ms = map(int, argument.split(":"))
        latest = min(self.now + ttl_ms, row.created + cap_ms)
        if latest <= row.deadline:
            return Reply.UNCHANGED
        row.state, row.deadline = state, latest
        return Reply.DONE

    def _release(self, row: Row, state: State, _argument: str) -> Reply:
        self._give_back(row, state)
        return Reply.DONE

    def _confirm(self, row: Row, state: State, ref: str) -> Reply:
        if row.state is State.EXPIRED:
            if row.ref or not self._honour(row):
                row.ref = row.ref or ref
                return Reply.IS_EXPIRED
        else:
            for part in row.parts:
                self.shelves[part.sku].held -= part.quantity
                self.shelves[part.sku].unsettled += part.quantity
        row.state, row.ref = state, ref
        return Reply.DONE

    def _honour(self, row: Row) -> bool:
        shelves = [(part, self.shelves[part.sku]) for part in row.parts]
        if any(shelf.available + shelf.safety < part.quantity for part, shelf in shelves):
            return False
        for part, shelf in shelves:
            part.from_safety = max(0, part.quantity - shelf.available)
            shelf.available -= part.quantity - part.from_safety
            shelf.safety -= part.from_safety
            shelf.unsettled += part.quantity
            shelf.counts[row.buyer] += part.quantity * part.counted
        return True

    def _give_back(self, row: Row, state: State) -> None:
        row.state = state
        for part in row.parts:
            shelf = self.shelves[part.sku]
            shelf.held -= part.quantity
            shelf.available += part.quantity
            shelf.counts[row.buyer] -= part.quantity * part.counted

    def _settle(self, row: Row, state: State, _argument: str) -> Reply:
        row.state, row.deadline = state, self.now
        for part in row.parts:
            shelf = self.shelves[part.sku]
            shelf.unsettled -= part.quantity
            shelf.on_hand -= part.quantity
            shelf.sold += part.quantity
        return Reply.DONE

    def _reject(self, row: Row, state: State, _argument: str) -> Reply:
        row.state, row.deadline = state, self.now
        for part in row.parts:
            shelf = self.shelves[part.sku]
            shelf.unsettled -= part.quantity
            shelf.safety += part.from_safety
            shelf.available += part.quantity - part.from_safety
            shelf.counts[row.buyer] -= part.quantity * part.counted
        return Reply.DONE
