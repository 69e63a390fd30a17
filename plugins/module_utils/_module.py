# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module of the collection that talks to a cluster does the same way."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from ansible.module_utils.basic import env_fallback
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError

CLUSTER_ARGUMENTS: dict[str, Any] = {
    "kubeconfig": {"type": "path", "fallback": (env_fallback, ["KUBECONFIG"])},
    "context": {"type": "str"},
    "request_timeout": {"type": "float", "default": 30.0},
    "outage_timeout": {"type": "float", "default": 60.0},
    "node_timeout": {"type": "float", "default": 15.0},
}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class AnsibleModuleLike(Protocol):
    """The part of AnsibleModule that is used here."""

    params: dict[str, Any]
    check_mode: bool
    _diff: bool

    def warn(self, warning: str) -> None:
        """Show a warning."""

    def exit_json(self, **result: Any) -> None:
        """End the module well."""

    def fail_json(self, msg: str, **result: Any) -> None:
        """End the module with an error."""


def check_name(name: str) -> None:
    """Raise PlatformError when ``name`` cannot be the name of a tenant."""
    if not _NAME.fullmatch(name) or len(name) > 40:
        raise PlatformError(
            f"tenant name {name!r} ({len(name)} characters) is not an RFC 1123 label of at most 40 characters "
            "(small letters, digits, hyphens inside); choose another name"
        )


def run(module: AnsibleModuleLike, action: Callable[[Client, dict[str, Any], bool], dict[str, Any]], **limits: Any) -> None:
    """Call ``action(client, options, check_mode)`` and end the module with its result, or with the sentence of its error.

    ``limits`` are those of the client (``concurrency``, ``requests_per_second``).
    ``diff`` is left out of the result unless it was asked for, ``warnings`` are shown, and ``changed`` is always there.
    """
    try:
        if module.params.get("name") is not None:
            check_name(str(module.params["name"]))
        client = Client.from_options(module.params, **limits)
        try:
            result = action(client, module.params, module.check_mode)
        finally:
            client.close()
    except PlatformError as error:
        # ImportError is no PlatformError: a missing package is shown by Ansible with the interpreter that lacks it.
        _warn(module, error.details)
        module.fail_json(msg=error.message, **error.details)
        return
    _warn(module, result)
    if not module._diff:
        result.pop("diff", None)
    module.exit_json(**{"changed": False, **result})


def _warn(module: AnsibleModuleLike, result: dict[str, Any]) -> None:
    for warning in result.pop("warnings", []):
        module.warn(warning)
