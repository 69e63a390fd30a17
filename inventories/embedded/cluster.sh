#!/bin/sh
# Gives the inventory `barberpro_cluster`: the facts that `make cluster` wrote, or those of the file that BARBERPRO_CLUSTER_FACTS names.
# Ansible reads a source of an inventory once. A lookup in group_vars would be made anew by every task that needs one of the facts.
exec python3 - "$(dirname "$0")" <<'PYTHON'
import json
import os
import sys
from pathlib import Path

named = os.environ.get("BARBERPRO_CLUSTER_FACTS", "")
file = Path(named) if named else Path(sys.argv[1]).resolve().parents[1] / ".embedded" / "cluster.json"
todo = "correct BARBERPRO_CLUSTER_FACTS" if named else "start the embedded cluster with make cluster, or name other facts in BARBERPRO_CLUSTER_FACTS"
try:
    facts = json.loads(file.read_text())
except (OSError, ValueError) as error:
    # Only who needs the facts is told: an inventory can be listed and linted without a cluster.
    hint = json.dumps(f"the facts of the cluster cannot be read: {error}; {todo}")
    facts = "{{ undef(hint=" + hint + ") }}"
print(json.dumps({"_meta": {"hostvars": {}}, "all": {"vars": {"barberpro_cluster": facts}}}))
PYTHON
