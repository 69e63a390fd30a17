"""What workloads may reach outside of the cluster: each wrong declaration has its sentence, and the cluster's own addresses are never part of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.barberpro.platform.plugins.filter.egress import egress

INTERNAL = ["10.0.0.0/8", "192.168.0.0/16", "fc00::/7"]
WORKLOADS = ["booking", "walkin_queue"]


def judged(declared: Any, *targets: str) -> dict[str, Any]:
    return egress(declared, WORKLOADS, INTERNAL, targets)


def test_nothing_is_declared() -> None:
    assert judged({}, "203.0.113.7:443") == {"problems": [], "rules": {}, "open": {"booking": [], "walkin_queue": []}}


def test_a_wide_range_leaves_the_cluster_out() -> None:
    found = judged({"booking": [{"cidr": "0.0.0.0/0", "port": 443}, {"cidr": "2000::/3", "port": "53", "protocol": "UDP"}]})
    assert found["problems"] == []
    assert found["rules"] == {
        "booking": [
            {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "192.168.0.0/16"], "port": 443, "protocol": "TCP"},
            {"cidr": "2000::/3", "except": [], "port": 53, "protocol": "UDP"},
        ]
    }


@pytest.mark.parametrize(
    ("rule", "target", "is_open"),
    [
        ({"cidr": "203.0.113.0/24", "port": 443}, "203.0.113.7:443", True),
        ({"cidr": "203.0.113.0/24", "port": 443}, "203.0.113.7:444", False),
        ({"cidr": "203.0.113.0/24", "port": 443}, "203.0.114.7:443", False),
        ({"cidr": "203.0.113.0/24", "port": 443, "protocol": "UDP"}, "203.0.113.7:443", False),
        ({"cidr": "0.0.0.0/0", "port": 443}, "10.1.2.3:443", False),
        ({"cidr": "0.0.0.0/0", "port": 443}, "[2001:db8::1]:443", False),
        ({"cidr": "2001:db8::/32", "port": 443}, "[2001:db8::1]:443", True),
    ],
)
def test_which_targets_are_open(rule: dict[str, Any], target: str, is_open: bool) -> None:
    assert judged({"booking": [rule]}, target)["open"] == {"booking": [target] if is_open else [], "walkin_queue": []}


FORM = "give each as {cidr: 203.0.113.0/24, port: 443}, with protocol: UDP where it is not TCP"


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ([1], f"egress [1] is no mapping of workloads to lists; {FORM}"),
        ({"till": []}, "egress names workload till, which the vertical does not have: choose among booking, walkin_queue"),
        ({"booking": "all"}, f"egress of booking is 'all', no list; {FORM}"),
        ({"booking": ["all"]}, f"egress of booking, entry 1, is 'all'; {FORM}"),
        ({"booking": [{"cidr": "1.2.3.0/24"}]}, f"egress of booking, entry 1, is {{'cidr': '1.2.3.0/24'}}; {FORM}"),
        ({"booking": [{"cidr": "1.2.3.4/24", "port": 1}]}, "egress of booking, entry 1: cidr '1.2.3.4/24' is no network (1.2.3.4/24 has host bits set)"),
        ({"booking": [{"cidr": "1.2.3.0/24", "port": 70000}]}, "egress of booking, entry 1: port 70000 is not a number from 1 to 65535"),
        (
            {"booking": [{"cidr": "1.2.3.0/24", "port": 1}, {"cidr": "1.2.3.0/24", "port": 1, "protocol": "SCTP"}]},
            "egress of booking, entry 2: protocol 'SCTP' is not one of TCP, UDP",
        ),
        (
            {"booking": [{"cidr": "10.244.0.0/16", "port": 8080}]},
            "egress of booking, entry 1: cidr 10.244.0.0/16 lies in 10.0.0.0/8, where the cluster's own addresses are (pipeline_internal_cidrs); "
            "workloads reach each other by calls",
        ),
    ],
)
def test_a_wrong_declaration_has_its_sentence(declared: Any, sentence: str) -> None:
    found = judged(declared, "203.0.113.7:443")
    assert found["problems"] == [sentence]
    assert found["rules"] == {}
    assert found["open"] == {"booking": [], "walkin_queue": []}


@pytest.mark.parametrize(("internal", "target"), [(["10.0.0.0/33"], "203.0.113.7:443"), (["10.0.0.0/8"], "example.org:443")])
def test_what_the_platform_gives_is_judged_too(internal: list[str], target: str) -> None:
    with pytest.raises(AnsibleFilterError, match="correct pipeline_internal_cidrs or pipeline_outside_targets"):
        egress({"booking": [{"cidr": "0.0.0.0/0", "port": 443}]}, WORKLOADS, internal, [target])
