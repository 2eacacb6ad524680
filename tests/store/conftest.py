from collections.abc import AsyncIterator

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
