"""The policy agent's rules with the real nft and real sockets, in network namespaces of their own (root)."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from barberpro_cluster.binaries import ENVIRONMENT

SOURCE = Path(__file__).resolve().parents[3] / "cluster" / "policy_agent"


def namespaces() -> set[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listed.splitlines() if re.match(r"pa\d+-", line)}


@pytest.mark.timeout(900)
def test_policies_are_enforced_on_real_connections():
    before = namespaces()
    done = subprocess.run(
        ["go", "test", "-trimpath", "-count=1", "-tags=netns", "./internal/nft"],
        cwd=SOURCE, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert namespaces() == before, "the tests leave no network namespace"
