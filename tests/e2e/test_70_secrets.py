"""No secret is ever shown: not on screen, not in reports, not in the logs of pods, not in what the cluster keeps of a run."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator

import pytest

from tests.support import cluster
from tests.support.playbooks import Run, deploy_new, play, remove

pytestmark = pytest.mark.cluster

TENANT = "barbershop-canary"
SECRET_KEYS = {"password", "token"}


@pytest.fixture(scope="module")
def canary() -> Iterator[Run]:
    """A first deploy as loud as it can be: diff, and all that three v's print."""
    remove(TENANT)
    run = deploy_new(TENANT, "--diff", "-vvv")
    assert run.code == 0, run.output
    yield run
    remove(TENANT)


@pytest.fixture(scope="module")
def values(canary: Run) -> dict[str, str]:
    """Every secret value of the tenant and of the platform's database, by where it is kept."""
    found = {}
    for namespace in (f"tenant-{TENANT}", "barberpro-data"):
        for secret in cluster.objects("secrets", "-n", namespace):
            for key, value in (secret.get("data") or {}).items():
                if key in SECRET_KEYS:
                    found[f"{namespace}/{secret['metadata']['name']}:{key}"] = base64.b64decode(value).decode()
    assert len(found) >= 4, f"too few secrets to speak of: {sorted(found)}"
    return found


def shown(text: str, values: dict[str, str]) -> list[str]:
    """Return where the secrets that appear in `text` are kept, plain or in base64."""
    return [
        where for where, value in values.items()
        if value in text or base64.b64encode(value.encode()).decode() in text
    ]


def test_values_are_long_enough_to_be_secrets(values: dict[str, str]) -> None:
    assert {where: len(value) for where, value in values.items() if len(value) < 20} == {}


def test_output_of_a_loud_deploy_shows_none(canary: Run, values: dict[str, str]) -> None:
    assert shown(canary.output, values) == []


def test_output_of_status_and_failure_shows_none(canary: Run, values: dict[str, str]) -> None:
    assert shown(play("status.yml", "-vvv").output, values) == []
    failed = deploy_new(TENANT, "--diff", "-vvv", extra={"pipeline_stage_budget_seconds": {"testing": 0.01}, "quota_overrides": {"pods": "21"}})
    assert failed.code != 0
    assert shown(failed.output, values) == []
    assert failed.report_path is not None
    assert shown(failed.report_path.read_text() + failed.report_path.with_suffix(".html").read_text(), values) == []


def test_reports_show_none(canary: Run, values: dict[str, str]) -> None:
    assert canary.report_path is not None
    assert shown(canary.report_path.read_text() + canary.report_path.with_suffix(".html").read_text(), values) == []
    kept = cluster.kubectl("get", "configmaps", "-n", "barberpro-system", "-o", "json")
    assert shown(kept, values) == []


def test_release_sets_hold_references_only(canary: Run, values: dict[str, str]) -> None:
    for secret in cluster.objects("secrets", "-n", "barberpro-system", "-l", f"barberpro.platform/tenant={TENANT}"):
        for value in (secret.get("data") or {}).values():
            raw = base64.b64decode(value)
            text = gzip.decompress(raw).decode() if raw[:2] == b"\x1f\x8b" else raw.decode(errors="replace")
            assert shown(text, values) == [], secret["metadata"]["name"]


def test_logs_of_the_pods_show_none(canary: Run, values: dict[str, str]) -> None:
    for pod in cluster.objects("pods", "-n", f"tenant-{TENANT}"):
        assert shown(cluster.kubectl("logs", "-n", f"tenant-{TENANT}", pod["metadata"]["name"], "--all-containers"), values) == []


def test_secrets_are_encrypted_in_the_store(values: dict[str, str]) -> None:
    folder = cluster.ROOT / ".embedded" / "etcd"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files, f"the store of the cluster is not below {folder}"
    for path in files:
        content = path.read_bytes()
        assert [where for where, value in values.items() if value.encode() in content] == [], path.name
