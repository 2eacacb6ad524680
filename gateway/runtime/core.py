"""The two stores and what can be done with them without serving."""

import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from gateway.core.catalogue_file import CatalogueEntry
from gateway.core.clock import Clock
from gateway.core.config import Config
from gateway.core.errors import InvariantBreach, SetupError
from gateway.core.fields import redact
from gateway.lease import Leases
from gateway.ledger import MIGRATE, Ledger
from gateway.runtime.leases import open_leases
from gateway.runtime.marks import begin_again, open_guards, rebuild_command, settle_marks
from gateway.sale.catalogue import Catalogue, Place
from gateway.sale.dead_letters import DeadLetters
from gateway.sale.outcomes import Refused
from gateway.sale.snapshot import Snapshot
from gateway.sale.verify import Verifier
from gateway.store.commands import StockCommands
from gateway.store.marks import Guard
from gateway.store.store import MEMORY, Store, is_unmade


class Core(msgspec.Struct, frozen=True):
    """The two stores and what can be done without serving: what command-line tools use."""

    config: Config
    clock: Clock
    store: Store
    ledger: Ledger
    snapshot: Snapshot
    places: tuple[Place, ...]
    catalogue: Catalogue
    verifier: Verifier
    letters: DeadLetters
    leases: Leases
    guards: tuple[Guard, ...]


@asynccontextmanager
async def open_core(
    config: Config, clock: Clock, *, exclusive: bool, repairs: bool = False
) -> AsyncIterator[Core]:
    """Open store and ledger, and make sure that they belong together.

    exclusive: as `serve` needs it, which also works, closed, on a Redis that lost data; otherwise
        an embedded server that runs already is used.
    repairs: take the stores as they are, without a look at whether they belong together.
    Raises SetupError when a person must act.
    """
    async with AsyncExitStack() as stack:
        store = await Store.open(config, clock, exclusive=exclusive)
        stack.push_async_callback(store.close)
        ledger = await open_ledger(config, clock, migrate=not config.ledger_is_shared)
        stack.push_async_callback(ledger.close)
        snapshot = Snapshot(clock)
        places = tuple(_open_place(store, n, snapshot, stack) for n in range(config.shards))
        guards = await open_guards(store, ledger, config)
        check = _check_all(guards)
        catalogue = Catalogue(places, ledger, snapshot, clock, check)
        if not repairs:
            await _check_stores(config, catalogue, ledger, guards, serves=exclusive)
        verifier = Verifier(catalogue, places, ledger, clock)
        own = [open_commands(store, n, snapshot, stack) for n in range(config.shards)]
        letters = DeadLetters(own, ledger, clock)
        leases = open_leases(store, ledger, clock, stack)
        parts = (places, catalogue, verifier, letters, leases, guards)
        yield Core(config, clock, store, ledger, snapshot, *parts)


async def open_ledger(config: Config, clock: Clock, *, migrate: bool) -> Ledger:
    """The ledger, its folder made if it is in a file.

    A file is this machine's own, and is migrated as it is opened. A server is shared: gateways of
    the version before may be using it, so a person says when.
    """
    if not config.ledger_is_shared and (config.store != MEMORY or config.ledger):
        _make_folder(config.data_dir)
    try:
        return await Ledger.open(config.ledger_url, clock, migrate=migrate)
    except SetupError as error:
        option = f" --config {shlex.quote(config.origin.path)}" if config.origin.path else ""
        error.hint = error.hint.replace(MIGRATE, MIGRATE + option)
        raise


def require_data(config: Config) -> None:
    """Raises SetupError when nothing is kept yet: a look would start, and leave, empty stores."""
    if is_unmade(config):
        raise SetupError(
            f"nothing is kept in {config.data_dir}",
            hint="Name the configuration with --config, or start `stockgate serve`.",
        )


def _make_folder(data_dir: str) -> None:
    try:
        Path(data_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"cannot create the data folder {data_dir}: {error.strerror}",
            hint="Set data_dir to a folder that this user may write.",
        ) from error


def _open_place(store: Store, shard: int, snapshot: Snapshot, stack: AsyncExitStack) -> Place:
    return Place(open_commands(store, shard, snapshot, stack), store.listing(shard))


def open_commands(
    store: Store, shard: int, snapshot: Snapshot, stack: AsyncExitStack
) -> StockCommands:
    """The shard's commands on a connection that closes with the stack."""
    channel = store.channel()
    stack.push_async_callback(channel.close)
    return StockCommands(channel, shard, on_pulse=snapshot.on_pulse)


def _check_all(guards: Sequence[Guard]) -> Callable[[], None]:
    def check() -> None:
        for guard in guards:
            guard.check()

    return check


async def _check_stores(
    config: Config,
    catalogue: Catalogue,
    ledger: Ledger,
    guards: Sequence[Guard],
    *,
    serves: bool,
) -> None:
    """Sound stores go on; of lost ones only `serve` is opened, which sells nothing of them."""
    fault = next((guard.fault for guard in guards if guard.fault), "")
    if fault and (await _owned(ledger) or await _kept(catalogue)):
        if not serves:
            raise _mismatch(config, fault, repairable=True)
        return
    if fault:
        await begin_again(guards, ledger)
    await _check_pair(config, catalogue, ledger)
    await settle_marks(guards, ledger)


async def _check_pair(config: Config, catalogue: Catalogue, ledger: Ledger) -> None:
    """Finish what a crash left half done; refuse stores that were not made for each other."""
    try:
        await catalogue.recover()
    except InvariantBreach as error:
        raise _mismatch(config, str(error), repairable=True) from error
    # Another process may be creating SKUs: a SKU is in the ledger first, then in Redis, and its
    # move is pending in between. This order of reads finds no SKU lost that is on its way.
    owned = await _owned(ledger)
    on_their_way = {move.sku for move in await ledger.pending_moves()}
    kept = await _kept(catalogue)
    if lost := owned - on_their_way - kept:
        raise _mismatch(config, f"Redis lost {_some(lost)}", repairable=True)
    if lost := kept - await _owned(ledger):
        raise _mismatch(config, f"the ledger lost {_some(lost)}")


async def _owned(ledger: Ledger) -> set[str]:
    return {row.sku for row in await ledger.stock() if row.move_seq > 0}


async def _kept(catalogue: Catalogue) -> set[str]:
    kept: set[str] = set()
    while page := await catalogue.page(max(kept, default=""), 1000):
        kept.update(terms.sku for terms in page)
    return kept


def _some(skus: set[str]) -> str:
    return f"{len(skus)} SKU{'' if len(skus) == 1 else 's'}: {', '.join(sorted(skus)[:5])}"


def _mismatch(config: Config, what: str, *, repairable: bool = False) -> SetupError:
    hint = "One of them was emptied or replaced. Put back the copy that belongs to the other."
    if repairable:
        hint = (
            f"If the ledger is the right one, rebuild Redis from it: {rebuild_command(config)}. "
            "Otherwise put back the copy that belongs to the other."
        )
    return SetupError(
        f"store {redact(config.store)} and ledger {redact(config.ledger_url)} "
        f"do not belong together: {what}",
        hint=hint,
    )


async def import_catalogue(
    catalogue: Catalogue, entries: list[CatalogueEntry], *, actor: str, replace: bool
) -> tuple[int, int]:
    """Put the entries; those that exist are left alone unless `replace`. (put, left alone)

    Raises SetupError when one is refused; those before it stay.
    """
    existing = {t.sku for t in await catalogue.get_many([entry.sku for entry in entries])}
    put = 0
    for entry in entries:
        if entry.sku in existing and not replace:
            continue
        answer = await catalogue.put(
            entry.sku, entry.on_hand, entry.safety_stock, entry.settings, actor
        )
        if isinstance(answer, Refused):
            raise SetupError(
                f"SKU {entry.sku}: {entry.on_hand} on hand with {entry.safety_stock} safety stock "
                "is less than what buyers hold or have bought"
            )
        put += 1
    return put, len(entries) - put
