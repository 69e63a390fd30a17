"""No secret is ever shown: not on screen, not in reports, not in the logs of pods, not in what the cluster keeps of a run."""

from __future__ import annotations

import base64
import gzip
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import cluster
from tests.support.playbooks import RUNS, Run, play

pytestmark = pytest.mark.cluster

TENANTS = ("barbershop-palermo", "barbershop-recoleta")
SECRET_KEYS = {"password", "token"}


@pytest.fixture(scope="module")
def values(palermo_deployed: Run, fresh_deployed: Run) -> dict[str, str]:
    """Every secret value of the tenants, of the platform's database and of the DNS server, by where it is kept."""
    key_file = Path(cluster.facts()["dns"]["tsig_secret_file"])
    found = {str(key_file): key_file.read_text().strip()}
    for namespace in (*(f"tenant-{tenant}" for tenant in TENANTS), "barberpro-data"):
        for secret in cluster.objects("secrets", "-n", namespace):
            for key, value in (secret.get("data") or {}).items():
                if key in SECRET_KEYS:
                    found[f"{namespace}/{secret['metadata']['name']}:{key}"] = base64.b64decode(value).decode()
    assert len(found) >= 7, f"too few secrets to speak of: {sorted(found)}"
    return found


def shown(text: str, values: dict[str, str]) -> list[str]:
    """Return where the secrets that appear in `text` are kept, plain or in base64."""
    return [
        where for where, value in values.items()
        if value in text or base64.b64encode(value.encode()).decode() in text
    ]


def test_values_are_long_enough_to_be_secrets(values: dict[str, str]) -> None:
    assert {where: len(value) for where, value in values.items() if len(value) < 20} == {}


def test_no_run_of_this_session_printed_or_reported_one(values: dict[str, str]) -> None:
    play("status.yml", "-vvv")
    for run in RUNS:
        assert shown(run.output, values) == []
        if run.report_path is not None:
            assert shown(run.report_path.read_text() + run.report_path.with_suffix(".html").read_text(), values) == []


def test_reports_in_the_cluster_show_none(values: dict[str, str]) -> None:
    assert shown(cluster.kubectl("get", "configmaps", "-n", "barberpro-system", "-o", "json"), values) == []


def test_release_sets_hold_references_only(values: dict[str, str]) -> None:
    for secret in cluster.objects("secrets", "-n", "barberpro-system", "-l", "barberpro.platform/tenant"):
        for value in (secret.get("data") or {}).values():
            raw = base64.b64decode(value)
            text = gzip.decompress(raw).decode() if raw[:2] == b"\x1f\x8b" else raw.decode(errors="replace")
            assert shown(text, values) == [], secret["metadata"]["name"]


@pytest.mark.parametrize("tenant", TENANTS)
def test_logs_of_the_pods_show_none(values: dict[str, str], tenant: str) -> None:
    for pod in cluster.objects("pods", "-n", f"tenant-{tenant}"):
        assert shown(cluster.kubectl("logs", "-n", f"tenant-{tenant}", pod["metadata"]["name"], "--all-containers"), values) == []


def test_secrets_are_encrypted_in_the_store(values: dict[str, str]) -> None:
    folder = cluster.ROOT / ".embedded" / "etcd"
    read = 0
    for path in folder.rglob("*"):
        # etcd renames and removes files of its log while it is written.
        with suppress(FileNotFoundError, IsADirectoryError):
            content = path.read_bytes()
            read += len(content)
            assert [where for where, value in values.items() if value.encode() in content] == [], path.name
    assert read > 1_000_000, f"{read} bytes of the cluster's store are below {folder}"
