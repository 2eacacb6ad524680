"""A rebuild in a process of its own that kills itself, with SIGKILL, at the point it is told.

python -m tests.sale.rebuilding_child STORE_URL FOLDER STEP NTH
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from gateway.core.clock import SystemClock
from gateway.runtime.core import open_core
from gateway.runtime.rebuild import rebuild
from tests.sale.steps import config_for


async def die_rebuilding(url: str, folder: str, step: str, nth: str) -> None:
    seen = 0

    def on_step(name: str) -> None:
        nonlocal seen
        seen += name == step
        if seen == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)

    config = config_for(url, Path(folder))
    async with open_core(config, SystemClock(), exclusive=False, repairs=True) as core:
        await rebuild(core, on_step=on_step)


if __name__ == "__main__":
    asyncio.run(die_rebuilding(*sys.argv[1:]))
