# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bake time of a wave: what customers meet on a new revision is watched for a while before the next tenants get it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

# Prometheus asks the services every 30 s; this is soon enough after each of its answers, and a thousand tenants are one query.
LOOK_SECONDS = 15.0


def fresh(document: Mapping[str, Any]) -> list[str]:
    """Return the tenants of a fleet's record that serve the release and have not been watched for a bake time yet."""
    serving = [tenant["name"] for tenant in [*document["earlier"], *document["tenants"]] if tenant["result"] == "succeeded"]
    return sorted(set(serving) - set(document["baked"]))


def watched(
    look: Callable[[], dict[str, Any]], seconds: float, *, clock: Callable[[], float] = time.monotonic, pause: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Look for ``seconds``, again and again, and return what was seen last: the end of the time, or the first look that says stop.

    ``look`` returns a record with its ``verdict``. With 0 seconds it is called once. Its errors are the caller's.
    """
    end = clock() + seconds
    document = look()
    while not document["verdict"]["stop"] and (left := end - clock()) > 0:
        pause(min(LOOK_SECONDS, left))
        document = look()
    return document
