"""A business as an inventory would give it, for tests to vary."""

from __future__ import annotations

import copy
from typing import Any

WORKDAY = [{"from": "09:00", "to": "13:00"}, {"from": "15:00", "to": "20:00"}]

DOCUMENT: dict[str, Any] = {
    "name": "Barbería Palermo",
    "locale": "es-AR",
    "currency": "ARS",
    "timezone": "America/Argentina/Buenos_Aires",
    "branding": {"primary_color": "#7a1f1f", "accent_color": "#d9a441", "tagline": "Cortes clásicos"},
    "opening_hours": {
        **dict.fromkeys(("monday", "tuesday", "wednesday", "thursday", "friday"), WORKDAY),
        "saturday": [{"from": "10:00", "to": "18:00"}],
        "sunday": [],
    },
    "staff": [
        {"id": "juan", "name": "Juan", "services": ["corte", "barba"]},
        {"id": "sofia", "name": "Sofía", "services": ["corte"]},
    ],
    "services": [
        {"id": "corte", "name": "Corte", "duration_minutes": 30, "price": 9500},
        {"id": "barba", "name": "Barba", "duration_minutes": 45, "price": 6500.5},
    ],
    "chairs": 2,
}


def document(**changes: Any) -> dict[str, Any]:
    """A valid settings document with some fields replaced."""
    return {**copy.deepcopy(DOCUMENT), **changes}
