# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what the rehearsal of a release's migrations, or of a roll back over them, has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed, Clients, Param, check, listed, plural, subject
from ansible_collections.barberpro.platform.plugins.module_utils._migrations import refusal, unfit
from ansible_collections.barberpro.platform.plugins.module_utils._rehearsal_plan import backup_for, step


@check(
    "migrations",
    subject("schema {schema}"),
    schema=Param("The tenant's schema.", required=True),
    migrations=Param("What is due, each with C(workload), C(from) and C(to).", type="list", elements="dict", default=[]),
    rehearsal=Param("Result of the module rehearsal, empty when nothing was tried.", type="dict", default={}),
    untried=Param("Why nothing was tried although migrations are due.", default=""),
    reasons=Param("Why single workloads were not tried, by workload.", type="dict", default={}),
)
def migrations(params: Mapping[str, Any], clients: Clients) -> str:  # noqa: ARG001 - all checks have one signature
    """The code that serves works on the schema that the new images' migrations make, and they lock no table for long."""
    if not params["migrations"]:
        return "no migration is due"
    found = params["rehearsal"]
    tried = [item for item in params["migrations"] if found and item["workload"] in found["tried"]]
    parts = []
    if found:
        reason, next_step = refusal(found)
        if reason:
            raise CheckFailed(reason, next_step, final=True)
        parts.append(f"{_steps(tried)}: r{found['serving']} works after {plural(len(found['statements']), 'statement')}, tried in a scratch schema")
        losing = found["losing"]
        parts += [f"{plural(len(losing), 'statement')} could lose data ({losing[0]['sql']})"] if losing else []
        parts += [f"{finding['statement']}: {finding['message'].rstrip('.')}" for finding in found["findings"]]
    parts += [
        f"{_steps([item])}: not tried, {params['reasons'].get(item['workload']) or params['untried'] or 'no reason given'}"
        for item in params["migrations"] if item not in tried
    ]
    return "; ".join(parts)


def _steps(due: Sequence[Mapping[str, str]]) -> str:
    return listed([f"{item['workload']} {step(item)}" for item in due])


@check(
    "schema_fits",
    subject("r{revision}"),
    revision=Param("Number of the revision to return to.", type="int", required=True),
    tenant=Param("Name of the tenant.", required=True),
    ahead=Param("What the filter rollback_plan has found, empty when nothing was looked at.", type="dict", default={}),
    rehearsal=Param("Result of the module rehearsal, empty when nothing was tried.", type="dict", default={}),
    untried=Param("Why nothing was looked at or tried.", default=""),
    backups=Param("Names of the backups that are kept.", type="list", default=[]),
)
def schema_fits(params: Mapping[str, Any], clients: Clients) -> str:  # noqa: ARG001 - all checks have one signature
    """The code of a kept revision works on the schema as it is today, where migrations have run since."""
    number, ahead, found = int(params["revision"]), params["ahead"], params["rehearsal"]
    for item in ahead.get("missing") or []:
        raise CheckFailed(
            f"the schema of {item['workload']} is at migration {item['to']}, r{number} knows {item['from']}, "
            "and no kept revision has the image that brings it: whether the code of that revision still works cannot be tried",
            'name that image (-e \'{"image_overrides": {"KEY": "IMAGE"}}\', KEY of the image catalogue), or deploy forward', final=True,
        )
    reason = unfit(found, number) if found else ""
    if reason:
        raise CheckFailed(reason, _way_back(number, str(params["tenant"]), params["backups"]), final=True)
    parts = [f"{_steps(ahead['due'])}: r{number} works after {plural(len(found['statements']), 'statement')}, tried in a scratch schema"] if found else []
    parts += [f"{workload}: not tried, {why}" for workload, why in (ahead.get("untried") or {}).items()]
    if not found and (params["untried"] or ahead.get("due")):
        parts.append(f"not tried, {params['untried'] or 'no reason given'}")
    return "; ".join(parts) or (f"no migration since r{number}" if ahead else "its services that keep tables are those that serve")


def _way_back(number: int, tenant: str, backups: Sequence[str]) -> str:
    """Return what can be done when the code of a revision does not fit the schema any more."""
    backup = backup_for(number, backups)
    if not backup:
        return "deploy forward (deploy_vertical.yml) instead: no backup of the schema from before that was found"
    return (
        f"deploy forward (deploy_vertical.yml) instead, or return to the schema from before that first, which loses the bookings made since: "
        f"restore_backup.yml -e backup={backup} -e confirm={tenant}"
    )
