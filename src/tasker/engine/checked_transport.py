"""HTTP connections to public addresses only, and to private networks that the settings allow.

A host's address is resolved once, checked, and then connected to.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from http.cookiejar import DefaultCookiePolicy
from typing import TypeAlias

import httpcore
import httpx

from tasker.errors import PermanentError

_MOST_CONNECTIONS = 200
_KEPT_ALIVE = 10.0  #: seconds for which an unused connection stays open
_INTERNAL = (
    ipaddress.IPv6Network("fec0::/10"),  # addresses of a site, before fc00::/7
    ipaddress.IPv6Network("64:ff9b:1::/48"),  # a site's own translation to IPv4 addresses
)
"""Networks that are not public although `ipaddress` treats them as public."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  #: IPv6 addresses that stand for IPv4 addresses

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def open_address_checked_client(private_networks: Iterable[Network]) -> httpx.AsyncClient:
    """Open a client for requests that teams declare: to checked addresses, without a time limit.

    Teams share the client, so it keeps no cookies: one team's cookies would be sent with another
    team's requests to the same host.

    Args:
        private_networks: Networks that may be reached besides public addresses.
    """
    client = httpx.AsyncClient(
        transport=AddressCheckedTransport(private_networks),
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # noqa: S113 - callers limit the whole request
    )
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
    return client


class AddressCheckedTransport(httpx.AsyncHTTPTransport):
    """Connects only to public addresses, and to those in the given networks."""

    def __init__(self, private_networks: Iterable[Network]) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=_MOST_CONNECTIONS,
            keepalive_expiry=_KEPT_ALIVE,
            network_backend=_AddressCheckedBackend(tuple(private_networks)),
        )


class _AddressCheckedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a host once, and connects to an address that was checked."""

    def __init__(self, private_networks: tuple[Network, ...]) -> None:
        self._networks = private_networks
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first allowed address of a host that accepts the connection."""
        addresses = await _resolve_host(host, port)
        allowed = [address for address in addresses if is_address_allowed(address, self._networks)]
        if not allowed:
            raise PermanentError(
                f"{host} has no public address, and the worker's http_networks do not contain"
                f" {', '.join(map(str, addresses))}",
                code="HTTP_PRIVATE_ADDRESS",
            )
        for address in allowed[:-1]:
            try:
                return await self._plain.connect_tcp(str(address), port, timeout)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._plain.connect_tcp(str(allowed[-1]), port, timeout)

    async def sleep(self, seconds: float) -> None:
        """Pause between connection attempts."""
        await asyncio.sleep(seconds)


async def _resolve_host(host: str, port: int) -> list[Address]:
    loop = asyncio.get_running_loop()
    try:
        rows = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from None
    return list(dict.fromkeys(ipaddress.ip_address(row[4][0]) for row in rows))


def is_address_allowed(address: Address, private_networks: Iterable[Network]) -> bool:
    """Return whether an address is public or in one of the networks."""
    plain = _unwrap_ipv4(address)
    if any(plain in network for network in private_networks):
        return True
    if any(plain in network for network in _INTERNAL):
        return False
    return plain.is_global and not plain.is_multicast


def _unwrap_ipv4(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
