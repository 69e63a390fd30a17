#!/usr/bin/env python3
"""Gives the inventory `barberpro_cluster`: the facts that `make cluster` wrote, or those of the file that BARBERPRO_CLUSTER_FACTS names.

Ansible reads a source of an inventory once. A lookup in group_vars would be made anew by every task that needs one of the facts.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

NAMED = os.environ.get("BARBERPRO_CLUSTER_FACTS", "")
FILE = Path(NAMED) if NAMED else Path(__file__).resolve().parents[2] / ".embedded" / "cluster.json"
NEXT = "correct BARBERPRO_CLUSTER_FACTS" if NAMED else "start the embedded cluster with make cluster, or name other facts in BARBERPRO_CLUSTER_FACTS"

try:
    facts = json.loads(FILE.read_text())
except (OSError, ValueError) as error:
    # Only who needs the facts is told: an inventory can be listed and linted without a cluster.
    facts = f"{{{{ undef(hint={json.dumps(f'the facts of the cluster cannot be read: {error}; {NEXT}')}) }}}}"
print(json.dumps({"_meta": {"hostvars": {}}, "all": {"vars": {"barberpro_cluster": facts}}}))
