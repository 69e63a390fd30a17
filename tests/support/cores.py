"""The ansible-cores that the collection is for: the environment of each, and what its programs must be told to find this checkout."""

from __future__ import annotations

from tests.support.cluster import ROOT

CORES = {".venv": {}, ".venv-2.18": {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv-2.18" / "collections")}}
