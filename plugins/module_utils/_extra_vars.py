# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Extra variables that are probably misspelt: Ansible takes any name, and one that nothing reads changes nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path

# Names that Ansible, AWX and event-driven automation add by themselves.
ADDED = ("ansible_", "awx_", "tower_", "eda_")
# An option of an argument spec by its depth: to parse these files as YAML would take longer than the start of a playbook may.
OPTION = re.compile(r"^ {6}(\w+):", re.MULTILINE)


def options_of(spec: Path) -> list[str]:
    """Return the names of the options in an argument spec of a playbook or a role."""
    return OPTION.findall(spec.read_text(encoding="utf-8"))


def doubtful(given: Iterable[str], playbook: str, root: Path) -> dict[str, list[str]]:
    """Return the variables that no playbook and no role of the collection in `root` has, each with the playbook's options that may be meant.

    A name that is like none of them is left out: it may be the caller's own.
    """
    options = options_of(root / "playbooks" / f"{playbook}.meta.yml")
    left = [name for name in given if name not in options and not name.startswith(ADDED)]
    if not left:
        return {}
    specs = [*root.glob("playbooks/*.meta.yml"), *root.glob("roles/*/meta/argument_specs.yml")]
    known = {name for spec in specs for name in options_of(spec)}
    prefixes = {path.name for path in root.glob("roles/*")}
    return {name: found for name in left if name not in known and (found := alike(name, options, prefixes))}


def alike(name: str, options: Collection[str], prefixes: Collection[str]) -> list[str]:
    """Return at most three options that are spelt like `name` or share half of its words, the likest first. A prefix says nothing."""
    name = name.lower()
    words = set(name.split("_")).difference(prefixes)
    shared = [option for option in options if words and 2 * len(words.intersection(option.split("_"))) >= len(words)]
    found = {*shared, *get_close_matches(name, options, cutoff=0.8)}
    return sorted(found, key=lambda option: (-SequenceMatcher(None, name, option).ratio(), option))[:3]


def sentence(name: str, playbook: str, meant: Iterable[str]) -> str:
    """Return the warning."""
    return f"The extra variable {name} is not known to {playbook} and changes nothing there; did you mean {' or '.join(meant)}?"
