"""Where a redirect leads, what is sent there, and addresses of this machine, which may be refused."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

from ozelot.cache.request import LocalTarget, Request
from ozelot.redaction import is_secret_header

_REDIRECTS = (301, 302, 303, 307, 308)
_OF_A_BODY = {"content-encoding", "content-language", "content-location", "content-length", "content-type"}


def target_of(status: int, headers: Mapping[str, str]) -> str | None:
    """The header Location of a redirect; None where an answer is none.

    Args:
        status: the HTTP status.
        headers: by lower-case name.
    """
    return headers.get("location", "").strip() or None if status in _REDIRECTS else None


def redirected(request: Request, status: int, target: str) -> Request:
    """The request that a redirect asks for.

    Raises:
        ValueError: the target is not an address.
    """
    url = urljoin(request, _with_slashes(target))
    if not urlsplit(url).fragment and (fragment := urlsplit(request).fragment):
        url = f"{url.rstrip('#')}#{fragment}"
    elsewhere = not _same_server(request, url)
    becomes_get = request.method == "POST" if status in (301, 302) else status == 303 and request.method != "HEAD"
    headers = {
        name: value
        for name, value in request.headers.items()
        if not (becomes_get and name.lower() in _OF_A_BODY) and not (elsewhere and is_secret_header(name))
    }
    return Request(url, "GET", headers) if becomes_get else Request(url, request.method, headers, request.body)


def _with_slashes(target: str) -> str:
    """A target as browsers read it: a backslash is a slash, and any number of slashes stands before a server."""
    path = re.match("[^?#]*", target)
    assert path is not None
    slashes = path[0].replace("\\", "/")
    return re.sub(r"^(https?:)?/{2,}", r"\1//", slashes, flags=re.IGNORECASE) + target[path.end() :]


def _same_server(one: str, other: str) -> bool:
    """Whether secrets for the one may be sent to the other: the same host and port, or from http to https there."""
    a, b = urlsplit(one), urlsplit(other)
    if a.hostname != b.hostname:
        return False
    return (a.scheme, a.port) == (b.scheme, b.port) or (
        (a.scheme, b.scheme) == ("http", "https") and a.port in (None, 80) and b.port in (None, 443)
    )


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
