"""Who has refused a connection of the isolation probe, as this kernel says it: a network of one's own in which rules drop and reject."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMON = Path(__file__).parents[3] / "services" / "common"
RULES = """
table inet probed {
  chain out {
    type filter hook output priority 0;
    tcp dport 10 reject
    tcp dport 11 drop
    tcp dport 12 reject with tcp reset
    tcp dport 13 reject with icmpx admin-prohibited
  }
}
"""
SCRIPT = 'ip link set lo up && nft -f - && exec "$@"'


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_who_has_refused(host: str) -> None:
    targets = [f"{host}:{port}" for port in (9, 10, 11, 12, 13)]
    asked = [sys.executable, "-m", "barberpro_service.probe", "--timeout", "1", *(word for target in targets for word in ("--closed", target))]
    command = ["unshare", "--net", "sh", "-c", SCRIPT, "sh", *asked]
    done = subprocess.run(command, cwd=COMMON, input=RULES, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1, done.stderr
    found = {item["target"]: (item["actual"], item["reason"]) for item in map(json.loads, done.stdout.splitlines())}
    away = {"127.0.0.1": "No route to host", "[::1]": "Permission denied"}[host]
    assert [found[target] for target in targets] == [
        ("refused", "Connection refused"),  # nobody listens: the packet was there
        ("closed", "rejected on the way"),
        ("closed", "no answer within 1 s"),
        ("refused", "Connection refused"),  # as if it had been
        ("closed", away),
    ]
