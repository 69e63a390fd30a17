"""No secret is ever shown: not on screen, not in reports, not in the logs of pods, not in what the cluster keeps of a run."""

from __future__ import annotations

import base64
import gzip
from contextlib import suppress

import pytest

from tests.support import cluster, secret_values
from tests.support.playbooks import Run, play
from tests.support.secret_values import shown

pytestmark = pytest.mark.cluster

TENANTS = ("barbershop-palermo", "barbershop-recoleta")


@pytest.fixture(scope="module")
def values(palermo_deployed: Run, fresh_deployed: Run) -> dict[str, str]:
    """Every secret value of the cluster, by where it is kept."""
    found = secret_values.found()
    of = {where.partition("/")[0] for where in found}
    assert {*(f"tenant-{tenant}" for tenant in TENANTS), "barberpro-data", "barberpro-system", "barberpro-gateway"} <= of
    return found


def test_values_are_long_enough_to_be_secrets_and_would_be_found(values: dict[str, str]) -> None:
    assert {where: len(value) for where, value in values.items() if len(value) < 20} == {}
    for where, value in values.items():
        assert where in shown(f"stdout: {value}", values)
        assert where in shown(base64.b64encode(value.encode()).decode(), values)


def test_the_loudest_run_shows_none(values: dict[str, str]) -> None:
    """What any other run of these tests has printed and reported is looked through after each of them (conftest.py)."""
    assert shown(play("status.yml", "-vvv").output, values) == []


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
