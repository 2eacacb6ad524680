"""`stockgate demo`: a flash sale over real HTTP, against a running or a private gateway."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack

import click
import msgspec
from rich.console import Console

from gateway.cli.demo_client import Caller, HttpCaller
from gateway.cli.demo_gateway import PrivateGateway
from gateway.cli.demo_plan import SalePlan, draw_plan
from gateway.cli.demo_report import open_progress, show_verdict
from gateway.cli.demo_sale import FlashSale
from gateway.cli.demo_verdict import Evidence, Verdict, VerifyResult, judge
from gateway.core.clock import Clock, SystemClock
from gateway.core.errors import SetupError

ARRIVALS_PER_S = 1000
RUSH_MIN_S = 1.0
GIVE_UP_HOLDS = 12  # returned units go round this many times at most
PLAIN_WIDTH = 120  # columns, where the output goes into a file or a pipe
# One a scope; whether the SKU exists does not matter.
SCOPED_PATHS = ("/v1/stock/demo", "/v1/admin/skus?limit=1")
EXIT_BROKEN = 1
EXIT_INTERRUPTED = 130
BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


class Options(msgspec.Struct, frozen=True):
    """What the command line asked for."""

    url: str
    key: str
    buyers: int
    units: int
    seed: int
    hold_ttl_s: int
    store: str
    as_json: bool


@click.command()
@click.option("--url", default="", help="A running gateway. Without it, a private one is started.")
@click.option(
    "--key",
    default="",
    envvar="STOCKGATE_KEY",
    help="Bearer key for --url, with the scopes storefront and admin.",
)
@click.option("--buyers", default=5000, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--units", default=200, show_default=True, type=click.IntRange(1, 1_000_000))
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Repeat the same crowd.")
@click.option("--hold-ttl-s", default=3, show_default=True, type=click.IntRange(1, 600))
@click.option("--store", default="embedded://", show_default=True, help="The private one's store.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the verdict as JSON, and nothing else."
)
def demo(
    url: str,
    key: str,
    buyers: int,
    units: int,
    seed: int | None,
    hold_ttl_s: int,
    store: str,
    as_json: bool,
) -> None:
    """Run a flash sale and check that no promise was broken.

    Double clicks, second orders, abandoned carts, late payments: everybody comes, and no unit may
    be oversold or left unsold. The exit code is 0 only if every promise held.
    """
    clock = SystemClock()
    drawn = clock.now_ms() % 1_000_000 if seed is None else seed
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SetupError("the key given with --key has characters no key can have")
    options = Options(url, key, buyers, units, drawn, hold_ttl_s, store, as_json)
    try:
        verdict = asyncio.run(_run(options, clock))
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("interrupted; nothing was left running", err=True)
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(0 if verdict.ok else EXIT_BROKEN)


async def _run(options: Options, clock: Clock) -> Verdict:
    """Start what is needed, sell, judge, show; everything started is stopped on the way out."""
    _cancel_on_terminate()
    console = Console(quiet=options.as_json, highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    async with AsyncExitStack() as stack:
        private = None
        if not options.url:
            console.print("starting a private gateway…")
            private = await stack.enter_async_context(PrivateGateway(clock, store=options.store))
        url = private.url if private else options.url
        crowd = HttpCaller(url, clock, key=options.key)
        desk = HttpCaller(url, clock, key=options.key, connections_max=8)
        stack.callback(crowd.close)
        stack.callback(desk.close)
        await _check_reachable(desk, url)
        await _check_scopes(desk)
        console.print(f"gateway at {url}, seed {options.seed}")
        try:
            verdict, verify = await _sell(options, clock, (crowd, desk), private, console)
        except SetupError as wrong:
            raise _with_log(wrong, private) from None
    if options.as_json:
        click.echo(_to_json(verdict, verify))
    else:
        show_verdict(console, verdict, verify.output if verify.ran else "")
    return verdict


async def _sell(
    options: Options,
    clock: Clock,
    callers: tuple[HttpCaller, HttpCaller],
    private: PrivateGateway | None,
    console: Console,
) -> tuple[Verdict, VerifyResult]:
    plan = _plan(options, clock)
    give_up_s = options.buyers / ARRIVALS_PER_S + GIVE_UP_HOLDS * (options.hold_ttl_s + 2)
    sale = FlashSale(*callers, clock, plan, give_up_s=give_up_s)
    await sale.prepare()
    with open_progress(console, clock, sale, plan, quiet=options.as_json) as progress:
        await sale.run(progress.tick)
        terms = await sale.settle(progress.tick)
    sale.record.calls = sum(caller.calls for caller in callers)
    verify = await _verify(private, options.store)
    return judge(Evidence(plan, sale.record, terms, verify)), verify


def _plan(options: Options, clock: Clock) -> SalePlan:
    return draw_plan(
        run=_base36(clock.now_ms()),  # new each time: a SKU is never reused
        seed=options.seed,
        buyers=options.buyers,
        units=options.units,
        hold_ttl_s=options.hold_ttl_s,
        rush_s=max(RUSH_MIN_S, options.buyers / ARRIVALS_PER_S),
    )


async def _verify(private: PrivateGateway | None, store: str) -> VerifyResult:
    if private is None:
        return VerifyResult(False, output="not run: it needs the gateway's own configuration")
    if store.startswith("memory:"):
        return VerifyResult(False, output="not run: a memory store cannot be read from outside")
    exit_code, output = await private.run_command("verify")
    return VerifyResult(True, exit_code, output)


async def _check_reachable(caller: HttpCaller, url: str) -> None:
    answer = await caller.call("GET", "/readyz")
    if answer.status == 200:
        return
    if answer.status == 0:
        raise SetupError(
            f"no gateway answers at {url}",
            hint="start one with `stockgate serve`, or leave --url out to use a private one",
        )
    raise SetupError(f"the gateway at {url} is not ready: {answer.code}")


async def _check_scopes(caller: Caller) -> None:
    """Ask for something of each scope before anybody comes to buy."""
    for path in SCOPED_PATHS:
        answer = await caller.call("GET", path)
        if answer.status in (401, 403):
            raise SetupError(
                "the key needs the scopes storefront and admin",
                hint=f"GET {path} was answered with {answer.code}; give a key with --key TOKEN",
            )


def _with_log(wrong: SetupError, private: PrivateGateway | None) -> SetupError:
    """The same error with the private gateway's last words, which go away with its folder."""
    if private is None:
        return wrong
    return SetupError(f"{wrong.message}\n{private.log_tail()}", hint=wrong.hint)


def _cancel_on_terminate() -> None:
    """Make SIGTERM end the demo as Ctrl-C does: in order, with the private gateway stopped."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _to_json(verdict: Verdict, verify: VerifyResult) -> str:
    whole = {
        "ok": verdict.ok,
        "checks": verdict.checks,
        "figures": verdict.figures,
        "verify": verify,
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = BASE36[digit] + digits
    return digits or "0"
