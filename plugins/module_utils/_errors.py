# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors whose text is a sentence for the operator: what, where, why and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# The API server's own wording of a permission that is missing.
_FORBIDDEN = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)


class PlatformError(Exception):
    """An error to be shown as it is; ``details`` are further keys of the module's result."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class KubeconfigError(PlatformError):
    """The kubeconfig file is missing, unreadable or does not name what was asked."""


class Unreachable(PlatformError):
    """The API server does not answer at all (refused, timed out, wrong certificate).

    ``unsure`` says that the request had been sent: it may have been carried out.
    """

    def __init__(self, message: str, *, unsure: bool = False) -> None:
        super().__init__(message)
        self.unsure = unsure


class ApiError(PlatformError):
    """An answer of the API server that is not a success.

    Attributes: ``status`` (HTTP code), ``reason`` (the server's word, e.g. ``NotFound``), ``server_message``, ``verb``, ``target``
    ("Kind namespace/name" or the path) and ``causes`` (list of dicts with ``reason``, ``message``, ``field``).
    """

    def __init__(self, status: int, body: dict[str, Any], *, verb: str, target: str) -> None:
        self.status = status
        self.reason = str(body.get("reason") or "")
        self.server_message = str(body.get("message") or f"HTTP status {status}")
        self.verb = verb
        self.target = target
        details = body.get("details") or {}
        self.causes: list[dict[str, Any]] = list(details.get("causes") or [])
        self.retry_after = details.get("retryAfterSeconds")
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        if self.status == 401:
            return (
                f"{self.target}: the API server does not accept the credentials of the kubeconfig (401 Unauthorized): "
                "they are wrong or have expired; renew them or name another kubeconfig"
            )
        denied = _FORBIDDEN.search(self.server_message)
        if self.status == 403 and denied:
            group = f".{denied['group']}" if denied["group"] else ""
            where = f"in namespace {denied['namespace']}" if denied["namespace"] else "at cluster scope"
            return (
                f"{self.target}: user {denied['user']} may not {denied['verb']} {denied['resource']}{group} {where}; "
                "run deploy_platform.yml as administrator, which installs the platform and the deployer's ClusterRole, or use another identity"
            )
        return f"{self.target}: {self.verb} refused by the API server: {self.server_message}"

    @property
    def transient(self) -> bool:
        """Whether the same request may be answered better a little later.

        A server-side apply of a field that the kind does not have, or of an entry given twice, is answered with 500 as well; it stays wrong.
        """
        return self.status in (429, 500, 502, 503, 504) and not self.server_message.startswith("failed to create typed patch object")

    @property
    def unsure(self) -> bool:
        """Whether the request may have been carried out all the same: the server, or what stands before it, lost track of it."""
        return self.transient and self.status in (500, 502, 504)

    @property
    def quota_was_busy(self) -> bool:
        """Whether a quota could not count what was asked, because too much else of its namespace was made at the same moment; nothing was carried out.

        The API server says so by a conflict of the quota, which is no conflict of the object that was asked for.
        """
        return self.status == 409 and self.server_message.startswith("Operation cannot be fulfilled on resourcequotas")

    @property
    def not_found(self) -> bool:
        """Whether the object (not its kind) does not exist."""
        return self.status == 404

    @property
    def field_conflicts(self) -> list[tuple[str, str]]:
        """(manager, field) of each field that another manager has set; empty when this is no such conflict."""
        found = []
        for cause in self.causes:
            if cause.get("reason") == "FieldManagerConflict":
                manager = re.search(r'conflict with "([^"]*)"', str(cause.get("message") or ""))
                found.append((manager[1] if manager else "unknown", str(cause.get("field") or "?")))
        return found


def checked(results: Iterable[Any]) -> list[Any]:
    """Return the results of Client.map, or raise its errors as one that says how many there were."""
    found = list(results)
    errors = [result for result in found if isinstance(result, PlatformError)]
    done = [result for result in found if not isinstance(result, PlatformError)]
    if len(errors) > 1:
        raise PlatformError(f"{errors[0].message} (and {len(errors) - 1} more: {'; '.join(error.message for error in errors[1:4])})")
    if errors:
        raise errors[0]
    return done
