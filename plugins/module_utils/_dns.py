# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What name servers say of a name: a server that is named, else those of the zone itself, else the resolvers of the runner."""

from __future__ import annotations

import importlib
import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError

TIMEOUT = 5.0  # seconds for one answer
ENOUGH = 3  # addresses of a zone's name servers


@dataclass(frozen=True)
class Answer:
    """The values of a name in their plainest form, sorted; none and not ``exists`` where there is no such name. ``said`` is who answered."""

    values: list[str]
    exists: bool
    ttl: int
    said: str


class NameServers:
    """Whom to ask about the names of a zone.

    A resolver remembers for long that a name did not exist: behind a change (or a dry run before it) it is the zone's own servers that know. They
    may refuse to answer, as those of a private zone do, or be out of reach: then the resolvers of the runner are asked.
    Raises PlatformError when dnspython is not installed or the named server has no address.
    """

    def __init__(self, server: str = "", port: int = 53, zone: str = "") -> None:
        try:
            self._library = importlib.import_module("dns.resolver")
            self._error = importlib.import_module("dns.exception").DNSException
        except ImportError as error:
            raise PlatformError(f"the Python package dnspython is needed ({error}); install it for the interpreter that runs this") from error
        self._port, self._zone = port, zone
        self._named: list[str] = []
        self._server = server
        if server:
            try:
                self._named = [str(socket.getaddrinfo(server, None)[0][4][0])]
            except OSError as error:
                raise PlatformError(f"name server {server} is unknown: {error}; correct the parameter server") from error

    def ask(self, name: str, kind: str) -> Answer:
        """Return what the first of them that answers says. Raises PlatformError when none does."""
        silent = []
        for said, resolver in self._asked():
            try:
                found = resolver().resolve(name, kind, search=False, lifetime=TIMEOUT)
            except self._library.NXDOMAIN:
                return Answer([], False, 0, said)
            except self._library.NoAnswer:
                return Answer([], True, 0, said)
            except self._error as error:
                silent.append(f"{said} gave no answer for {name}: {type(error).__name__}")
                continue
            ttl = found.rrset.ttl if found.rrset is not None else 0
            return Answer(sorted(plain(record.to_text()) for record in found), True, ttl, said)
        raise PlatformError(f"{' and '.join(silent)}; check that the name server runs")

    def addresses(self, name: str) -> set[str]:
        """Return the addresses of a name, none when nobody knows it."""
        found: set[str] = set()
        for kind in ("A", "AAAA"):
            with suppress(PlatformError):
                found |= set(self.ask(name, kind).values)
        return found

    def _asked(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        if self._server:
            yield f"{self._server}:{self._port}", partial(self._of, self._named)
            return
        own = self._of_zone() if self._zone else []
        if own:
            yield f"the name servers of zone {self._zone} ({', '.join(own)})", partial(self._of, own)
        yield "the runner's resolvers", self._library.get_default_resolver

    def _of(self, addresses: list[str]) -> Any:
        resolver = self._library.Resolver(configure=False)
        resolver.nameservers, resolver.port = addresses, self._port
        return resolver

    def _of_zone(self) -> list[str]:
        """Return addresses of the zone's own name servers, as far as the runner's resolvers know them."""
        found: list[str] = []
        with suppress(self._error):
            runner = self._library.get_default_resolver()
            for server in runner.resolve(f"{self._zone}.", "NS", lifetime=TIMEOUT):
                with suppress(self._error):
                    found += [address.to_text() for address in runner.resolve(server.target, "A", lifetime=TIMEOUT)]
                if len(found) >= ENOUGH:
                    break
        return found


def plain(text: str) -> str:
    """Return an address in its shortest form, or a name in lower case without the last dot: each can be written in several ways."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text.rstrip(".").lower()
