"""What a benchmark's figures are to be, and which of them are not."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

_SIGNS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge, ">": operator.gt}


@dataclass(frozen=True)
class Target:
    """A bound on one figure: its dotted path in the result, one of ``<=``, ``>=`` and ``>``, and the bound in the figure's own unit."""

    path: str
    sign: str
    bound: float

    def figure(self, result: Mapping[str, Any]) -> float | None:
        """Return the figure, None where it was not measured."""
        found: Any = reduce(lambda at, key: at.get(key) if isinstance(at, Mapping) else None, self.path.split("."), result)
        return None if found is None else float(found)


def judged(result: Mapping[str, Any], targets: Iterable[Target]) -> dict[str, list[str]]:
    """Return the targets that are ``met``, ``missed`` and ``not_measured``, each as ``path sign bound`` with the figure that it has."""
    found: dict[str, list[str]] = {"met": [], "missed": [], "not_measured": []}
    for target in targets:
        figure = target.figure(result)
        wanted = f"{target.path} {target.sign} {target.bound:g}"
        if figure is None:
            found["not_measured"].append(wanted)
        else:
            found["met" if _SIGNS[target.sign](figure, target.bound) else "missed"].append(f"{wanted}: {figure:g}")
    return found
