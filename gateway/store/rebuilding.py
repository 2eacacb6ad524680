"""The commands of a rebuild, typed. One shard, one channel, one token."""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.core.codes import Reply
from gateway.store import keys, scripts
from gateway.store.client import Arg, ScriptChannel

MENDS_MAX = 256
"""Records mended in one script call."""

OUTBOX, ENDED = "outbox", "ended"


class Mend(NamedTuple):
    """What shall become of a record that was read as `old`.

    where: it is put into the outbox, or among what has ended, or reminded of at a time (ms).
    """

    field: str
    old: str
    new: str
    where: str


class Opening(NamedTuple):
    """Terms and settings of a SKU as they shall be; move_refused 0: the move was not refused."""

    sku: str
    on_hand: int
    available: int
    held: int
    unsettled: int
    safety_stock: int
    sold: int
    settings: str
    move_seq: int
    move_refused: int

    @property
    def terms(self) -> tuple[int, ...]:
        """on_hand, available, held, unsettled, safety_stock, sold."""
        return self[1:7]


class RebuildCommands:
    """Closes, mends and opens under one token: what another rebuild closed since is left alone.

    Raises StoreUnavailable, or OutcomeUnknown, after which all may be done again.
    """

    def __init__(self, channel: ScriptChannel, shard: int, token: str) -> None:
        self._channel = channel
        self._keys = [keys.reservations(shard)]
        self._with_outbox = [keys.reservations(shard), keys.outbox(shard)]
        self._token = token

    async def close_sku(self, sku: str) -> None:
        """Nothing of the SKU moves from now on."""
        await self._channel.run(scripts.load("close_sku"), self._keys, [0, sku, self._token])

    async def open_sku(self, opening: Opening) -> Reply:
        """DONE: it sells; OUT_OF_ORDER: it is not closed by us; INVARIANT_BREACH."""
        refused: Arg = opening.move_refused or ""
        args: list[Arg] = [0, opening.sku, self._token, *opening.terms]
        args += [opening.settings, opening.move_seq, refused]
        reply = await self._channel.run(scripts.load("open_sku"), self._keys, args)
        return Reply(reply[1])

    async def mend(self, mends: Sequence[Mend]) -> int:
        """How many were done; the others have changed since they were read."""
        done = 0
        for start in range(0, len(mends), MENDS_MAX):
            part = mends[start : start + MENDS_MAX]
            args: list[Arg] = [0, self._token, len(part)]
            for mend in part:
                args += mend
            reply = await self._channel.run(scripts.load("mend_records"), self._with_outbox, args)
            done += sum(code == Reply.DONE for code in reply[1:])
        return done
