"""`stockgate reservation`: one reservation, from the command line."""

import click

from gateway.api.times import rfc3339
from gateway.cli.common import config_option
from gateway.cli.stores import with_core
from gateway.cli.tables import show_table
from gateway.core.errors import SetupError
from gateway.core.transitions import FACTS
from gateway.runtime.core import Core
from gateway.runtime.gateway import open_reservations
from gateway.sale.outcomes import Answer, Granted


@click.group()
def reservation() -> None:
    """Reservations: show, release."""


@reservation.command()
@click.argument("reservation_id")
@config_option
def show(reservation_id: str, config_path: str | None) -> None:
    """Where RESERVATION_ID stands now."""

    async def work(core: Core) -> Answer:
        async with open_reservations(core) as reservations:
            return await reservations.show(reservation_id)

    _print(reservation_id, with_core(config_path, work))


@reservation.command()
@click.argument("reservation_id")
@config_option
def release(reservation_id: str, config_path: str | None) -> None:
    """Put the units of RESERVATION_ID back on sale."""

    async def work(core: Core) -> Answer:
        async with open_reservations(core) as reservations:
            return await reservations.release(reservation_id)

    _print(reservation_id, with_core(config_path, work))


def _print(reservation_id: str, answer: Answer) -> None:
    if not isinstance(answer, Granted):
        raise SetupError(f"reservation {reservation_id}: {answer.code}", exit_code=1)
    r = answer.reservation
    rows: list[tuple[str, object]] = [
        ("id", r.id),
        ("state", r.state.value),
        ("buyer", r.buyer),
        ("lines", ", ".join(f"{line.quantity} x {line.sku}" for line in r.lines)),
        ("created", rfc3339(r.created_ms)),
    ]
    if r.deadline_ms:
        rows.append(("deadline" if FACTS[r.state].expires else "ended", rfc3339(r.deadline_ms)))
    if r.payment_ref:
        rows.append(("payment", r.payment_ref))
    show_table(("field", "value"), rows)
