"""The rule for network addresses of URL images: only public unicast addresses are allowed.

An IPv6 address that carries an IPv4 address (mapped, NAT64) is judged by the IPv4 address; other tunnels are
refused.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# Registered as public, yet served by the cloud's own infrastructure.
_FABRIC = [IPv4Network("168.63.129.16/32")]  # Azure's host agent
_NOT_PUBLIC_4 = [
    *_FABRIC,
    IPv4Network("192.0.0.0/24"),  # protocol assignments; a metadata service on some clouds
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
]
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_NOT_PUBLIC_6 = [
    IPv6Network("2001::/23"),  # protocol assignments: Teredo, benchmarking, ORCHID
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4: tunnels to any IPv4 address
    IPv6Network("3fff::/20"),  # documentation
]


def is_public(address: str) -> bool:
    """True for a literal IPv4 or IPv6 address that is public unicast; False for text that is no address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return _is_public_4(parsed) if isinstance(parsed, IPv4Address) else _is_public_6(parsed)


def _is_public_4(address: IPv4Address) -> bool:
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    return not any(address in network for network in _NOT_PUBLIC_4)


def _is_public_6(address: IPv6Address) -> bool:
    if address.ipv4_mapped is not None:
        return _is_public_4(address.ipv4_mapped)
    if address in _NAT64:
        return _is_public_4(IPv4Address(int(address) & 0xFFFFFFFF))
    if address not in _GLOBAL_UNICAST or not address.is_global:
        return False
    return not any(address in network for network in _NOT_PUBLIC_6)
