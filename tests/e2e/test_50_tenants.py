"""Two tenants side by side: neither reaches the other, by network, by database or by API; all seen at a glance."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest

from tests.support import cluster
from tests.support.playbooks import environment_of, play

pytestmark = pytest.mark.cluster


def pod_of(tenant: str, component: str) -> str:
    """Return the name of a running pod of a tenant's workload."""
    pods = cluster.objects("pods", "-n", f"tenant-{tenant}", "-l", f"app.kubernetes.io/component={component}", "--field-selector=status.phase=Running")
    return next(pod["metadata"]["name"] for pod in pods if not pod["metadata"].get("deletionTimestamp"))


def service_of(tenant: str, component: str) -> str:
    """Return HOST:PORT of a tenant's current Service, and the pod's own address beside it, so that neither names nor NAT protect it."""
    services = cluster.objects("services", "-n", f"tenant-{tenant}", "-l", f"app.kubernetes.io/component={component}")
    return f"{services[0]['spec']['clusterIP']}:8080"


def address_of(tenant: str, component: str) -> str:
    """Return the address of a running pod."""
    return cluster.objects("pod", pod_of(tenant, component), "-n", f"tenant-{tenant}")[0]["status"]["podIP"]


def probe(tenant: str, component: str, *arguments: str) -> list[dict[str, Any]]:
    """Connect from inside a pod of a tenant; return the probe's finding for each target."""
    output = cluster.kubectl(
        "exec", "-n", f"tenant-{tenant}", pod_of(tenant, component), "--", "python", "-m", "barberpro_service.probe", *arguments, check=False,
    )
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def test_both_tenants_serve_their_own_business(palermo: str, recoleta: str) -> None:
    assert cluster.ask(palermo, "/api/v1/version").json()["tenant"] == palermo
    assert cluster.ask(recoleta, "/api/v1/version").json()["tenant"] == recoleta


@pytest.mark.parametrize("component", ["booking", "walkin-queue"])
def test_pods_of_one_tenant_cannot_reach_the_other(palermo: str, recoleta: str, component: str) -> None:
    for source, target in ((palermo, recoleta), (recoleta, palermo)):
        targets = [service_of(target, "booking"), f"{address_of(target, 'booking')}:8080", f"{address_of(target, 'booking')}:9090"]
        findings = probe(source, component, *[argument for one in targets for argument in ("--closed", one)])
        assert len(findings) == len(targets), f"from {source}/{component}: {findings}"
        assert [finding["actual"] for finding in findings] == ["closed"] * len(targets), f"from {source}/{component}: {findings}"


def test_declared_edge_is_open(palermo: str) -> None:
    target = service_of(palermo, "booking")
    assert [finding["actual"] for finding in probe(palermo, "walkin-queue", "--open", target)] == ["open"]


def test_undeclared_edge_is_closed(palermo: str) -> None:
    target = f"{address_of(palermo, 'walkin-queue')}:8080"
    assert [finding["actual"] for finding in probe(palermo, "booking", "--closed", target)] == ["closed"]


def test_namespaces_enforce_the_restricted_profile(palermo: str, recoleta: str) -> None:
    for tenant in (palermo, recoleta):
        labels = cluster.objects("namespace", f"tenant-{tenant}")[0]["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
        assert labels["barberpro.platform/tenant"] == tenant


def test_pods_carry_no_token_of_the_api_server(palermo: str) -> None:
    tokens = {
        (pod["metadata"]["labels"]["app.kubernetes.io/component"], source["serviceAccountToken"].get("audience"))
        for pod in cluster.objects("pods", "-n", f"tenant-{palermo}", "--field-selector=status.phase=Running")
        for volume in pod["spec"]["volumes"] for source in volume.get("projected", {}).get("sources", []) if "serviceAccountToken" in source
    }
    # The one token there is says to Vault, and to nobody else, whose pod it is.
    assert tokens == {("booking", "vault"), ("walkin-queue", "vault")}


def test_deployer_is_no_administrator(facts: dict[str, Any]) -> None:
    def may(verb: str, kind: str, *where: str) -> str:
        return cluster.kubectl("auth", "can-i", verb, kind, *where, "--as", "barberpro-deployer", check=False).strip()

    assert may("*", "*") == "no"
    assert may("create", "clusterrolebindings") == "no"
    assert may("delete", "nodes") == "no"


def test_deployer_writes_only_where_tenants_are(facts: dict[str, Any]) -> None:
    done = subprocess.run(
        [facts["kubectl"], "--kubeconfig", facts["kubeconfig"], "create", "configmap", "intruder", "-n", "kube-system", "--as", "barberpro-deployer"],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode != 0
    assert "the deployer writes only in namespaces of tenants and of the platform, and kube-system is neither" in done.stderr


def test_status_shows_all_tenants_at_a_glance(palermo: str, recoleta: str) -> None:
    run = play("status.yml")
    assert run.code == 0, run.output
    assert "changed=0" in run.output
    for tenant in (palermo, recoleta):
        columns = next(line.split()[1:] for line in run.output.splitlines() if line.strip().startswith(f"- {tenant} "))
        serving = cluster.ask(tenant).headers["x-barberpro-revision"].removeprefix("r")
        assert columns[:6] == [tenant, "barbershop", "small", serving, "healthy", "0"], run.output
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", columns[6]), run.output


def test_live_tenants_are_an_inventory(palermo: str, recoleta: str) -> None:
    source = cluster.ROOT / ".embedded" / "live.tenants.yml"
    source.write_text("plugin: barberpro.platform.tenants\n")
    done = subprocess.run(
        [str(cluster.ROOT / ".venv/bin/ansible-inventory"), "-i", str(source), "--list"], cwd=cluster.ROOT, capture_output=True, text=True, check=False,
        env=environment_of(KUBECONFIG=cluster.facts()["deployer_kubeconfig"]),
    )
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert {palermo, recoleta} <= set(listed["vertical_barbershop"]["hosts"])
    assert recoleta in listed["tier_small"]["hosts"]
