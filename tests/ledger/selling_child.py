"""Sells until it is killed; prints the number of each batch once the ledger has answered it."""

import asyncio
import sys

from tests.ledger.steps import open_ledger, sale

BATCH = 25


def batch_of(number: int) -> list:
    ids = range(number * BATCH, (number + 1) * BATCH)
    return [sale(f"r{n:08}", ("phone", 1), ("case", 2)) for n in ids]


async def sell(url: str) -> None:
    ledger = await open_ledger(url)
    number = 0
    while True:
        await ledger.deduct(batch_of(number))
        print(number, flush=True)
        number += 1


if __name__ == "__main__":
    asyncio.run(sell(sys.argv[1]))
