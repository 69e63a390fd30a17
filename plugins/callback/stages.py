# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback that prints the stages of every tenant at the end of a run."""

from __future__ import annotations

DOCUMENTATION = r"""
name: stages
type: aggregate
short_description: Print the stages of every tenant at the end of a run
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Prints one table a tenant at the end of a run with each stage, its result, its seconds, its budget and its checks, then why the run failed, what to do next
    and where the report is.
  - Of a fleet it prints one line for each tenant that went well, and how the fleet ended.
  - Reads the results of M(barberpro.platform.run_report) and M(barberpro.platform.fleet_gate). A run without any prints nothing.
  - Warns of an extra variable that no playbook, role or inventory has and that looks like an option of the playbook.
  - Colours only where Ansible itself would.
"""

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.vars.plugins import get_vars_from_inventory_sources
from ansible_collections.barberpro.platform.plugins.module_utils import _extra_vars
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain
from ansible_collections.barberpro.platform.plugins.module_utils._stage_table import FLEET_GATE, RUN_REPORT, Summary, fleet_summary, summaries
from ansible_collections.barberpro.platform.plugins.plugin_utils._preload import load_packages, load_plugins

ROOT = Path(__file__).resolve().parents[2]
# Tasks after which a long run (a fleet) looks for garbage after all.
COLLECTED_EVERY = 100
COLOURS = {"succeeded": "COLOR_OK", "unchanged": "COLOR_OK", "failed": "COLOR_ERROR", "rolled_back": "COLOR_CHANGED"}


class CallbackModule(CallbackBase):
    """Collects the reports of a run and prints their tables at its end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "barberpro.platform.stages"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._results: list[Mapping[str, Any]] = []
        self._fleet: Mapping[str, Any] | None = None
        self._playbooks: set[Path] = set()
        self._tasks = 0

    def v2_playbook_on_start(self, playbook: Any) -> None:  # noqa: ARG002 - Ansible gives it
        """Load what the tasks need before there are any."""
        load_packages()
        load_plugins()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Once for each playbook of the collection, warn of extra variables that are probably misspelt."""
        path = Path(play.get_path().rpartition(":")[0]).resolve()
        if path.parent != ROOT / "playbooks" or path in self._playbooks:
            return
        self._playbooks.add(path)
        manager = play.get_variable_manager()
        found = _extra_vars.doubtful(manager.extra_vars, path.stem, ROOT)
        for name in sorted(found.keys() - (_of_inventory(manager) if found else set())):
            self._display.warning(_extra_vars.sentence(name, path.stem, found[name]))

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002 - Ansible gives them
        """Keep the collector from what there is: each task is a fork of this process, which would look through all of it and so copy its pages."""
        self._tasks += 1
        if self._tasks % COLLECTED_EVERY == 0:
            gc.unfreeze()
            gc.collect()
        gc.freeze()

    def v2_runner_on_ok(self, result: Any) -> None:
        """Keep the result of a task that wrote a report."""
        # ansible-core 2.19 gives a callback its own view of a result; 2.18 has the underscored attributes only.
        task = getattr(result, "task", None) or result._task
        data = getattr(result, "result", None) or result._result
        names = {getattr(task, "resolved_action", None), task.action}
        if names.intersection(RUN_REPORT):
            self._results.append(to_plain(data))
        elif names.intersection(FLEET_GATE) and "files" in data:
            self._fleet = to_plain(data)

    def v2_playbook_on_stats(self, stats: Any) -> None:  # noqa: ARG002 - Ansible gives it
        """Print the tables."""
        for summary in summaries(self._results):
            self._print(summary)
        if self._fleet:
            self._print(fleet_summary(self._fleet))

    def _print(self, summary: Summary) -> None:
        """Print one tenant: a heading in the colour of its result, the table, the last lines."""
        colour = getattr(constants, COLOURS.get(summary.result, "COLOR_WARN"))
        self._display.display("")
        self._display.display(summary.heading, color=colour)
        for line in summary.table:
            self._display.display(f"  {line}")
        for line in summary.last_lines:
            self._display.display(f"  {line}")


def _of_inventory(manager: Any) -> set[str]:
    """Return the names of all variables that the inventory gives to any host or group."""
    inventory = manager._inventory
    entities = [*inventory.groups.values(), *inventory.hosts.values()]
    files = get_vars_from_inventory_sources(manager._loader, inventory._sources, entities, "task")
    return set(files).union(*(entity.vars for entity in entities))
