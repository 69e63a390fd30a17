"""What is made of the upstream suite's report: numbers, reasons, and when the judge says no."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from barberpro_cluster import binaries, conformance
from barberpro_cluster.errors import ClusterError
from barberpro_cluster.layout import Layout

SKIPS = {conformance.SCTP_FEATURE: "the kernel has no SCTP sockets"}
LISTED = "host:5000/barberpro/agnhost:2.9\nhost:5000/barberpro/agnhost:2.55\nother/agnhost:3.1\nhost:5000/barberpro/agnhost-more:9.9\n"


def spec(state: str, *names: str, kind: str = "It", message: str = "") -> dict[str, Any]:
    """One test of a report as ginkgo writes it."""
    return {
        "ContainerHierarchyTexts": list(names[:-1]), "LeafNodeText": names[-1], "LeafNodeType": kind, "State": state,
        "RunTime": 1_500_000_000, "Failure": {"Message": message},
    }  # fmt: skip


def report(*specs: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"RunTime": 60_000_000_000, "SpecReports": list(specs)}]


def test_tests_out_of_focus_and_steps_of_the_suite_that_went_well_do_not_count():
    found = conformance.summary(
        report(
            spec("passed", "[sig-network] Netpol", "denies"),
            spec("skipped", "[sig-storage] volumes", "mounts"),
            spec("passed", "", kind="SynchronizedBeforeSuite"),
        ),
        SKIPS,
    )
    assert found == {
        "passed": 1, "failed": 0, "skipped": 0, "seconds": 60,
        "tests": [{"name": "[sig-network] Netpol denies", "state": "passed", "seconds": 1.5}],
    }  # fmt: skip


@pytest.mark.parametrize("state", ["failed", "timedout", "panicked", "interrupted", "aborted", "pending"])
def test_whatever_is_neither_passed_nor_skipped_failed(state):
    found = conformance.summary(report(spec(state, "Netpol", "denies", message="10.244.0.7 was reached")), SKIPS)
    assert (found["passed"], found["failed"]) == (0, 1)
    assert found["tests"][0]["reason"] == "10.244.0.7 was reached"
    assert conformance.told(found).endswith("  failed: Netpol denies: 10.244.0.7 was reached")


def test_a_suite_that_cannot_begin_failed():
    found = conformance.summary(report(spec("failed", "", kind="SynchronizedBeforeSuite", message="no nodes")), SKIPS)
    assert found["failed"] == 1
    assert found["tests"][0] == {"name": "SynchronizedBeforeSuite", "state": "failed", "seconds": 1.5, "reason": "no nodes"}


def test_each_skipped_test_says_why():
    found = conformance.summary(
        report(
            spec("skipped", f"Netpol [{conformance.SCTP_FEATURE}]", "uses SCTP"),
            spec("skipped", "Netpol", "needs windows", message="Only supported for node OS distro [windows]"),
        ),
        SKIPS,
    )
    assert [test["reason"] for test in found["tests"]] == ["the kernel has no SCTP sockets", "Only supported for node OS distro [windows]"]
    assert conformance.told(found).startswith("0 passed, 0 failed, 2 skipped")


def test_the_image_has_the_newest_tag_that_the_suite_lists():
    assert conformance.tag_of(LISTED, "host:5000") == "2.55"


def test_a_suite_that_lists_no_agnhost_is_refused():
    with pytest.raises(ClusterError, match=r"^the suite lists no image other:5000/barberpro/agnhost:TAG; see what `e2e.test --list-images` prints$"):
        conformance.tag_of(LISTED, "other:5000")


def test_the_suite_is_of_the_version_of_kubernetes_that_it_judges():
    layout = Layout.of(Path(__file__).resolve().parents[3])
    both = [(binaries.source_of(layout, tool) / "go.mod").read_text() for tool in (conformance.SUITE, binaries.tool("kubernetes"))]
    versions = {binaries.version_of(go_mod, "k8s.io/kubernetes") for go_mod in both}
    assert len(versions) == 1
