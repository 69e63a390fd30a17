"""Which Secrets are taken for the platform's: a tenant's owner may make one of any name, and on an older platform with any label. And who sees their values."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster import ROOT
from tests.support.cores import CORES
from tests.support.platform_role import evaluated


def secret(namespace: str, name: str, **data: str) -> dict[str, Any]:
    values = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"metadata": {"namespace": namespace, "name": name}, **({"data": values} if values else {})}


@pytest.mark.parametrize("core", CORES, ids=["newest", "oldest"])
def test_a_tenant_s_secret_is_not_taken_for_the_platform_s(core: str, tmp_path: Path) -> None:
    items = [
        secret("aaa", "postgresql-tls", **{"ca.crt": "theirs"}), secret("barberpro-data", "postgresql-tls", **{"ca.crt": "ours"}),
        secret("barberpro-system", "barberpro-platform", salt="ours"), secret("barberpro-vault", "vault-database"),
        secret("tenant-x", "barberpro-platform", salt="theirs"), secret("tenant-x", "pooler-login", password="theirs"),
    ]  # fmt: skip
    asked = {"found": "{{ __platform_own_secrets }}"}
    found = evaluated(tmp_path, asked, {"case": {"__platform_live_secrets": {"stdout": json.dumps({"items": items})}}}, core)["case"]["found"]
    ours = base64.b64encode(b"ours").decode()
    assert found == {"postgresql-tls": {"ca.crt": ours}, "barberpro-platform": {"salt": ours}, "vault-database": {}}


def test_no_secret_is_among_the_objects_whose_differences_are_shown() -> None:
    tasks = ROOT / "roles" / "platform" / "tasks"
    shown = [
        str(item["vars"]["__platform_templates"]) for name in ("main", "services") for task in yaml.safe_load((tasks / f"{name}.yml").read_text())
        for item in task.get("block", [task]) if item.get("ansible.builtin.import_tasks") == "apply.yml"
    ]  # fmt: skip
    templates = {path.name: "\nkind: Secret\n" in path.read_text() for path in (tasks.parent / "templates").glob("*.yml.j2")}
    assert len(shown) == 2
    assert templates["alertmanager-secrets.yml.j2"]
    assert [name for name, secret in templates.items() if secret and any(f"'{name}'" in names for names in shown)] == []
