# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what customers meet first: the name, the certificate, the redirect to HTTPS."""

from __future__ import annotations

import datetime
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed, Clients, Param, check, plural, subject
from ansible_collections.barberpro.platform.plugins.module_utils._dns import TIMEOUT, NameServers, plain
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._web import SITE, Site, split_address


@check(
    "dns",
    subject("{name}"),
    name=Param("Name to ask for.", required=True),
    address=Param("Expected address (or, for a CNAME, name).", required=True),
    server=Param("IP or name of the server to ask."),
    zone=Param("Without C(server): zone whose own name servers are asked; the resolvers of the runner where these do not answer, or without it."),
    port=Param("Port of the server, or of those of the zone.", type="int", default=53),
    type=Param("Type of the record.", default="A", choices=("A", "AAAA", "CNAME")),
    only=Param("Whether an address beside the expected one is a failure: customers would go there, too.", type="bool", default=False),
)
def dns(params: Mapping[str, Any], clients: Clients) -> str:  # noqa: ARG001 - all checks have one signature
    """The name has the address, or is an alias of the name, asked of the given server or the zone's own; an alias that is answered by its addresses counts."""
    name, kind, expected = params["name"], params["type"], plain(params["address"])
    try:
        servers = NameServers(params["server"], params["port"], params["zone"])
        answer = servers.ask(name, kind)
    except PlatformError as error:
        problem, _sep, step = str(error).rpartition("; ")
        raise CheckFailed(problem, step, final=isinstance(error.__cause__, ImportError)) from error
    if not answer.exists:
        raise CheckFailed(f"{name} does not exist, says {answer.said}", "see whether the record was written to the zone")
    if not answer.values:
        # Some providers answer for an alias with the addresses of what it names.
        shared = sorted(servers.addresses(name) & servers.addresses(expected)) if kind == "CNAME" else []
        if shared:
            return f"{name} is {', '.join(shared)} as {expected} is, says {answer.said}"
        raise CheckFailed(f"{name} has no {kind} record, says {answer.said}", "see whether the record was written to the zone")
    if expected not in answer.values:
        found = ", ".join(answer.values)
        raise CheckFailed(f"{name} is {found} instead of {expected}, says {answer.said}", "correct the record, or wait for its TTL")
    if params["only"] and answer.values != [expected]:
        beside = ", ".join(value for value in answer.values if value != expected)
        raise CheckFailed(f"{name} is {beside} beside {expected}, says {answer.said}", "take what is beside it out of the zone")
    return f"{name} is {', '.join(answer.values)} (TTL {answer.ttl} s), says {answer.said}"


@check(
    "tls",
    subject("{host}"),
    host=Param("Name to ask for (SNI) and to verify.", required=True),
    address=Param("IP, or IP:PORT, to connect to (default C(host))."),
    port=Param("Port.", type="int", default=443),
    ca_file=Param("Bundle of certificates to trust (default the system's)."),
    san=Param("Name that must be among the subject alternative names (default C(host))."),
    min_days=Param("Lowest number of days that the certificate must last.", type="int", default=14),
)
def tls(params: Mapping[str, Any], clients: Clients) -> str:  # noqa: ARG001 - all checks have one signature
    """The chain verifies against the given bundle, the name is in the certificate, and it lasts long enough."""
    host = params["host"]
    address, port = split_address(params["address"] or host, params["port"])
    where = f"{host} at {address}:{port}"
    try:
        context = ssl.create_default_context(cafile=params["ca_file"])
    except OSError as error:
        raise CheckFailed(f"ca_file {params['ca_file']} cannot be used: {error}", "name a PEM file with certificates", final=True) from error
    try:
        with socket.create_connection((address, port), TIMEOUT) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
            certificate: Mapping[str, Any] = secure.getpeercert() or {}
            version = secure.version()
    except ssl.SSLCertVerificationError as error:
        raise CheckFailed(f"certificate of {where} does not verify: {error.verify_message}", "run the dns_ssl stage again, or name the CA") from error
    except OSError as error:
        raise CheckFailed(f"{where} does not speak TLS: {error}", "check the gateway's https listener") from error
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    wanted = (params["san"] or host).lower()
    if not any(covers(name.lower(), wanted) for name in names):
        raise CheckFailed(f"certificate of {where} is for {', '.join(names) or 'no name'}, not for {wanted}", "issue one for this name")
    end = datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), datetime.UTC)
    days = (end - datetime.datetime.now(datetime.UTC)).days
    if days < params["min_days"]:
        left = f"expires on {end:%Y-%m-%d}, in {plural(days, 'day')}, fewer than {params['min_days']}"
        raise CheckFailed(f"certificate of {where} {left}", "renew it")
    return f"chain and name verify ({', '.join(names[:3])}), {version}, expires {end:%Y-%m-%d} in {plural(days, 'day')}"


def covers(pattern: str, name: str) -> bool:
    """Return whether a name of a certificate covers ``name``: the same, or a wildcard for its first label."""
    if pattern == name:
        return True
    return pattern.startswith("*.") and "." in name and name.split(".", 1)[1] == pattern[2:]


@check(
    "redirect",
    subject("{url}"),
    location=Param("The expected target.", required=True),
    status=Param("Statuses of a good answer.", type="list", elements="int", default=[301, 308]),
    **SITE,
)
def redirect(params: Mapping[str, Any], clients: Clients) -> str:  # noqa: ARG001 - all checks have one signature
    """HTTP leads to HTTPS."""
    answer = Site(params).get()
    got = answer.headers.get("location", "")
    if answer.status not in params["status"]:
        raise CheckFailed(f"{params['url']} answers HTTP {answer.status} and does not redirect", "check the route named redirect")
    if _normal(got) != _normal(params["location"]):
        raise CheckFailed(f"{params['url']} redirects to {got or 'nowhere'} instead of {params['location']}", "check the route named redirect")
    return f"{params['url']} redirects with HTTP {answer.status} to {got}"


def _normal(url: str) -> str:
    """Return a URL without what makes no difference: a default port and the slash of an empty path."""
    head, slash, rest = url.replace("https://", "", 1).partition("/")
    return f"https://{head.removesuffix(':443')}/{rest}" if url.startswith("https://") else f"{head}{slash}{rest}"
