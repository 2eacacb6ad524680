"""Which addresses are connected to, whatever a name answers; and TLS to the name."""

import asyncio
import socket
import ssl
from ipaddress import ip_address, ip_network
from typing import Any

import httpcore
import pytest
import trustme

from gateway.core.addresses import why_not
from gateway.core.clock import SystemClock
from gateway.workers.notify_http import ADDRESSES_MAX, HttpSender, NotSent, look_up
from tests.workers.notices import Listener, outgoing


class Names:
    """A resolver that answers each look-up with the next list of addresses."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("8.8.8.8", ""),
        ("93.184.216.34", ""),
        ("2606:4700::1111", ""),
        ("64:ff9b::8.8.8.8", ""),
        ("::ffff:8.8.8.8", ""),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("100.64.0.1", "CGNAT"),
        ("100.100.100.200", "CGNAT"),
        ("100.127.255.255", "CGNAT"),
        ("168.63.129.16", "private"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "private"),
        ("::", "unspecified"),
        ("255.255.255.255", "private"),
        ("240.0.0.1", "private"),
        ("192.0.2.1", "private"),
        ("198.18.0.1", "private"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fec0::1", "private"),
        ("2001:db8::1", "private"),
        ("2001::1", "private"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:10.0.0.1", "private"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::ffff:0.0.0.0", "unspecified"),
        ("::127.0.0.1", "private"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::127.0.0.1", "loopback"),
        ("64:ff9b:1::1", "private"),
        ("2002:7f00:1::", "loopback"),
        ("2002:a00:1::", "private"),
        ("100::1", "private"),
    ],
)
def test_which_addresses_are_public(address: str, reason: str) -> None:
    told = why_not(ip_address(address), False)
    assert bool(told) == bool(reason)
    assert reason in told
    assert why_not(ip_address(address), ()) == told
    if reason not in ("multicast", "unspecified"):
        assert why_not(ip_address(address), True) == ""
        assert why_not(ip_address(address), (ip_network(address),)) == ""
    else:
        assert why_not(ip_address(address), True) == told


def test_allowed_networks_allow_no_more() -> None:
    allowed = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    assert why_not(ip_address("10.1.2.3"), allowed) == ""
    assert why_not(ip_address("::ffff:10.1.2.3"), allowed) == ""
    assert why_not(ip_address("fd12::1"), allowed) == ""
    assert why_not(ip_address("10.2.0.1"), allowed) == "a private address"
    assert why_not(ip_address("127.0.0.1"), allowed) == "a loopback address"


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that connections were begun to; none of them answers."""
    seen: list[str] = []

    async def connect(_self: Any, host: str, port: int, *_rest: Any) -> Any:
        seen.append(host)
        raise httpcore.ConnectError("nobody there")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    return seen


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["8.8.8.8", "10.0.0.1"],
        ["10.0.0.1", "8.8.8.8"],
        ["2606:4700::1111", "::1"],
        ["8.8.8.8", "::ffff:192.168.0.1"],
        ["8.8.8.8"] * ADDRESSES_MAX + ["169.254.169.254"],
        ["fe80::1%eth0"],
        ["8.8.8.8", "garbage"],
    ],
)
async def test_one_address_that_is_not_allowed_refuses_the_name(
    found: list[str], connected: list[str]
) -> None:
    sender = HttpSender(SystemClock(), resolve=Names(found).resolve)
    with pytest.raises(NotSent, match="refused: ops.example is .*allow_private") as error:
        await sender.post(outgoing("http://ops.example/", allowed=False))
    assert not error.value.can_retry
    assert connected == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "10.0.0.1", "[::ffff:10.0.0.1]"])
async def test_an_address_in_the_url_is_checked_too(host: str, connected: list[str]) -> None:
    with pytest.raises(NotSent, match="refused: "):
        await HttpSender(SystemClock()).post(outgoing(f"http://{host}:1/", allowed=False))
    assert connected == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost"])
async def test_other_spellings_of_loopback_are_refused(host: str, connected: list[str]) -> None:
    with pytest.raises(NotSent, match="refused: .* a loopback address|cannot be looked up"):
        await HttpSender(SystemClock()).post(outgoing(f"http://{host}:1/", allowed=False))
    assert connected == []


async def test_public_addresses_are_tried_in_turn(connected: list[str]) -> None:
    names = Names([f"8.8.8.{n}" for n in range(9)])
    with pytest.raises(NotSent, match="nobody there") as error:
        await HttpSender(SystemClock(), resolve=names.resolve).post(
            outgoing("http://ops.example/", allowed=False)
        )
    assert connected == [f"8.8.8.{n}" for n in range(ADDRESSES_MAX)]
    assert error.value.can_retry


async def test_a_name_that_changes_its_mind_is_asked_once(connected: list[str]) -> None:
    """DNS rebinding: public when checked, loopback when connected to."""
    names = Names(["8.8.8.8"], ["127.0.0.1"])
    with pytest.raises(NotSent, match="nobody there"):
        await HttpSender(SystemClock(), resolve=names.resolve).post(
            outgoing("http://ops.example/", allowed=False)
        )
    assert names.asked == ["ops.example"]
    assert connected == ["8.8.8.8"]


async def test_looking_up_twice_would_be_caught_by_rebinding() -> None:
    """Negative control: check one answer and connect by name, as a plain client does."""
    names = Names(["8.8.8.8"], ["127.0.0.1"])
    async with Listener().open() as server:
        checked = await names.resolve("ops.example", server.port)
        assert not any(why_not(ip_address(address), False) for address in checked)
        (address,) = await names.resolve("ops.example", server.port)
        url = f"http://{address}:{server.port}/"
        assert (await HttpSender(SystemClock()).post(outgoing(url))).status == 204
    assert server.connections == 1, "the private server was reached"


async def test_a_name_that_cannot_be_looked_up() -> None:
    async def fail(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(NotSent, match="cannot be looked up: .*not known") as error:
        await HttpSender(SystemClock(), resolve=fail).post(outgoing("http://ops.example/"))
    assert error.value.can_retry


async def test_a_name_that_takes_forever_has_a_deadline() -> None:
    async def hang(_host: str, _port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(NotSent, match="no complete answer within 0.05 s"):
        await HttpSender(SystemClock(), resolve=hang).post(
            outgoing("http://ops.example/", timeout_s=0.05)
        )


async def test_the_systems_resolver() -> None:
    found = await look_up("localhost", 80)
    assert {"127.0.0.1", "::1"} & set(found)


# ── TLS ──────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_side(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def post_tls(authority: trustme.CA, name: str, url_host: str, *, trusted: bool) -> Any:
    side = server_side(authority, name)
    asked: list[str | None] = []
    side.sni_callback = lambda _ssl, host, _context: asked.append(host)
    mine = ssl.create_default_context()
    if trusted:
        authority.configure_trust(mine)
    names = Names(["127.0.0.1"])
    listener = Listener()
    async with listener.open(side):
        sender = HttpSender(SystemClock(), resolve=names.resolve, tls=mine)
        answer = await sender.post(outgoing(f"https://{url_host}:{listener.port}/x"))
    return answer, listener, asked


async def test_host_and_certificate_are_those_of_the_name(authority: trustme.CA) -> None:
    answer, listener, asked = await post_tls(authority, "ops.example", "ops.example", trusted=True)
    assert answer.status == 204
    assert asked == ["ops.example"]
    assert listener.heard[0].headers["host"] == f"ops.example:{listener.port}"


@pytest.mark.parametrize(("name", "trusted"), [("other.example", True), ("ops.example", False)])
async def test_a_wrong_certificate_is_refused(
    authority: trustme.CA, name: str, trusted: bool
) -> None:
    with pytest.raises(NotSent, match="certificate verify failed|CERTIFICATE_VERIFY_FAILED"):
        await post_tls(authority, name, "ops.example", trusted=trusted)


async def test_the_shipped_context_verifies() -> None:
    context = HttpSender(SystemClock())._context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
