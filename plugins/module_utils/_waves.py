# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order objects are applied."""

from __future__ import annotations

# Policy first, then configuration, then what runs, then what sends traffic to it.
_WAVES = {
    0: ("Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass"),
    1: ("ResourceQuota", "LimitRange", "NetworkPolicy", "ServiceAccount", "Role", "ClusterRole"),
    2: ("RoleBinding", "ClusterRoleBinding", "ConfigMap", "Secret", "PersistentVolumeClaim", "Service", "PodDisruptionBudget"),
    3: ("Job",),
}
_WAVE_OF = {kind: number for number, kinds in _WAVES.items() for kind in kinds}
_LAST = {"HTTPRoute": 5, "HorizontalPodAutoscaler": 5, "ServiceMonitor": 5, "PrometheusRule": 5}
# Nobody may bind a role that the API server's cache does not know yet: what comes between gives it the time.
_AFTER_THE_OTHERS = ("RoleBinding", "ClusterRoleBinding")


def wave_of(kind: str) -> int:
    """Return the number of the wave in which objects of a kind are applied; deletions go the other way round."""
    return _WAVE_OF.get(kind, _LAST.get(kind, 4))


def order_in_wave(kind: str) -> int:
    """Return the place of a kind within its wave; the lower ones are begun first."""
    return int(kind in _AFTER_THE_OTHERS)
