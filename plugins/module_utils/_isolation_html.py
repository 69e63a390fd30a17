# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The isolation report as files: JSON for programs, one self-contained page for people."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._report import new_folder, write_whole
from ansible_collections.barberpro.platform.plugins.module_utils._report_html import moment
from ansible_collections.barberpro.platform.plugins.module_utils._report_template import STYLE

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Isolation of {{ report.tenants | length }} tenants</title>
<style>{{ style | safe }}</style>
</head>
<body>
<main>
<section class="card head {{ 'succeeded' if report.isolated else 'failed' }}">
<p class="sub">Isolation report, {{ report.generated | moment }}</p>
<h1>{{ report.summary }}</h1>
<span class="pill {{ 'passed' if report.isolated else 'failed' }}">{{ 'Isolated' if report.isolated else 'Not isolated' }}</span>
<dl class="facts">
<div><dt>Pods</dt><dd>{{ report.network.pods }}</dd></div>
<div><dt>Classes of pods</dt><dd>{{ report.network.classes }}</dd></div>
<div><dt>Network policies</dt><dd>{{ report.network.policies }}</dd></div>
<div><dt>Identities of tenants</dt><dd>{{ report.rbac.identities }}</dd></div>
<div><dt>Role bindings</dt><dd>{{ report.rbac.bindings }}</dd></div>
<div><dt>Quotas</dt><dd>{{ report.quotas.quotas }}</dd></div>
<div><dt>Database</dt><dd>{{ 'not asked' if not report.sql else report.sql.pairs ~ ' pairs of role and schema' }}</dd></div>
<div><dt>Keys</dt><dd>{{ 'no Vault' if not report['keys'] else report['keys']['keys'] ~ ' keys, ' ~ report['keys'].logins ~ ' logins' }}</dd></div>
</dl>
</section>
{% if not report.isolated %}
<section class="alarm">
<p><b>What is open</b></p>
<ul>
{% for sentence in report.findings %}
<li>{{ sentence }}</li>
{% endfor %}
</ul>
{% if not report.network.complete %}
<p>There are more open paths; raise max_paths to see them.</p>
{% endif %}
</section>
{% endif %}
<h2>What tenants share, as their policies declare</h2>
<div class="card rows"><table>
<thead><tr><th>Namespace</th><th>Direction</th><th>Tenants</th><th>Ports</th></tr></thead>
<tbody>
{% for edge in report.network.shared %}
<tr><td class="cell">{{ edge.namespace }}</td><td>{{ edge.direction }}</td><td class="num">{{ edge.tenants }}</td><td>{{ edge.ports | join(', ') }}</td></tr>
{% else %}
<tr><td colspan="4">nothing</td></tr>
{% endfor %}
</tbody></table></div>
<h2>Addresses that tenants may reach</h2>
<div class="card rows"><table>
<thead><tr><th>Addresses</th><th>Ports</th><th>Tenants</th><th>By</th></tr></thead>
<tbody>
{% for block in report.network.outside %}
<tr><td class="cell">{{ block.cidr }}{{ ' except ' ~ block.except | join(', ') if block.except else '' }}</td><td>{{ block.ports | join(', ') }}</td>
<td class="num">{{ block.tenants }}</td><td class="cell">{{ block.policy or 'no policy limits it' }}</td></tr>
{% else %}
<tr><td colspan="4">none</td></tr>
{% endfor %}
</tbody></table></div>
{% if report.network.without_pods %}
<p class="small">Without pods now: {{ report.network.without_pods | join(', ') }}. What is said of them holds for a pod without labels.</p>
{% endif %}
<footer>Computed from the live objects in {{ report.seconds.values() | sum | round(1) }} s. The whole document lies beside this page.</footer>
</main>
</body>
</html>
"""


def page(document: Mapping[str, Any]) -> str:
    """Return the page of a report."""
    jinja = importlib.import_module("jinja2")
    environment = jinja.Environment(autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["moment"] = moment
    return str(environment.from_string(TEMPLATE).render(report=document, style=STYLE))


def write(root: str, document: Mapping[str, Any]) -> list[str]:
    """Write isolation.json and isolation.html below ``root``/isolation/TIME and return their paths. Raises PlatformError."""
    try:
        folder = new_folder(os.path.join(root, "isolation"), str(document["generated"]))
        paths = [os.path.join(folder, name) for name in ("isolation.json", "isolation.html")]
        write_whole(paths[0], json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        write_whole(paths[1], page(document))
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename or root})"
        raise PlatformError(f"the isolation report cannot be written: {reason}; make room or name another path") from error
    return paths
