"""What tasks need is loaded before they are forked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.barberpro.platform.plugins.plugin_utils import _preload

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "ansible_collections.barberpro.platform.plugins"
# Says what a task would still have to load for one of each kind of template.
PROBE = f"""
import sys
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader([{str(ROOT / ".venv" / "collections")!r}])
from ansible.plugins.loader import filter_loader, lookup_loader, test_loader
from {PACKAGE}.plugin_utils._preload import load_packages, load_plugins
load_packages()
load_plugins()
before = set(sys.modules)
for name in ("ansible.builtin.from_json", "barberpro.platform.render", "barberpro.platform.verticals"):
    assert filter_loader.get(name) is not None, name
assert test_loader.get("ansible.builtin.search") is not None
for name in ("ansible.builtin.env", "barberpro.platform.object", "barberpro.platform.postgresql"):
    assert lookup_loader.get(name, class_only=True) is not None, name
print(sorted(set(sys.modules) - before), sorted({{"urllib3", "psycopg", "websocket"}} - before))
"""


def test_a_task_loads_no_plugin_and_no_package_anew() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout == "[] []\n", done.stderr


def test_a_package_that_is_missing_is_the_business_of_the_module_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_preload, "PACKAGES", ("barberpro_has_no_such_package", "colorsys"))
    sys.modules.pop("colorsys", None)
    _preload.load_packages()
    assert "colorsys" in sys.modules
