"""Small steps that the ledger's tests share."""

from gateway.core.clock import SystemClock
from gateway.ledger import Deduction, DeductionLine, Ledger, Move, MoveRequest, StockRow


async def open_ledger(url: str, *, timeout_s: float = 5.0) -> Ledger:
    return await Ledger.open(url, SystemClock(), timeout_s=timeout_s, migrate=True)


async def put(ledger: Ledger, sku: str, on_hand: int, safety_stock: int = 0) -> StockRow:
    """A put that the store applies."""
    request = MoveRequest(sku=sku, kind="put", on_hand=on_hand, safety_stock=safety_stock)
    move = await begun(ledger, request)
    return await ledger.finish_move(sku, move.seq, True)


async def begun(ledger: Ledger, request: MoveRequest) -> Move:
    answer = await ledger.begin_move(request)
    assert isinstance(answer, Move), answer
    return answer


def sale(reservation_id: str, *lines: tuple[str, int] | tuple[str, int, int]) -> Deduction:
    return Deduction(
        reservation_id=reservation_id,
        buyer="ann",
        payment_ref=f"pay-{reservation_id}",
        lines=tuple(DeductionLine(*line) for line in lines),
        confirmed_ms=1_700_000_000_000,
    )


async def row_of(ledger: Ledger, sku: str) -> StockRow:
    (row,) = await ledger.stock([sku])
    return row


async def assert_clean(ledger: Ledger) -> None:
    """Every counter is explained by the rows."""
    faults = {check.sku: check.faults for check in await ledger.audit() if not check.ok}
    assert faults == {}
