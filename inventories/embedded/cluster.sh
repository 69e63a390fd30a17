#!/bin/sh
# Gives the inventory `barberpro_cluster`: the facts that `make cluster` wrote, or those of the file that BARBERPRO_CLUSTER_FACTS names.
# Ansible reads a source of an inventory once. A lookup in group_vars would be made anew by every task that needs one of the facts.
# No Python: each playbook would wait for it to start.
file=${BARBERPRO_CLUSTER_FACTS:-$(dirname "$0")/../../.embedded/cluster.json}
if [ -n "$BARBERPRO_CLUSTER_FACTS" ]; then
    todo="correct BARBERPRO_CLUSTER_FACTS"
else
    todo="start the embedded cluster with make cluster, or name other facts in BARBERPRO_CLUSTER_FACTS"
fi
# Only who needs the facts is told: an inventory can be listed and linted without a cluster.
facts=$(cat "$file" 2>/dev/null) || facts="\"{{ undef(hint='the facts of the cluster cannot be read from $file; $todo') }}\""
printf '{"_meta": {"hostvars": {}}, "all": {"vars": {"barberpro_cluster": %s}}}\n' "$facts"
