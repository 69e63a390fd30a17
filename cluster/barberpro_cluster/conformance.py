"""The upstream end-to-end tests of NetworkPolicy as judge of the policy agent: ``make conformance``.

The suite and agnhost, the program of its pods, come from the same pinned version as Kubernetes; agnhost's image is made here
and tagged as the suite lists it. The registry's name is the suite's own variable (``KUBE_TEST_REPO_LIST``), set to the cluster's.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from . import binaries, images, network, node, registry, supervisor
from .console import say, step
from .errors import ClusterError
from .layout import Layout
from .shell import run

SUITE = binaries.Tool(
    "conformance",
    "k8s.io/kubernetes",
    (("agnhost", "k8s.io/kubernetes/test/images/agnhost"), ("ginkgo", "github.com/onsi/ginkgo/v2/ginkgo")),
    values=("k8s.io/component-base/version.gitVersion={version}",),
    tests=(("e2e.test", "k8s.io/kubernetes/test/e2e"),),
)
AGNHOST = images.Image("agnhost", "cluster/images/agnhost/Containerfile", "cluster/images/agnhost", ("agnhost",))
FOCUS = "Netpol"
# Each process of the suite has nine pods of up to four containers at a time, and mostly waits for connections to time out.
PROCESSES = 2
SCTP_FEATURE = "Feature:SCTPConnectivity"
RESULT = "benchmarks/results/conformance.json"


def run_suite(layout: Layout) -> int:
    """Run the suite on this checkout's cluster and write what became of each test; 1 when one failed or none ran."""
    if supervisor.init_pid(layout) is None:
        raise ClusterError("the embedded cluster of this checkout is not running; start it with `make cluster`")
    built = binaries.made(layout, SUITE, binaries.go_version())
    work = layout.state / "conformance"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    environment = _image(layout, built, work)
    skips = unsupported()
    command = suite_command(built, layout, work, skips)
    with step(f"upstream tests of NetworkPolicy; their output is in {work / 'output.txt'}"), (work / "output.txt").open("w") as output:
        subprocess.run(command, env={**os.environ, **environment}, cwd=work, stdout=output, stderr=subprocess.STDOUT, check=False)
    if not (work / "report.json").exists():
        raise ClusterError(f"the suite wrote no report; the end of {work / 'output.txt'} says why")
    go_mod = (binaries.source_of(layout, SUITE) / "go.mod").read_text()
    found = {
        "command": "make conformance",
        "kubernetes": binaries.version_of(go_mod, SUITE.module),
        "arguments": arguments(skips),
        **summary(json.loads((work / "report.json").read_text()), skips),
    }
    (layout.checkout / RESULT).write_text(json.dumps(found, indent=2) + "\n")
    say(told(found))
    return 1 if found["failed"] or not found["passed"] else 0


def unsupported() -> dict[str, str]:
    """Part of a test's name, and the reason why this machine cannot run what bears it."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError as problem:
        return {SCTP_FEATURE: f"the kernel has no SCTP sockets ({problem.strerror}), so that nothing listens or connects"}
    return {}


def arguments(skips: Mapping[str, str]) -> list[str]:
    """What the suite is asked for: the options of ginkgo, then those of the suite."""
    skipped = [f"--skip={name}" for name in skips]
    return [f"--procs={PROCESSES}", f"--focus={FOCUS}", *skipped, "--", "--provider=local"]


def suite_command(built: Mapping[str, Path], layout: Layout, work: Path, skips: Mapping[str, str]) -> list[str]:
    """The whole command."""
    options, own = arguments(skips)[:-2], arguments(skips)[-2:]
    report = [f"--output-dir={work}", "--json-report=report.json", "--no-color", "--timeout=3h"]
    return [str(built["ginkgo"]), *options, *report, str(built["e2e.test"]), *own, f"--kubeconfig={layout.kubeconfig}"]


def _image(layout: Layout, built: Mapping[str, Path], work: Path) -> dict[str, str]:
    """Put agnhost into the cluster's registry under the tag that the suite lists; returns the suite's environment."""
    address = node.registry_of(network.ensure(layout))
    names = work / "registries.yaml"
    names.write_text(yaml.safe_dump({"promoterE2eRegistry": f"{address}/{registry.REPOSITORY}"}))
    environment = {"KUBE_TEST_REPO_LIST": str(names)}
    tag = tag_of(run([built["e2e.test"], "--list-images"], env=environment, cwd=Path(tempfile.gettempdir())), address)
    _, folder = images.ensure(layout, AGNHOST, dict(built))
    registry.push(address, AGNHOST.name, folder, images.digest_of(folder), tag)
    return environment


def tag_of(listed: str, address: str) -> str:
    """The newest tag of agnhost among the images that the suite lists."""
    prefix = f"{address}/{registry.REPOSITORY}/{AGNHOST.name}:"
    tags = [line.removeprefix(prefix).strip() for line in listed.splitlines() if line.startswith(prefix)]
    if not tags:
        raise ClusterError(f"the suite lists no image {prefix}TAG; see what `e2e.test --list-images` prints")
    return max(tags, key=lambda tag: [int(part) for part in tag.split(".")])


def summary(report: list[dict[str, Any]], skips: Mapping[str, str]) -> dict[str, Any]:
    """Numbers and names of ginkgo's report, of the tests in focus alone.

    Returns passed, failed and skipped (numbers), seconds, and tests: name, state, seconds, and the reason of what is not passed.
    """
    tests = []
    for spec in (spec for suite in report for spec in suite["SpecReports"] or []):
        name = " ".join([*(spec["ContainerHierarchyTexts"] or []), spec["LeafNodeText"]])
        if spec["LeafNodeType"] != "It" and spec["State"] in ("passed", "skipped"):
            continue
        if spec["LeafNodeType"] == "It" and FOCUS not in name:
            continue
        labels = [label for part in [*(spec.get("ContainerHierarchyLabels") or []), spec.get("LeafNodeLabels")] for label in part or []]
        ours = next((reason for part, reason in skips.items() if part in name or part in labels), "")
        said = str((spec.get("Failure") or {}).get("Message") or "").strip()
        state = spec["State"] if spec["State"] in ("passed", "skipped") else "failed"
        test: dict[str, Any] = {"name": name or spec["LeafNodeType"], "state": state, "seconds": round(spec["RunTime"] / 1e9, 1)}
        if state != "passed":
            test["reason"] = (ours if state == "skipped" and ours else said) or spec["State"]
        tests.append(test)
    tests.sort(key=lambda test: (test["state"], test["name"]))
    counted = {state: sum(test["state"] == state for test in tests) for state in ("passed", "failed", "skipped")}
    return {**counted, "seconds": round(sum(suite["RunTime"] for suite in report) / 1e9), "tests": tests}


def told(found: Mapping[str, Any]) -> str:
    """The result for the person at the terminal: numbers, then what did not pass and why."""
    lines = [f"{found['passed']} passed, {found['failed']} failed, {found['skipped']} skipped; {RESULT}"]
    lines += [f"  {test['state']}: {test['name']}: {test['reason']}" for test in found["tests"] if test["state"] != "passed"]
    return "\n".join(lines)
