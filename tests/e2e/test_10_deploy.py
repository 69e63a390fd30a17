"""A deploy that succeeds: seven gated stages, a page over verified HTTPS, a report; and the same again without a write."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import cluster
from tests.support.audit import AuditLog
from tests.support.playbooks import Run, deploy

pytestmark = pytest.mark.cluster

STAGES = ["validation", "infrastructure", "containers", "configuration", "testing", "dns_ssl", "monitoring"]


def test_first_deploy_passes_seven_stages_with_evidence_for_every_check(fresh_deployed: Run) -> None:
    report = fresh_deployed.report
    assert report["result"] == "succeeded"
    assert [stage["name"] for stage in report["stages"]] == STAGES
    for stage in report["stages"]:
        assert stage["result"] == "passed", stage
        assert stage["checks"], stage["name"]
        assert stage["elapsed_seconds"] <= stage["budget_seconds"]
        assert {check["outcome"] for check in stage["checks"]} == {"passed"}, stage
        assert all(check["evidence"] and check["target"] for check in stage["checks"])


def test_budgets_are_the_ninety_minutes_of_a_barbershop(fresh_deployed: Run) -> None:
    assert sum(stage["budget_seconds"] for stage in fresh_deployed.report["stages"]) == pytest.approx(90 * 60)
    assert fresh_deployed.stage("containers")["budget_seconds"] == pytest.approx(90 * 60 * 30 / 120)


def test_report_has_every_field_and_a_page_of_its_own(fresh_deployed: Run) -> None:
    assert {"tenant", "vertical", "revision", "result", "started", "finished", "stages"} <= set(fresh_deployed.report)
    assert fresh_deployed.report_path is not None
    page = fresh_deployed.report_path.with_suffix(".html").read_text()
    assert "barbershop-recoleta" in page
    for stage in STAGES:
        assert stage in page
    assert 'src="http' not in page, "the page must not fetch anything"
    assert 'rel="stylesheet"' not in page, "the page must carry its style"


def test_report_is_kept_in_the_cluster(fresh_deployed: Run) -> None:
    kept = [item for item in cluster.objects("configmaps", "-n", "barberpro-system") if item["metadata"]["name"].startswith("report-barbershop-recoleta-")]
    documents = [json.loads(text) for item in kept for text in item.get("data", {}).values()]
    assert fresh_deployed.report["started"] in {document["started"] for document in documents}


def test_stage_table_is_printed_at_the_end(fresh_deployed: Run) -> None:
    tail = fresh_deployed.output[-6000:]
    assert all(stage in tail for stage in STAGES)
    assert "barbershop-recoleta" in tail


def test_customer_is_served_over_verified_https(palermo: str) -> None:
    answer = cluster.ask(palermo)
    assert answer.status == 200
    assert "Barbería Palermo" in answer.body
    assert 'lang="es' in answer.body


def test_http_leads_to_https(palermo: str) -> None:
    answer = cluster.ask(palermo, https=False)
    assert answer.status == 301
    assert answer.headers["location"].rstrip("/") == f"https://{cluster.host_of(palermo)}"


def test_prometheus_sends_its_alerts_to_alertmanager(palermo: str) -> None:
    path = "/api/v1/namespaces/barberpro-monitoring/services/prometheus-operated:9090/proxy/api/v1/alertmanagers"
    known = json.loads(cluster.kubectl("get", "--raw", path))["data"]
    pods = cluster.objects("pods", "-n", "barberpro-monitoring", "-l", "app.kubernetes.io/name=alertmanager")
    assert sorted(manager["url"] for manager in known["activeAlertmanagers"]) == sorted(f"http://{pod['status']['podIP']}:9093/api/v2/alerts" for pod in pods)
    assert pods


def test_demo_summary_prints_a_curl_line_that_works(palermo: str) -> None:
    done = subprocess.run([sys.executable, "demo/summary.py", palermo], cwd=cluster.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [stage for stage in STAGES if not re.search(rf"^  {stage} +passed +[\d.]+ s of +[\d.]+ s +\d+ of \d+ checks passed$", done.stdout, re.M)] == []
    (report,) = re.findall(r"^  report +(\S+) ", done.stdout, re.M)
    assert (cluster.ROOT / report).exists()
    tries = done.stdout.partition("What to try next")[2]
    assert f"rollback_vertical.yml --limit {palermo} -e to_revision=" in tries
    assert "deploy_vertical.yml -e tenant_name=barbershop-recoleta -e vertical=barbershop -e tier=small -e market_size=small" in tries
    assert "localhost/does-not-exist:1" in tries
    line = next(line.split("try", 1)[1].strip() for line in done.stdout.splitlines() if line.strip().startswith("try "))
    page = subprocess.run(["bash", "-c", f"{line} --silent --show-error --fail"], cwd=cluster.ROOT, capture_output=True, text=True, check=False)
    assert page.returncode == 0, page.stderr
    assert "Barbería Palermo" in page.stdout


def test_second_deploy_changes_nothing_writes_nothing_and_passes_every_gate(palermo: str) -> None:
    before = cluster.resource_versions(f"tenant-{palermo}")
    log = AuditLog()
    run = deploy(palermo)
    assert run.code == 0, run.output
    assert run.report["result"] == "unchanged"
    assert "changed=0" in run.output
    assert log.writes_of_the_deployer() == []
    assert cluster.resource_versions(f"tenant-{palermo}") == before
    assert [stage["result"] for stage in run.report["stages"]] == ["passed"] * 7
    assert {check["outcome"] for stage in run.report["stages"] for check in stage["checks"]} <= {"passed", "skipped"}


def test_report_path_is_below_reports_by_tenant_and_time(palermo_deployed: Run) -> None:
    assert palermo_deployed.report_path is not None
    relative = palermo_deployed.report_path.relative_to(cluster.ROOT)
    assert relative.parts[:2] == ("reports", "barbershop-palermo")
    assert relative.name == Path("report.json").name
