"""Notifications from a running gateway to a server that listens, and the command that tests it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from gateway.store import keys
from tests.http.api import Api
from tests.http.gateways import Gateway, stockgate
from tests.support.ports import free_port
from tests.support.servers import RedisServer
from tests.workers.notices import SECRET, Listener, says
from tests.workers.test_notify_signing import verified

TARGET = """
[[notify.targets]]
name = "{name}"
kind = "{kind}"
url = "{url}"
secrets = {secrets}
allow_private = ["127.0.0.1"]
"""


def table(url: str, *, name: str = "ops", kind: str = "webhook") -> str:
    secrets = json.dumps([SECRET] if kind == "webhook" else [])
    return TARGET.format(name=name, kind=kind, url=url, secrets=secrets)


def types(listener: Listener) -> list[str]:
    return [json.loads(heard.body)["type"] for heard in listener.heard]


async def test_a_breach_is_told_at_once_and_the_rest_when_the_gateway_stops(
    start_server: Callable[..., RedisServer], tmp_path: Path
) -> None:
    redis = start_server("valkey")
    async with Listener().open() as listener:
        gateway = Gateway(tmp_path, table(listener.url), store=redis.url)
        await asyncio.to_thread(gateway.start)
        try:
            await asyncio.to_thread(_break_and_buy, gateway, redis)
            async with asyncio.timeout(10):
                while not listener.heard:
                    await asyncio.sleep(0.01)
            assert types(listener) == ["invariant.breached"]
            assert await asyncio.to_thread(gateway.terminate) == 0
        finally:
            gateway.stop()
    told = [json.loads(heard.body)["data"] for heard in listener.heard]
    assert [data["cause"] for data in told] == ["hold", "hold"]
    assert sum(data["count"] for data in told) == 3, "none is lost, those counted come at the end"
    assert all(verified(heard.headers, heard.body, SECRET) for heard in listener.heard)
    assert '"type": "invariant.breached"' in gateway.output()
    assert SECRET not in gateway.output()


def _break_and_buy(gateway: Gateway, redis: RedisServer) -> None:
    api = Api(gateway.url)
    try:
        sku = api.new_sku(10)
        redis.call("HINCRBY", keys.sku(0, sku), "available", 1)
        for _ in range(3):
            assert api.reserve(sku).status_code >= 500
    finally:
        api.close()


async def notify_test(folder: Path, text: str, *options: str) -> tuple[int, str]:
    folder.joinpath("stockgate.toml").write_text(text, encoding="utf-8")
    result = await asyncio.to_thread(stockgate, "notify", "test", *options, cwd=folder)
    assert "Traceback" not in result.stderr
    assert SECRET not in result.stdout + result.stderr
    return result.returncode, result.stdout + result.stderr


async def test_the_command_says_what_came_back(tmp_path: Path) -> None:
    robot = Listener(
        says(200, '{"errcode":93000,"errmsg":"invalid webhook url"}'), says(200, '{"errcode":0}')
    )
    async with Listener().open() as hook, robot.open():
        text = table(hook.url) + table(f"{robot.url}?key=key0123456789", name="chat", kind="wecom")
        code, said = await notify_test(tmp_path, text)
        assert code == 1
        assert "ops (webhook http://127.0.0.1): delivered: HTTP 204 (" in said
        assert "chat (wecom http://127.0.0.1): FAILED: errcode 93000: invalid webhook url" in said
        assert "key0123456789" not in said
        assert types(hook) == ["notify.test"]
        code, said = await notify_test(tmp_path, text, "--target", "chat")
        assert (code, len(hook.heard), len(robot.heard)) == (0, 1, 2)
        assert "chat (wecom http://127.0.0.1): delivered: HTTP 200, errcode 0" in said
    assert not list(tmp_path.glob(".stockgate")), "it needs no stores, and makes none"


async def test_the_command_and_mistakes(tmp_path: Path) -> None:
    code, said = await notify_test(tmp_path, "")
    assert code == 2
    assert f"no [[notify.targets]] in {tmp_path}/stockgate.toml" in said
    text = table(f"http://127.0.0.1:{free_port()}/")
    code, said = await notify_test(tmp_path, text, "--target", "opps")
    assert code == 2
    assert "no target opps in" in said
    assert "did you mean `ops`?" in said
    code, said = await notify_test(tmp_path, text)
    assert code == 1
    assert "ops (webhook http://127.0.0.1): FAILED: " in said
