"""The isolation report and addresses: a pod that has none yet is reached through every block that holds one that it may get."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import fleet
from tests.unit.plugins.test_isolation import A, B, report


def block_hole(cidr: str, *excepted: str, side: str = "Egress", namespace: str = A) -> dict[str, Any]:
    """A policy that opens all pods of a namespace to (or from) a range of addresses."""
    peer = {"ipBlock": {"cidr": cidr, "except": list(excepted)}}
    spec = {"podSelector": {}, "policyTypes": [side], side.lower(): [{{"Ingress": "from", "Egress": "to"}[side]: [peer]}]}
    return {"metadata": {"namespace": namespace, "name": f"block-{side.lower()}"}, "spec": spec}


NODE = {"metadata": {"name": "node"}, "spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24", "fd00:10::/64"]}}


@pytest.mark.parametrize(
    ("nodes", "live", "hole", "is_open"),
    [
        ([NODE], "", ("10.0.0.0/8",), True),
        ([NODE], "", ("0.0.0.0/0", "10.0.0.0/8"), False),
        ([NODE], "", ("0.0.0.0/0", "10.244.0.0/25", "10.244.0.128/26"), True),
        ([NODE], "", ("10.245.0.0/16",), False),
        ([NODE], "", ("fd00::/8",), True),
        ([NODE], "192.168.3.7", ("192.168.3.0/24",), True),  # a network with addresses of its own
        ([NODE], "192.168.3.7", ("192.168.4.0/24",), False),
        ([], "10.9.0.7", ("10.0.0.0/8", "10.9.0.0/24"), False),
        ([], "10.9.0.7", ("10.9.0.0/24",), True),
        ([], "", ("172.20.0.0/16",), True),
        ([], "", ("203.0.113.0/24",), False),
    ],
)
def test_a_pod_that_would_be_started_is_reached_by_its_address(nodes: list[dict[str, Any]], live: str, hole: tuple[str, ...], is_open: bool) -> None:
    """Nothing runs in the other tenant's namespace, and its default-deny has gone."""
    objects = fleet.objects(2)
    objects["nodes"] = nodes
    objects["pods"] = [pod for pod in objects["pods"] if pod["metadata"]["namespace"] != B]
    # One of the platform's, and its pods have addresses in no hole.
    objects["pods"] = [{**pod, "status": {"podIP": live}} if live and pod["metadata"]["namespace"] == "kube-system" else pod for pod in objects["pods"]]
    objects["policies"] = [policy for policy in objects["policies"] if policy["metadata"]["namespace"] == A]
    assert report(objects)["isolated"]
    objects["policies"].append(block_hole(*hole))
    found = report(objects)
    assert found["isolated"] is not is_open
    if is_open:
        assert f"reaches {B}/(any other pod) on all ports: egress allowed by {A}/block-egress, ingress not limited" in found["findings"][0]


def test_blocks_at_both_ends_open_what_would_be_started() -> None:
    objects = fleet.objects(2)
    objects["nodes"] = [NODE]
    objects["policies"] += [block_hole("0.0.0.0/0"), block_hole("0.0.0.0/0", side="Ingress", namespace=B)]
    for pod in objects["pods"]:
        pod["status"] = {"podIP": "203.0.113.7"}
    assert f"{A}/(any other pod) reaches {B}/(any other pod) on all ports" in " ".join(report(objects)["findings"])
