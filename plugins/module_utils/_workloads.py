# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readiness of the kinds that run pods, by what their controllers say (the rules of kstatus)."""

from __future__ import annotations

from ansible_collections.barberpro.platform.plugins.module_utils._outcome import Obj, Readiness, conditions_of, counts, failed, progress, ready, status_of


def deployment(obj: Obj, _related: object) -> Readiness:
    """Return the readiness of a Deployment."""
    status, spec, conditions = status_of(obj), obj.get("spec") or {}, conditions_of(obj)
    progressing = conditions.get("Progressing", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return failed(f"no progress for {spec.get('progressDeadlineSeconds', 600)} s: {progressing.get('message')}")
    want = int(spec.get("replicas", 1))
    total, updated = int(status.get("replicas", 0)), int(status.get("updatedReplicas", 0))
    short = counts(("created", total, want), ("updated", updated, want))
    if short:
        return short
    if total > want:
        return progress(f"{total - want} old replicas still to end")
    short = counts(("available", int(status.get("availableReplicas", 0)), updated), ("ready", int(status.get("readyReplicas", 0)), want))
    if short:
        return short
    done = progressing.get("status") == "True" and progressing.get("reason") == "NewReplicaSetAvailable"
    if not done and spec.get("progressDeadlineSeconds") is not None and spec["progressDeadlineSeconds"] != 2**31 - 1:
        return progress("its newest ReplicaSet is not available yet")
    if conditions.get("Available", {}).get("status") != "True":
        return progress("it is not available yet")
    return ready(f"{total} of {want} replicas ready")


def statefulset(obj: Obj, _related: object) -> Readiness:
    """Return the readiness of a StatefulSet, whose controller sets no conditions."""
    status, spec = status_of(obj), obj.get("spec") or {}
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return ready("its pods are updated when they are deleted")
    want, total = int(spec.get("replicas", 1)), int(status.get("replicas", 0))
    short = counts(("created", total, want), ("ready", int(status.get("readyReplicas", 0)), want))
    if short:
        return short
    if total > want:
        return progress(f"{total - want} replicas still to end")
    partition = (strategy.get("rollingUpdate") or {}).get("partition")
    updated = int(status.get("updatedReplicas", 0))
    if partition:
        return counts(("updated", updated, want - int(partition))) or ready(f"{updated} replicas updated above the partition")
    short = counts(("current", int(status.get("currentReplicas", 0)), want))
    if short:
        return short
    if status.get("currentRevision") != status.get("updateRevision"):
        return progress("its newest revision is not the current one yet")
    return ready(f"{total} of {want} replicas ready")


def replicaset(obj: Obj, _related: object) -> Readiness:
    """Return the readiness of a ReplicaSet."""
    status = status_of(obj)
    if conditions_of(obj).get("ReplicaFailure", {}).get("status") == "True":
        return progress(str(conditions_of(obj)["ReplicaFailure"].get("message") or "replicas cannot be created"))
    want = int((obj.get("spec") or {}).get("replicas", 1))
    names = (("labelled", "fullyLabeledReplicas"), ("available", "availableReplicas"), ("ready", "readyReplicas"))
    short = counts(*((word, int(status.get(key, 0)), want) for word, key in names))
    if short:
        return short
    extra = int(status.get("replicas", 0)) - want
    return progress(f"{extra} replicas still to end") if extra > 0 else ready(f"{want} of {want} replicas ready")


def daemonset(obj: Obj, _related: object) -> Readiness:
    """Return the readiness of a DaemonSet."""
    status = status_of(obj)
    if (obj.get("metadata") or {}).get("generation") is None or status.get("observedGeneration") is None:
        return progress("it has not been looked at yet")
    if "desiredNumberScheduled" not in status:
        return progress("the number of its pods is not known yet")
    want = int(status["desiredNumberScheduled"])
    names = ("currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady")
    words = ("scheduled", "updated", "available", "ready")
    short = counts(*((word, int(status.get(name, 0)), want) for word, name in zip(words, names, strict=True)))
    return short or ready(f"{want} of {want} pods ready")


def job(obj: Obj, _related: object) -> Readiness:
    """Return the readiness of a Job: complete, failed, or running."""
    status, conditions = status_of(obj), conditions_of(obj)
    if conditions.get("Complete", {}).get("status") == "True":
        return ready("it is complete")
    if conditions.get("Failed", {}).get("status") == "True":
        why = conditions["Failed"]
        return failed(f"the job failed: {why.get('message') or why.get('reason')}")
    if conditions.get("Suspended", {}).get("status") == "True":
        return ready("it is suspended")
    return progress(f"the job runs ({status.get('active', 0)} active)" if status.get("startTime") else "the job has not started")
