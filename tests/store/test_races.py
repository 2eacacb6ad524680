"""Many channels on few units: never oversold, nothing twice, and everything explained at the end.

The negative controls take a protection out of hold.lua and show that the same harness sees it.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from hashlib import sha1
from random import Random

import pytest

from gateway.core.codes import Reply
from gateway.core.model import State
from gateway.store import scripts
from gateway.store.commands import HoldAnswer, HoldRequest
from gateway.store.scripts import Script
from tests.store.race import Verdict, Visitor, rush
from tests.store.shop import Shop, Terms, request
from tests.support.servers import RedisServer

CHANNELS = 8
UNITS = 5
TURNS = 4000 if os.environ.get("STOCKGATE_SOAK") == "1" else 60


@pytest.fixture(params=["redis", "valkey"])
async def shops(request: pytest.FixtureRequest) -> AsyncIterator[list[Shop]]:
    """Channels of their own to one server."""
    server: RedisServer = request.getfixturevalue(f"{request.param}_server")
    server.call("FLUSHALL")
    opened = [await Shop.open(server.url) for _ in range(CHANNELS)]
    yield opened
    await asyncio.gather(*(shop.close() for shop in opened))


def crowd(size: int = 40) -> list[HoldRequest]:
    return [request(f"k{n}", buyer=f"b{n}") for n in range(size)]


async def test_a_rush_sells_every_unit_once(shops: list[Shop]) -> None:
    await shops[0].put("phone", UNITS)
    verdict = await rush(shops, crowd())
    assert verdict.oversold == 0
    assert sum(verdict.granted.values()) == UNITS
    assert verdict.refused == {Reply.SOLD_OUT: 40 - UNITS}
    assert await shops[0].terms() == Terms(UNITS, 0, held=UNITS)
    await shops[0].check()


async def test_a_rush_of_double_clicks_holds_once_a_key(shops: list[Shop]) -> None:
    await shops[0].put("phone", 1000)
    clicks = [asked for asked in crowd(20) for _ in range(CHANNELS)]
    verdict = await rush(shops, clicks)
    assert len(verdict.granted) == 20
    assert verdict.doubled == []
    assert verdict.refused == {Reply.REPLAYED: 20 * (CHANNELS - 1)}
    await shops[0].check()


async def test_a_rush_of_one_buyer_ends_at_the_limit(shops: list[Shop]) -> None:
    await shops[0].put("phone", 1000, buyer_limit=3)
    verdict = await rush(shops, [request(f"k{n}") for n in range(40)])
    assert sum(verdict.granted.values()) == 3
    assert verdict.refused == {Reply.BUYER_LIMIT: 37}
    await shops[0].check()


async def test_confirm_release_and_expiry_of_one_hold_race_to_one_end(shops: list[Shop]) -> None:
    await shops[0].put("phone", 20)
    ends: list[State] = []
    for n in range(20):
        key = f"k{n}"
        await shops[0].held(key, ttl_ms=100)
        for shop in shops:
            shop.created = shops[0].created
            shop.now_ms = shops[0].now_ms
        shops[2].pass_ms(100)
        calls = [shops[0].confirm(key), shops[1].release(key), shops[2].expire()]
        Random(n).shuffle(calls)
        await asyncio.gather(*calls)
        ends.append(await shops[0].state(key))
        await shops[0].check()
    assert set(ends) <= {State.CONFIRMED, State.RELEASED, State.EXPIRED}
    sold = ends.count(State.CONFIRMED)
    assert await shops[0].terms() == Terms(20, 20 - sold, unsettled=sold)


async def anything_goes(shops: list[Shop], turns: int) -> None:
    """Every channel does anything to few units that expire all the time, on the server's clock."""
    for shop in shops:
        shop.now_ms = 0
    await shops[0].put("phone", UNITS, safety=1, buyer_limit=2)
    await shops[0].put("case", 2 * UNITS)
    keys = [f"k{n}" for n in range(turns * CHANNELS // 2)]

    def make(dice: Random) -> HoldRequest:
        n = dice.randrange(len(keys))
        # The key decides the rest, so that a key that comes twice means the same.
        lines = [("phone", 1 + n % 2), ("case", 1 + n % 3)][n % 3 % 2 :]
        return request(keys[n], *lines, buyer=f"b{n % 5}", ttl_ms=1 + n % 30)

    verdict = Verdict()
    visitors = [Visitor(shop, seed, shops[0].created, verdict) for seed, shop in enumerate(shops)]
    await asyncio.gather(*(visitor.run(turns, make, keys) for visitor in visitors))
    assert verdict.doubled == []
    assert len(verdict.granted) > UNITS
    shop = shops[0]
    await shop.check()
    shop.now_ms = await shop.listing.now_ms() + 10_000
    while (await shop.commands.expire_due(1000)).looked_at:
        pass
    await shop.check()
    terms = await shop.terms()
    assert (terms.held, terms.sold + terms.on_hand) == (0, UNITS)
    assert terms.available + terms.unsettled + terms.safety_stock == terms.on_hand


async def test_anything_goes_and_adds_up(shops: list[Shop]) -> None:
    await anything_goes(shops, TURNS)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_anything_goes_for_a_long_time(shops: list[Shop]) -> None:
    await anything_goes(shops, TURNS)


# Negative controls: without a protection, the same harness finds the damage.

CHECK = "  if s.available < quantity then\n    return refuse_shortage(s, quantity)\n  end\n"
ASSERTION = "if s.dirty and not is_balanced(s) then"
SOUNDNESS = "s.broken = settings == CLOSED or not is_balanced(s)"
REPLAY = "local before = fresh[field] or known[i]"

Breaker = Callable[[dict[str, str]], None]


@pytest.fixture
def break_hold(monkeypatch: pytest.MonkeyPatch) -> Breaker:
    """Replaces pieces of both scripts that hold; each must be there."""
    load = scripts.load

    def break_it(changes: dict[str, str]) -> None:
        broken = {name: broken_script(load(name), changes) for name in ("hold", "hold_rush")}
        monkeypatch.setattr(scripts, "load", lambda name: broken.get(name) or load(name))

    return break_it


def broken_script(sound: Script, changes: dict[str, str]) -> Script:
    text = sound.text
    for old, new in changes.items():
        assert text.count(old) == 1, f"{sound.name}.lua no longer says {old!r}"
        text = text.replace(old, new)
    return replace(sound, text=text, sha=sha1(text.encode()).hexdigest())


async def test_without_any_check_the_rush_oversells(shops: list[Shop], break_hold: Breaker) -> None:
    await shops[0].put("phone", UNITS)
    break_hold({CHECK: "", ASSERTION: "if false then", SOUNDNESS: "s.broken = false"})
    verdict = await rush(shops, crowd())
    assert verdict.oversold == 40 - UNITS
    with pytest.raises(AssertionError):
        await shops[0].check()


async def test_without_the_check_the_assertion_refuses_to_oversell(
    shops: list[Shop], break_hold: Breaker
) -> None:
    await shops[0].put("phone", UNITS)
    break_hold({CHECK: ""})
    verdict = await rush(shops, crowd())
    assert verdict.oversold == 0
    assert verdict.breaches == 40 - UNITS
    assert await shops[0].terms() == Terms(UNITS, 0, held=UNITS)
    await shops[0].check()


async def test_check_then_act_in_two_calls_oversells(
    shops: list[Shop], break_hold: Breaker
) -> None:
    await shops[0].put("phone", UNITS)
    break_hold({CHECK: "", ASSERTION: "if false then", SOUNDNESS: "s.broken = false"})

    async def check_then_act(shop: Shop, asked: HoldRequest) -> HoldAnswer:
        if (await shop.terms()).available < 1:
            return HoldAnswer(Reply.SOLD_OUT, 0, 0, shop.now_ms)
        return (await shop.hold_all(asked))[0]

    verdict = await rush(shops, crowd(), check_then_act)
    assert verdict.oversold > 0


async def test_without_idempotency_double_clicks_hold_twice(
    shops: list[Shop], break_hold: Breaker
) -> None:
    await shops[0].put("phone", 1000)
    break_hold({REPLAY: "local before = nil"})
    verdict = await rush(shops, [asked for asked in crowd(5) for _ in range(CHANNELS)])
    assert len(verdict.doubled) == 5
