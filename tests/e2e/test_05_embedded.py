"""What the embedded cluster brings along for those who deploy on it: volumes that are there, figures of use, and doors that are shut."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from barberpro_cluster.layout import NODE
from tests.support import cluster
from tests.support.waiting import equal_to, until

pytestmark = pytest.mark.cluster("beside")
STATE = cluster.ROOT / ".embedded"
# At the beginning of all tests several workers deploy their tenants at once.
BUSY_SECONDS = 240


@pytest.fixture
def namespace(facts: dict[str, Any], unique: Callable[[str], str]) -> Iterator[str]:
    """A namespace of nobody's, gone afterwards."""
    name = unique("embedded")
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=true")


def once(namespace: str, name: str, script: str) -> str:
    """Run a script in a pod that has the claim `data` at /data; return what it printed."""
    container = {
        "name": "main", "image": cluster.facts()["images"]["booking"], "command": ["/bin/sh", "-c", script],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never", "securityContext": {"fsGroup": 10001}, "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod))

    def phase() -> str | None:
        found: str | None = cluster.objects("pod", name, "-n", namespace)[0]["status"].get("phase")
        return found

    until(phase, f"pod {name} to come to its end", BUSY_SECONDS, good=equal_to("Succeeded"), pause=0.5)
    text = cluster.kubectl("logs", name, "-n", namespace)
    cluster.kubectl("delete", "pod", name, "-n", namespace)
    return text


def test_a_claim_without_a_class_gets_a_volume_that_outlives_its_pods_and_ends_with_the_claim(namespace: str) -> None:
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}},
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(claim))
    once(namespace, "writes", "echo kept > /data/note")
    assert once(namespace, "reads", "cat /data/note") == "kept\n"
    (bound,) = cluster.objects("persistentvolumeclaim", "-n", namespace)
    volume = bound["spec"]["volumeName"]
    assert (bound["status"]["phase"], bound["spec"]["storageClassName"]) == ("Bound", "local-path")
    spec = cluster.objects("persistentvolume", volume)[0]["spec"]
    # The node sees the folder of the state at a path of its own.
    folder = STATE / Path((spec.get("hostPath") or spec["local"])["path"]).relative_to(NODE)
    assert (folder / "note").read_text() == "kept\n"
    cluster.kubectl("delete", "persistentvolumeclaim", "data", "-n", namespace)
    until(lambda: not cluster.exists("persistentvolume", volume), f"volume {volume} to go with its claim", BUSY_SECONDS, pause=0.5)
    assert not folder.exists()


def test_metrics_server_says_what_node_and_pods_use(caballito: str) -> None:
    (node,) = (line.split() for line in cluster.kubectl("top", "node", "--no-headers").splitlines())
    assert node[0] == "node-1"
    assert all(value[0].isdigit() for value in node[1:]), node
    # A pod is measured for the first time within a minute of its start.
    used = until(
        lambda: _used(f"tenant-{caballito}"), "the pods to be measured", BUSY_SECONDS, good=lambda found: {"booking", "walkin"} <= found.keys(), pause=2
    )
    assert 16 < used["booking"] < 512, used


def _used(namespace: str) -> dict[str, int]:
    """Return the MiB that pods of a namespace use, by the first word of their names."""
    lines = [line.split() for line in cluster.kubectl("top", "pod", "-n", namespace, "--no-headers", check=False).splitlines()]
    return {name.partition("-")[0]: int(memory.removesuffix("Mi")) for name, _cpu, memory in lines}


def test_the_nodes_own_login_reads_no_secret_of_pods_that_it_does_not_run(namespace: str) -> None:
    cluster.kubectl("create", "secret", "generic", "canary", "-n", namespace, "--from-literal=word=correct-horse-battery")
    kubelet = STATE / "kubeconfigs" / "kubelet"
    command = [cluster.facts()["kubectl"], "--kubeconfig", str(kubelet), "get", "secret", "canary", "-n", namespace]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no relationship found between node 'node-1' and this object" in done.stderr


def test_secrets_are_encrypted_in_etcd(namespace: str) -> None:
    cluster.kubectl("create", "secret", "generic", "canary", "-n", namespace, "--from-literal=word=incorrect-horse-battery")
    path = f"/registry/secrets/{namespace}/canary".encode()
    found = [data for file in (STATE / "etcd").rglob("*") if file.is_file() and path in (data := _read(file))]
    assert found
    assert not [data for data in found if b"incorrect-horse-battery" in data]


def _read(file: Path) -> bytes:
    """Return a file of etcd, which may be gone by now."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
