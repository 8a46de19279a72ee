"""Addresses of this machine, and of its neighbors on the link: what a cache may be told never to ask.

The services there, such as the metadata of a cloud (169.254.169.254), trust whoever reaches them. A page from elsewhere
must not be able to lead there.
"""

from __future__ import annotations

import ipaddress
import socket

from ozelot.cache.request import LocalTarget

_EMBEDDED = ipaddress.ip_network("64:ff9b::/96")  # IPv4 addresses, for NAT64 (RFC 6052)


def is_local(address: str) -> bool:
    """Whether an IP address is loopback, link-local, or unspecified (the same), also as IPv4 within IPv6."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and (found in _EMBEDDED or int(found) >> 32 == 0):
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None and int(found) > 1 and is_local(str(inner)):
            return True
    this_network = isinstance(found, ipaddress.IPv4Address) and int(found) >> 24 == 0
    return found.is_loopback or found.is_link_local or found.is_unspecified or this_network


def check_name(host: str) -> None:
    """Refuse a host that is local by its name alone, which asks nobody: an IP address in any spelling, or localhost.

    Raises:
        LocalTarget: it is.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        raise LocalTarget(host, "this machine")
    try:
        address = socket.inet_ntoa(socket.inet_aton(name)) if ":" not in name else name  # also 127.1, or 0x7f000001
        if is_local(address):
            raise LocalTarget(host, address)
    except (OSError, ValueError):  # a name
        return


def checked_addresses(host: str, port: int) -> list[str]:
    """The IP addresses of a host.

    Raises:
        LocalTarget: one of them is local.
        OSError: the name has no address.
    """
    check_name(host)
    found = [str(where[0]) for *_, where in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)]
    for address in found:
        if is_local(address):
            raise LocalTarget(host, address)
    return list(dict.fromkeys(found))
