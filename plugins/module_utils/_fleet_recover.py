# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet does with the journal that an earlier run left open on one of its tenants: what the playbooks do for one (recover.yml of the pipeline).

Only what this module could have done itself is cleared up here. A database, a DNS record or settings are the business of the playbooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._journal import what_next
from ansible_collections.barberpro.platform.plugins.module_utils._lease import shown
from ansible_collections.barberpro.platform.plugins.module_utils._release import finished
from ansible_collections.barberpro.platform.plugins.module_utils._run import Run
from ansible_collections.barberpro.platform.plugins.module_utils._undo import reverted

# Steps of which the record of objects and the stored sets say all that the way back needs.
OBJECT_STEPS = frozenset({"infrastructure", "staged", "promoted", "monitored", "finished", "reverted", "rolled_back"})
_DONE = {"adopt": "gone on with", "finish": "carried to its end", "undo": "undone"}


@dataclass(frozen=True)
class Left:
    """What an earlier run left open: what is to be done with it (``adopt``, ``finish`` or ``undo``), whose it was, and what served before it.

    ``settled`` says that the tenant was at the end of that run already, only its journal was not; ``returning``, that it was on its way back;
    ``repeated``, that the run meant the same as this one and was a return to the revision before, which must not be done twice.
    """

    following: str
    who: str
    previous: int | None
    settled: bool
    returning: bool
    repeated: bool

    def sentence(self, problem: str = "", *, dry: bool = False) -> str:
        """Return what was done about it, or would be, as a person reads it; ``problem`` is why it could not be."""
        if problem:
            return f"the run of {self.who} was killed and could not be {_DONE[self.following]} ({problem}); this run went on from what was there"
        if self.settled and self.following != "adopt":
            return f"the run of {self.who} was killed at its very end; there was nothing to undo"
        return f"the run of {self.who} was killed; it {'would first be' if dry else 'was first'} {_DONE[self.following]}"


def left(run: Run) -> Left | None:
    """Return what an earlier run left open on the tenant of ``run``, None when there is nothing. Nothing is written.

    Raises PlatformError when another run is at work, when the tenant is being offboarded, or when it is not for this module to clear up: this
    call has no ``run`` by which others would know of it, or the earlier one has begun more than objects.
    """
    transaction = run.transaction
    if not transaction.run:
        transaction.look()
        return None
    transaction.lease.check()
    document = transaction.left()
    following = what_next(document, transaction.run)
    if document is None or following == "none":
        return None
    steps = [step["step"] for step in document["steps"]]
    if more := sorted(set(steps) - OBJECT_STEPS):
        raise PlatformError(
            f"tenant {run.tenant}: the run of {shown(document['run'])} was killed and has begun more than objects ({', '.join(more)}); "
            "run deploy_vertical.yml or rollback_vertical.yml, which clear that up"
        )
    record, before = run.record, document["previous"]
    settled = record.pending is None and record.current == record.finished != before and record.current is not None
    same = document["run"]["operation"] == transaction.run["operation"]
    back = same and steps[-1:] == ["rolled_back"] and run.options["state"] == "rolled_back" and run.options.get("to_revision") is None
    return Left(following, shown(document["run"]), before if before in run.kept else record.finished, settled, "rolled_back" in steps, settled and back)


def clear_up(found: Left, options: Mapping[str, Any], new: Callable[[Mapping[str, Any]], Run]) -> str:
    """Take over lease and journal of what was left, and finish or undo it. Returns why that failed, "" when it did not.

    ``new`` makes a run on the tenant from options. The journal is closed unless the run is gone on with, or this failed: a revision that cannot
    come back must not keep a better one from being deployed. Raises PlatformError when lease or journal cannot be had.
    """
    state, step = ("finished", finished) if found.following == "finish" else ("reverted", reverted)
    run = new({**options, "state": state, "objects": [], "previous": found.previous})
    run.transaction.begin()
    if found.following == "adopt":
        return ""
    try:
        if not found.settled or found.following == "finish":
            with run.transaction.watching(), run.transaction.step(state):
                step(run)
    except PlatformError as error:
        return str(error)
    run.transaction.end("succeeded" if found.settled or state == "finished" else "undone")
    return ""
