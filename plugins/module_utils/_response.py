# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An answer of the API server, and how long it asks to be left alone."""

from __future__ import annotations

import email.utils
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Response:
    """An answer: ``status``, ``headers`` (keys in lower case) and the raw ``data``."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    def json(self) -> dict[str, Any]:
        """Return the body as an object; a body that is none becomes {"message": text}."""
        try:
            document = json.loads(self.data or b"{}")
        except ValueError:
            document = None
        if isinstance(document, dict):
            return document
        return {"message": self.data.decode("utf-8", "replace")[:500]}

    @property
    def retry_after(self) -> float:
        """Return the seconds that the server asks to wait, said as a number or as a date (RFC 9110), at most 30, else 0."""
        asked = self.headers.get("retry-after", "0")
        try:
            seconds = float(asked)
        except ValueError:
            try:
                until, now = (email.utils.parsedate_to_datetime(text) for text in (asked, self.headers.get("date", "")))
                seconds = (until - now).total_seconds()
            except (TypeError, ValueError):
                return 0.0
        return max(0.0, min(30.0, seconds))
