"""Which network addresses may be connected to when somebody else chose the name."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_CGNAT = IPv4Network("100.64.0.0/10")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_TEREDO = IPv6Network("2001::/32")
# Translators of IPv6 networks: what they reach is the IPv4 address in the last 32 bits.
_NAT64 = IPv6Network("64:ff9b::/96")
# A public address that inside one large cloud answers for the machine's own host.
_HOST_SERVICES = (IPv4Network("168.63.129.16/32"),)


def parse_address(text: str) -> Address | None:
    """The address that `text` is, or None; a zone (`fe80::1%eth0`) is left out of account."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def parse_network(text: str) -> Network | None:
    """The network that `text` is, an address being a network of one; None when it is none."""
    try:
        return ip_network(text)
    except ValueError:
        return None


def why_not(address: Address, allowed: bool | tuple[Network, ...]) -> str:
    """What speaks against connecting to `address`, as a noun phrase; "" when nothing does.

    allowed: True for any address of one machine, or the networks allowed beside the public ones.
    """
    reached = _reached(address)
    if reached.is_multicast:
        return "a multicast address"
    if reached.is_unspecified:
        return "an unspecified address"
    if allowed is True or any(_within(a, n) for a in (address, reached) for n in allowed or ()):
        return ""
    return _not_public(reached)


def _within(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _reached(address: Address) -> Address:
    """The IPv4 address in an IPv6 address that only wraps one."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _not_public(address: Address) -> str:
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if isinstance(address, IPv4Address):
        if address in _CGNAT:
            return "an address shared by a carrier (CGNAT)"
        public = address.is_global and not address.is_reserved
        return "" if public and not _is_host_service(address) else "a private address"
    public = address in _GLOBAL_UNICAST and address not in _TEREDO and address.is_global
    return "" if public else "a private address"


def _is_host_service(address: IPv4Address) -> bool:
    return any(address in network for network in _HOST_SERVICES)
