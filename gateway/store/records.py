"""Reads the records that the Lua commands keep; lua/includes/records.lua writes them."""

from msgspec.structs import astuple, replace

from gateway.core.errors import InvariantBreach
from gateway.core.ids import make_id
from gateway.core.model import HeldLine, Reservation, SkuSettings, State
from gateway.core.transitions import FACTS, LETTERS, STATES


def parse_record(field: str, shard: int, record: bytes | str) -> Reservation:
    """The reservation kept as `record` under `field`.

    Raises InvariantBreach when somebody else has written there.
    """
    try:
        return _parse(field, shard, record.decode() if isinstance(record, bytes) else record)
    except (ValueError, KeyError) as error:
        raise InvariantBreach(f"the record of reservation {field} cannot be read") from error


def fingerprint_of(record: bytes) -> str:
    """What tells whether a request under the same key means the same; "" when it has none."""
    parts = record.split(b"|", 4)
    return parts[3].decode() if len(parts) > 4 else ""


def _parse(field: str, shard: int, text: str) -> Reservation:
    letter, created, deadline, _, buyer, channel, payment_ref, lines = text.split("|")
    return Reservation(
        id=make_id(int(created), shard, field),
        state=STATES[letter],
        buyer=buyer,
        lines=tuple(map(_parse_line, lines.split(","))),
        created_ms=int(created),
        deadline_ms=int(deadline),
        channel=channel,
        payment_ref=payment_ref,
    )


def _parse_line(text: str) -> HeldLine:
    sku, quantity, *rest = text.split("*")
    counted = bool(rest) and rest[0] == "1"
    from_safety = int(rest[1]) if len(rest) > 1 else 0
    return HeldLine(sku, int(quantity), counted, from_safety)


def as_of(reservation: Reservation, now_ms: int) -> Reservation:
    """The reservation as it counts at `now_ms`: past its deadline, a hold has expired."""
    if FACTS[reservation.state].expires and reservation.deadline_ms <= now_ms:
        return replace(reservation, state=State.EXPIRED)
    return reservation


def with_state(record: str, state: State, *, payment_ref: str | None = None) -> str:
    """The record's text in another state, and with another payment reference if one is given."""
    parts = record.split("|")
    parts[0] = LETTERS[state]
    if payment_ref is not None:
        parts[6] = payment_ref
    return "|".join(parts)


def settings_text(settings: SkuSettings) -> str:
    """Settings as lua/includes/settings.lua keeps them."""
    return "|".join(map(str, astuple(settings)))
