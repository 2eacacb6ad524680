"""What the gateway does over HTTP, in turn with a bare ASGI echo of the same bodies.

The gateway runs as shipped: one process, the embedded Valkey with `appendfsync always`, SQLite.
The load generator, the gateway and Valkey share the machine's cores, and so do the generator and
the echo: that is part of what is measured.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from gateway.cli.demo_client import HttpCaller
from gateway.cli.demo_gateway import PrivateGateway
from gateway.core.clock import SystemClock
from gateway.core.errors import SetupError
from gateway.store.embedded_files import Folder
from loadtests.bench import requests
from loadtests.bench.figures import Figure, Section, Verdict, over, ratio_at_least
from loadtests.bench.loadgen import HEAD_END, Kind, Load, Plan, probe
from loadtests.bench.machine import ROOT, cpu_s
from loadtests.bench.scale import Scale

SECTION = "http"
SKU = "bench-phone"
UNITS = 10**9
TARGET_SINGLE = 0.5
ECHO = "a bare ASGI echo of the same bodies"
SINK = "the generator against a socket that answers anything"
GENERATOR_MARGIN = 1.2
"""The generator must be this much faster than the echo before it may judge it."""
PROCESS_WAIT_MAX_S = 60.0

Say = Callable[[str], None]


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of call. rate_max: more of them a second than this machine could answer."""

    name: str
    kind: Kind
    unit: str
    connections: int
    rate_max: int
    size: int = 1
    echoed: bool = True

    def requests_an_item(self) -> float:
        """HTTP requests that one accepted reservation, order or read takes."""
        return 2.0 if self.kind == "order" else 1 / self.size

    def first_request(self) -> bytes:
        """One of its requests, to see how long the gateway's answer is."""
        if self.kind == "stock":
            return requests.stock(SKU)
        if self.kind == "batch":
            return next(requests.batch(SKU, f"probe{self.size}", 1, self.size))
        return next(requests.reserve(SKU, f"probe-{self.kind}", 1))


SINGLE = Traffic(
    name="single reservations", kind="reserve", unit="accepted/s", connections=64, rate_max=70_000
)
TRAFFIC = (
    SINGLE,
    Traffic(
        name="batches of 100",
        kind="batch",
        unit="accepted/s",
        connections=16,
        rate_max=150_000,
        size=100,
    ),
    Traffic(
        name="batches of 400",
        kind="batch",
        unit="accepted/s",
        connections=8,
        rate_max=150_000,
        size=400,
    ),
    Traffic(name="stock reads", kind="stock", unit="reads/s", connections=64, rate_max=70_000),
    Traffic(
        name="reserve, confirm, settled",
        kind="order",
        unit="orders/s",
        connections=256,
        rate_max=30_000,
        echoed=False,
    ),
)


class Turn(msgspec.Struct, frozen=True):
    """One measurement: what came back, and processor seconds by process, from start to end."""

    load: Load
    cpu_s: dict[str, float]

    def rate(self, traffic: Traffic, *, echo: bool) -> float:
        """Items a second; for the echo, those that its requests asked for."""
        done = self.load.answers / traffic.requests_an_item() if echo else self.load.done
        return done / self.load.seconds

    def cpu_us(self, process: str, traffic: Traffic) -> float:
        """Processor time an item, warming up included on both sides."""
        items = sum(self.load.statuses.values()) / traffic.requests_an_item()
        return self.cpu_s[process] * 1e6 / max(items, 1)


class Target(msgspec.Struct, frozen=True):
    """A server under load: its port, and its processes by name.

    remembers: a request that comes twice is a replay.
    """

    port: int
    processes: dict[str, int]
    remembers: bool = False


def measure(scale: Scale, seed: int, say: Say) -> Section:
    """Every kind of traffic, gateway and echo in turn."""
    return asyncio.run(_measure(scale, seed, say))


async def _measure(scale: Scale, seed: int, say: Say) -> Section:
    figures: list[Figure] = []
    notes: list[str] = []
    if scale.fresh_gateways:
        for traffic in TRAFFIC:
            async with _gateway() as target:
                figures += _one(traffic, target, scale, f"{seed}", say, notes)
    else:
        async with _gateway() as target:
            for traffic in TRAFFIC:
                figures += _one(traffic, target, scale, f"{seed}", say, notes)
    with _answerer(300, "--sink") as target:
        say("http: the generator alone")
        taken = [_turn(SINGLE, target, scale, f"s{n}") for n in range(scale.http_rounds)]
    figures.append(
        _figure(SINK, "generator", "requests/s", [t.load.answers / t.load.seconds for t in taken])
    )
    return Section(figures, _verdicts(figures), notes)


def _verdicts(figures: list[Figure]) -> list[Verdict]:
    by_name = {(figure.name, figure.on): figure for figure in figures}
    single = by_name[SINGLE.name, "gateway"]
    alone, echo = by_name[SINK, "generator"], by_name[SINGLE.name, "echo"]
    margin = min(alone.samples) / max(echo.samples)
    return [
        ratio_at_least(SECTION, "single reservations over keep-alive", TARGET_SINGLE, single),
        Verdict(
            section=SECTION,
            target=f"the load generator alone ≥ {GENERATOR_MARGIN:g} of what the echo answers",
            found=f"{margin:.2f}, its slowest round against the echo's fastest",
            met=margin >= GENERATOR_MARGIN,
        ),
    ]


# ── measuring ────────────────────────────────────────────────────────────────


def _one(
    traffic: Traffic, gateway: Target, scale: Scale, tag: str, say: Say, notes: list[str]
) -> list[Figure]:
    """One kind of traffic: the gateway and the echo in turn, `scale.http_rounds` times."""
    answer = probe(gateway.port, traffic.first_request())
    sold: list[Turn] = []
    echoed: list[Turn] = []
    with _answerer(len(answer.partition(HEAD_END)[2])) as echo:
        for number in range(scale.http_rounds):
            say(f"http: {traffic.name}, round {number + 1} of {scale.http_rounds}")
            if traffic.echoed:
                echoed.append(_turn(traffic, echo, scale, f"{tag}e{number}"))
            sold.append(_turn(traffic, gateway, scale, f"{tag}g{number}"))
    notes += _complaints(traffic, sold, echoed)
    return _figures(traffic, sold, echoed)


def _turn(traffic: Traffic, target: Target, scale: Scale, tag: str) -> Turn:
    seconds = scale.warm_s + scale.http_s
    plan = Plan(
        port=target.port,
        kind=traffic.kind,
        sku=SKU,
        tag=f"{traffic.kind}{traffic.size}-{tag}",
        connections=traffic.connections,
        warm_s=scale.warm_s,
        measure_s=scale.http_s,
        prepared=int(traffic.rate_max * seconds / traffic.size),
        size=traffic.size,
        endless=not target.remembers,
    )
    before = {name: cpu_s(pid) for name, pid in target.processes.items()}
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.bench.loadgen"],
        input=msgspec.json.encode(plan),
        capture_output=True,
        cwd=ROOT,
        timeout=PROCESS_WAIT_MAX_S + seconds,
        check=False,
        start_new_session=True,  # Ctrl-C is ours to handle
    )
    if done.returncode:
        raise SetupError(f"the load generator failed:\n{done.stderr.decode(errors='replace')}")
    spent = {name: cpu_s(pid) - before[name] for name, pid in target.processes.items()}
    load = msgspec.json.decode(done.stdout, type=Load)
    if not load.answers:
        on = "/".join(target.processes)
        raise SetupError(f"{traffic.name}: no answer from {on} in {load.seconds:.1f} s")
    return Turn(load, spent)


def _figures(traffic: Traffic, sold: list[Turn], echoed: list[Turn]) -> list[Figure]:
    rates = [turn.rate(traffic, echo=False) for turn in sold]
    limits = [turn.rate(traffic, echo=True) for turn in echoed]
    main = _figure(traffic.name, "gateway", traffic.unit, rates)
    if limits:
        main = msgspec.structs.replace(main, limit=ECHO, ratios=over(rates, limits))
    found = [main]
    if limits:
        found.append(_figure(traffic.name, "echo", traffic.unit, limits))
    for on, turns in (("gateway", sold), ("echo", echoed)):
        if turns:
            found += _more(traffic, on, turns)
    return found


def _more(traffic: Traffic, on: str, turns: list[Turn]) -> list[Figure]:
    """Latencies under this closed load, and where processor time went."""
    name = traffic.name
    found = [
        _figure(f"{name}: p50", on, "ms", [turn.load.p50_ms for turn in turns]),
        _figure(f"{name}: p99", on, "ms", [turn.load.p99_ms for turn in turns]),
    ]
    for process in turns[0].cpu_s:
        spent = [turn.cpu_us(process, traffic) for turn in turns]
        found.append(_figure(f"{name}: processor", process, "us each", spent))
    busy = [turn.load.busy for turn in turns]
    found.append(_figure(f"{name}: generator's share of a core", f"{on}", "", busy))
    return found


def _figure(name: str, on: str, unit: str, samples: list[float]) -> Figure:
    return Figure(section=SECTION, name=name, on=on, unit=unit, samples=samples)


def _complaints(traffic: Traffic, sold: list[Turn], echoed: list[Turn]) -> list[str]:
    """What a reader of these figures must know: answers that were no success, and the like."""
    found = []
    good = {"200"} if traffic.kind in ("stock", "batch") else {"201"}
    good |= {"200"} if traffic.kind == "order" else set()
    others: dict[str, int] = {}
    for turn in sold:
        for status, times in turn.load.statuses.items():
            if status not in good:
                others[status] = others.get(status, 0) + times
    if others:
        words = ", ".join(f"{times} × {status}" for status, times in sorted(others.items()))
        found.append(f"{traffic.name}: the gateway also answered {words}")
    if any(turn.load.lost for turn in (*sold, *echoed)):
        found.append(f"{traffic.name}: connections were lost")
    if any(turn.load.used_up for turn in (*sold, *echoed)):
        found.append(f"{traffic.name}: the prepared requests were used up before the time was")
    return found


# ── servers ──────────────────────────────────────────────────────────────────


@asynccontextmanager
async def _gateway() -> AsyncIterator[Target]:
    """A gateway as shipped, with one SKU that never sells out."""
    clock = SystemClock()
    async with PrivateGateway(clock) as gateway:
        caller = HttpCaller(gateway.url, clock)
        wanted = {"on_hand": UNITS, "safety_stock": 0, "buyer_limit": 2}
        answer = await caller.call("PUT", f"/v1/admin/skus/{SKU}", wanted)
        caller.close()
        if not answer.ok:
            raise SetupError(f"{SKU} could not be put on sale: {answer.code}")
        yield Target(urlsplit(gateway.url).port or 80, _processes(gateway.folder / "data"), True)


def _processes(data: Path) -> dict[str, int]:
    folder = Folder(data)
    state, owner = folder.read_state(), folder.owner_pid()
    if state is None or owner is None:
        raise SetupError(f"the private gateway keeps no store in {data}")
    return {"gateway": owner, "valkey": state.server_pid}


@contextmanager
def _answerer(size: int, *options: str) -> Iterator[Target]:
    """The echo, or the sink, answering `size` bytes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtests.bench.echo", str(size), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise SetupError("the echo did not start")
        probe(int(line), requests.stock(SKU))  # it listens before it can answer
        yield Target(int(line), {"echo": process.pid})
    finally:
        process.terminate()
        try:
            process.wait(PROCESS_WAIT_MAX_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
