"""The simulated profile for real: start it in a folder of its own beside whatever runs, use it, restart it, remove it."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tests.support.simulated import SimulatedCluster

pytestmark = [pytest.mark.simulated, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    one = SimulatedCluster(tmp_path_factory.mktemp("simulated") / "state")
    assert "The simulated cluster is up after" in one.run("up")
    yield one
    one.run("down")
    assert one.processes() == []
    assert not one.state.exists()


def deployment(name: str, fault: str | None = None) -> str:
    pod = {
        "metadata": {"labels": {"app": name}, "annotations": {"simulated.barberpro.platform/fault": fault} if fault else {}},
        "spec": {"containers": [{"name": "main", "image": "registry.invalid/none:1"}]},
    }
    document = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": pod},
    }  # fmt: skip
    return json.dumps(document)


def test_a_deployment_becomes_available(cluster):
    assert cluster.kubectl("apply", "-f", "-", stdin=deployment("fine")).returncode == 0
    done = cluster.kubectl("wait", "--for=condition=Available", "--timeout=30s", "deployment/fine")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("fault", "reason"), [("image-pull", "ImagePullBackOff"), ("crash-loop", "CrashLoopBackOff")]
)
def test_a_fault_is_simulated_as_a_real_node_shows_it(cluster, fault, reason):
    assert cluster.kubectl("apply", "-f", "-", stdin=deployment(fault, fault)).returncode == 0
    path = "jsonpath={.items[*].status.containerStatuses[0].state.waiting.reason}"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        shown = cluster.kubectl("get", "pods", "-l", f"app={fault}", "-o", path).stdout
        if shown == f"{reason} {reason}":
            return
        time.sleep(0.2)
    pytest.fail(f"the pods show {shown!r}")


def test_it_is_labelled_for_tests_and_has_the_definitions(cluster):
    label = cluster.kubectl("get", "namespace", "kube-system", "-o", r"jsonpath={.metadata.labels.barberpro\.platform/cluster}")
    assert label.stdout == "test"
    for kind in ("httproutes.gateway.networking.k8s.io", "servicemonitors.monitoring.coreos.com"):
        done = cluster.kubectl("get", kind, "--all-namespaces")
        assert done.returncode == 0, done.stderr


def test_the_deployer_may_nothing_before_the_platform_says_so(cluster):
    done = cluster.kubectl("get", "secrets", "--all-namespaces", user="deployer.kubeconfig")
    assert 'User "barberpro-deployer" cannot list resource "secrets"' in done.stderr


def test_secrets_are_encrypted_in_etcd_and_writes_are_in_the_audit_log(cluster):
    made = cluster.kubectl("create", "secret", "generic", "canary", "--from-literal=word=correct-horse-battery")
    assert made.returncode == 0, made.stderr
    data = b"".join(path.read_bytes() for path in (cluster.state / "etcd").rglob("*") if path.is_file())
    assert b"/registry/secrets/default/canary" in data
    assert b"correct-horse-battery" not in data
    entries = [json.loads(line) for line in (cluster.state / "logs" / "audit.log").read_text().splitlines()]
    assert [
        entry["user"]["username"] for entry in entries
        if entry["verb"] == "create" and entry.get("objectRef", {}).get("name") == "canary"
    ] == ["barberpro-admin"]  # fmt: skip


def test_up_again_changes_nothing(cluster):
    before = cluster.processes()
    assert "The simulated cluster runs already" in cluster.run("up")
    assert cluster.processes() == before


def test_a_killed_supervisor_leaves_nothing_that_disturbs_the_next_start(cluster):
    facts = json.loads((cluster.state / "cluster.json").read_text())
    server = cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}").stdout
    os.kill(int((cluster.state / "supervisord.pid").read_text()), signal.SIGKILL)
    assert "The simulated cluster is up after" in cluster.run("up")
    assert json.loads((cluster.state / "cluster.json").read_text()) == facts
    again = cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}").stdout
    assert again == server, "ports are kept over restarts"
    assert cluster.kubectl("get", "deployment", "fine").returncode == 0, "so is what the cluster held"
