"""Clusters of a test's own: what only root can start is left out for others."""

from __future__ import annotations

import os

# What makes namespaces, mounts and other users' processes; whoever brings an own cluster need not be root.
OF_ROOT = ["test_killed.py", "test_killed_platform.py", "test_without_root.py"]
collect_ignore = OF_ROOT if os.environ.get("BARBERPRO_KUBECONFIG") or os.geteuid() != 0 else []
