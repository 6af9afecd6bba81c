"""Parses the address of a registry as people write it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from chatnet.core.addresses import host_port
from chatnet.core.identity import PeerID
from chatnet.core.join_string import join_string, parse_join_string
from chatnet.core.ports import REGISTRY_PORT
from chatnet.core.text import safe_line

DEFAULT_HOST = "127.0.0.1"

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9.])?")


@dataclass(frozen=True)
class RegistryAddress:
    """Host (a name, or an IP address without brackets) and port; the key when it is known beforehand."""

    host: str
    port: int
    key: PeerID | None = None

    def __str__(self) -> str:
        """Return the text that ``parse_registry_address`` takes."""
        if self.key is not None:
            return join_string(self.host, self.port, self.key)
        return "tcp:host={}:port={}".format(self.host.replace(":", "\\:"), self.port)

    @property
    def shown(self) -> str:
        """``host:port``, for people."""
        return host_port(self.host, self.port)


def parse_registry_address(text: str) -> RegistryAddress:
    """Parse a join string, ``tcp:HOST:PORT`` (or ``tcp:host=HOST:port=PORT``), or ``HOST[:PORT]``.

    Raises ValueError, which says what is wrong with it.
    """
    text = text.strip()
    if text.startswith("chatnet:"):
        host, port, key = parse_join_string(text)
        return RegistryAddress(_host(host, text), port, key)
    if text.startswith("tcp:"):
        return _endpoint(text)
    bracketed = re.fullmatch(r"\[([^\[\]:]*:[^\[\]]*)\](?::(\d{1,5}))?", text)
    plain = re.fullmatch(r"([^:\[\]]+)(?::(\d{1,5}))?", text)
    found = bracketed or plain
    if not found:
        raise _wrong(text)
    return RegistryAddress(_host(found[1], text), _port(found[2] or str(REGISTRY_PORT), text))


def _endpoint(text: str) -> RegistryAddress:
    """Parse Twisted's client string; a colon inside an IPv6 address is written ``\\:``.  Raises ValueError."""
    parts = [part.replace("\\:", ":") for part in re.split(r"(?<!\\):", text)[1:]]
    given: dict[str, str] = {}
    for word, part in zip(("host", "port"), [part for part in parts if "=" not in part], strict=False):
        given[word] = part
    for part in parts:
        word, equals, value = part.partition("=")
        if equals:
            given[word] = value
    if set(given) != {"host", "port"} or len(parts) != 2:
        raise _wrong(text)
    return RegistryAddress(_host(given["host"], text), _port(given["port"], text))


def _host(host: str, text: str) -> str:
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise _wrong(text) from None
    if not _HOST.fullmatch(host):
        raise _wrong(text)
    return host


def _port(digits: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", digits) or not 1 <= int(digits) <= 65_535:
        raise _wrong(text)
    return int(digits)


def _wrong(text: str) -> ValueError:
    return ValueError(
        f"'{safe_line(text, 80)}' is no registry. Give the join string that the registry prints"
        f" (chatnet:HOST:PORT/KEY), or HOST:PORT"
    )
