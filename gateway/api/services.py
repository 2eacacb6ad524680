"""What the API's handlers work with: everything behind them, made by the runtime."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from gateway.api.auth import Authenticator
from gateway.core.clock import Clock
from gateway.core.config import Config
from gateway.ledger import AuditBook
from gateway.sale.catalogue import Catalogue, Place
from gateway.sale.dead_letters import DeadLetters
from gateway.sale.receipts import NO_RECEIPTS, Receipts
from gateway.sale.reservations import Reservations
from gateway.sale.stock_reads import StockReads


class Services(msgspec.Struct, frozen=True):
    """The gateway's inside.

    notices: what the stores do not promise, as it was said at start.
    demand_audit: has a full audit made; takes who asks, returns its number.
    not_ready: why the gateway should get no traffic now, part by part; empty when it may.
    """

    config: Config
    clock: Clock
    auth: Authenticator
    reservations: Reservations
    stock: StockReads
    catalogue: Catalogue
    places: Sequence[Place]
    letters: DeadLetters
    audits: AuditBook
    demand_audit: Callable[[str], Awaitable[int]]
    not_ready: Callable[[], dict[str, str]]
    receipts: Receipts = NO_RECEIPTS
    notices: Sequence[str] = ()
