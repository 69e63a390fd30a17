# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All checks by name. Importing the files registers what they declare."""

from __future__ import annotations

from ansible_collections.barberpro.platform.plugins.module_utils import (
    _checks_capacity,
    _checks_cluster,
    _checks_edge,
    _checks_image,
    _checks_migrations,
    _checks_objects,
    _checks_prometheus,
    _checks_reach,
    _checks_rollout,
    _checks_service,
    _checks_sql,
)
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import REGISTRY, Check

SOURCES = (
    _checks_cluster,
    _checks_capacity,
    _checks_image,
    _checks_migrations,
    _checks_objects,
    _checks_rollout,
    _checks_sql,
    _checks_service,
    _checks_reach,
    _checks_edge,
    _checks_prometheus,
)
CHECKS: dict[str, Check] = REGISTRY.checks
