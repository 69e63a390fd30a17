#!/bin/sh
# Gives the inventory `barberpro_cluster`: the facts that `make cluster` wrote, or those of the file that BARBERPRO_CLUSTER_FACTS names.
# Ansible reads a source of an inventory once. A lookup in group_vars would be made anew by every task that needs one of the facts.
root=$(dirname "$0")/../..
PYTHONPATH=$root/cluster exec python3 - "$root" <<'PYTHON'
import json
import os
import sys
from pathlib import Path

from barberpro_cluster.layout import facts_file

file = facts_file(Path(sys.argv[1]))
todo = "correct BARBERPRO_CLUSTER_FACTS" if os.environ.get("BARBERPRO_CLUSTER_FACTS") else "start the embedded cluster with make cluster, or name other facts in BARBERPRO_CLUSTER_FACTS"
try:
    facts = json.loads(file.read_text())
except (OSError, ValueError) as error:
    # Only who needs the facts is told: an inventory can be listed and linted without a cluster.
    hint = json.dumps(f"the facts of the cluster cannot be read: {error}; {todo}")
    facts = "{{ undef(hint=" + hint + ") }}"
print(json.dumps({"_meta": {"hostvars": {}}, "all": {"vars": {"barberpro_cluster": facts}}}))
PYTHON
