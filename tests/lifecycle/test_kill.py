"""kill -9: what was answered is there again after a restart."""

import os
import signal

from tests.http.api import Api
from tests.http.gateways import Gateway, until
from tests.lifecycle.conftest import nothing_runs_in
from tests.lifecycle.crowd import Crowd
from tests.support.embedded_valkey import server_pid


def test_everything_answered_survives_a_killed_gateway(gateway: Gateway, api: Api) -> None:
    sku = api.new_sku(20_000)
    crowd = Crowd(gateway.url, sku)
    with crowd.buying():
        until(lambda: crowd.answers() > 200)
        gateway.kill()
    assert crowd.cut_off > 0
    gateway.start()
    again = Api(gateway.url)
    crowd.judge(again)
    terms = again.terms(sku)
    kept = len(crowd.made) - len(crowd.paid) - len(crowd.released)
    assert abs(terms["held"] - kept) <= crowd.cut_off
    assert 0 <= terms["sold"] - len(crowd.paid) <= crowd.cut_off
    again.close()
    verified = gateway.cli("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_gateway_whose_valkey_dies_says_so_and_ends(gateway: Gateway, api: Api) -> None:
    made = api.held(api.new_sku(5))
    os.kill(server_pid(gateway.data), signal.SIGKILL)
    assert gateway.child.wait(15) == 1
    assert "the embedded Valkey ended by itself" in gateway.output()
    assert "Traceback" not in gateway.output()
    assert nothing_runs_in(gateway.folder)
    gateway.start()
    again = Api(gateway.url)
    assert again.state(made) == "held"
    again.close()
