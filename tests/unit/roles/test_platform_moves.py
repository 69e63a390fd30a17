"""A platform that tenants live on is not moved to another zone or database by the way."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster import ROOT
from tests.support.cores import CORES
from tests.support.platform_role import CERTIFICATES, evaluated

ZONE = "platform_zone 'new.example' would take the place of 'old.example', below which the tenants of this cluster are served"
DATABASE = "platform_database_name 'other' would take the place of 'barberpro', in which the data of the tenants is"
# What deploys were told, whether there are tenants, what was typed, and what is said.
CASES: dict[str, tuple[dict[str, str], bool, str, list[str]]] = {
    "another zone": ({"zone": "old.example", "database_name": "other"}, True, "", [ZONE]),
    "typed": ({"zone": "old.example", "database_name": "other"}, True, "new.example", []),
    "nobody lives there": ({"zone": "old.example", "database_name": "other"}, False, "", []),
    "another database": ({"zone": "new.example", "database_name": "barberpro"}, True, "new.example", [DATABASE]),
    "database typed": ({"zone": "new.example", "database_name": "barberpro"}, True, "other", []),
    "another cluster": ({"zone": "old.example", "database_name": "barberpro"}, True, "", [ZONE, DATABASE]),
    "the same": ({"zone": "new.example", "database_name": "other"}, True, "", []),
    "first": ({}, True, "", []),
}


@pytest.mark.parametrize("core", CORES, ids=["newest", "oldest"])
def test_who_lives_there_is_asked(core: str, tmp_path: Path) -> None:
    tasks = yaml.safe_load((ROOT / "roles/platform/tasks/discover.yml").read_text())
    (refusal,) = [task for task in tasks if task["name"] == "Refuse to take from the tenants what they live by"]
    asked = {"refused": "{{ " + " and ".join(f"({condition})" for condition in refusal["when"]) + " }}", "said": refusal["ansible.builtin.fail"]["msg"]}
    cases: dict[str, dict[str, Any]] = {
        name: {
            "platform_zone": "new.example", "platform_database_name": "other", "platform_confirm": confirm,
            "__platform_live_namespaces": ["kube-system", *(["tenant-x"] if tenants else [])],
            "__platform_secrets": {
                **CERTIFICATES, **({"barberpro-platform": {"facts": base64.b64encode(json.dumps(given).encode()).decode()}} if given else {}),
            },
        }
        for name, (given, tenants, confirm, _said) in CASES.items()
    }  # fmt: skip
    found = evaluated(tmp_path, asked, cases, core)
    for name, (_given, _tenants, _confirm, said) in CASES.items():
        assert found[name]["refused"] is bool(said), name
        assert [sentence for sentence in (ZONE, DATABASE) if found[name]["refused"] and sentence in found[name]["said"]] == said, name
