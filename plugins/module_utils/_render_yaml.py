# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read rendered YAML: several documents, with the C parser where it is there, and no key twice."""

from __future__ import annotations

import pickle
import re
from functools import cache, lru_cache
from typing import Any

try:
    import yaml
except ImportError:  # pragma: no cover - the renderer says so when it is called
    pass


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[str, Any]:
    """Construct a mapping; raises yaml.constructor.ConstructorError for a key that is there twice."""
    seen = set()
    for key_node, _value in node.value:  # before merge keys (<<) are resolved: what they bring may be overridden
        if isinstance(key_node, yaml.ScalarNode) and key_node.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key_node.value!r} is there twice", key_node.start_mark)
        if isinstance(key_node, yaml.ScalarNode):
            seen.add(key_node.value)
    loader.flatten_mapping(node)
    return {loader.construct_object(key, deep=True): loader.construct_object(value, deep=True) for key, value in node.value}


def _text(loader: Any, node: yaml.ScalarNode) -> str:
    """Keep dates as the text they are: Kubernetes has no date type."""
    return str(loader.construct_scalar(node))


@cache
def _loader() -> Any:
    """Return a safe loader that refuses a mapping with the same key twice: the later one would silently win."""
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        pass

    Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
    Loader.add_constructor("tag:yaml.org,2002:timestamp", _text)
    return Loader


# YAML allows this at the beginning of a line nowhere else than between documents.
_BETWEEN = re.compile(r"^---[ \t]*$", re.MULTILINE)
# What templates write is for the most part the same for every tenant: one text is read once for as long as it is among the newest.
_TEXTS = 1024


@lru_cache(maxsize=_TEXTS)
def _read(text: str) -> bytes:
    """Return the documents of a text, pickled, so that each caller gets objects of its own."""
    return pickle.dumps(_parsed(text), pickle.HIGHEST_PROTOCOL)


def _parsed(text: str) -> list[Any]:
    return [document for document in yaml.load_all(text, Loader=_loader()) if document is not None]


def documents_of(text: str) -> list[Any]:
    """Return the documents of ``text`` that are not empty. Raises yaml.YAMLError."""
    try:
        return [document for part in _BETWEEN.split(text) for document in pickle.loads(_read(part))]
    except yaml.YAMLError:
        # Once more as a whole: then a mark names the line of the whole text, and a directive belongs to what follows it.
        return _parsed(text)
