# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module of this collection in the process of its task.

Packing a module, starting an interpreter and importing cost several times what the work of an unchanged tenant does, and a deploy calls
two dozen of them. What the module does is the same: its main() is given this class instead of AnsibleModule.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NoReturn

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase
from ansible.release import __version__
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain
from ansible_collections.barberpro.platform.plugins.plugin_utils._preload import load_packages

load_packages()


class Ended(Exception):
    """The module has ended with this result."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__()
        self.result = result


class InProcess:
    """The part of AnsibleModule that the modules of this collection use."""

    ansible_version = __version__

    def __init__(
        self, action: ActionBase, argument_spec: Mapping[str, Any], required_if: list[Any] | None = None, supports_check_mode: bool = False
    ) -> None:
        """Validate the task's arguments. Raises Ended with AnsibleModule's sentence when they are wrong."""
        task = action._task
        self.check_mode = bool(task.check_mode)
        self._diff = bool(task.diff)
        self._display = action._display
        self._secrets: set[str] = set()
        checked = ArgumentSpecValidator(argument_spec, required_if=required_if).validate(to_plain(task.args))
        self._secrets = set(checked._no_log_values)
        self.params: dict[str, Any] = checked.validated_parameters
        if self.check_mode and not supports_check_mode:
            raise Ended({"skipped": True, "msg": f"{task.action} does not support check mode"})
        if checked.unsupported_parameters:
            self.fail_json(msg=f"Unsupported parameters for ({task.action}) module: {checked.error_messages[0]}")
        if checked.error_messages:
            self.fail_json(msg=checked.error_messages[0])

    def warn(self, warning: str) -> None:
        """Show a warning."""
        self._display.warning(warning)

    def exit_json(self, **result: Any) -> NoReturn:
        """End the module well."""
        raise Ended(self._shown({"changed": False, **result}))

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        """End the module with an error."""
        raise Ended(self._shown({"failed": True, "changed": False, "msg": msg, **result}))

    def _shown(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return the result as it would come back from a process of its own, without the values of options that are secrets."""
        shown: dict[str, Any] = json.loads(json.dumps(remove_values(result, self._secrets), default=str))
        return shown


class InProcessAction(ActionBase):
    """Base of the action plugins: ``module`` is the module of the same name."""

    module: ModuleType

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module here when it would run on this machine, as this user, with this interpreter; else as any other module."""
        super().run(tmp, task_vars)
        if not self._is_here(task_vars or {}):
            executed: dict[str, Any] = self._execute_module(task_vars=task_vars)
            return executed

        def new(**spec: Any) -> InProcess:
            return InProcess(self, **spec)

        main: Callable[[Callable[..., Any]], None] = self.module.main
        try:
            main(new)
        except Ended as ended:
            return ended.result
        return {"failed": True, "msg": f"{self._task.action} ended without a result"}

    def _is_here(self, task_vars: Mapping[str, Any]) -> bool:
        interpreter = str(self._templar.template(task_vars.get("ansible_python_interpreter")) or sys.executable)
        special = self._play_context.become or self._task.async_val or any(self._task.environment or [])
        return not special and interpreter == sys.executable and self._connection.transport.rpartition(".")[2] == "local"
