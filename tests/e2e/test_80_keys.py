"""A tenant's own key on the real Vault: who may use it, rotation under customers, and what is left when the tenant has gone."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.e2e.conftest import serves
from tests.e2e.test_50_tenants import pod_of, probe
from tests.support import backups, cluster, looks, sql
from tests.support.playbooks import Run, play
from tests.support.restricted import pod_spec
from tests.support.waiting import until

pytestmark = [pytest.mark.cluster("beside"), pytest.mark.slow]

CANARY = {"name": f"Canaria {uuid.uuid4().hex[:12]}", "phone": f"+549114{uuid.uuid4().int % 10**7:07d}"}
CONTROL = f"control-{uuid.uuid4().hex}"
# A copy of the tenant's backup that somebody keeps elsewhere: offboarding does not know of it, so only the destroyed key keeps it closed.
KEPT = "kept-elsewhere/copy.dump"
# All that an embedded node keeps; of a cluster of one's own only what its pods show.
NODE = None if os.environ.get("BARBERPRO_KUBECONFIG") else cluster.FACTS_FILE.parent
DATABASE = ("-n", "barberpro-data", "postgresql-0", "--")
VAULT = ("-n", "barberpro-vault", "vault-0", "--")


@pytest.fixture
def boedo_gone() -> str:
    """Name of the second tenant, which has left by then."""
    assert not cluster.exists("namespace", f"tenant-{cluster.BOEDO}")
    return cluster.BOEDO


def inside(*where_and_what: str, check: bool = True) -> str:
    """Run a command in a pod and return what it printed."""
    return cluster.kubectl("exec", *where_and_what, check=check)


def log_in(tenant: str, role: str, audience: str = "vault") -> str:
    """Log in to Vault with a token of a tenant's booking service; return Vault's token, empty when it is refused."""
    jwt = cluster.kubectl("create", "token", "booking", "-n", f"tenant-{tenant}", *([f"--audience={audience}"] if audience else [])).strip()
    command = f"VAULT_ADDR=http://127.0.0.1:8202 vault write -field=token auth/barberpro-kubernetes/login role={role} jwt={jwt}"
    return inside(*VAULT, "sh", "-c", command, check=False).strip()


def unwrap(token: str, key: str) -> str:
    """Ask Vault for a data key of a tenant's key; return what it says."""
    address = "VAULT_ADDR=http://127.0.0.1:8202"
    return inside(*VAULT, "sh", "-c", f"{address} VAULT_TOKEN={token} vault write -f barberpro-transit/datakey/plaintext/{key} 2>&1 || true")


def on_disk(text: str) -> dict[str, list[str]]:
    """Return the files that hold a text, searched byte by byte: PostgreSQL's volume, Vault's, and all that an embedded node keeps (logs of pods that have
    gone, volumes, images, the API server's store and its audit log); and the lines of the logs of all pods that are there."""
    found = {"postgresql": searched(text, DATABASE, "/var/lib/postgresql/data"), "vault": searched(text, VAULT, "/vault/data")}
    if NODE:
        # Of what comes and goes meanwhile grep says that it is not there, with status 2; that it read the rest the controls show.
        command = ["grep", "-rlaF", "-D", "skip", "--", text, str(NODE)]
        found["node"] = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    logs = [
        cluster.kubectl("logs", "-n", pod["metadata"]["namespace"], pod["metadata"]["name"], "--all-containers", check=False)
        for pod in cluster.objects("pods", "--all-namespaces")
    ]
    return {**found, "logs": [line for log in logs for line in log.splitlines() if text in line]}


def searched(text: str, pod: tuple[str, ...], folder: str) -> list[str]:
    """Return the files of a pod's folder that hold a text. A search that could not be made is an error; one that finds nothing is none, nor is a file that
    the server removes meanwhile."""
    search = 'test -d "$1" || exit 3; exec 3>&1; said=$(grep -rlaF -- "$0" "$1" 2>&1 >&3) || test $? -eq 1'
    but_gone = '! printf "%s\\n" "$said" | grep -qv "No such file or directory"'
    return inside(*pod, "sh", "-c", f"{search} || {but_gone}", text, folder).splitlines()


def nowhere() -> dict[str, list[str]]:
    """What a search that finds nothing returns."""
    return {"postgresql": [], "vault": [], **({"node": []} if NODE else {}), "logs": []}


def slots(tenant: str, most: int) -> list[dict[str, Any]]:
    """Return free slots of a tenant that do not overlap, of as many days as it takes."""
    found: list[dict[str, Any]] = []
    service = cluster.ask(tenant, "/api/v1/business").json()["services"][0]["id"]
    for days in range(1, 30):
        day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86400 * days))
        free = cluster.ask(tenant, f"/api/v1/availability?service={service}&date={day}").json()["slots"]
        # The service takes half an hour.
        found += [{"service": service, **slot} for slot in free if slot["start"][14:16] in ("00", "30")]
        if len(found) >= most:
            break
    return found[:most]


def book(tenant: str, slot: dict[str, Any], customer: dict[str, str], **headers: str) -> cluster.Answer:
    """Book a slot as a customer does."""
    return cluster.ask(
        tenant, "/api/v1/bookings", method="POST", body={**slot, "customer": customer}, idempotency_key=uuid.uuid4().hex, **headers
    )


def offboard(tenant: str, *arguments: str, confirm: str | None = None, folder: Path | None = None) -> Run:
    """Run the playbook for a tenant that is not in the inventory."""
    extra: dict[str, Any] = {"tenant_name": tenant, "confirm_offboarding": tenant if confirm is None else confirm}
    return play("offboard_tenant.yml", *arguments, extra={**extra, **({"pipeline_export_path": str(folder)} if folder else {})})


def exported(tenant: str) -> list[str | None]:
    """Return the names of a tenant's customers, as its service reads them."""
    token = "open('/etc/barberpro/admin/token').read().strip()"
    request = f"u.Request('http://127.0.0.1:9090/admin/export', headers={{'Authorization': 'Bearer ' + {token}}})"
    program = f"import urllib.request as u; print(u.urlopen({request}, timeout=60).read().decode())"
    said = inside("-n", f"tenant-{tenant}", pod_of(tenant, "booking"), "--", "python", "-c", program)
    return [json.loads(line)["customer_name"] for line in said.splitlines() if line]


def certificates() -> list[list[str]]:
    """Return the names of every certificate that a Secret of the cluster holds."""
    found = []
    for secret in cluster.objects("secrets", "--all-namespaces", "--field-selector", "type=kubernetes.io/tls"):
        pem = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))
        with contextlib.suppress(x509.ExtensionNotFound):
            found.append(pem.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName))
    return found


def test_a_token_of_one_tenant_opens_its_own_key_only(caballito: str, boedo: str) -> None:
    own = log_in(caballito, f"tenant-{caballito}")
    assert "plaintext" in unwrap(own, f"tenant-{caballito}")
    assert "permission denied" in unwrap(own, f"tenant-{boedo}")
    assert log_in(caballito, f"tenant-{boedo}") == ""
    # The token that every service account can have for the API server is of no use.
    assert log_in(caballito, f"tenant-{caballito}", audience="") == ""


def test_only_workloads_that_declare_it_reach_vault(caballito: str) -> None:
    target = "vault.barberpro-vault.svc:8200"
    for workload in ("booking", "walkin-queue"):
        assert [finding["actual"] for finding in probe(caballito, workload, "--open", target)] == ["open"]
    # A pod such as the tenant's own people may run; it succeeds when it finds Vault closed.
    probing = ["python", "-m", "barberpro_service.probe", "--closed", target]
    room = {key: {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "16Mi"} for key in ("requests", "limits")}
    spec = {**pod_spec(cluster.facts()["images"]["booking"], room, command=probing), "restartPolicy": "Never", "automountServiceAccountToken": False}
    own = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "own", "namespace": f"tenant-{caballito}"}, "spec": spec}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(own))
    try:
        cluster.kubectl("wait", "-n", f"tenant-{caballito}", "pod/own", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=90s")
    finally:
        cluster.kubectl("delete", "pod", "own", "-n", f"tenant-{caballito}")


def test_the_deployer_can_use_no_key(boedo: str) -> None:
    known = cluster.objects("secret", "vault-deployer", "-n", "barberpro-system")[0]["data"]
    values = " ".join(f"{name}=$(echo {value} | base64 -d)" for name, value in known.items())
    token = inside(*VAULT, "sh", "-c", f"VAULT_ADDR=http://127.0.0.1:8202 vault write -field=token auth/barberpro-approle/login {values}").strip()
    assert token
    assert "permission denied" in unwrap(token, f"tenant-{boedo}")


def test_keys_are_rotated_while_customers_book(boedo: str) -> None:
    assert book(boedo, slots(boedo, 1)[0], CANARY, x_test_run=CONTROL).status == 201
    waits = {"service": slots(boedo, 1)[0]["service"], "name": CANARY["name"]}
    assert cluster.ask(boedo, "/walkin/api/v1/tickets", method="POST", body=waits, x_test_run=CONTROL).status == 201
    waiting, statuses, done = slots(boedo, 60), [], threading.Event()

    def customers() -> None:
        while waiting and not done.is_set():
            statuses.append(book(boedo, waiting.pop(), CANARY).status)
            done.wait(0.2)

    crowd = threading.Thread(target=customers)
    crowd.start()
    run = play("rotate_keys.yml", extra={"tenant_name": boedo})
    done.set()
    crowd.join(30)
    assert run.code == 0, run.output
    assert "version 2 of its key is in force" in run.words()
    assert len(statuses) >= 5
    assert set(statuses) == {201}


def test_the_volume_holds_no_customer_and_the_search_would_find_one(boedo: str) -> None:
    inside(*DATABASE, "psql", "-q", "-c", "CHECKPOINT")
    assert on_disk(CANARY["name"]) == nowhere()
    assert on_disk(CANARY["phone"]) == nowhere()
    assert on_disk(CONTROL)["postgresql"]
    # What everybody may know is found in all of these places, so the search reads them.
    known = on_disk(boedo)
    assert [place for place in nowhere() if not known[place] and place != "postgresql"] == []
    if NODE:
        assert {"logs", "storage", "var"} <= {Path(file).relative_to(NODE).parts[0] for file in known["node"]}


def test_a_backup_holds_no_customer_and_the_search_would_find_one(boedo: str) -> None:
    path = backups.take(boedo, "before-it-leaves")
    backups.inside(f"mkdir -p /backups/{Path(KEPT).parent} && cp {path} /backups/{KEPT}")
    for text in CANARY.values():
        found = backups.search(text)
        assert path.removeprefix("/backups/") in found.files
        assert (found.raw, found.unpacked) == ([], [])
    control = backups.search(CONTROL)
    assert sorted(control.unpacked) == sorted([path.removeprefix("/backups/"), KEPT])
    assert control.raw == [], "the dump is not compressed: a plain search would have done"


def test_a_backup_of_before_a_rotation_is_read_by_todays_keys(boedo: str) -> None:
    """Its own data keys are wrapped by a version that is retired; those of today stay, and one that was made since seals what comes."""
    before = exported(boedo)
    assert CANARY["name"] in before
    backups.take(boedo, "before-a-rotation")
    rotated = play("rotate_keys.yml", extra={"tenant_name": boedo})
    assert rotated.code == 0, rotated.output
    kept = sql.rows(f'SELECT id, wrapped FROM "{sql.schema_of(boedo)}".data_keys ORDER BY id')
    assert book(boedo, slots(boedo, 1)[0], CANARY).status == 201
    restored = play("restore_backup.yml", extra={"tenant_name": boedo, "backup": "before-a-rotation", "confirm": boedo})
    assert restored.code == 0, restored.output
    assert sql.rows(f'SELECT id, wrapped FROM "{sql.schema_of(boedo)}".data_keys ORDER BY id') == kept
    assert sorted(map(str, exported(boedo))) == sorted(map(str, before))
    since = {"name": f"Posterior {uuid.uuid4().hex[:8]}", "phone": CANARY["phone"]}
    # The restore locks the tables for a moment, and a connection sees a statement refused once.
    until(lambda: book(boedo, slots(boedo, 1)[0], since), "a booking to be taken", good=lambda answer: answer.status == 201, pause=1)
    # Pods that have no key in memory become ready and read all of it.
    cluster.kubectl("delete", "pods", "-n", f"tenant-{boedo}", "-l", "app.kubernetes.io/component=booking", "--wait=true")
    serves(boedo)
    assert sorted(map(str, exported(boedo))) == sorted(map(str, [*before, since["name"]]))
    assert play("rotate_keys.yml", extra={"tenant_name": boedo}).code == 0


def test_what_must_be_kept_is_kept(boedo: str) -> None:
    unconfirmed = offboard(boedo, confirm="another")
    assert "repeat the name in confirm_offboarding (given: 'another')" in unconfirmed.words()
    cluster.kubectl("annotate", "namespace", f"tenant-{boedo}", "barberpro.platform/legal-hold=case 123")
    held = offboard(boedo)
    cluster.kubectl("annotate", "namespace", f"tenant-{boedo}", "barberpro.platform/legal-hold-")
    assert f"Tenant {boedo} is under a legal hold (case 123): nothing was changed" in held.words()
    before = cluster.resource_versions(f"tenant-{boedo}")
    planned = offboard(boedo, "--check")
    assert planned.code == 0, planned.output
    assert f"destroy namespace tenant-{boedo} with everything in it; key tenant-{boedo}; schema t_" in planned.words()
    assert cluster.resource_versions(f"tenant-{boedo}") == before


def test_a_tenant_leaves_and_nothing_of_its_customers_is_left(boedo: str, caballito: str, tmp_path: Path) -> None:
    assert looks.record(boedo) == [cluster.facts()["node_ip"]]
    run = offboard(boedo, folder=tmp_path)
    assert run.code == 0, run.output
    (folder,) = (tmp_path / boedo).iterdir()
    # What left with the tenant is whole and readable.
    customers = [json.loads(line)["customer_name"] for line in (folder / "bookings.jsonl").read_text().splitlines()]
    assert CANARY["name"] in customers
    assert [json.loads(line)["customer_name"] for line in (folder / "walkin_tickets.jsonl").read_text().splitlines()] == [CANARY["name"]]
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=False).returncode == 0
    assert not (folder / "migration_lock.jsonl").exists()
    # What stays is the signed record.
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "record.pem", "-rawin", "-in", "record.json", "-sigfile", "record.sig"]
    assert subprocess.run(verify, cwd=folder, capture_output=True, check=True).stdout == b"Signature Verified Successfully\n"
    record = json.loads((folder / "record.json").read_text())
    assert [step["step"] for step in record["steps"]] == ["export", "found", "workloads", "key", "database", "backups", "name", "records"]
    assert next(step["removed"] for step in record["steps"] if step["step"] == "backups") is True
    # Nothing else does: namespace, names, history, schema, roles, key.
    assert not cluster.exists("namespace", f"tenant-{boedo}")
    left = cluster.objects("secrets,configmaps,leases", "-n", "barberpro-system", "-l", f"barberpro.platform/tenant={boedo}")
    assert left == []
    schema = next(step["schema"] for step in record["steps"] if step["step"] == "database")
    query = f"SELECT count(*) FROM pg_roles WHERE rolname LIKE '{schema}%' UNION ALL SELECT count(*) FROM pg_namespace WHERE nspname = '{schema}'"
    assert inside(*DATABASE, "psql", "-qAt", "-d", "barberpro", "-c", query).split() == ["0", "0"]
    assert on_disk(CANARY["name"]) == nowhere()
    assert on_disk(CANARY["phone"]) == nowhere()
    # Its backups are gone. A copy elsewhere has what was never encrypted, and of customers nothing that can be read.
    for text in CANARY.values():
        found = backups.search(text)
        assert [file for file in found.files if file.startswith(f"{boedo}/")] == []
        assert (found.raw, found.unpacked) == ([], [])
    assert backups.search(CONTROL).unpacked == [KEPT]
    backups.inside(f"rm -rf /backups/{Path(KEPT).parent}")
    # The write-ahead log still has what was never encrypted, as the document says: the search works.
    assert on_disk(CONTROL)["postgresql"]
    assert cluster.ask(caballito).status == 200


def test_the_name_leads_nowhere_and_no_certificate_is_its_own(boedo_gone: str) -> None:
    """The zone's own server, the gateway, and what the gateway's namespace holds; the certificate of all hosts is the zone's and stays."""
    host = cluster.host_of(boedo_gone)
    assert looks.rcode(host) == "NXDOMAIN"
    assert looks.rcode(cluster.host_of(cluster.CABALLITO)) == "NOERROR"
    assert cluster.ask(boedo_gone).status == 404
    assert [item["metadata"]["name"] for item in cluster.objects("httproutes", "--all-namespaces") if host in item["spec"].get("hostnames", [])] == []
    names = {name for secret in certificates() for name in secret}
    assert host not in names
    assert f"*.{cluster.facts()['dns']['zone']}" in names, "the search finds certificates"
    for gateway in cluster.objects("gateways", "--all-namespaces"):
        assert [listener for listener in gateway["spec"]["listeners"] if listener.get("hostname") == host] == []
        assert boedo_gone not in json.dumps(cluster.objects("secrets,configmaps", "-n", gateway["metadata"]["namespace"]))


def test_a_second_run_has_nothing_to_do(boedo_gone: str) -> None:
    run = offboard(boedo_gone)
    assert run.code == 0, run.output
    assert f"Nothing to do: tenant {boedo_gone} is not here (offboarded 20" in run.words()
    assert "changed=0" in run.output
