# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states a tenant's release goes through.

planned -> staged (beside the running one) -> promoted (the route moves) -> monitored -> finished (what is left over goes);
reverted undoes an unfinished run, rolled_back returns to a kept revision. Every state can be asked for again after a run was killed at
any point: what to do is computed from the record and from what is live, never from what an earlier call remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _claims
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._run import Run, conclude, in_phase
from ansible_collections.barberpro.platform.plugins.module_utils._undo import reverted, rolled_back

STATES = ("planned", "staged", "promoted", "monitored", "finished", "reverted", "rolled_back")


def converge(client: Client, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Take the release to the asked state and return the module's result. Raises PlatformError, NotReady among them."""
    run = Run(client, options, check_mode)
    with run.transaction.step(str(options["state"])):
        _STEPS[str(options["state"])](run)
    result = run.result()
    if run.dry:
        # A plan is there to be read, in the report too, whether or not the screen shows diffs.
        result["differences"] = result["diff"]
    if options["state"] == "planned":
        result["fence"] = run.fence
    return result


def planned(run: Run) -> None:
    """Say what a deploy would do."""
    objects = run.asked()
    wanted = run.settled(objects, run.number)
    run.note(run.engine.plan(wanted, remove=run.leftovers(objects)))
    if host := _claims.host_of(objects):
        run.release_hosts(host)
    # A run that was killed after its last object still has to come to its end.
    run.wrote = run.number != run.record.current or run.record.finished != run.number or run.record.pending is not None


def staged(run: Run) -> None:
    """Store the set, bring the workloads up beside the running ones, wait for them."""
    objects = run.asked()
    number = int(run.number or 0)
    wanted = in_phase(run.settled(objects, number), "workloads")
    plan = run.engine.plan(wanted)
    run.begin(number)
    run.bring_up(wanted, plan)


def promoted(run: Run) -> None:
    """Move the route; the revision is current once the gateway has said that it took the route over."""
    objects = run.asked()
    number = int(run.number or 0)
    if number not in run.kept and not run.dry:
        raise PlatformError(f"revision r{number} of tenant {run.tenant} is not staged; call state staged with the same objects first")
    wanted = in_phase(objects, "promotion")
    run.execute(run.engine.plan(wanted))
    run.wait(wanted)
    if not run.dry:
        run.record.current, run.record.pending = number, None
        run.save()


def monitored(run: Run) -> None:
    """Apply the monitoring objects."""
    run.execute(run.engine.plan(in_phase(run.asked(), "monitoring")))


def finished(run: Run) -> None:
    """Delete what the current revision does not own, and the oldest revisions. Without objects, the promoted set is the stored one."""
    objects = run.asked() if run.options.get("objects") else run.promoted_set()
    if run.number != run.record.current and not run.dry:
        raise PlatformError(f"revision r{run.number} of tenant {run.tenant} is not promoted; call state promoted with the same objects first")
    run.delete_leftovers(objects)
    if host := _claims.host_of(objects):
        run.release_hosts(host)
    conclude(run, int(run.number or 0))


_STEPS: dict[str, Callable[[Run], None]] = {
    "planned": planned,
    "staged": staged,
    "promoted": promoted,
    "monitored": monitored,
    "finished": finished,
    "reverted": reverted,
    "rolled_back": rolled_back,
}
