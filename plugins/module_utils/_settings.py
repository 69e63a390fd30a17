# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converge the settings of a service through its admin API, and compare settings for the gate."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ansible_collections.barberpro.platform.plugins.module_utils._access import AccessError, Answer, Send, admin_sender
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources
from ansible_collections.barberpro.platform.plugins.module_utils._transaction import Transaction

PATH = "/admin/settings"
T = TypeVar("T")
PAUSE = 0.5  # seconds between two tries to reach a service that is not ready yet


class SettingsError(PlatformError):
    """The service refuses the settings or does not keep them; the text is the sentence for the user."""


class NotNow(SettingsError):
    """The service cannot answer at the moment (its database restarts)."""


@dataclass
class Converged:
    """What became of the settings; ``fields`` are the paths that differed, ``unknown`` is why ``before`` could not be read in check mode."""

    pod: str
    before: dict[str, Any]
    after: dict[str, Any]
    fields: list[str] = field(default_factory=list)
    unknown: str = ""

    @property
    def changed(self) -> bool:
        """Return whether something differed."""
        return bool(self.fields)


def differences(wanted: Any, seen: Any, path: str = "") -> list[str]:
    """Return the paths (``staff[1].name``) of what is wanted and not seen, or seen and not wanted (any more).

    A service keeps the document as it was sent. Lists must match in length and order; ``9500`` and ``9500.0`` are equal, ``true`` and ``1`` are not.
    """
    if isinstance(wanted, Mapping) and isinstance(seen, Mapping):
        found = []
        for key in [*wanted, *(key for key in seen if key not in wanted)]:
            inner = f"{path}.{key}" if path else str(key)
            found += differences(wanted[key], seen[key], inner) if key in wanted and key in seen else [inner]
        return found
    if isinstance(wanted, list) and isinstance(seen, list):
        if len(wanted) != len(seen):
            return [f"{path} ({len(seen)} entries instead of {len(wanted)})"]
        pairs = enumerate(zip(wanted, seen, strict=True))
        return [name for number, (one, other) in pairs for name in differences(one, other, f"{path}[{number}]")]
    if isinstance(wanted, bool) is not isinstance(seen, bool):
        return [path]
    return [] if wanted == seen else [path]


def read_settings(send: Send, pod: str) -> dict[str, Any]:
    """Return the settings the service has, none as an empty dictionary. Raises AccessError and SettingsError."""
    answer = send("GET", PATH, None)
    if answer.status == 404:
        return {}
    _expect(answer, pod, "GET", 200)
    document = answer.json()
    settings = document.get("settings") if isinstance(document, dict) else None
    return dict(settings) if isinstance(settings, Mapping) else {}


def converge(
    client: Client,
    namespace: str,
    selector: str,
    port: int,
    token_secret: str,
    wanted: Mapping[str, Any],
    wait_timeout: float,
    check_mode: bool = False,
    restore: bool = False,
    run: Mapping[str, Any] | None = None,
) -> Converged:
    """Write ``wanted`` when the service has something else, and read it back. Raises AccessError and SettingsError.

    In check mode nobody brings pods up, so nothing is waited for; without a pod to ask, everything counts as a difference and the outcome
    says so in ``unknown``. ``restore`` puts back what was in force a moment ago, bookings of this moment or not.
    """

    def admin() -> tuple[str, Send]:
        """Find the pod anew, since the one of a moment ago may have ended."""
        name, send = admin_sender(client, namespace, selector, port, token_secret)
        return f"{namespace}/{name}", send

    try:
        pod, before = _trying(lambda: _read(*admin()), 0 if check_mode else wait_timeout)
    except AccessError as error:
        if not check_mode:
            raise
        return Converged(f"{namespace} (no pod)", {}, dict(wanted), differences(wanted, {}), unknown=str(error))
    fields = differences(wanted, before)
    if not fields:
        return Converged(pod, before, before)
    if check_mode:
        return Converged(pod, before, dict(wanted), fields)
    transaction = Transaction(Resources(client), str((run or {}).get("tenant") or ""), run)
    with transaction.step("settings", undo=lambda: {"before": before}):
        transaction.touch()
        pod, after = _trying(lambda: _write(*admin(), wanted, restore), wait_timeout)
    return Converged(pod, before, after, fields)


def _read(pod: str, send: Send) -> tuple[str, dict[str, Any]]:
    """Return the pod that was asked and the settings that it has."""
    return pod, read_settings(send, pod)


def _write(pod: str, send: Send, wanted: Mapping[str, Any], restore: bool) -> tuple[str, dict[str, Any]]:
    """Write the settings, which may be done twice; return the pod and the settings as read back."""
    answer = send("PUT", f"{PATH}?move_bookings=true" if restore else PATH, dict(wanted))
    if answer.status == 422:
        raise SettingsError(f"settings of {pod} are refused: {_problems(answer)}; correct them in the inventory")
    _expect(answer, pod, "PUT", 200)
    after = read_settings(send, pod)
    left = differences(wanted, after)
    if left:
        raise SettingsError(f"settings of {pod}: {', '.join(left)} read back different from what was written; look at the service's log")
    return pod, after


def _trying(work: Callable[[], T], wait_timeout: float) -> T:
    """Return what ``work`` does, tried for ``wait_timeout`` seconds while the service cannot be reached or cannot answer."""
    end = time.monotonic() + wait_timeout
    while True:
        try:
            return work()
        except (AccessError, NotNow):
            if time.monotonic() + PAUSE > end:
                raise
        time.sleep(PAUSE)


def _expect(answer: Answer, pod: str, method: str, status: int) -> None:
    """Raise SettingsError unless the answer has the status."""
    if answer.status in (401, 403):
        hint = "the token of its Secret is not the one it was started with; restart the workload"
        raise SettingsError(f"{method} {PATH} of Pod {pod}: HTTP {answer.status}; {hint}")
    if answer.status != status:
        sort = NotNow if answer.status >= 500 else SettingsError
        raise sort(f"{method} {PATH} of Pod {pod}: HTTP {answer.status} {answer.text()!r}; look at the service's log")


def _problems(answer: Answer) -> str:
    """Return the bad fields of a refusal, each with its path and reason, whatever common shape the service gives them."""
    document = answer.json()
    detail = document.get("errors") or document.get("detail") if isinstance(document, dict) else document
    if isinstance(detail, list):
        return "; ".join(_problem(item) for item in detail) or answer.text()
    return str(detail or answer.text())


def _problem(item: Any) -> str:
    """Return one bad field as ``path: reason``."""
    if not isinstance(item, dict):
        return str(item)
    where = item.get("path") or item.get("field") or item.get("loc") or ""
    if isinstance(where, list):
        where = ".".join(str(part) for part in where if part != "body")
    why = item.get("message") or item.get("msg") or item.get("reason") or "invalid"
    return f"{where}: {why}" if where else str(why)
