"""What leaves with a tenant: open formats that say the same, whole files for their owner alone, and nothing when it cannot be whole."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _export, _sealed
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.modules import tenant_export

from tests.support.api_stand_in import StandIn, ready_pod, secret
from tests.support.loopback import Reply
from tests.support.modules import call

BOOKINGS = [{"id": "1", "customer_name": 'Ana "la Peque", López\nsegunda línea', "price": "9500.00"}, {"id": "2", "customer_name": None, "price": "6500.00"}]
TICKETS = [{"id": "3", "number": 1, "customer_name": "Leo"}]
SETTINGS = [{"id": 1, "document": {"name": "Barbería", "staff": [{"id": "juan"}]}}]
WHERE = "/api/v1/namespaces/tenant-palermo"


def test_both_formats_say_the_same() -> None:
    assert [json.loads(line) for line in _export.lines_of(BOOKINGS).splitlines()] == BOOKINGS
    rows = list(csv.DictReader(io.StringIO(_export.table_of(BOOKINGS).decode())))
    assert rows == [{key: value or "" for key, value in row.items()} for row in BOOKINGS]
    nested = next(csv.DictReader(io.StringIO(_export.table_of(SETTINGS).decode())))
    assert json.loads(nested["document"]) == SETTINGS[0]["document"]
    assert _export.lines_of([]) == b""


def test_files_have_their_checksums_and_are_nobody_else_s(tmp_path: Path) -> None:
    files = _export.write(tmp_path / "new", {"bookings": BOOKINGS, "business_settings": SETTINGS})
    assert [(item["file"], item["rows"]) for item in files] == [
        ("bookings.jsonl", 2), ("bookings.csv", 2), ("business_settings.jsonl", 1), ("business_settings.csv", 1),
    ]
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "new", check=False).returncode == 0
    assert files[0]["sha256"] == hashlib.sha256(_export.lines_of(BOOKINGS)).hexdigest()
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()} == {0o600}
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def deployment(component: str, table: str = "") -> dict[str, Any]:
    """A Deployment of the platform's, with the table that its service seals."""
    annotations = {"barberpro.platform/sealed-table": table} if table else {}
    return {"metadata": {"name": f"{component}-r1", "labels": {"app.kubernetes.io/component": component}, "annotations": annotations}}


def test_the_deployments_say_what_is_sealed_and_those_of_before_seal_bookings_alone() -> None:
    assert _sealed.tables_of([deployment("booking", "bookings"), deployment("walkin-queue", "tickets"), deployment("other")]) == {
        "bookings": "booking", "tickets": "walkin-queue",
    }
    assert _sealed.tables_of([deployment("booking"), deployment("walkin-queue")]) == {"bookings": "booking"}


def test_what_nobody_can_open_is_not_exported_as_nothing() -> None:
    _export.refuse_sealed({"tickets": [{"id": 1, "customer_name_sealed": None}], "business_settings": SETTINGS})
    said = (
        "table tickets holds sealed values, and no service that runs says that it can open them; nothing was removed, run deploy_vertical.yml first, with "
        "sealed_table: tickets in the workload that does"
    )
    with pytest.raises(PlatformError) as refused:
        _export.refuse_sealed({"tickets": [{"id": 1, "customer_name_sealed": None}, {"id": 2, "customer_name_sealed": "\\x01"}]})
    assert str(refused.value) == said


@pytest.fixture
def run(api: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the module against two services, of which booking answers as told and the queue with its tickets, and a database with one more table."""
    for service in ("booking", "walkin-queue"):
        api.answers[f"GET {WHERE}/secrets/{service}-admin"] = secret("tenant-palermo", f"{service}-admin", token=f"of {service}")
    api.answers[f"GET {WHERE}/pods"] = lambda request: {
        "items": [ready_pod("walkin-queue-1" if "walkin-queue" in request.path else "booking-1")], "metadata": {},
    }
    deployments = (deployment("booking", "bookings"), deployment("walkin-queue", "tickets"), deployment("other"))
    api.items("/apis/apps/v1/namespaces/tenant-palermo/deployments", *deployments)
    everything = {"bookings": SETTINGS, "tickets": SETTINGS, "business_settings": SETTINGS}
    monkeypatch.setattr(_export, "_tables", lambda _database, _schema, sealed: {name: rows for name, rows in everything.items() if name not in sealed})
    options = {
        "kubeconfig": api.kubeconfig, "namespace": "tenant-palermo", "schema": "t_1", "database": {"host": "127.0.0.1"}, "path": str(tmp_path / "export"),
    }

    def run(booking: Reply, check: bool = False) -> dict[str, Any]:
        tickets = Reply(200, _export.lines_of(TICKETS).decode())
        api.pods = lambda request: booking if request.headers["authorization"] == "Bearer of booking" else tickets
        return call(tenant_export, options, check=check)

    return run


def test_each_service_opens_its_own_table(run: Any, tmp_path: Path) -> None:
    result = run(Reply(200, _export.lines_of(BOOKINGS).decode()))
    names = ("bookings", "business_settings", "tickets")
    assert [item["file"] for item in result["files"]] == [f"{name}.{kind}" for name in names for kind in ("jsonl", "csv")]
    read = {name: [json.loads(line) for line in (tmp_path / "export" / f"{name}.jsonl").read_text().splitlines()] for name in names}
    assert read == {"bookings": BOOKINGS, "business_settings": SETTINGS, "tickets": TICKETS}


@pytest.mark.parametrize(("status", "hint"), [(503, "see its log"), (404, "its image is too old to export anything, run deploy_vertical.yml first")])
def test_without_the_bookings_there_is_no_export(run: Any, tmp_path: Path, status: int, hint: str) -> None:
    refused = run(Reply(status, {"detail": "no"}))
    assert f"the export of Pod tenant-palermo/booking-1: HTTP {status}" in refused["msg"]
    assert refused["msg"].endswith(f"nothing was removed, {hint}")
    assert not (tmp_path / "export").exists()


def test_a_dry_run_writes_no_file(run: Any, tmp_path: Path) -> None:
    assert run(Reply(500, "not asked"), check=True) == {"changed": True, "files": [], "path": str(tmp_path / "export")}
    assert not (tmp_path / "export").exists()


def test_a_folder_that_cannot_be_written_is_named(run: Any, tmp_path: Path) -> None:
    (tmp_path / "export").write_text("a file is in the way")
    assert f"the export cannot be written to {tmp_path / 'export'}: File exists; nothing was removed" in run(Reply(200, ""))["msg"]
