# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which services of a tenant hold sealed values: its Deployments say so, whatever the inventory says today."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources

SEALED_TABLE = "barberpro.platform/sealed-table"
"""Annotation of a Deployment: the table whose rows only its service can open."""
OLDER = {"bookings": "booking"}
"""What is sealed by a revision from before that annotation, and by which service."""


def sealed_tables(client: Client, namespace: str) -> dict[str, str]:
    """Return the tables of a tenant that hold sealed values, each with the component that can open them. Raises PlatformError."""
    return tables_of(Resources(client).list("apps/v1", "Deployment", namespace, labels="app.kubernetes.io/managed-by=barberpro.platform"))


def tables_of(deployments: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the same of the platform's Deployments of a tenant. Pure."""
    said = {
        str(table): str(deployment["metadata"]["labels"]["app.kubernetes.io/component"])
        for deployment in deployments if (table := (deployment["metadata"].get("annotations") or {}).get(SEALED_TABLE))
    }  # fmt: skip
    return said or dict(OLDER)
