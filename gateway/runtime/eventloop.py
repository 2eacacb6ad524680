"""The event loop that everything runs on."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result, on the fastest event loop there is."""
    if sys.platform == "win32":
        return asyncio.run(work)
    import uvloop  # not made for every platform

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
