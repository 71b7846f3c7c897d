"""Who may change the server: one rule for every door, asked before anything is looked at.

The figures of others who had none: TorchServe's open management API, Ray's missing check of browsers and of other verbs
(CVE-2023-43654, CVE-2023-48022, CVE-2025-62593).
"""

import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from mlserver.errors import Forbidden
from mlserver.settings import Settings

# What a proxy says of whom it speaks for: then the peer is the proxy, and says nothing of the caller.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class AdminPolicy:
    """`admin_access` of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._access = settings.admin_access
        token = settings.admin_token
        self._token = token.get_secret_value().encode() if token is not None else b""

    def check(self, peer: str | None, headers: Mapping[str, str]) -> None:
        """Return where the caller may. Raises Forbidden.

        `peer` is the address at the other end of the connection, None where it is a socket of this machine; `headers`
        are lower-cased.
        """
        if self._access == "open":
            return
        if self._access == "off":
            raise Forbidden("changing the server is switched off (admin_access)")
        if self._access == "token":
            self._check_token(headers)
        else:
            _check_loopback(peer, headers)

    def _check_token(self, headers: Mapping[str, str]) -> None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode(), self._token)
        if not self._token or scheme.lower() != "bearer" or not same:
            raise Forbidden("changing the server takes its admin_token, as `Authorization: Bearer ...`")


def _check_loopback(peer: str | None, headers: Mapping[str, str]) -> None:
    """A caller on this machine, who speaks for nobody else and is no web page that somebody here looks at."""
    if peer is not None and not _is_loopback(peer):
        raise Forbidden("the server can only be changed from its own machine (admin_access)")
    forwarded = next((name for name in _FORWARDED if name in headers), None)
    if forwarded is not None:
        raise Forbidden(f"the server can only be changed from its own machine, and not through a proxy ({forwarded})")
    host, origin = headers.get("host"), headers.get("origin")
    if host is not None and not _is_loopback(_name_of(host)):
        raise Forbidden("the server can only be changed under a name of its own machine, such as localhost (host)")
    if origin is not None and urlsplit(origin).netloc != host:
        raise Forbidden("the server cannot be changed by a web page of another origin (origin)")


def _name_of(host: str) -> str:
    """A Host header without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
