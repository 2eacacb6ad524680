"""Keeps a lease alive while the work under it goes on."""

from gateway.core.clock import Clock
from gateway.core.errors import OutcomeUnknown, StoreUnavailable
from gateway.lease.backend import LeaseBackend
from gateway.lease.lease import Lease

RENEWALS = 3
"""A term is renewed when this part of it has passed: two renewals may fail."""

RETRIES = 12
"""After a failure it is tried again when this part of the term has passed."""


async def keep(lease: Lease, backend: LeaseBackend, clock: Clock) -> None:
    """Renew until the lease is lost, which is how this ends, or until cancelled."""
    ttl_s = lease.ttl_ms / 1000
    pause_s, failure = ttl_s / RENEWALS, ""
    while not lease.lost.is_set():
        await clock.sleep(max(0.0, min(pause_s, lease.remaining_s)))
        if not lease.held:
            lease.lose(failure)
            return
        sent_s = clock.monotonic()
        failure = await _renew(lease, backend, clock, sent_s)
        passed_s = clock.monotonic() - sent_s
        pause_s = max(0.0, ttl_s / (RETRIES if failure else RENEWALS) - passed_s)


async def _renew(lease: Lease, backend: LeaseBackend, clock: Clock, sent_s: float) -> str:
    """Renew once, by the deadline. What went wrong, '' when nothing did."""
    try:
        async with clock.timeout(lease.remaining_s):
            kept = await backend.renew(lease.term, lease.ttl_ms)
    except (StoreUnavailable, OutcomeUnknown, TimeoutError) as error:
        return f"it could not be renewed in time: {str(error) or 'no answer'}"
    if kept:
        lease.extend(sent_s)
        return ""
    lease.lose("its term ended, or was broken by hand")
    return "gone"
