"""`make demo` on what is up already: the whole of it once more, and what it prints can be used as it stands."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import time

import pytest

from tests.support import cluster
from tests.support.audit import AuditLog
from tests.support.playbooks import REPORTS, written

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
# Ten are promised, and kept where the machine keeps up (tests/unit/demo); three other workers may be busy beside this one.
SILENCE_SECONDS = 30.0


def test_again_it_says_that_nothing_changed_and_is_never_silent_for_long(palermo: str) -> None:
    versions, audit, reports = cluster.resource_versions(f"tenant-{palermo}"), AuditLog(about=palermo), written()
    lines, times = [], [time.monotonic()]
    with subprocess.Popen(["make", "demo"], cwd=cluster.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            times.append(time.monotonic())
    output = "".join(lines)
    assert process.returncode == 0, output
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < SILENCE_SECONDS
    for sentence in ("was up already, nothing changed", "Images: nothing changed", f"Nothing changed: tenant {palermo} already runs revision "):
        assert sentence in output
    (report,) = (json.loads(path.read_text()) for path in written() - reports if path.name == "report.json" and path.parents[1] == REPORTS / palermo)
    assert report["result"] == "unchanged"
    assert [(stage["result"], len(stage["checks"]) > 0) for stage in report["stages"]] == [("passed", True)] * 7
    assert cluster.resource_versions(f"tenant-{palermo}") == versions
    assert audit.writes_of_the_deployer() == []
    found = re.search(r"^  try     (curl .*)$", output, re.MULTILINE)
    assert found
    page = subprocess.run(found[1], shell=True, cwd=cluster.ROOT, capture_output=True, text=True, check=False)
    assert page.returncode == 0, page.stderr
    assert "<title>" in page.stdout
    assert (cluster.ROOT / re.findall(r"^  report  (\S+) ", output, re.MULTILINE)[0]).exists()
