"""What a workload declares outside of the cluster is open to it, closed to all others, and closed again when it is no longer declared."""

from __future__ import annotations

import pytest

from tests.e2e.test_50_tenants import probe
from tests.support import cluster
from tests.support.playbooks import Run, deploy

pytestmark = [pytest.mark.cluster("beside"), pytest.mark.slow]


def evidence(run: Run, workload: str) -> str:
    """Return what the gate has seen of a workload's connections."""
    return next(check["evidence"] for check in run.stage("testing")["checks"] if check["target"] == f"connections of {workload}")


def policies(tenant: str) -> list[str]:
    """Return the policies that open something outside to booking."""
    return [line for line in cluster.kubectl("get", "networkpolicies", "-n", f"tenant-{tenant}", "-o", "name").split() if "/allow-booking-outside" in line]


def test_a_declared_address_is_open_to_who_declares_it(caballito: str, boedo: str) -> None:
    outside = f"{cluster.facts()['node_ip']}:5000"
    for workload in ("booking", "walkin-queue"):
        assert [finding["actual"] for finding in probe(caballito, workload, "--closed", outside)] == ["closed"]
    run = deploy(caballito, extra={"egress": {"booking": [{"cidr": f"{cluster.facts()['node_ip']}/32", "port": 5000}]}})
    assert run.code == 0, run.output
    assert "closed as declared, tried from a pod" in evidence(run, "booking")
    assert [finding["actual"] for finding in probe(caballito, "booking", "--open", outside)] == ["open"]
    # Another port, another workload, another tenant.
    closed = [probe(caballito, "booking", "--closed", f"{cluster.facts()['node_ip']}:6443"), probe(caballito, "walkin-queue", "--closed", outside)]
    closed.append(probe(boedo, "booking", "--closed", outside))
    assert [[finding["actual"] for finding in found] for found in closed] == [["closed"]] * 3
    # Another address in its place: what was open to the revision before is closed with the commit, and not tried by this run.
    run = deploy(caballito, extra={"egress": {"booking": [{"cidr": "203.0.113.0/24", "port": 443}]}})
    assert run.code == 0, run.output
    assert len(policies(caballito)) == 1
    assert [finding["actual"] for finding in probe(caballito, "booking", "--closed", outside)] == ["closed"]
    run = deploy(caballito)
    assert run.code == 0, run.output
    assert policies(caballito) == []
    assert [finding["actual"] for finding in probe(caballito, "booking", "--closed", outside)] == ["closed"]
