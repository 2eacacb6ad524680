"""`stockgate serve`: the gateway itself."""

import logging
import shlex
import shutil
import sys
import textwrap
from pathlib import Path

import click

from gateway.cli.common import config_option, counted, load
from gateway.core.clock import SystemClock
from gateway.core.fields import redact
from gateway.runtime import server
from gateway.runtime.eventloop import run
from gateway.runtime.server import Serving

EXIT_INTERRUPTED = 130
MEMORY = "memory://"
NOTE_COLUMNS_MIN = 40

TRY = """\
Try it (paste into another terminal):

  curl -s {url}/v1/stock/{sku}; echo

  HELD=$(curl -s {url}/v1/reservations -H 'Content-Type: application/json' \\
    -H "Idempotency-Key: order-$RANDOM" \\
    -d '{{"buyer":"ada","lines":[{{"sku":"{sku}","quantity":1}}]}}'); echo "$HELD"

  ID=$(echo "$HELD" | cut -d'"' -f4)
  RECEIPT=$(echo "$HELD" | sed 's/.*"receipt":"\\([^"]*\\)".*/\\1/')
  curl -s {url}/v1/reservations/$ID/confirm -H 'Content-Type: application/json' \\
    -d "{{\\"payment_ref\\":\\"pay-$ID\\",\\"receipt\\":\\"$RECEIPT\\"}}"; echo

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
    kept = code == 0 and config.store != MEMORY
    click.echo("Stopped. Everything answered is kept." if kept else "Stopped.")
    sys.exit(code)


def _command() -> str:
    """How this command was called, so that others can be called the same way."""
    here, called = Path.cwd(), Path(sys.argv[0]).absolute()
    if called.name == "__main__.py":
        return "python -m gateway"
    found = shutil.which(called.name)
    if found and Path(found).absolute() == called:
        return called.name
    if called.is_relative_to(here) and called.parent != here:
        return shlex.quote(str(called.relative_to(here)))
    return shlex.quote(str(called))


def _note(text: str) -> str:
    """A note of the start-up text, wrapped to the terminal below its first word."""
    width = shutil.get_terminal_size().columns
    return textwrap.fill(
        text,
        max(width, NOTE_COLUMNS_MIN),
        initial_indent="  note    ",
        subsequent_indent=" " * 10,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _how_to_begin(serving: Serving, option: str) -> str:
    if serving.config.store == MEMORY:
        return f"No SKUs yet: PUT them to {serving.url}/v1/admin/skus/{{sku}}"
    return f"No SKUs yet: {_command()} stock import{option} FILE"


def _announce(serving: Serving, config_path: str | None) -> None:
    config = serving.config
    durable = config.store != MEMORY
    option = f" --config {shlex.quote(config_path)}" if config_path else ""
    lines = [
        "",
        f"Stockgate listens on {serving.url}   (docs: {serving.url}/docs)",
        f"  store   {serving.store_url}",
        f"  ledger  {redact(config.ledger_url)}",
        f"  data    {config.data_dir}" if durable else "  data    nothing is kept on disk",
    ]
    begin = [_how_to_begin(serving, option)] if serving.empty else []
    lines += [_note(notice) for notice in (*serving.notices, *begin)]
    if serving.imported:
        imported = counted(serving.imported, "SKU")
        lines.append(f"  demo    {imported} imported from {config.demo.catalogue}")
    if serving.sample_sku:
        verify = f"{_command()} verify{option}"
        if not durable:
            verify = f"curl -s {serving.url}/v1/admin/skus; echo"
        lines += ["", TRY.format(url=serving.url, sku=serving.sample_sku, verify=verify)]
    lines.append("Ctrl-C drains and stops.")
    click.echo("\n".join(lines))
