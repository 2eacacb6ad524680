"""Waiting for many sockets at once, on whichever kernel."""

import select
from collections.abc import Callable
from typing import NamedTuple

READABLE = 1
"""EPOLLIN and POLLIN: the same number."""

WAIT_S = 0.25


class Poller(NamedTuple):
    """wait: readable (and broken) descriptors as (number, event), at latest after WAIT_S."""

    register: Callable[[int, int], object]
    unregister: Callable[[int], object]
    wait: Callable[[], list[tuple[int, int]]]


def make_poller() -> Poller:
    """epoll where there is one, else poll."""
    if hasattr(select, "epoll"):
        epoll = select.epoll()
        wait_epoll = epoll.poll
        return Poller(epoll.register, epoll.unregister, lambda: wait_epoll(WAIT_S))
    poll = select.poll()
    wait_poll = poll.poll
    return Poller(poll.register, poll.unregister, lambda: wait_poll(WAIT_S * 1000))
