from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from tests.store.shop import Shop


@pytest.fixture
async def shop(store_url: str) -> AsyncIterator[Shop]:
    """A shop on each kind of store; when the test ends, everything in it is recounted."""
    opened = await Shop.open(store_url)
    try:
        yield opened
        if not opened.damaged:
            await opened.check()
    finally:
        await opened.close()


@pytest.fixture
async def open_shop() -> AsyncIterator[Callable[[str], Awaitable[Shop]]]:
    """Opens shops on servers of the test's own, and closes them when it ends."""
    async with AsyncExitStack() as stack:

        async def opener(url: str) -> Shop:
            opened = await Shop.open(url)
            stack.push_async_callback(opened.close)
            return opened

        yield opener
