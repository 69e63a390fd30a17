# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn what Ansible hands over into plain Python data.

ansible-core 2.19 gives lazy containers and tagged scalars (subclasses of dict, list, str, int ...). They template themselves on access and
refuse some serializers, so everything that leaves the collection's edge is rebuilt from the built-in types first.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence, Set
from typing import Any


def to_plain(value: Any) -> Any:
    """Return ``value`` rebuilt from dict, list, str, int, float, bool and None.

    Keys become text, sets become sorted lists, dates become ISO 8601 text; anything else becomes its text.
    """
    if value is None or isinstance(value, bool):
        return None if value is None else bool(value)
    if isinstance(value, str):
        # The built-in's own method gives an exact str whatever a subclass makes of __str__.
        return str.__str__(value)
    if isinstance(value, int):
        return int(value) + 0
    if isinstance(value, float):
        return float(value) + 0.0
    if isinstance(value, bytes):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {to_plain(key) if isinstance(key, str) else str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted((to_plain(item) for item in value), key=str)
    if isinstance(value, Sequence):
        return [to_plain(item) for item in value]
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    return str(value)
