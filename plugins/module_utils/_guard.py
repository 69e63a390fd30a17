# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until the guard rails of a namespace hold: policies and what they read of the Namespace reach the API server's caches a moment late."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources

CONTROL = "control host-names"
# No host of this domain can exist (RFC 2606), so no tenant has it.
PROBE_HOST = "guard-probe.invalid"
LIMIT_SECONDS = 30.0


def await_refusal(resources: Resources, namespace: str, host: str, deadline: float) -> None:
    """Return when the API server refuses, by dry run, a route for a host that is not the tenant's, and knows which one is.

    ``deadline`` is on the monotonic clock; at most 30 s are waited. Raises PlatformError with the server's last answer.
    """
    started = time.monotonic()
    limit = min(deadline, started + LIMIT_SECONDS)
    pause = 0.1
    while (answer := _answer(resources, namespace)) is None or CONTROL not in answer or f" {host} " not in answer:
        if time.monotonic() + pause > limit:
            said = "admits it" if answer is None else f"said: {answer}"
            raise PlatformError(
                f"Namespace {namespace}: an HTTPRoute for {PROBE_HOST} must be refused there by {CONTROL} with the tenant's host {host}, but "
                f"after {time.monotonic() - started:.0f} s the API server still {said}; run deploy_platform.yml, which installs the admission "
                "policies, and deploy again"
            )
        time.sleep(pause)
        pause = min(1.0, pause * 1.5)


def await_host(resources: Resources, namespace: str, host: str, deadline: float) -> None:
    """Return when the API server does not refuse the tenant a route for its host any more, which the Namespace names since a moment ago.

    Returns at once where there are no guard rails. Waits as above. Raises PlatformError with the server's last answer.
    """
    limit = min(deadline, time.monotonic() + LIMIT_SECONDS)
    while CONTROL in (answer := _answer(resources, namespace, host) or ""):
        if time.monotonic() + 0.2 > limit:
            raise PlatformError(f"Namespace {namespace} names the host {host}, and the API server still refuses a route for it: {answer}; run again")
        time.sleep(0.2)


def _answer(resources: Resources, namespace: str, host: str = PROBE_HOST) -> str | None:
    """Return why the API server refuses a route for a host, None when it does not."""
    probe: dict[str, Any] = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "guard-probe", "namespace": namespace},
        "spec": {"hostnames": [host]},
    }
    try:
        resources.create(probe, dry_run=True)
    except ApiError as error:
        return error.server_message
    return None
