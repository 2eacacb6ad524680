"""Patience: a call is repeated, with the same key, while the gateway says "try again"."""

from gateway.cli.demo_client import NO_ANSWER, Answer, Caller
from gateway.cli.demo_record import Record
from gateway.core.clock import Clock

TRIES_MAX = 6
WAIT_FIRST_S = 0.1
WAIT_MAX_S = 2.0
TRY_AGAIN = frozenset({NO_ANSWER, 429, 503})


class PatientCaller:
    """Calls through `shop`, counting in `record` what had to be repeated."""

    def __init__(self, shop: Caller, clock: Clock, record: Record) -> None:
        self._shop = shop
        self._clock = clock
        self._record = record

    async def call(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """The first answer that is not "try again", or the last of `TRIES_MAX`."""
        answer = await self._shop.call(method, path, body, headers)
        for attempt in range(TRIES_MAX - 1):
            if answer.status not in TRY_AGAIN:
                break
            self._record.retried[answer.code] += 1
            wanted_s = max(answer.retry_after_s, WAIT_FIRST_S * 2**attempt)
            await self._clock.sleep(min(wanted_s, WAIT_MAX_S))
            answer = await self._shop.call(method, path, body, headers)
        if answer.status >= 500 and answer.status not in TRY_AGAIN:
            self._record.anomaly(f"{method} {path}: {answer.status} {answer.code}")
        return answer
