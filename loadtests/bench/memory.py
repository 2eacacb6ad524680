"""What a live hold takes of memory: its record, its deadline and the count of its buyer.

Holds are spread over their whole time to live, as a steady sale makes them: few then share a list
of deadlines, which is the dearest case. For comparison, the same holds all made at once.
"""

from collections.abc import Callable

from gateway.store import keys
from loadtests.bench.figures import Figure, Section, at_most
from loadtests.bench.link import Link
from loadtests.bench.scale import Scale
from loadtests.bench.servers import PrivateServer, kinds_here
from loadtests.bench.shop import HOLD_TTL_MS, HOT, Shop

SECTION = "memory"
TARGET_BYTES = 260.0
WHOLE = "live hold with a buyer limit"
FILL_BATCH = 512
SAMPLED = 2_000
TTL_S = HOLD_TTL_MS // 1000
STEADY, BURST = "spread over their time to live", "made at once"
TTLS_S = {STEADY: (1, TTL_S), BURST: (TTL_S, TTL_S)}


def measure(scale: Scale, seed: int, say: Callable[[str], None]) -> Section:
    """Bytes a live hold at each size, each on a server that held nothing before."""
    kinds, missing = kinds_here()
    cases = [*[(live, STEADY) for live in scale.live], (scale.live[0], BURST)]
    figures: list[Figure] = []
    for kind in kinds:
        for live, how in cases:
            with PrivateServer(kind, "no file") as server:
                say(f"memory: {live:,} holds {how} on {server.version}")
                figures += _bytes_a_hold(Shop(server.link(), seed), live, how, server.version)
    judged = [figure for figure in figures if figure.name.startswith(WHOLE)]
    verdict = at_most(SECTION, f"a {WHOLE}", "bytes", TARGET_BYTES, judged)
    return Section(figures, [verdict], missing)


def fill(shop: Shop, live: int, ttl_s: tuple[int, int]) -> list[str]:
    """Makes that many holds of the hot SKU; their fields in order.

    ttl_s: the times to live of the first and of the last one; the others lie evenly between.
    """
    fields = []
    first_s, last_s = ttl_s
    for begin in range(0, live, FILL_BATCH):
        batch = [
            shop.one_line(HOT, ttl_s=first_s + n * (last_s - first_s) // live)
            for n in range(begin, min(begin + FILL_BATCH, live))
        ]
        shop.hold(batch)
        fields += [request.field for request in batch]
    return fields


def _bytes_a_hold(shop: Shop, live: int, how: str, on: str) -> list[Figure]:
    """The whole, by used_memory, and its parts as Redis estimates them."""
    shop.open((HOT,))
    shop.clock_ms = int(shop.link.call("TIME")[0]) * 1000  # stands still: nothing expires
    before = shop.link.used_memory()
    fill(shop, live, TTLS_S[how])
    whole = shop.link.used_memory() - before
    record = _size(shop.link, keys.reservations(0))
    buyer = _size(shop.link, keys.buyers(0, HOT))
    parts = {
        WHOLE: whole,
        "of it: the record": record,
        "of it: the buyer's count": buyer,
        "of it: the deadline and the rest": whole - record - buyer,
    }
    return [
        Figure(
            section=SECTION,
            name=f"{part}, {live:,} holds {how}",
            on=on,
            unit="bytes",
            samples=[size / live],
        )
        for part, size in parts.items()
    ]


def _size(link: Link, key: str) -> int:
    return int(link.call("MEMORY", "USAGE", key, "SAMPLES", SAMPLED) or 0)
