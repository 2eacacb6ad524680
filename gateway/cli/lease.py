"""`stockgate lease`: who excludes whom, from the command line."""

import getpass

import click

from gateway.cli.common import config_option
from gateway.cli.stores import with_core
from gateway.cli.tables import show_table
from gateway.core.errors import SetupError
from gateway.core.leases import Term, kind_of, unpack
from gateway.runtime.core import Core
from gateway.runtime.leases import break_lease

COLUMNS = ("lease", "owner", "token", "ends in")


class _Name(click.ParamType[str]):
    """The name of a lease."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            kind_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


@click.group()
def lease() -> None:
    """Leases between processes: list, show, break."""


@lease.command("list")
@config_option
def list_leases(config_path: str | None) -> None:
    """Every lease that is held now."""

    async def work(core: Core) -> list[Term]:
        return await core.leases.terms()

    terms = with_core(config_path, work)
    if terms:
        show_table(COLUMNS, [_row(term) for term in terms])
    else:
        click.echo("No lease is held.")


@lease.command()
@click.argument("name", type=_Name())
@config_option
def show(name: str, config_path: str | None) -> None:
    """Who holds NAME, such as audit or reap:0, and the last token it was held under."""

    async def work(core: Core) -> tuple[Term | None, int]:
        return await core.leases.look(name), await core.ledger.last_token(name)

    term, recorded = with_core(config_path, work)
    rows: list[tuple[str, object]] = [("lease", name), ("state", "held" if term else "free")]
    if term:
        rows += [("owner", term.owner), ("ends in", _seconds(term)), *_token("token", term.token)]
    rows += _token("last token on record", recorded)
    show_table(("field", "value"), rows)


@lease.command("break")
@click.argument("name", type=_Name())
@click.option("--yes", is_flag=True, help="Really do it; without this nothing is done.")
@config_option
def break_(name: str, yes: bool, config_path: str | None) -> None:
    """End NAME's term for a holder that will not, and refuse what that holder still writes.

    Stop the holder first if you can: it learns of this only when it next renews.
    """
    if not yes:
        raise SetupError(
            f"breaking lease {name} stops whoever works under it",
            hint=f"See `stockgate lease show {name}`, then add --yes.",
        )

    async def work(core: Core) -> Term | None:
        return await break_lease(core.leases, core.store, core.config.shards, name, actor=_actor())

    term = with_core(config_path, work)
    if term is None:
        click.echo(f"Lease {name} is not held; nothing was broken.")
    else:
        click.echo(f"Lease {name} of {term.owner} (token {_dotted(term.token)}) is broken.")


def _row(term: Term) -> tuple[object, ...]:
    return (term.name, term.owner, _dotted(term.token), _seconds(term))


def _token(field: str, token: int) -> list[tuple[str, object]]:
    return [(field, f"{_dotted(token)} ({token})")] if token else [(field, "none")]


def _dotted(token: int) -> str:
    """generation.counter"""
    generation, counter = unpack(token)
    return f"{generation}.{counter}"


def _seconds(term: Term) -> str:
    return f"{term.remaining_ms / 1000:.1f} s"


def _actor() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        return "cli"
