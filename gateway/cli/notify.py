"""`stockgate notify`: do notifications arrive?"""

import sys
from collections.abc import Sequence

import click

from gateway.cli.common import EXIT_FAILED, config_option, load
from gateway.core.clock import SystemClock
from gateway.core.config import Config, TargetConfig
from gateway.core.errors import SetupError
from gateway.core.fields import did_you_mean
from gateway.runtime.eventloop import run
from gateway.runtime.notify import Tested, send_tests


@click.group()
def notify() -> None:
    """Notifications to operations: test."""


@notify.command()
@click.option("--target", "name", help="Only this one of [[notify.targets]].")
@config_option
def test(name: str | None, config_path: str | None) -> None:
    """Send a test message to every target and say what came back. One attempt each.

    Exit code 1 when one of them did not take it. Filters by event or severity do not apply.
    """
    config = load(config_path)
    targets = _chosen(config, name)
    tested = run(send_tests(config, targets, SystemClock()))
    for one in tested:
        click.echo(_told(one))
    if not all(one.verdict.taken for one in tested):
        sys.exit(EXIT_FAILED)


def _chosen(config: Config, name: str | None) -> Sequence[TargetConfig]:
    where = config.origin.path or "the configuration (there is no file)"
    if not config.targets:
        raise SetupError(
            f"no [[notify.targets]] in {where}",
            hint="Add a table with name, kind (webhook, dingtalk or wecom), url and secrets.",
        )
    chosen = [target for target in config.targets if name in (None, target.name)]
    if not chosen:
        names = [target.name for target in config.targets]
        raise SetupError(
            f"no target {name} in {where}{did_you_mean(name or '', names)}",
            hint=f"There {'is' if len(names) == 1 else 'are'}: {', '.join(names)}.",
        )
    return chosen


def _told(tested: Tested) -> str:
    target, verdict = tested.target, tested.verdict
    outcome = "delivered" if verdict.taken else "FAILED"
    where = f"{target.kind} {target.host}"
    return f"{target.name} ({where}): {outcome}: {verdict.reason} ({tested.took_s * 1000:.0f} ms)"
