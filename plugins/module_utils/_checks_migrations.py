# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what the rehearsal of a release's migrations has found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed, Clients, Param, check, listed, plural, subject
from ansible_collections.barberpro.platform.plugins.module_utils._migrations import refusal


@check(
    "migrations",
    subject("schema {schema}"),
    schema=Param("The tenant's schema.", required=True),
    migrations=Param("What is due, each with C(workload), C(from) and C(to).", type="list", elements="dict", default=[]),
    rehearsal=Param("Result of the module rehearsal, empty when nothing was tried.", type="dict", default={}),
    untried=Param("Why nothing was tried although migrations are due.", default=""),
)
def migrations(params: Mapping[str, Any], clients: Clients) -> str:  # noqa: ARG001 - all checks have one signature
    """The code that serves works on the schema that the new images' migrations make, and they lock no table for long."""
    due = [f"{item['workload']} {item.get('from') or 'nothing'} -> {item.get('to') or 'unknown'}" for item in params["migrations"]]
    if not due:
        return "no migration is due"
    if not params["rehearsal"]:
        return f"{listed(due)}: not tried, {params['untried'] or 'no reason given'}"
    reason, next_step = refusal(params["rehearsal"])
    if reason:
        raise CheckFailed(reason, next_step, final=True)
    statements, losing = params["rehearsal"]["statements"], params["rehearsal"]["losing"]
    parts = [f"{listed(due)}: r{params['rehearsal']['serving']} works after {plural(len(statements), 'statement')}, tried in a scratch schema"]
    parts += [f"{plural(len(losing), 'statement')} could lose data ({losing[0]['sql']})"] if losing else []
    parts += [f"{finding['statement']}: {finding['message'].rstrip('.')}" for finding in params["rehearsal"]["findings"]]
    return "; ".join(parts)
