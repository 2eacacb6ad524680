"""Leases: exclusion between processes that may stop, pause, or lose the network at any moment.

    async with leases.hold("audit", expected_s=2.0, wait_s=10.0) as lease:
        async for part in work:
            lease.check()                        # LeaseLost: somebody else may have begun
            await write(part, fence=lease.fence)  # refused once a later holder was seen

A lease alone excludes nobody: its holder may be paused between `check()` and the write. So a
lease is two things. The *term* keeps two from working at once as long as clocks and pauses
behave; the *token*, checked inside the transaction or script that writes, keeps the earlier one
from writing when they do not. What is written without a fence is only as exclusive as the term.

The holder's states:

                       another holds it
         ┌───────────── LeaseBusy ◄───┐
         ▼ pause, jitter              │
      waiting ── own owner ──► asking ┴─ granted ─► recording ─ recorded ─► HELD ◄─┐
         ▲         t0 = now      │                      │                  │ │ │   │ renewed at
         │                       │ no answer            │ not recorded     │ │ └───┘ a third:
         │                       ▼                      │ or too late      │ │     t0 = when sent
         │                   abandoned ◄────────────────┘                  │ │
         └── LeaseUnavailable ── ended by exact term, else it runs out     │ │
                                                                           │ │
      released ◄──── the block ended: ended by exact term, else runs out ──┘ │
                                                                             ▼
      LOST for good ◄── now >= t0 + 0.99 TTL - 0.1 s, or renewal refused (ended, broken)

- TTL = 2 x expected + 5 s. Expected is the 99th percentile of the last 64 durations of that
  lease in this process, within bounds; what the caller expects while there are few.
- t0 is the holder's monotonic clock at the moment of *sending*. The granter starts its own count
  later, so the holder stops first, whatever the network does to the answer; 1 % and 0.1 s are for
  clocks that run apart.
- An owner is used for one attempt. A grant whose answer was lost may exist, or come to exist: it
  is looked for and ended by its owner and token; where that fails it blocks the lease until it
  runs out. Its token is never used by anybody.
- Renewal and release name owner and token: what is late or doubled changes nothing.
- A token is on record in the ledger before its holder begins, and must be above all on record.
  So a Redis that lost everything, or its last seconds in a failover, cannot lead to a second
  holder with the same or a smaller token; and from that moment the ledger refuses the holder
  before. Where the token cannot be recorded there is no lease: it fails closed.
- Several leases are taken in the order of their names.

What can go wrong, and what happens:

  holder killed               the next one begins when the term ends: within TTL
  holder paused, or swapped   its clock tells it at the next `check()`; its writes are refused
  Redis away                  no new lease; a holder works on until its deadline, then is LOST
  Redis lost its data         a second holder may begin beside the first, with a higher token:
                              the first one's writes are refused, its renewal too
  ledger away                 no new lease; a holder works on, renewal needs no ledger
  Redis's clock jumps ahead   as if it had lost its data
  holder's machine suspended  its monotonic clock may stand still: only the fence protects
  lease broken by hand        the ledger refuses the holder at once; it learns by a third of TTL
"""

from gateway.lease.backend import LeaseBackend, MemoryTokens, TokenRecord
from gateway.lease.lease import Lease
from gateway.lease.leases import Leases
from gateway.lease.pace import Pace

__all__ = ["Lease", "LeaseBackend", "Leases", "MemoryTokens", "Pace", "TokenRecord"]
