"""What the production example names, on loopback: a Kubernetes with simulated nodes, a private registry, a managed PostgreSQL and a zone, under its names.

The playbooks run in a mount namespace whose /etc/hosts and /etc/resolv.conf lead to them; the ports are the real ones, so that root is needed.
What only controllers of a cloud do, Kong's and those of prometheus-operator, is written into the cluster as they would write it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from barberpro_cluster import kubeconfigs, pki
from barberpro_cluster.layout import Layout
from barberpro_cluster.simulated import HOST, layout_of
from tests.conftest import ROOT
from tests.integration.services import postgres
from tests.support.playbooks import PLAYBOOK, Run, play
from tests.support.restricted import pod_spec
from tests.support.simulated import SimulatedCluster
from tests.support.waiting import until

INVENTORY = ROOT / "inventories" / "production"
REGISTRY, DATABASE, ZONE = "registry.barberpro.example", "barberpro.cluster-c0example.sa-east-1.rds.amazonaws.com", "barberpro.example"
# Those of loopback that another checkout does not use.
NETWORK = "127.{}.{}".format(*bytes.fromhex(f"4{Layout.of(ROOT).ident[:3]}"))
REGISTRY_IP, DATABASE_IP, DNS_IP = (f"{NETWORK}.{number}" for number in (1, 2, 3))
PASSWORD = "password-of-the-administrator"
# Of the registry, and of one that has nothing of this.
AUTH = {REGISTRY: "cHVsbGVyOnJlZ2lzdHJ5LWNhbmFyeQ==", "other.example": "b3RoZXI6b3RoZXItY2FuYXJ5"}
# bcrypt, as docker-registry wants it.
HTPASSWD = "puller:$2b$04$fYJpZs20Tmcdmg5qh0F0k.OqnDFp1don057ivFDc3HstVXsGiUZgW\n"
KNOT = """\
server:
    rundir: {folder}
    listen: {address}@53
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {folder}/db
zone:
  - domain: {zone}
    storage: {folder}
    file: zone
"""
RECORDS = f"""\
$ORIGIN {ZONE}.
$TTL 60
@ SOA ns hostmaster 1 60 60 600 60
@ NS ns
ns A {DNS_IP}
gateway A {NETWORK}.4
"""


@dataclass
class Cloud:
    """The installation that the example describes."""

    cluster: SimulatedCluster
    folder: Path
    images: dict[str, str]
    administrator: str

    def play(self, playbook: str, *arguments: str, **options: Any) -> Run:
        """Run a playbook with the inventory of the example and with the environment that it asks for."""
        return play(
            playbook, *arguments, inventory="inventories/production", program=str(self.folder / "ansible-playbook"),
            BARBERPRO_ADMIN_KUBECONFIG=str(self.cluster.state / "kubeconfig"), BARBERPRO_KUBECONFIG=str(self.folder / "deployers.kubeconfig"),
            BARBERPRO_DATABASE_ADMIN_PASSWORD=PASSWORD, BARBERPRO_DATABASE_CA=(self.folder / "ca.crt").read_text(),
            BARBERPRO_REGISTRY_AUTH_FILE=str(self.folder / "config.json"), SSL_CERT_FILE=str(self.folder / "ca.crt"),
            PATH=f"{self.cluster.state / 'bin'}:{os.environ['PATH']}", **options,
        )  # fmt: skip

    def looked(self) -> tuple[Any, ...]:
        """Return what others see of it: every object that is no Event or lease with its version, and the schemas and roles of the database."""
        kinds = "namespaces,secrets,configmaps,serviceaccounts,deployments,networkpolicies,resourcequotas,roles,rolebindings,httproutes"
        objects = self.cluster.kubectl("get", kinds, "--all-namespaces", "--no-headers", "-o", "custom-columns=U:.metadata.uid,V:.metadata.resourceVersion")
        assert objects.returncode == 0, objects.stderr
        with psycopg.connect(self.administrator) as connection:
            rows = connection.execute("SELECT nspname::text FROM pg_namespace UNION ALL SELECT rolname::text FROM pg_roles ORDER BY 1").fetchall()
        return objects.stdout, rows


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of it keeps its files."""
    return tmp_path_factory.mktemp("production")


@pytest.fixture(scope="session")
def simulated(folder: Path) -> Iterator[SimulatedCluster]:
    """A cluster of its own, with certificates of its authority for registry, database and a deployer whom only his group lets in."""
    one = SimulatedCluster(folder / "state")
    one.run("up")
    layout = layout_of(ROOT, one.state)
    extra = (
        pki.Leaf("registry", REGISTRY, hosts=(REGISTRY, REGISTRY_IP)), pki.Leaf("database", DATABASE, hosts=(DATABASE,)),
        pki.Leaf("deployers", "ci@barberpro.example", "barberpro:deployers"),
    )  # fmt: skip
    pki.ensure(layout, HOST, extra)
    server = yaml.safe_load((one.state / "kubeconfig").read_text())["clusters"]
    (folder / "deployers.kubeconfig").write_text(json.dumps({**yaml.safe_load(kubeconfigs.render(layout, HOST, "deployers")), "clusters": server}))
    (folder / "ca.crt").write_bytes((layout.pki / "ca.crt").read_bytes())
    yield one
    one.run("down")


@pytest.fixture(scope="session")
def registry(folder: Path, simulated: SimulatedCluster) -> Iterator[dict[str, str]]:
    """A private registry with TLS at the name of the example; yields references of images that say which migrations they bring."""
    keys = simulated.state / "pki"
    (folder / "htpasswd").write_text(HTPASSWD)
    (folder / "registry.yaml").write_text(json.dumps({
        "version": 0.1, "log": {"level": "warn"}, "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "auth": {"htpasswd": {"realm": "barberpro", "path": str(folder / "htpasswd")}},
        "http": {"addr": f"{REGISTRY_IP}:443", "tls": {"certificate": str(keys / "registry.crt"), "key": str(keys / "registry.key")}},
    }))
    (folder / "config.json").write_text(json.dumps({"auths": {name: {"auth": auth} for name, auth in AUTH.items()}}))
    with _process(["docker-registry", "serve", str(folder / "registry.yaml")], folder / "registry.log"):
        _wait_for(REGISTRY_IP, 443)
        yield {key: _push(folder, name, label) for key, name, label in (
            ("booking", "booking", "alembic_version_booking=0007"), ("walkin_queue", "walkin-queue", "alembic_version_walkin=0002"))}


def _push(folder: Path, name: str, migrations: str) -> str:
    """Push an image without layers that carries the label of its migrations; return its reference."""
    layout = folder / f"image-{name}"
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(kind: str, document: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps(document).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}.v1+json", "digest": f"sha256:{digest}", "size": len(data)}

    config = blob("config", {
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
        "config": {"Labels": {"platform.barberpro.migrations": migrations}},
    })
    manifest = blob("manifest", {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [],
    })
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    target = f"docker://{REGISTRY_IP}:443/barberpro/{name}:1"
    credentials = base64.b64decode(AUTH[REGISTRY]).decode()
    options = ["--insecure-policy", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds", credentials]
    subprocess.run(["skopeo", *options, f"oci:{layout}", target], check=True)
    return f"{REGISTRY}/barberpro/{name}@{manifest['digest']}"


@pytest.fixture(scope="session")
def database(simulated: SimulatedCluster) -> Iterator[str]:
    """The administrator's connection to a server whose administrator is no superuser, at port 5432 and by TLS, as a managed one is."""
    with postgres.empty_server(DATABASE_IP, 5432, simulated.state / "pki" / "database", connections=1000) as running:
        with psycopg.connect(running.admin.replace("dbname=barberpro", "dbname=postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE barberpro_admin LOGIN CREATEROLE PASSWORD '{PASSWORD}'".encode())
            connection.execute("CREATE DATABASE barberpro OWNER barberpro_admin")
        yield running.admin


@pytest.fixture(scope="session")
def zone(folder: Path) -> Iterator[None]:
    """A DNS server that answers for the zone."""
    knot = folder / "knot"
    (knot / "db").mkdir(parents=True)
    (knot / "zone").write_text(RECORDS)
    (knot / "knot.conf").write_text(KNOT.format(folder=knot, address=DNS_IP, zone=ZONE))
    with _process(["knotd", "--config", str(knot / "knot.conf")], folder / "knot.log"):
        _wait_for(DNS_IP, 53)
        yield


@pytest.fixture(scope="session")
def cloud(folder: Path, simulated: SimulatedCluster, registry: dict[str, str], database: str, zone: None) -> Cloud:
    """All of it, with the platform deployed by its playbook."""
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{REGISTRY_IP} {REGISTRY}\n{DATABASE_IP} {DATABASE}\n")
    (folder / "resolv.conf").write_text(f"nameserver {DNS_IP}\n")
    program = folder / "ansible-playbook"
    mounts = " && ".join(f"mount --bind {shlex.quote(str(folder / name))} /etc/{name}" for name in ("hosts", "resolv.conf"))
    program.write_text(f"#!/bin/sh\nexec unshare --mount --propagation private sh -c '{mounts} && exec \"$@\"' sh {shlex.quote(str(PLAYBOOK))} \"$@\"\n")
    program.chmod(0o755)
    storage = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "gp3"}, "provisioner": "ebs.csi.aws.com"}
    assert simulated.kubectl("apply", "-f", "-", stdin=json.dumps(storage)).returncode == 0
    made = Cloud(simulated, folder, registry, database)
    with _controllers(simulated):
        # The definitions come from files in place of their projects' pages, and the authority of the certificates is out of reach.
        definitions = json.loads((simulated.state / "cluster.json").read_text())["crds"]
        run = made.play("deploy_platform.yml", "--skip-tags", "certificate", extra={"platform_crds": definitions})
    assert run.code == 0, run.output
    return made


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[None]:
    """Run a program while the body runs."""
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as running:
        try:
            yield
        finally:
            running.terminate()


def _wait_for(address: str, port: int) -> None:
    """Wait until a server accepts connections."""
    with until(lambda: socket.create_connection((address, port), timeout=10), f"a server at {address}:{port}", good=lambda _found: True, despite=OSError):
        pass


@contextmanager
def _controllers(cluster: SimulatedCluster) -> Iterator[None]:
    """Do what prometheus-operator and Kong do to what the platform asks for, while the body runs."""
    end = threading.Event()

    def work() -> None:
        while not end.wait(0.5):
            for kind in ("prometheus", "alertmanager"):
                asked = cluster.kubectl("get", kind, "main", "-n", "barberpro-monitoring", "-o", "json")
                if asked.returncode == 0:
                    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(_stateful_set(kind, json.loads(asked.stdout)["spec"]["replicas"])))
            gateway = cluster.kubectl("get", "gateway", "barberpro", "-n", "barberpro-gateway", "-o", "json")
            if gateway.returncode == 0:
                generation = json.loads(gateway.stdout)["metadata"]["generation"]
                programmed = {
                    "type": "Programmed", "status": "True", "reason": "Programmed", "message": "", "observedGeneration": generation,
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
                patch = json.dumps({"status": {"conditions": [programmed]}})
                cluster.kubectl("patch", "gateway", "barberpro", "-n", "barberpro-gateway", "--subresource=status", "--type=merge", "-p", patch)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(timeout=30)


def _stateful_set(kind: str, replicas: int) -> dict[str, Any]:
    """What prometheus-operator makes of its resources, as far as anybody waits for it."""
    labels = {"app.kubernetes.io/name": kind}
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": f"{kind}-main", "namespace": "barberpro-monitoring"},
        "spec": {
            "replicas": replicas, "serviceName": f"{kind}-operated", "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec(f"{REGISTRY}/{kind}:1", {})},
        },
    }  # fmt: skip
