"""`python -m loadtests.run flash`: a private gateway, Locust against it, and a verdict.

Exit code 0: every check held; 1: one did not; 2: it could not be run.
"""

import argparse
import asyncio
import signal
import sys
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from gateway.cli.demo_client import HttpCaller
from gateway.cli.demo_gateway import PrivateGateway
from gateway.core.clock import SystemClock
from gateway.core.errors import SetupError
from loadtests.closing import Closing
from loadtests.locust_run import Load, check_locust, command, read_steps, run_locust
from loadtests.redis_server import PrivateRedis
from loadtests.report import show, write_json
from loadtests.verdict import Check, Evidence, Sku, counters, judge, read_book

RESULTS = Path(__file__).with_name("results")
PAYMENT_WINDOW_S = 10  # short, so that what is cut off at the end comes back on sale soon
QUIET_WAIT_MAX_S = 60.0
PROGRESS_EVERY_S = 5.0
PLAIN_WIDTH = 120  # columns, where the output goes into a file or a pipe
CONFIG = f"""
[hold]
payment_window_s = {PAYMENT_WINDOW_S}
"""


def main() -> int:
    """Run what the command line asks for; the exit code."""
    options = parse_options()
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    try:
        return asyncio.run(run(options, console))
    except SetupError as wrong:
        print(f"loadtest: {wrong.message}", file=sys.stderr)
        if wrong.hint:
            print(f"  {wrong.hint}", file=sys.stderr)
        return wrong.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("loadtest: interrupted; nothing was left running", file=sys.stderr)
        return 130


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.run", description=__doc__)
    parser.add_argument("scenario_word", nargs="?", choices=["flash"], metavar="SCENARIO")
    parser.add_argument("--scenario", default="flash", choices=["flash"])
    parser.add_argument("--users", type=positive, default=200, help="lanes of visitors")
    parser.add_argument("--arrivals", type=positive, default=300, help="visitors a second")
    parser.add_argument("--duration", type=positive, default=30, help="seconds of load")
    parser.add_argument("--units", type=positive, default=1500, help="phones on sale")
    parser.add_argument("--hold-ttl-s", type=positive, default=3, help="how long a hold lasts")
    parser.add_argument("--store", default="embedded://", help="embedded://, redis://…, unix://…")
    parser.add_argument("--redis-binary", default="", help="run on a private Redis of this program")
    parser.add_argument("--processes", type=positive, default=1, help="Locust worker processes")
    parser.add_argument("--seed", type=positive, default=1, help="seed of the crowd")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the results go")
    parser.add_argument("--locust-python", default=sys.executable, help="interpreter with Locust")
    options = parser.parse_args()
    options.scenario = options.scenario_word or options.scenario
    return options


def positive(text: str) -> int:
    """A whole number of at least one."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


async def run(options: argparse.Namespace, console: Console) -> int:
    """Everything from the private gateway to the verdict; what was started is stopped."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    check_locust(options.locust_python)
    folder = make_folder(options)
    async with AsyncExitStack() as stack:
        store = options.store
        if options.redis_binary:
            store = stack.enter_context(PrivateRedis(options.redis_binary)).url
        gateway = PrivateGateway(SystemClock(), store=store, more_config=CONFIG)
        await stack.enter_async_context(gateway)
        console.print(f"gateway at {gateway.url} on {store}, results in {folder}", soft_wrap=True)
        caller = HttpCaller(gateway.url, SystemClock(), connections_max=64)
        stack.callback(caller.close)
        evidence = await sell(options, console, gateway, caller, folder)
    return conclude(options, console, folder, store, evidence)


def make_folder(options: argparse.Namespace) -> Path:
    """The folder of this run, named by its start in UTC."""
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    folder: Path = options.results / f"{stamp}-{options.scenario}"
    try:
        folder.mkdir(parents=True)
    except OSError as wrong:
        raise SetupError(f"cannot write the results to {folder}: {wrong.strerror}") from None
    return folder.resolve()


async def sell(
    options: argparse.Namespace,
    console: Console,
    gateway: PrivateGateway,
    caller: HttpCaller,
    folder: Path,
) -> Evidence:
    """Put the SKUs on sale, let the load at them, close, and gather the evidence."""
    load = Load(
        users=options.users,
        duration_s=options.duration,
        arrivals_per_s=options.arrivals,
        hold_s=options.hold_ttl_s,
        draw=options.seed,
        processes=options.processes,
    )
    tag = run_tag(options.store)
    phone = await put_sku(caller, f"load-phone{tag}", options.units, 1, load.hold_s)
    case = await put_sku(caller, f"load-case{tag}", options.units * 2 // 3 + 1, 4, load.hold_s)
    closing = Closing(caller, folder / "record-closing.jsonl")
    watching = asyncio.create_task(watch(console, closing, [phone[0], case[0]]))
    try:
        skus = {"phone": phone[0], "case": case[0]}
        await run_locust(
            command(options.locust_python, gateway.url, load, folder, skus), load, folder
        )
    finally:
        watching.cancel()
    for sku, _, limit in (phone, case):
        await closing.quiet([sku], QUIET_WAIT_MAX_S)
        console.print(f"closing: {await closing.sell_out(sku, limit)} units of {sku} were left")
    await closing.quiet([phone[0], case[0]], QUIET_WAIT_MAX_S)
    return await gather(closing, gateway, options.store, folder, [phone, case])


def run_tag(store: str) -> str:
    """Tells this run's SKUs from those that a store of one's own may know from earlier runs."""
    return "" if store in ("embedded://", "memory://") else f"-{int(time.time()):x}"


SkuSet = tuple[str, int, int]


async def put_sku(
    caller: HttpCaller, sku: str, units: int, buyer_limit: int, hold_ttl_s: int
) -> SkuSet:
    """Put a SKU on sale; (name, units received, buyer limit)."""
    wanted = {
        "on_hand": units,
        "safety_stock": units // 100,
        "buyer_limit": buyer_limit,
        "hold_ttl_s": hold_ttl_s,
    }
    answer = await caller.call("PUT", f"/v1/admin/skus/{sku}", wanted)
    if not answer.ok:
        detail = answer.body.get("detail", "")
        raise SetupError(f"{sku} could not be put on sale: {answer.code} {detail}")
    return sku, units, buyer_limit


async def watch(console: Console, closing: Closing, skus: list[str]) -> None:
    """Print how the sale stands, every few seconds, until cancelled."""
    started_s = time.monotonic()
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        words = []
        for sku in skus:
            terms = await closing.terms(sku)
            words.append(f"{sku} sold {terms.sold} held {terms.held} available {terms.available}")
        console.print(f"{time.monotonic() - started_s:4.0f} s  " + "  ".join(words), soft_wrap=True)


async def gather(
    closing: Closing, gateway: PrivateGateway, store: str, folder: Path, skus: list[SkuSet]
) -> Evidence:
    """Ask for all that the verdict needs."""
    closing.close()
    lines = [line for path in sorted(folder.glob("record-*.jsonl")) for line in path.open()]
    book = read_book(lines)
    listed = frozenset[str]().union(*[await closing.listed(name) for name, _, _ in skus])
    verify_exit: int | None = None
    if not store.startswith("memory:"):
        verify_exit, output = await gateway.run_command("verify")
        (folder / "verify.txt").write_text(output + "\n", encoding="utf-8")
    steps = read_steps((folder / "locust.json").read_text(encoding="utf-8"))
    (folder / "gateway.log").write_bytes(gateway.log_path.read_bytes())
    final = [Sku(name, n, limit, await closing.terms(name)) for name, n, limit in skus]
    return Evidence(
        book=book,
        skus=tuple(final),
        states=await closing.states(book.orders),
        listed=listed,
        failures={step.name: step.failures for step in steps},
        verify_exit=verify_exit,
    )


def conclude(
    options: argparse.Namespace, console: Console, folder: Path, store: str, evidence: Evidence
) -> int:
    """Judge, print, leave the JSON; the exit code."""
    checks: list[Check] = judge(evidence)
    steps = read_steps((folder / "locust.json").read_text(encoding="utf-8"))
    setup: dict[str, Any] = {
        "scenario": options.scenario,
        "store": options.redis_binary or store,
        "users": options.users,
        "arrivals_per_s": options.arrivals,
        "duration_s": options.duration,
        "units": {sku.name: sku.received for sku in evidence.skus},
        "hold_ttl_s": options.hold_ttl_s,
        "processes": options.processes,
        "seed": options.seed,
    }
    counted = counters(evidence)
    write_json(folder / "verdict.json", setup=setup, checks=checks, counters=counted, steps=steps)
    show(console, checks, counted, steps)
    console.print(f"report  {folder / 'report.html'}", soft_wrap=True)
    console.print(f"verdict {folder / 'verdict.json'}", soft_wrap=True)
    return 0 if all(check.ok for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
