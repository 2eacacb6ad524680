"""Cancels the work under a lease that is lost, as a timeout cancels a block."""

import asyncio


class Stop:
    """Cancels the task that made it, once, and can tell that cancellation from another's."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a lease is held by a task")
        self._task = task
        self._cancelling_before = task.cancelling()
        self._called = False
        self._over = False
        self._alone = False

    def now(self) -> None:
        """Cancel the task, unless its block has ended, or it is the one that found the loss."""
        if self._called or self._over or asyncio.current_task() is self._task:
            return
        self._called = True
        self._task.cancel("the lease is lost")

    def end(self) -> bool:
        """End the block. Whether the task was cancelled by us, and by nobody else."""
        if not self._over:
            self._over = True
            self._alone = self._called and self._task.uncancel() <= self._cancelling_before
        return self._alone
