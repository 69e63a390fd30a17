"""Print what `make demo` has brought about, from the newest report of the tenant and the facts of the cluster.

Usage: summary.py [TENANT]

Exits 1 with one sentence when there is no report, or when the address that it prints does not answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "cluster"))

from barberpro_cluster.layout import facts_file

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "reports"


class SummaryError(Exception):
    """There is nothing to summarise; the text is for the user."""


def newest_report(tenant: str, reports: Path = REPORTS) -> Path:
    """Return the path of the newest report.json of `tenant`; its folders are named by UTC time, so names sort by age."""
    found = sorted((reports / tenant).glob("*/report.json"))
    if not found:
        raise SummaryError(f"no report of tenant {tenant} below {reports}; deploy it first: make demo")
    return found[-1]


def stage_lines(report: dict[str, Any]) -> list[str]:
    """Return one line a stage: name, result, seconds taken beside the budget, number of checks passed."""
    lines = []
    for stage in report["stages"]:
        passed = sum(check["outcome"] == "passed" for check in stage["checks"])
        lines.append(
            f"  {stage['name']:<16} {stage['result']:<10} {stage['elapsed_seconds']:>7.1f} s of {stage['budget_seconds']:>6.0f} s"
            f"   {passed} of {len(stage['checks'])} checks passed"
        )
    return lines


def curl_command(host: str, facts: dict[str, Any], root: Path = ROOT) -> list[str]:
    """Return the curl command that reaches `host` through the node's address and verifies its certificate.

    The name is resolved by hand because the machine's resolver does not know the cluster's own zone.
    """
    ca_file = Path(facts["acme"]["root_ca_file"])
    if ca_file.is_relative_to(root):
        ca_file = ca_file.relative_to(root)
    return ["curl", "--cacert", str(ca_file), "--resolve", f"{host}:443:{facts['node_ip']}", f"https://{host}/"]


def answer_of(command: list[str]) -> str:
    """Run the printed curl line for its status; raise SummaryError when the tenant does not answer."""
    extra = ["--silent", "--show-error", "--max-time", "10", "--output", os.devnull, "--write-out", "%{http_code}"]
    done = subprocess.run([command[0], *extra, *command[1:]], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode or not done.stdout.startswith("2"):
        raise SummaryError(f"{command[-1]} does not answer: {done.stderr.strip() or 'HTTP status ' + done.stdout}; see: make status")
    return f"HTTP {done.stdout}, certificate verified"


def text(tenant: str, report_path: Path, report: dict[str, Any], facts: dict[str, Any]) -> str:
    """Return the whole summary as printed."""
    host = f"{tenant}.{facts['dns']['zone']}"
    curl = curl_command(host, facts)
    answer = answer_of(curl)
    playbook = ".venv/bin/ansible-playbook -i inventories/embedded"
    headline = {
        "unchanged": f"Nothing changed: tenant {tenant} already runs revision {report['revision']} as declared.",
        "succeeded": f"Tenant {tenant} of vertical {report['vertical']} serves revision {report['revision']}.",
    }.get(report["result"], f"Tenant {tenant}: the last run ended as {report['result']}.")
    return "\n".join([
        "",
        headline,
        "",
        f"  URL     https://{host}/   ({answer})",
        f"  try     {' '.join(curl)}",
        f"  report  {report_path.with_suffix('.html').relative_to(ROOT)} (and .json beside it)",
        "",
        "Stages",
        *stage_lines(report),
        "",
        "What to try next",
        f"  roll back        {playbook} rollback_vertical.yml --limit {tenant} -e to_revision=1",
        f"  a second tenant  {playbook} deploy_vertical.yml -e tenant_name=barbershop-recoleta"
        " -e vertical=barbershop -e tier=small -e market_size=small",
        f"  break it         {playbook} deploy_vertical.yml --limit {tenant}"
        """ -e '{"image_overrides": {"booking": "localhost/does-not-exist:1"}}'""",
        "  all tenants      make status",
        "  end it           make down",
        "",
    ])


def main(arguments: list[str]) -> int:
    """Entry point; see the module's docstring."""
    tenant = arguments[0] if arguments else "barbershop-palermo"
    try:
        report_path = newest_report(tenant)
        facts = facts_file(ROOT)
        if not facts.exists():
            raise SummaryError(f"{facts} is missing; start the cluster first: make cluster, or name other facts in BARBERPRO_CLUSTER_FACTS")
        print(text(tenant, report_path, json.loads(report_path.read_text()), json.loads(facts.read_text())))
    except SummaryError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
