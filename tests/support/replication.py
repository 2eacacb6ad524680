"""A primary and a replica of it, in step."""

import time
from collections.abc import Callable
from typing import NamedTuple

from tests.support.servers import RedisServer

_IN_STEP_S = 20.0
_POLL_S = 0.02


class Pair(NamedTuple):
    """Two servers. After `cut`, nothing that the primary is given reaches the replica."""

    primary: RedisServer
    replica: RedisServer

    def cut(self) -> None:
        """Stop the replica, and drop what it would still read from the link."""
        self.replica.pause()
        self.primary.call("CLIENT", "KILL", "TYPE", "replica")

    def promote(self) -> RedisServer:
        """kill -9 of the primary; the replica takes over."""
        self.primary.kill()
        self.replica.resume()
        self.replica.call("REPLICAOF", "NO", "ONE")
        return self.replica

    def wait_until_in_step(self) -> None:
        """Return when the replica has caught up."""
        deadline = time.monotonic() + _IN_STEP_S
        while not self._is_in_step():
            assert time.monotonic() < deadline, "the replica does not catch up"
            time.sleep(_POLL_S)

    def _is_in_step(self) -> bool:
        """A WAIT on a connection that has done nothing else would wait for nothing."""
        primary = self.primary.call("INFO", "replication")
        replica = self.replica.call("INFO", "replication")
        linked = primary["connected_slaves"] and primary["slave0"]["state"] == "online"
        return bool(linked) and replica["slave_repl_offset"] >= primary["master_repl_offset"]


def start_pair(start_server: Callable[..., RedisServer], kind: str = "redis") -> Pair:
    """Both, with the settings that the promises need."""
    primary = start_server(kind, extra={"repl-diskless-sync-delay": "0"})
    replica = start_server(kind, extra={"replicaof": f"127.0.0.1 {primary.port}"})
    pair = Pair(primary, replica)
    pair.wait_until_in_step()
    return pair
