"""Where the secrets that sign receipts come from."""

import secrets

from gateway.core.config_receipts import ReceiptsConfig
from gateway.ledger import Ledger
from gateway.sale.receipts import NO_RECEIPTS, Receipts

SETTING = "receipts.secret"
SECRET_BYTES = 32


async def open_receipts(config: ReceiptsConfig, ledger: Ledger) -> Receipts:
    """Those of the configuration; else one secret is made, and kept in the ledger.

    Not in Redis: receipts are for when Redis has lost something. Raises SetupError when the
    configured file cannot be used, LedgerUnavailable.
    """
    if not config.enabled:
        return NO_RECEIPTS
    configured = config.signing_secrets()
    if not configured:
        configured = (await ledger.keep_setting(SETTING, secrets.token_hex(SECRET_BYTES)),)
    return Receipts([secret.encode() for secret in configured])
