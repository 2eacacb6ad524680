"""The script for a rush answers and writes what the general one does, whatever it is asked."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.clock import SystemClock
from gateway.core.codes import Reply
from gateway.core.errors import InvariantBreach
from gateway.core.ids import fingerprint, key_field
from gateway.core.model import Line, SkuSettings
from gateway.store import commands, keys, scripts
from gateway.store.client import ScriptChannel, connect, execute
from gateway.store.commands import HoldRequest, StockCommands, StockMove
from tests.store.test_races import broken_script

START_MS = 1_800_000_000_000
DEFAULT_TTL_MS = 900_000

requests = st.builds(
    lambda key, buyer, quantity: wish(f"key-{key}", f"buyer-{buyer}", quantity),
    st.integers(0, 12),
    st.integers(0, 3),
    st.integers(1, 4),
)
batches = st.lists(st.lists(requests, min_size=1, max_size=8), min_size=1, max_size=6)
pauses = st.lists(st.integers(0, 3_000), min_size=6, max_size=6)
sku_settings = st.builds(
    SkuSettings,
    buyer_limit=st.sampled_from([0, 2, 5]),
    hold_ttl_ms=st.sampled_from([0, 1_000, 2_500]),
    sale_starts_ms=st.sampled_from([0, START_MS + 1_500]),
    sale_ends_ms=st.sampled_from([0, START_MS + 6_000]),
)


def wish(key: str, buyer: str, quantity: int, sku: str = "phone") -> HoldRequest:
    meaning = f"{buyer}||0|{sku}*{quantity}"
    return HoldRequest(
        key_field("", key),
        f"{fingerprint(key, meaning)}|{buyer}|||",
        buyer,
        "",
        0,
        (Line(sku, quantity),),
    )


class Store:
    """A store of its own, on a clock of its own, asked through one script only."""

    def __init__(self, client: Any, rush: bool) -> None:
        self.rush = rush
        self.client = client
        self.now_ms = START_MS
        channel = ScriptChannel(client, SystemClock(), call_timeout_s=10)
        self.commands = StockCommands(channel, 0, clock_ms=lambda: self.now_ms)

    async def hold(self, batch: list[HoldRequest], choose: pytest.MonkeyPatch) -> Any:
        with choose.context() as patch:
            patch.setattr(commands, "_rush_for", self._sku)
            return await self.commands.hold(batch, DEFAULT_TTL_MS)

    def _sku(self, asked: list[HoldRequest]) -> str:
        return asked[0].lines[0].sku if self.rush else ""

    async def dump(self) -> dict[bytes, Any]:
        found: dict[bytes, Any] = {}
        for name in sorted(await execute(self.client, "KEYS", f"{keys.prefix(0)}*")):
            kind = await execute(self.client, "TYPE", name)
            if kind == b"hash":
                flat = await execute(self.client, "HGETALL", name)
                found[name] = (
                    flat
                    if isinstance(flat, dict)
                    else dict(zip(flat[::2], flat[1::2], strict=True))
                )
            elif kind == b"list":
                found[name] = sorted(await execute(self.client, "LRANGE", name, 0, -1))
            else:
                found[name] = await execute(self.client, "ZRANGE", name, 0, -1, "WITHSCORES")
        return found


async def compare(
    chosen: SkuSettings, units: int, script: list[list[HoldRequest]], waits: list[int]
) -> None:
    stores = [Store(connect("memory://", connect_timeout_s=1), rush) for rush in (False, True)]
    patch = pytest.MonkeyPatch()
    for store in stores:
        await store.commands.move_stock(StockMove("phone", 1, units, 0, chosen))
    for batch, wait_ms in zip(script, waits, strict=False):
        told = []
        for store in stores:
            store.now_ms += wait_ms
            told.append(await store.hold(batch, patch))
        assert told[0] == told[1]
    assert await stores[0].dump() == await stores[1].dump()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(chosen=sku_settings, units=st.integers(0, 12), script=batches, waits=pauses)
async def test_both_scripts_do_the_same(
    chosen: SkuSettings, units: int, script: list[list[HoldRequest]], waits: list[int]
) -> None:
    await compare(chosen, units, script, waits)


@pytest.fixture
def broken_rush(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    load = scripts.load

    def break_it(old: str, new: str) -> None:
        broken = broken_script(load("hold_rush"), {old: new})
        monkeypatch.setattr(
            scripts, "load", lambda name: broken if name == "hold_rush" else load(name)
        )

    return break_it


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (" or (limit > 0 and count + quantity > limit) then", " then"),
        (" or s.available < quantity", ""),
        ("local before = fresh[field] or known[i]", "local before = known[i]"),
        ("count == quantity and text or count_text(count)", "text"),
    ],
)
async def test_a_difference_would_be_seen(
    broken_rush: Callable[[str, str], None], old: str, new: str
) -> None:
    broken_rush(old, new)
    clicks = [wish("a", "ann", 1), wish("a", "ann", 1), wish("b", "ann", 1), wish("c", "ann", 1)]
    crowd = [wish(f"k{n}", f"b{n}", 1) for n in range(5)]
    with pytest.raises((AssertionError, InvariantBreach)):
        await compare(SkuSettings(buyer_limit=2), 4, [clicks, crowd], [0, 0])


async def test_a_batch_of_one_kind_takes_the_short_way() -> None:
    batch = [wish(f"k{n}", "b", 1) for n in range(3)]
    assert commands._rush_for(batch) == "phone"
    assert commands._rush_for([*batch, wish("x", "b", 1, sku="tablet")]) == ""
    cart = HoldRequest("f", "m", "b", "", 0, (Line("phone", 1), Line("tablet", 1)))
    assert commands._rush_for([*batch, cart]) == ""
    longer = HoldRequest("f", "m", "b", "", 5_000, (Line("phone", 1),))
    assert commands._rush_for([*batch, longer]) == ""


async def test_an_unknown_sku_is_refused_and_nothing_is_written() -> None:
    store = Store(connect("memory://", connect_timeout_s=1), rush=True)
    answers = await store.hold([wish("a", "ann", 1)], pytest.MonkeyPatch())
    assert [answer.code for answer in answers] == [Reply.UNKNOWN_SKU]
    assert await store.dump() == {}
