"""Call a module's main() in this process, as Ansible would in its own."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any
from unittest import mock

from ansible.module_utils import basic
from ansible.module_utils.basic import AnsibleModule

try:
    from ansible.module_utils.testing import patch_module_args
except ImportError:  # ansible-core 2.18 has no helper for this yet

    def patch_module_args(args: dict[str, Any] | None = None) -> AbstractContextManager[Any]:
        """Give a module its arguments as ansible-core 2.18 does."""
        return mock.patch.object(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": args}).encode())


class _Ended(Exception):
    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__()
        self.result = result


def call(module: ModuleType, options: dict[str, Any], *, check: bool = False, diff: bool = False) -> dict[str, Any]:
    """Return the module's result; ``failed`` is in it when the module failed, ``warnings`` when it warned."""
    warnings: list[str] = []

    def exit_json(_self: AnsibleModule, **result: Any) -> None:
        assert "warnings" not in result, "exit_json takes no warnings; ansible-core calls that deprecated"
        raise _Ended({**result, "warnings": warnings} if warnings else result)

    def fail_json(_self: AnsibleModule, msg: str, **result: Any) -> None:
        raise _Ended({"failed": True, "msg": msg, **result})

    arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": diff}
    with (
        patch_module_args(arguments),
        mock.patch.object(AnsibleModule, "warn", lambda _self, warning: warnings.append(warning)),
        mock.patch.object(AnsibleModule, "exit_json", exit_json),
        mock.patch.object(AnsibleModule, "fail_json", fail_json),
    ):
        try:
            module.main()
        except _Ended as ended:
            return ended.result
    raise AssertionError(f"{module.__name__} ended without a result")
