"""Many channels at once on few units, and the verdict on what came of it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from gateway.core.codes import Reply
from gateway.core.errors import InvariantBreach
from gateway.core.ids import split_id
from gateway.store.commands import HoldAnswer, HoldRequest
from gateway.store.records import parse_record
from tests.store.shop import LIVE, Shop, units

STEPS: list[tuple[str, str | int]] = [
    ("confirm", ""),
    ("confirm", ""),
    ("pay", 5),
    ("release", ""),
    ("extend", "10:50"),
]

Hold = Callable[[Shop, HoldRequest], Awaitable[HoldAnswer]]


async def plain_hold(shop: Shop, asked: HoldRequest) -> HoldAnswer:
    return (await shop.hold_all(asked))[0]


@dataclass
class Verdict:
    """oversold: units given away beyond what was received; granted: HELD answers by field."""

    oversold: int = 0
    granted: Counter[str] = field(default_factory=Counter)
    refused: Counter[Reply] = field(default_factory=Counter)
    breaches: int = 0

    @property
    def doubled(self) -> list[str]:
        """Fields that were granted more than once."""
        return [name for name, times in self.granted.items() if times > 1]


async def rush(
    shops: Sequence[Shop], requests: Sequence[HoldRequest], hold: Hold = plain_hold
) -> Verdict:
    """Each shop sends its share of the requests, one after the other; all shops at once."""
    verdict = Verdict()

    async def visit(number: int) -> None:
        for asked in requests[number :: len(shops)]:
            try:
                answer = await hold(shops[number], asked)
            except InvariantBreach:
                verdict.breaches += 1
                continue
            if answer.code == Reply.HELD:
                verdict.granted[asked.field] += 1
            else:
                verdict.refused[Reply(answer.code)] += 1

    await asyncio.gather(*map(visit, range(len(shops))))
    rows = await shops[0].rows()
    skus = {line.sku for asked in requests for line in asked.lines}
    for sku in skus:
        given = units(rows, sku, LIVE)
        verdict.oversold += max(0, given - shops[0].received[sku])
    return verdict


class Visitor:
    """One channel that does anything to anything, by dice that a seed decides."""

    def __init__(self, shop: Shop, seed: int, created: dict[str, int], verdict: Verdict) -> None:
        self.shop = shop
        self.dice = Random(seed)
        self.verdict = verdict
        shop.created = created  # shared: what one was granted, another may confirm

    async def run(self, turns: int, make: Callable[[Random], HoldRequest], keys: list[str]) -> None:
        for _ in range(turns):
            turn = self.dice.choices([self.hold, self.step, self.sweep, self.settle], [5, 6, 1, 2])
            await turn[0](make, keys)

    async def hold(self, make: Callable[[Random], HoldRequest], _keys: list[str]) -> None:
        batch = [make(self.dice) for _ in range(self.dice.randint(1, 8))]
        for asked, answer in zip(batch, await self.shop.hold_all(*batch), strict=True):
            if answer.code == Reply.HELD:
                self.verdict.granted[asked.field] += 1
            elif answer.code == Reply.REPLAYED:
                parts = split_id(parse_record(asked.field, 0, answer.a).id)
                assert parts is not None
                self.shop.created[asked.field] = parts[0]

    async def step(self, _make: Callable[[Random], HoldRequest], keys: list[str]) -> None:
        event, argument = self.dice.choice(STEPS)
        await self.shop.act(event, self.dice.choices(keys, k=6), argument)

    async def sweep(self, _make: Callable[[Random], HoldRequest], _keys: list[str]) -> None:
        await self.shop.commands.expire_due(self.dice.randint(1, 50))

    async def settle(self, _make: Callable[[Random], HoldRequest], _keys: list[str]) -> None:
        entries = (await self.shop.outbox.read_new(10, 0.0)).entries
        if entries:
            pairs = [(entry.entry_id, entry.field) for entry in entries]
            await self.dice.choice([self.shop.commands.settle, self.shop.commands.reject])(pairs)
