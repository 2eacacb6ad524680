"""`stockgate dead-letters`: reservations that could not be settled, and what to do about them."""

import click

from gateway.api.times import rfc3339
from gateway.cli.common import check_words, config_option, counted, operator
from gateway.cli.stores import with_core
from gateway.cli.tables import show_table
from gateway.core.errors import SetupError
from gateway.ledger import LETTER_STATES, OPEN_STATES, Letter, LetterState
from gateway.runtime.core import Core
from gateway.sale.dead_letters import Answer

PAGE = 200

REFUSALS = {
    "unknown-dead-letter": "there is no such dead letter",
    "dead-letter-not-waiting": "it is {letter_state} already; only waiting ones can be decided",
    "dead-letter-not-retryable": (
        "it has no confirmed reservation to put on its way again; `dismiss` closes it"
    ),
}

LETTER_ID = click.IntRange(1, 10**18 - 1)
COLUMNS = ("id", "state", "reason", "tries", "last failed", "reservation")


@click.group("dead-letters")
def dead_letters() -> None:
    """What could not be settled: list, show, retry, dismiss."""


@dead_letters.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are closed.")
@click.option("--state", type=click.Choice(LETTER_STATES), help="Only this state.")
@config_option
def list_letters(everything: bool, state: LetterState | None, config_path: str | None) -> None:
    """What could not be settled, the oldest first; open ones unless asked otherwise."""
    states: tuple[LetterState, ...] = (state,) if state else () if everything else OPEN_STATES

    async def work(core: Core) -> list[Letter]:
        found: list[Letter] = []
        while page := await core.letters.page(
            states=states, after=found[-1].id if found else 0, limit=PAGE
        ):
            found += page
        return found

    found = with_core(config_path, work)
    if found:
        show_table(COLUMNS, [_row(letter) for letter in found])
    click.echo(counted(len(found), "dead letter") + ".")


@dead_letters.command()
@click.argument("letter_id", type=LETTER_ID)
@config_option
def show(letter_id: int, config_path: str | None) -> None:
    """Everything about the dead letter LETTER_ID."""

    async def work(core: Core) -> Answer:
        return await core.letters.get(letter_id)

    _print(letter_id, with_core(config_path, work))


@dead_letters.command()
@click.argument("letter_id", type=LETTER_ID)
@config_option
def retry(letter_id: int, config_path: str | None) -> None:
    """Put the reservation of LETTER_ID on its way to the ledger again."""

    async def work(core: Core) -> Answer:
        return await core.letters.retry(letter_id, operator())

    _print(letter_id, with_core(config_path, work))


@dead_letters.command()
@click.argument("letter_id", type=LETTER_ID)
@click.option("--note", required=True, help="Why; kept on record.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def dismiss(letter_id: int, note: str, yes: bool, config_path: str | None) -> None:
    """Close LETTER_ID for good. Unless the ledger has sold them, its units go back on sale."""
    check_words("note", note)
    if not yes:
        click.confirm(
            f"Dismiss dead letter {letter_id}? If the ledger has not sold the units, they go back"
            " on sale and the buyer's payment must be returned. This is final.",
            abort=True,
        )

    async def work(core: Core) -> Answer:
        return await core.letters.dismiss(letter_id, operator(), note)

    _print(letter_id, with_core(config_path, work))


def _row(letter: Letter) -> tuple[object, ...]:
    last = rfc3339(letter.last_ms)
    return (letter.id, letter.state, letter.reason, letter.tries, last, letter.reservation_id)


def _print(letter_id: int, answer: Answer) -> None:
    if not isinstance(answer, Letter):
        why = REFUSALS[answer.code].format_map(answer.params)
        raise SetupError(f"dead letter {letter_id}: {why}", exit_code=1)
    rows: list[tuple[str, object]] = [
        ("id", answer.id),
        ("state", answer.state),
        ("reason", answer.reason),
        ("detail", answer.detail),
        ("tries", answer.tries),
        ("first failed", rfc3339(answer.first_ms)),
        ("last failed", rfc3339(answer.last_ms)),
        ("record", answer.record),
        ("reservation", answer.reservation_id),
        ("ledger", answer.outcome),
        ("decided by", answer.actor),
        ("note", answer.note),
    ]
    show_table(("field", "value"), [row for row in rows if row[1] != ""])
    if answer.outcome == "rejected":
        click.echo("The ledger refused the sale: return the buyer's payment.")
