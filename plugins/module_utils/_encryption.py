# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a service seal and wrap what it holds by the newest version of the tenant's key, through its admin API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._access import admin_sender
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError

PATH = "/admin/encryption"
TIMEOUT = 300.0


def converge(client: Client, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Read or renew, and return the module's result. Raises PlatformError."""
    pod, send = admin_sender(client, str(options["namespace"]), str(options["selector"]), 9090, str(options["token_secret"]), TIMEOUT)
    method = "GET" if options["state"] == "inspected" or check_mode else "PUT"
    answer = send(method, PATH, None)
    if answer.status != 200:
        hint = "its image is older than encryption; deploy a newer one" if answer.status == 404 else "see its log"
        raise PlatformError(f"{method} {PATH} of Pod {options['namespace']}/{pod}: HTTP {answer.status} {answer.text()!r}; {hint}")
    status = dict(answer.json())
    if options["state"] == "renewed" and not status["encrypting"]:
        raise PlatformError(f"Pod {options['namespace']}/{pod} does not encrypt: it was deployed without Vault; run deploy_vertical.yml")
    changed = bool(status.get("rewrapped") or status.get("newly_sealed"))
    return {"changed": changed, "pod": f"{options['namespace']}/{pod}", "status": status}
