"""The stores, for commands that work on them."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.cli.common import load
from gateway.core.clock import SystemClock
from gateway.runtime.core import Core, open_core, require_data
from gateway.runtime.eventloop import run

T = TypeVar("T")


def with_core(
    config_path: str | None,
    work: Callable[[Core], Awaitable[T]],
    *,
    creates: bool = False,
    repairs: bool = False,
) -> T:
    """The result of `work` on the stores; beside a running gateway or without one.

    creates: the work may be what begins them. Otherwise it is refused, with a SetupError, where
    nothing is kept.
    repairs: the work is for stores that do not belong together any more.
    """

    async def opened() -> T:
        config = load(config_path)
        if not creates:
            require_data(config)
        async with open_core(config, SystemClock(), exclusive=False, repairs=repairs) as core:
            return await work(core)

    return run(opened())
