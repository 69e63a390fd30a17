# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load once what nearly every task needs: each task is a fork of the process that runs the playbook, and loads anew what that one has not."""

from __future__ import annotations

import importlib
import pkgutil
from contextlib import suppress
from pathlib import Path

from ansible.plugins.loader import filter_loader, lookup_loader, test_loader

COLLECTION = "barberpro.platform"
# Who lacks one is told by the module that needs it.
PACKAGES = ("urllib3", "yaml", "psycopg", "websocket")
LOOKUPS = ("ansible.builtin.env", "ansible.builtin.vars")


def load_packages() -> None:
    """Import the packages that modules of this collection need."""
    for package in PACKAGES:
        with suppress(ImportError):
            importlib.import_module(package)


def load_plugins() -> None:
    """Load Ansible's own filters and tests, and this collection's filters and lookups. Only where Ansible has found its collections."""
    # Where Jinja's own filters and tests are looked for first.
    for folder in ("filter", "test"):
        importlib.import_module(f"ansible_collections.ansible.builtin.plugins.{folder}")
    # Asked for one, a loader takes all that Ansible itself brings.
    filter_loader.get("ansible.builtin.to_json")
    test_loader.get("ansible.builtin.match")
    for name in (*LOOKUPS, *_own("lookup")):
        lookup_loader.get(name, class_only=True)
    for name in _own("filter"):
        filter_loader.get(name)


def _own(folder: str) -> list[str]:
    """Return the names of this collection's plugins in a folder."""
    return [f"{COLLECTION}.{module.name}" for module in pkgutil.iter_modules([str(Path(__file__).parents[1] / folder)])]
