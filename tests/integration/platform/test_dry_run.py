"""deploy_platform.yml --check on a real API server: every object of both provider sets is accepted, and nothing is written."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.playbooks import Run, play

ROOT = Path(__file__).resolve().parents[3]
FACTS = ROOT / ".embedded" / "simulated" / "cluster.json"
DIGEST = "@sha256:" + "a" * 64
# What the embedded inventory would say of a cluster at this address.
ENVOY = {
    "platform_zone": "barberpro.test",
    # The namespaces of the platform do not exist here; in one that does, the server looks at every object.
    **{f"__platform_{name}_namespace": "default" for name in ("system", "gateway", "data", "monitoring", "preflight")},
    "platform_monitoring_namespace": "default",
    "platform_gateway_external_ips": ["10.200.7.2"],
    "platform_postgresql_node_port": 30432,
    "platform_postgresql_names": ["10.200.7.2", "database.barberpro.test"],
    "platform_postgresql_admin_cidrs": ["10.200.7.2/32"],
    "platform_certificate_provider": "existing",
    "platform_monitoring_prometheus_version": "2.42.0",
    "platform_deployer_subjects": [
        {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "barberpro-deployer"},
        {"kind": "ServiceAccount", "namespace": "ci", "name": "runner"},
    ],
    "images": {
        key: f"10.200.7.2:5000/barberpro/{key}{DIGEST}"
        for key in (
            "booking", "envoy", "envoy_gateway", "postgresql", "pgbouncer", "prometheus", "alertmanager", "prometheus_operator", "prometheus_config_reloader",
        )
    },
}

pytestmark = pytest.mark.simulated


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """The facts of the simulated profile."""
    assert FACTS.exists(), f"{FACTS} is missing: start it with: make cluster PROFILE=simulated"
    found: dict[str, Any] = json.loads(FACTS.read_text())
    return found


def ours(facts: dict[str, Any]) -> str:
    """Return name and resourceVersion of everything that the platform would own."""
    kinds = "namespaces,validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,clusterrolebindings,secrets,deployments"
    command = [facts["kubectl"], "--kubeconfig", facts["kubeconfig"], "get", kinds, "-A", "-l", "app.kubernetes.io/part-of=barberpro.platform"]
    columns = "-o=custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion"
    return subprocess.run([*command, columns], capture_output=True, text=True, check=True, timeout=60).stdout


def dry_run(facts: dict[str, Any], inventory: str, extra: dict[str, Any], *arguments: str) -> Run:
    """Run the playbook in check mode against the simulated profile and see that nothing was written."""
    before = ours(facts)
    programs = {"platform_kubectl": facts["kubectl"], "platform_kubeconfig": facts["kubeconfig"], "platform_crds": {"envoy_gateway": [], **facts["crds"]}}
    run = play("deploy_platform.yml", "--check", "--diff", *arguments, inventory=inventory, extra={**programs, **extra})
    assert ours(facts) == before
    return run


def test_production_example_is_accepted(facts: dict[str, Any]) -> None:
    run = dry_run(facts, "inventories/production", {})
    assert run.code == 0, run.output
    assert "would issue certificate barberpro-gateway/wildcard-barberpro-example for *.barberpro.example: it does not exist" in run.words()
    assert re.search(r"would create ([A-Z][A-Za-z]+ \S+, )*ServiceAccount prometheus-operator\b", run.words()), run.output


def test_envoy_and_own_postgresql_are_accepted(facts: dict[str, Any]) -> None:
    # The chart is tried on the embedded cluster: the simulated profile has no helm.
    run = dry_run(facts, "localhost,", {**ENVOY, "platform_gateway_provider": "existing"})
    assert run.code == 0, run.output
    for created in ("StatefulSet default postgresql:", "Prometheus default main:", "Gateway default barberpro:", "NetworkPolicy default allow-tenants:"):
        assert created in run.words()


def test_wrong_input_is_refused_before_anything_is_touched(facts: dict[str, Any]) -> None:
    wrong = {
        "platform_zone": "Barber Pro", "images": {"envoy": "x/y:1"}, "platform_postgresql_enabled": False,
        "platform_monitoring_namespace": "observability", "platform_deployer_subjects": [],
    }
    run = dry_run(facts, "localhost,", {**ENVOY, **wrong})
    assert run.code != 0
    for sentence in (
        "platform_zone 'Barber Pro' is no DNS zone: give the one below which the tenants' host names live",
        "the image catalogue (images) has no reference for alertmanager, envoy_gateway, pgbouncer, prometheus, prometheus_config_reloader, "
        "prometheus_operator;",
        "platform_postgresql_enabled is false and platform_database_host is empty: name the managed PostgreSQL",
        "platform_monitoring_namespace 'observability' names the namespace of an own Prometheus",
        "platform_deployer_subjects is empty: name at least one user, group or service account that deploys tenants.",
        "Nothing was changed; correct the inventory or the extra variables and run again.",
    ):
        assert sentence in run.words()


def test_unreachable_cluster_is_one_sentence(facts: dict[str, Any], tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "{apiVersion: v1, kind: Config, current-context: x, clusters: [{name: x, cluster: {server: 'https://127.0.0.1:9'}}],"
        " users: [{name: x, user: {token: x}}], contexts: [{name: x, context: {cluster: x, user: x}}]}"
    )
    run = dry_run(facts, "localhost,", {**ENVOY, "platform_kubeconfig": str(kubeconfig)})
    assert run.code != 0
    assert f"The cluster cannot be reached as an administrator with kubeconfig '{kubeconfig}'" in run.words()
    assert "The connection to the server 127.0.0.1:9 was refused" in run.words()
