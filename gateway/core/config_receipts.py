"""[receipts]: what the receipts of reservations are signed with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.core.errors import SetupError
from gateway.core.toml_lines import read_text

SECRETS_MAX = 8
SECRET_CHARS = range(32, 257)

_FILE_BYTES_MAX = 16 * 1024
_ALLOWED = "1 to 8 texts of 32 to 256 characters, such as `openssl rand -hex 32` prints"


class ReceiptsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[receipts]: whether reservations carry a signed receipt, and the secrets. Never shown."""

    enabled: Annotated[
        bool,
        Meta(description="Whether reservations carry a receipt."),
    ] = True
    secrets: Annotated[
        tuple[Annotated[str, Meta(min_length=SECRET_CHARS[0], max_length=SECRET_CHARS[-1])], ...],
        Meta(
            max_length=SECRETS_MAX,
            description="The first signs, all verify; none: made once and kept in the ledger.",
            extra={"allowed": f"an array of {_ALLOWED}", "secret": True},
        ),
    ] = ()
    secret_file: Annotated[
        str,
        Meta(
            description="Instead: a file with one secret a line.",
            extra={"allowed": 'the path of a file, or ""'},
        ),
    ] = ""

    def signing_secrets(self) -> tuple[str, ...]:
        """Those that were configured; empty when none were. Raises SetupError: a bad file."""
        if not self.secret_file:
            return self.secrets
        what = "file of receipts.secret_file"
        text = read_text(Path(self.secret_file), what=what, bytes_max=_FILE_BYTES_MAX)
        found = tuple(line.strip() for line in text.splitlines() if line.strip())
        if not 0 < len(found) <= SECRETS_MAX or any(len(it) not in SECRET_CHARS for it in found):
            raise SetupError(
                f"{self.secret_file}: allowed: {_ALLOWED}, one a line",
                hint="`openssl rand -hex 32 > FILE` makes one.",
            )
        return found


def receipts_rules(receipts: ReceiptsConfig) -> Iterator[tuple[list[str], str]]:
    """The rules of [receipts] that are broken: the keys, the complaint."""
    if receipts.secrets and receipts.secret_file:
        yield (
            ["receipts.secrets", "receipts.secret_file"],
            "both are set; allowed: one of receipts.secrets and receipts.secret_file",
        )
    elif receipts.secret_file:
        try:
            receipts.signing_secrets()
        except SetupError as error:
            yield ["receipts.secret_file"], error.message
