"""The simulated profile for real: start it in a folder of its own beside whatever runs, use it, restart it, remove it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.sigkill import killed_later_and_later
from tests.support.simulated import SimulatedCluster
from tests.support.waiting import equal_to, until

pytestmark = [pytest.mark.simulated, pytest.mark.timeout(1200)]


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
    done = cluster.kubectl("wait", "--for=condition=Available", "--timeout=120s", "deployment/fine")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("fault", "reason"), [("image-pull", "ImagePullBackOff"), ("crash-loop", "CrashLoopBackOff")]
)
def test_a_fault_is_simulated_as_a_real_node_shows_it(cluster, fault, reason):
    assert cluster.kubectl("apply", "-f", "-", stdin=deployment(fault, fault)).returncode == 0
    path = "jsonpath={.items[*].status.containerStatuses[0].state.waiting.reason}"

    def shown() -> str:
        return cluster.kubectl("get", "pods", "-l", f"app={fault}", "-o", path).stdout

    until(shown, f"both pods to show {reason}", good=equal_to(f"{reason} {reason}"))


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


@pytest.fixture
def own(tmp_path):
    """One that is not started, and gone afterwards."""
    one = SimulatedCluster(tmp_path / "state")
    yield one
    one.run("down")


@contextmanager
def standing_still(one: SimulatedCluster) -> Iterator[None]:
    """Keep the supervisor from ending while the body runs: what has asked it to end waits for it."""
    supervisor = int((one.state / "supervisord.pid").read_text())
    os.kill(supervisor, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)


def test_a_killed_start_and_a_killed_stop_are_gone_on_with(own, tmp_path, tmp_path_factory):
    one = own
    killed = killed_later_and_later(lambda _number, when: one.killed("up", when), 0.4, 1.3)
    # Less than a second is too little for any machine.
    assert killed >= 4
    assert "runs already" in one.run("up")
    assert one.kubectl("apply", "-f", "-", stdin=deployment("fine")).returncode == 0
    done = one.kubectl("wait", "--for=condition=Available", "--timeout=120s", "deployment/fine")
    assert done.returncode == 0, done.stderr
    with standing_still(one):
        assert one.killed("down", lambda _seconds: (one.state / "stopping").exists())
    assert "The simulated cluster is up after" in one.run("up")
    assert one.kubectl("get", "deployment", "fine").returncode == 0, "it had not been removed yet"
    # Found before the real one, and gets stuck half-way.
    programs = tmp_path_factory.mktemp("programs")
    (programs / "rm").write_text('#!/bin/sh\n/bin/rm -rf -- "$3/etcd"\nexec sleep 600\n')
    (programs / "rm").chmod(0o755)

    def half_removed(_seconds: float) -> bool:
        return any(not (left / "etcd").exists() for left in tmp_path.glob("state.removed-*"))

    assert one.killed("down", half_removed, PATH=f"{programs}:{os.environ['PATH']}"), "in the midst of removing"
    assert not one.state.exists()
    assert len(list(tmp_path.iterdir())) == 1
    assert "The simulated cluster is up after" in one.run("up")
    assert one.kubectl("get", "deployment", "fine").returncode == 1, "it had been removed"
    one.run("down")
    assert one.processes() == []
    assert list(tmp_path.iterdir()) == []
