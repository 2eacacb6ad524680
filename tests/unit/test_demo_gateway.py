"""The private gateway of the demo: starts, serves, is told apart from its surroundings, is gone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.demo_client import HttpCaller
from gateway.cli.demo_gateway import PrivateGateway
from gateway.core.clock import SystemClock
from gateway.core.errors import SetupError


async def test_it_serves_inside_the_block_and_is_gone_after(monkeypatch):
    monkeypatch.setenv("STOCKGATE_STORE", "redis://192.0.2.1:1/0")
    async with PrivateGateway(SystemClock(), store="memory://") as gateway:
        caller = HttpCaller(gateway.url, SystemClock())
        assert (await caller.call("GET", "/readyz")).status == 200
        folder = gateway.folder
        code, output = await gateway.run_command("config", "check")
        assert code == 0, output
        caller.close()
    assert not folder.exists()
    assert (await HttpCaller(gateway.url, SystemClock()).call("GET", "/readyz")).status == 0


async def test_one_that_cannot_start_says_why_and_leaves_nothing():
    gateway = PrivateGateway(SystemClock(), store="bogus://")
    with pytest.raises(SetupError, match="bogus"):
        async with gateway:
            raise AssertionError("it started")
    assert gateway.folder != Path()
    assert not gateway.folder.exists()


def test_the_whole_demo_passes_on_a_private_gateway():
    words = "demo --store memory:// --buyers 120 --units 15 --hold-ttl-s 1 --seed 11 --json"
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words.split()],
        check=False,
        capture_output=True,
        timeout=50,
    )
    verdict = json.loads(done.stdout)
    assert verdict["ok"], [check for check in verdict["checks"] if not check["ok"]]
    assert done.returncode == 0
    assert verdict["figures"]["settled"] == 15
