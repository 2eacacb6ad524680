"""Runs the audit: a comparison every moment, a full audit at its interval and on demand."""

from collections import deque
from collections.abc import Awaitable, Callable

from gateway.core.clock import Clock
from gateway.core.config import AuditConfig
from gateway.sale.auditor import ACTOR, Auditor
from gateway.workers.loop import Loop

DEMANDED_MAX = 8
"""Audits that may wait; who asks for more gets the one that was asked for last."""


REST_MIN = 2.0
"""Pause after a comparison, as a multiple of what it took: a large shard is walked less often
rather than at the expense of those who buy."""


class AuditWorker:
    """One loop for both, so that they never get into each other's way.

    is_unfit: whether Redis lost data or is being rebuilt, which others tell of and mend.
    """

    def __init__(
        self,
        auditor: Auditor,
        config: AuditConfig,
        clock: Clock,
        is_unfit: Callable[[], Awaitable[bool]],
    ) -> None:
        self._auditor = auditor
        self._is_unfit = is_unfit
        self._config = config
        self._clock = clock
        self._due_s = clock.monotonic() + config.interval_s
        self._demanded: deque[int] = deque()
        self.loop = Loop("auditor", self.step, clock)

    async def demand(self, actor: str) -> int:
        """Have a full audit made now; its number. It begins within the comparator's pause."""
        if len(self._demanded) >= DEMANDED_MAX:
            return self._demanded[-1]
        run_id = await self._auditor.begin("demand", actor)
        self._demanded.append(run_id)
        return run_id

    async def step(self) -> float:
        """One comparison, or one full audit when it is time for one."""
        if await self._is_unfit():
            return self._config.compare_s
        if self._demanded:
            await self._auditor.audit(self._demanded.popleft())
        elif self._clock.monotonic() >= self._due_s:
            self._due_s = self._clock.monotonic() + self._config.interval_s
            await self._auditor.audit(await self._auditor.begin("interval", ACTOR))
        else:
            began_s = self._clock.monotonic()
            await self._auditor.watch()
            took_s = self._clock.monotonic() - began_s
            return max(self._config.compare_s, REST_MIN * took_s)
        return self._config.compare_s
