# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Template and style of the report's page. In Python, because that is what reaches a module wherever it runs."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --bg: #f6f5f2; --card: #ffffff; --ink: #1d1c1a; --soft: #6a665f; --line: #e4e1da; --track: #efede7;
  --good: #1f7a4d; --good-bg: #e3f3ea; --bad: #b3261e; --bad-bg: #fbe9e7; --calm: #2f5d9b; --calm-bg: #e6eef9; --warn: #8a5a00; --warn-bg: #fbf0d9;
  --add: #e6f6ec; --del: #fdebe9; --mono: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
@media (prefers-color-scheme: dark) { :root { --bg: #151517; --card: #1e1e21; --ink: #ecebe8; --soft: #a09c94; --line: #333237; --track: #2a2a2e;
  --good: #6fd3a0; --good-bg: #17352a; --bad: #ff9a8f; --bad-bg: #40201d; --calm: #9dbff0; --calm-bg: #1c2c44; --warn: #f0c674; --warn-bg: #3a2d12;
  --add: #14301f; --del: #3a1c1a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 27px; line-height: 1.2; margin: 4px 0 6px; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 12px; letter-spacing: .08em; text-transform: uppercase; color: var(--soft); margin: 34px 0 10px; font-weight: 650; }
a { color: var(--calm); } code, pre { font-family: var(--mono); font-size: 12.5px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.head { padding: 22px 24px; border-left: 6px solid var(--calm); } .head.succeeded { border-left-color: var(--good); }
.head.failed { border-left-color: var(--bad); } .head.rolled_back { border-left-color: var(--warn); }
.pill { display: inline-block; padding: 2px 10px; border-radius: 99px; font-size: 12.5px; font-weight: 650; background: var(--calm-bg); color: var(--calm);
  white-space: nowrap; } .pill.succeeded, .pill.passed { background: var(--good-bg); color: var(--good); }
.pill.failed { background: var(--bad-bg); color: var(--bad); } .pill.rolled_back { background: var(--warn-bg); color: var(--warn); }
.pill.not, .pill.skipped { background: var(--track); color: var(--soft); }
.sub { color: var(--soft); margin: 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px 22px; margin: 18px 0 0; }
.facts dt { font-size: 12px; color: var(--soft); } .facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.alarm { margin-top: 14px; padding: 16px 24px; background: var(--bad-bg); border: 1px solid transparent; border-left: 6px solid var(--bad);
  border-radius: 12px; }
.alarm p { margin: 0; overflow-wrap: anywhere; } .alarm p + p { margin-top: 8px; } .alarm ul { margin: 6px 0 0; padding-left: 20px; }
.rows { padding: 8px 0; } .row { display: grid; grid-template-columns: 150px 1fr 180px 108px; gap: 16px; align-items: center; padding: 8px 22px; }
.row + .row { border-top: 1px solid var(--line); } .row a { color: inherit; font-weight: 600; text-decoration: none; }
.row a:hover { text-decoration: underline; }
.track { position: relative; height: 16px; background: var(--track); border-radius: 5px; overflow: hidden; }
.bar { position: absolute; top: 0; bottom: 0; min-width: 3px; border-radius: 5px; background: var(--good); } .bar.failed { background: var(--bad); }
.meter { height: 4px; background: var(--track); border-radius: 3px; margin-top: 4px; overflow: hidden; }
.meter i { display: block; height: 100%; min-width: 2px; background: var(--soft); } .meter i.failed { background: var(--bad); }
.num { font-variant-numeric: tabular-nums; white-space: nowrap; } .small { font-size: 12.5px; color: var(--soft); } .right { text-align: right; }
details { margin-top: 10px; } summary { cursor: pointer; padding: 12px 22px; display: flex; gap: 12px; align-items: center; list-style: none; }
summary::-webkit-details-marker { display: none; }
summary::before { content: ""; width: 7px; height: 7px; border: solid var(--soft); border-width: 0 2px 2px 0;
  transform: rotate(-45deg); flex: none; transition: transform .12s; } details[open] > summary::before { transform: rotate(45deg); }
summary b { font-weight: 650; overflow-wrap: anywhere; } summary .push { margin-left: auto; }
summary:focus-visible, a:focus-visible { outline: 2px solid var(--calm); outline-offset: 2px; border-radius: 6px; }
.checks { table-layout: fixed; } .checks th:nth-child(1) { width: 168px; } .checks th:nth-child(2) { width: 30%; } .checks th:nth-child(4) { width: 92px; }
table { border-collapse: collapse; width: 100%; } td, th { padding: 8px 10px; vertical-align: top; text-align: left; border-top: 1px solid var(--line); }
th { font-size: 12px; color: var(--soft); font-weight: 600; } td:first-child, th:first-child { padding-left: 22px; }
td:last-child, th:last-child { padding-right: 22px; }
td.word { white-space: nowrap; } td.cell { overflow-wrap: anywhere; } td .name { font-weight: 600; white-space: nowrap; }
.mark { display: inline-block; width: 9px; height: 9px; border-radius: 50%; background: var(--good); margin-right: 8px; }
.mark.failed { background: var(--bad); border-radius: 2px; } .mark.skipped { background: none; box-shadow: inset 0 0 0 2px var(--soft); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
tr.failed td { background: var(--bad-bg); } .box .plain td { border: 0; padding-top: 4px; padding-bottom: 4px; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; }
.box { padding: 12px 0; } .box td:first-child { color: var(--soft); width: 150px; }
pre { margin: 0; padding: 10px 0; overflow-x: auto; border-top: 1px solid var(--line); }
pre span { display: block; padding: 0 22px; white-space: pre; min-height: 1.5em; }
pre .add { background: var(--add); } pre .del { background: var(--del); } pre .hunk, pre .note { color: var(--soft); }
.plus { color: var(--good); } .minus { color: var(--bad); } footer { margin-top: 36px; color: var(--soft); font-size: 12.5px; }
@media (max-width: 720px) { .row { grid-template-columns: 1fr auto; gap: 6px 12px; } .row .track { grid-column: 1 / -1; grid-row: 2; }
.row .use { grid-column: 1; }
  .two { grid-template-columns: 1fr; } .hide { display: none; } .checks th:nth-child(1) { width: 126px; } .checks th:nth-child(4) { width: 76px; } }
@media print { body { background: #fff; } .card, .alarm { break-inside: avoid; } }
"""

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ report.tenant }} {{ report.revision }}: {{ word }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<main>
<header class="card head {{ report.result }}">
  <span class="pill {{ report.result }}">{{ word }}</span>
  <h1>{{ report.tenant }}{{ ' ' ~ report.revision if report.revision }}</h1>
  <p class="sub">{{ report.vertical }}{% if report.url %} &middot; <a href="{{ report.url }}">{{ report.url }}</a>{% endif %}</p>
  <dl class="facts">
    <div><dt>Started</dt><dd>{{ report.started | moment }}</dd></div>
    <div><dt>Took</dt><dd>{{ report.elapsed_seconds | duration }}{% if budget %} of {{ budget | duration }}{% endif %}</dd></div>
    <div><dt>Checks</dt><dd>{{ outcomes.passed }} passed{% if outcomes.failed %}, {{ outcomes.failed }} failed{% endif
      %}{% if outcomes.skipped %}, {{ outcomes.skipped }} skipped{% endif %}</dd></div>
    <div><dt>By</dt><dd>{{ report.operator.user }} from {{ report.operator.host }}</dd></div>
  </dl>
</header>
{% if report.error or report.undone or report.next_step %}
<section class="alarm" role="alert">
  {% if report.error %}<p><b>What went wrong.</b> {{ report.error }}</p>{% endif %}
  {% if report.undone %}
  <p><b>What was undone.</b></p>
  <ul>{% for line in report.undone %}<li>{{ line }}</li>{% endfor %}</ul>
  {% endif %}
  {% if report.next_step %}<p><b>What to do next.</b> {{ report.next_step }}</p>{% endif %}
</section>
{% endif %}

<h2>Timeline against budgets</h2>
<section class="card rows">
{% for stage in stages %}
  <div class="row">
    <a href="#{{ stage.name }}">{{ stage.name | title_of }}</a>
    <div class="track" role="img" aria-label="{{ stage.elapsed | duration }}">
      {% if stage.result != 'not reached' %}
      <span class="bar {{ stage.result }}" style="left: {{ '%.2f' | format([stage.left, 99.5] | min) }}%; width: {{ '%.2f' | format(stage.width) }}%"></span>
      {% endif %}
    </div>
    <div class="use small num">
      {% if stage.result == 'not reached' %}budget {{ stage.budget | duration }}
      {% else %}{{ stage.elapsed | duration }} of {{ stage.budget | duration }}{% endif %}
      <div class="meter">{% if stage.result != 'not reached' %}<i class="{{ stage.result }}"
        style="width: {{ '%.2f' | format(stage.used) }}%"></i>{% endif %}</div>
    </div>
    <div class="right"><span class="pill {{ stage.result }}">{{ stage.result }}</span></div>
  </div>
{% else %}
  <p class="small" style="padding: 4px 22px">The run ended before its first stage.</p>
{% endfor %}
</section>

<h2>Evidence</h2>
{% for stage in stages if stage.checks %}
<details class="card" id="{{ stage.name }}"{{ ' open' if stage.result == 'failed' or report.result != 'failed' }}>
  <summary><b>{{ stage.name | title_of }}</b><span class="small num">{{ stage.passed }} of {{ stage.checks | length }} checks passed</span>
    <span class="push pill {{ stage.result }}">{{ stage.result }}</span></summary>
  <table class="checks">
    <tr><th>Check</th><th class="hide">Subject</th><th>Evidence</th><th class="right">Took</th></tr>
    {% for check in stage.checks %}
    <tr class="{{ check.outcome }}">
      <td class="word"><span class="mark {{ check.outcome }}"></span><span class="name">{{ check.check }}</span>
        {% if check.outcome == 'passed' %}<span class="unseen">passed</span>{% else %}<br><span class="small">{{ check.outcome }}</span>{% endif %}</td>
      <td class="cell hide">{{ check.target }}</td>
      <td class="cell">{{ check.evidence }}</td>
      <td class="right num small">{{ check.elapsed_seconds | duration }}</td>
    </tr>
    {% endfor %}
  </table>
</details>
{% else %}
<section class="card box"><p class="small" style="margin: 0; padding: 0 22px">No check was run.</p></section>
{% endfor %}

{% if report.objects or diffs %}
<h2>What changed</h2>
{% if actions %}
<section class="card box"><table class="plain">
  <tr><td>Objects</td><td>{% for action, number in actions %}{{ number }} {{ action }}{{ ', ' if not loop.last }}{% endfor %}</td></tr>
  {% for item in touched[:200] %}<tr><td>{{ item.action }}</td><td class="cell"><code>{{ item.object }}</code></td></tr>{% endfor %}
</table></section>
{% endif %}
{% for diff in diffs %}
<details class="card"{{ ' open' if diffs | length <= 3 }}>

   <summary><b>{{ diff.title }}</b>
    <span class="push num"><span class="plus">+{{ diff.added }}</span> <span class="minus">-{{ diff.removed }}</span></span></summary>
  <pre>{% for kind, line in diff.lines %}<span class="{{ kind }}">{{ line }}</span>{% endfor %}</pre>
</details>
{% endfor %}
{% endif %}

<h2>Versions and operator</h2>
<div class="two">
  <section class="card box"><table class="plain">
    {% for name, value in report.versions | dictsort %}<tr><td>{{ name }}</td><td class="cell">{{ value }}</td></tr>{% endfor %}
  </table></section>
  <section class="card box"><table class="plain">
    {% for name, value in report.operator | dictsort %}<tr><td>{{ name }}</td><td class="cell">{{ value }}</td></tr>{% endfor %}
    <tr><td>started</td><td>{{ report.started | moment }}</td></tr>
    <tr><td>finished</td><td>{{ report.finished | moment }}</td></tr>
  </table></section>
</div>
<footer>Written by barberpro.platform {{ report.versions['barberpro.platform'] }}. The same facts for machines are in report.json beside this page.</footer>
</main>
</body>
</html>
"""
