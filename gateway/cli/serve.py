"""`stockgate serve`: the gateway itself."""

import logging
import shutil
import sys
from pathlib import Path

import click

from gateway.cli.common import config_option, load
from gateway.core.clock import SystemClock
from gateway.runtime import server
from gateway.runtime.eventloop import run
from gateway.runtime.server import Serving

EXIT_INTERRUPTED = 130

TRY = """\
Try it (paste into another terminal):

  curl -s {url}/v1/stock/{sku}

  HELD=$(curl -s {url}/v1/reservations -H 'Content-Type: application/json' \\
    -H "Idempotency-Key: order-$RANDOM" \\
    -d '{{"buyer":"ada","lines":[{{"sku":"{sku}","quantity":1}}]}}'); echo "$HELD"

  ID=$(echo "$HELD" | cut -d'"' -f4)
  curl -s {url}/v1/reservations/$ID/confirm -H 'Content-Type: application/json' \\
    -d "{{\\"payment_ref\\":\\"pay-$RANDOM\\"}}"

  {verify}
"""


@click.command()
@config_option
def serve(config_path: str | None) -> None:
    """Serve the HTTP API, and settle, reap and refresh beside it. Ctrl-C drains and stops."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    for chatty in ("alembic", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    config = load(config_path)
    try:
        code = run(server.serve(config, SystemClock(), lambda it: _announce(it, config_path)))
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    kept = code == 0 and config.store != "memory://"
    click.echo("Stopped. Everything answered is kept." if kept else "Stopped.")
    sys.exit(code)


def _command() -> str:
    """How this command was called, so that others can be called the same way."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m gateway"
    if shutil.which(called.name) == str(called):
        return called.name
    return str(called)


def _announce(serving: Serving, config_path: str | None) -> None:
    config = serving.config
    durable = config.store != "memory://"
    lines = [
        "",
        f"Stockgate listens on {serving.url}   (docs: {serving.url}/docs)",
        f"  store   {serving.store_url}",
        f"  ledger  {config.ledger_url}",
        f"  data    {config.data_dir}" if durable else "  data    nothing is kept on disk",
    ]
    lines += [f"  note    {notice}" for notice in serving.notices]
    click.echo("\n".join(lines))
    if serving.imported:
        click.echo(f"  demo    {serving.imported} SKUs imported from {config.demo.catalogue}")
    if serving.sample_sku:
        option = f" --config {config_path}" if config_path else ""
        verify = f"{_command()} verify{option}"
        if not durable:
            verify = f"curl -s {serving.url}/v1/admin/skus"
        click.echo("\n" + TRY.format(url=serving.url, sku=serving.sample_sku, verify=verify))
    click.echo("Ctrl-C drains and stops.")
