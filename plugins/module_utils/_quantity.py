# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes quantities (``250m``, ``1.5Gi``, ``2e3``) as exact numbers and back."""

from __future__ import annotations

import re
from decimal import Decimal

_PATTERN = re.compile(r"^([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?$")
_FACTORS = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


def parse(value: object) -> Decimal | None:
    """Return a quantity as a number, or None when ``value`` is not one (bool, other text, None)."""
    if isinstance(value, bool) or value is None:
        return None
    match = _PATTERN.match(str(value).strip())
    if not match:
        return None
    number, suffix = match[1], match[2] or ""
    if suffix in _FACTORS:
        return Decimal(number) * _FACTORS[suffix]
    return Decimal(number + suffix)


def number(value: object) -> Decimal:
    """Return a quantity as a number; nothing counts as zero. Raises ValueError for what is not a quantity."""
    parsed = parse(0 if value is None or value == "" else value)
    if parsed is None:
        raise ValueError(f"{value!r} is not a quantity")
    return parsed


def show(value: Decimal, binary: bool) -> str:
    """Return a number as people write it: memory in Mi or Gi (``binary``), anything else plain or in m."""
    if binary:
        for suffix in ("Ti", "Gi", "Mi", "Ki"):
            if abs(value) >= _FACTORS[suffix]:
                return f"{_trim(value / _FACTORS[suffix])}{suffix}"
        return _trim(value)
    return f"{_trim(value * 1000)}m" if value != value.to_integral_value() else _trim(value)


def _trim(value: Decimal) -> str:
    """Return at most two decimals, without trailing zeros."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
