# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a fleet as files: JSON for programs, one self-contained page for people."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._report import new_folder, write_whole
from ansible_collections.barberpro.platform.plugins.module_utils._report_html import WORDS, moment
from ansible_collections.barberpro.platform.plugins.module_utils._report_template import STYLE

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Fleet {{ report.fleet }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<main>
<section class="card head {{ report.result }}">
<p class="sub">Fleet {{ report.fleet }}, {{ report.began | moment }} to {{ report.ended | moment }}</p>
<h1>{{ report.summary }}</h1>
<span class="pill {{ 'passed' if report.result == 'succeeded' else 'failed' }}">{{ report.result | capitalize }}</span>
<dl class="facts">
<div><dt>Tenants</dt><dd>{{ report.verdict.total }}</dd></div>
<div><dt>Tried</dt><dd>{{ report.verdict.tried }}</dd></div>
<div><dt>Went wrong</dt><dd>{{ report.verdict.wrong | length }}</dd></div>
<div><dt>As asked already, no evidence</dt><dd>{{ report.verdict.as_asked }}</dd></div>
<div><dt>Too few requests to judge by</dt><dd>{{ report.verdict.few_requests }}</dd></div>
<div><dt>Failure budget</dt><dd>{{ report.verdict.failure_budget }}</dd></div>
<div><dt>Evidence against the release</dt><dd>{{ report.verdict.e_value }} of {{ report.verdict.limit }}</dd></div>
<div><dt>Done by an earlier run</dt><dd>{{ report.done | length }}</dd></div>
</dl>
</section>
{% if report.live_problem %}
<section class="alarm"><p>{{ report.live_problem }}</p></section>
{% endif %}
<h2>Tenants</h2>
<div class="card rows"><table>
<thead><tr><th>Tenant</th><th>Result</th><th>Revision</th><th>Requests since</th><th>Server errors</th><th>What went wrong</th></tr></thead>
<tbody>
{% for tenant in report.tenants %}
<tr><td class="cell">{{ tenant.name }}</td><td>{{ words.get(tenant.result, tenant.result) }}</td><td>{{ tenant.revision }}</td>
<td class="num">{{ tenant.requests | round | int }}</td><td class="num">{{ tenant.errors | round | int }}</td>
<td>{{ report.verdict.wrong.get(tenant.name, '') }}</td></tr>
{% else %}
<tr><td colspan="6">none was tried</td></tr>
{% endfor %}
</tbody></table></div>
{% if report.verdict.earlier %}
<h2>Went wrong in an earlier run</h2>
<div class="card rows"><table>
<thead><tr><th>Tenant</th><th>What went wrong</th></tr></thead>
<tbody>
{% for name, why in report.verdict.earlier.items() %}
<tr><td class="cell">{{ name }}</td><td>{{ why }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endif %}
{% if report.untouched %}
<h2>Not touched</h2>
<p class="small">{{ report.untouched | join(', ') }}</p>
{% endif %}
</main>
</body>
</html>
"""


def page(document: Mapping[str, Any]) -> str:
    """Return the page of a fleet's document."""
    jinja = importlib.import_module("jinja2")
    environment = jinja.Environment(autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["moment"] = moment
    return str(environment.from_string(TEMPLATE).render(report=document, style=STYLE, words=WORDS))


def write(root: str, document: Mapping[str, Any]) -> list[str]:
    """Write fleet.json and fleet.html below ``root``/fleets/TIME and return their paths. Raises PlatformError."""
    try:
        folder = new_folder(os.path.join(root, "fleets"), str(document["began"]))
        paths = [os.path.join(folder, name) for name in ("fleet.json", "fleet.html")]
        write_whole(paths[0], json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        write_whole(paths[1], page(document))
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename or root})"
        raise PlatformError(f"the report of the fleet cannot be written: {reason}; its record is ConfigMap fleet-{document['fleet']}") from error
    return paths
