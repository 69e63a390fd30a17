"""The backups' volume: takes a backup as the pipeline does, and reads what lies there as whoever has got hold of the files would."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from ansible_collections.barberpro.platform.plugins.modules import backup

from tests.support import cluster, modules
from tests.support.waiting import until

READER = "backup-reader"
SPACE = "barberpro-data"


@dataclass(frozen=True)
class Found:
    """The files of the volume, and those that hold a text: as they are, and once they are unpacked."""

    files: list[str]
    raw: list[str]
    unpacked: list[str]


def take(tenant: str, name: str) -> str:
    """Take a backup of a tenant's schema with the module and the login that a deploy uses; return its path on the volume."""
    secret = cluster.objects("secret", "booking-database-owner", "-n", f"tenant-{tenant}")[0]["data"]
    values = {key: base64.b64decode(value).decode() for key, value in secret.items()}
    names = ("host", "port", "dbname", "schema", "sslmode", "user", "password")
    found = modules.call(backup, {
        "kubeconfig": cluster.facts()["deployer_kubeconfig"], "name": tenant, "backup": name, "image": cluster.facts()["images"]["postgresql"],
        "database": {key: values[key] for key in names},
    })  # fmt: skip
    assert found.get("changed") is True, found
    return f"/backups/{tenant}/{name}.dump"


def inside(script: str, timeout: float = 120.0) -> str:
    """Run a script in a pod that has the volume and PostgreSQL's programs, and return what it printed."""
    container = {
        "name": READER, "image": cluster.facts()["images"]["postgresql"], "command": ["/bin/sh", "-euc", script],
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "backups", "mountPath": "/backups"}],
    }
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": READER, "namespace": SPACE},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container],
            "securityContext": {"runAsNonRoot": True, "runAsUser": 999, "runAsGroup": 999, "fsGroup": 999, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "backups", "persistentVolumeClaim": {"claimName": "backups"}}],
        },
    }
    where = ("-n", SPACE)
    cluster.kubectl("delete", "pod", READER, *where, "--ignore-not-found", "--now")
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    try:
        phase = until(
            lambda: cluster.objects("pod", READER, *where)[0]["status"].get("phase"), f"Pod {SPACE}/{READER} to end", timeout,
            good=("Succeeded", "Failed").__contains__, pause=0.5,
        )
        said = cluster.kubectl("logs", READER, *where)
        assert phase == "Succeeded", said
        return said
    finally:
        cluster.kubectl("delete", "pod", READER, *where, "--now")


def search(text: str) -> Found:
    """Look for a text in all backups of all tenants. A dump is compressed and shows bytes in hexadecimal: both are undone first."""
    # The API server keeps what a pod runs: in the clear, the text would be found there by who searches the node's disk for it.
    encoded = base64.b64encode(text.encode()).decode()
    script = f"""
cd /backups
text=$(echo {encoded} | base64 -d)
find . -type f | sort | sed 's/^/file /'
{{ grep -rlaF -- "$text" . || true; }} | sort | sed 's/^/raw /'
find . -type f -name '*.dump' | sort | while read -r dump; do
  pg_restore -f /tmp/unpacked "$dump"
  if grep -qaiF -e "$text" -e '{text.encode().hex()}' /tmp/unpacked; then echo "unpacked $dump"; fi
done
"""
    lines = [line.split(" ", 1) for line in inside(script).splitlines()]
    return Found(*([path.removeprefix("./") for kind, path in lines if kind == wanted] for wanted in ("file", "raw", "unpacked")))
