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
from ansible_collections.barberpro.platform.plugins.module_utils import _export
from ansible_collections.barberpro.platform.plugins.modules import tenant_export

from tests.support.api_stand_in import StandIn, ready_pod, secret
from tests.support.loopback import Reply
from tests.support.modules import call

BOOKINGS = [{"id": "1", "customer_name": 'Ana "la Peque", López\nsegunda línea', "price": "9500.00"}, {"id": "2", "customer_name": None, "price": "6500.00"}]
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


@pytest.fixture
def run(api: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the module against a service that answers as told, and a database with one table."""
    api.items(f"{WHERE}/pods", ready_pod("booking-1"))
    api.answers[f"GET {WHERE}/secrets/booking-admin"] = secret("tenant-palermo", "booking-admin", token="t0")
    monkeypatch.setattr(_export, "_tables", lambda _database, _schema: {"business_settings": SETTINGS})
    options = {
        "kubeconfig": api.kubeconfig, "namespace": "tenant-palermo", "selector": "app.kubernetes.io/component=booking", "schema": "t_1",
        "database": {"host": "127.0.0.1"}, "path": str(tmp_path / "export"),
    }
    return lambda answer, check=False: (setattr(api, "pods", lambda _request: answer), call(tenant_export, options, check=check))[1]


def test_the_service_opens_the_bookings(run: Any, tmp_path: Path) -> None:
    result = run(Reply(200, _export.lines_of(BOOKINGS).decode()))
    assert [item["file"] for item in result["files"]] == ["bookings.jsonl", "bookings.csv", "business_settings.jsonl", "business_settings.csv"]
    assert [json.loads(line) for line in (tmp_path / "export" / "bookings.jsonl").read_text().splitlines()] == BOOKINGS


def test_without_the_bookings_there_is_no_export(run: Any, tmp_path: Path) -> None:
    refused = run(Reply(503, {"detail": "no keys"}))
    assert "the export of Pod tenant-palermo/booking-1: HTTP 503" in refused["msg"]
    assert "nothing was removed, see its log" in refused["msg"]
    assert not (tmp_path / "export").exists()


def test_a_dry_run_writes_no_file(run: Any, tmp_path: Path) -> None:
    assert run(Reply(500, "not asked"), check=True) == {"changed": True, "files": [], "path": str(tmp_path / "export")}
    assert not (tmp_path / "export").exists()


def test_a_folder_that_cannot_be_written_is_named(run: Any, tmp_path: Path) -> None:
    (tmp_path / "export").write_text("a file is in the way")
    assert f"the export cannot be written to {tmp_path / 'export'}: File exists; nothing was removed" in run(Reply(200, ""))["msg"]
