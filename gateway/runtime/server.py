"""The HTTP server: binds, serves, drains."""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import uvicorn

from gateway.core.catalogue_file import load_catalogue
from gateway.core.clock import Clock
from gateway.core.config import Config
from gateway.core.errors import SetupError
from gateway.core.fields import redact
from gateway.core.model import SkuSettings, SkuTerms
from gateway.runtime.core import Core, import_catalogue, open_core
from gateway.runtime.gateway import Gateway, open_gateway
from gateway.runtime.protocol import Protocol

_log = logging.getLogger(__name__)

KEEP_ALIVE_S = 65
"""Idle connections are kept longer than common load balancers keep theirs."""

NOTICE_S = 0.3
"""Between failing /readyz and taking no more connections, so that balancers can notice."""

GC_THRESHOLD = (20_000, 20, 50)
"""Requests leave few cycles behind: looking for them every 700 objects is wasted on them."""

EXIT_STORE_LOST = 1

SAMPLED_SKUS = 100


class Serving(msgspec.Struct, frozen=True):
    """What a server tells when it is ready: its address, what to warn about, a SKU to try.

    empty: there are no SKUs at all.
    """

    url: str
    config: Config
    store_url: str
    notices: tuple[str, ...]
    imported: int
    empty: bool
    sample_sku: str


def bind(config: Config) -> socket.socket:
    """The listening socket. Raises SetupError when the address cannot be had."""
    host, port = config.server.host, config.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise SetupError(
            f"cannot listen on {host}:{port}: {_without_address(error)}",
            hint="Another process may be there; set server.port (0 takes any free port), "
            "for example STOCKGATE_SERVER_PORT=8090.",
        ) from error


def _without_address(error: OSError) -> str:
    """The system's reason; create_server adds "(while attempting to bind on address …)"."""
    return (error.strerror or str(error)).partition(" (while ")[0]


async def serve(config: Config, clock: Clock, on_ready: Callable[[Serving], None]) -> int:
    """Serve until SIGINT or SIGTERM, then drain and stop all that was started; the exit code."""
    with bind(config) as listener:
        async with open_core(config, clock, exclusive=True) as core:
            imported = await _import_demo(core)
            async with open_gateway(core) as gateway:
                skus = await core.catalogue.page("", SAMPLED_SKUS)
                ready = _serving(core, listener, imported, skus)
                server = _Server(gateway, config)
                server.on_started = lambda: on_ready(ready)
                await server.serve_on(listener)
                return server.exit_code


async def _import_demo(core: Core) -> int:
    path = core.config.demo.catalogue
    if not path or any(guard.fault for guard in core.guards):
        return 0
    entries = load_catalogue(path, core.clock.now_ms())
    return (await import_catalogue(core.catalogue, entries, actor="import", replace=False))[0]


def _sample_sku(skus: list[SkuTerms], now_ms: int) -> str:
    """A SKU that can be bought now, for the calls shown at start; "" when there is none."""
    open_now = [t for t in skus if t.available and _sells(t.settings, now_ms)]
    return max(open_now, key=lambda t: t.available).sku if open_now else ""


def _sells(settings: SkuSettings, now_ms: int) -> bool:
    ends_ms = settings.sale_ends_ms
    return settings.sale_starts_ms <= now_ms and (ends_ms == 0 or now_ms < ends_ms)


def _serving(core: Core, listener: socket.socket, imported: int, skus: list[SkuTerms]) -> Serving:
    host, port = listener.getsockname()[:2]
    notices = list(core.store.notices)
    if not core.config.keys:
        notices.append(
            "Development set-up: no [[keys]] are configured, so everyone on this machine may do "
            "everything, and nobody else can connect."
        )
    return Serving(
        url=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}",
        config=core.config,
        store_url=redact(core.store.url),
        notices=tuple(notices),
        imported=imported,
        empty=not skus,
        sample_sku=_sample_sku(skus, core.clock.now_ms()),
    )


class _Server(uvicorn.Server):
    """uvicorn with our signals: readiness fails first, then requests end, then it stops."""

    def __init__(self, gateway: Gateway, config: Config) -> None:
        super().__init__(
            uvicorn.Config(
                gateway.app,
                loop="none",
                http=Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(config.server.drain_s)),
            )
        )
        self.exit_code = 0
        self.on_started: Callable[[], None] = lambda: None
        self._gateway = gateway

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours instead of uvicorn's, which raises the signal again after stopping."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def serve_on(self, listener: socket.socket) -> None:
        """Serve on the socket until told to stop."""
        await self.serve(sockets=[listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        # What start-up built stays to the end: full collections need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)
        self.on_started()

    async def on_tick(self, counter: int) -> bool:
        """Also ends when the embedded store has ended by itself."""
        ended = self._gateway.core.store.ended() if counter % 10 == 0 else None
        if ended is not None:
            _log.critical("%s", ended)
            self.exit_code = EXIT_STORE_LOST
            self._gateway.drain()
            self.should_exit = True
        return await super().on_tick(counter)

    def _on_signal(self) -> None:
        """The first one drains; another one does not wait for running requests."""
        if self._gateway.draining:
            self.should_exit = self.force_exit = True
        self._gateway.drain()
        asyncio.get_running_loop().call_later(NOTICE_S, self._exit)

    def _exit(self) -> None:
        self.should_exit = True
