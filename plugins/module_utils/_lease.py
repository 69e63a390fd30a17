# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on one tenant: a Lease that says who, and that ends by itself when its holder dies.

All times are the API server's, so that a runner whose clock is wrong neither loses its lease nor takes a living one.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, SYSTEM_NAMESPACE, TENANT_LABEL, Ref, Resources

# Longer than any single task of a deploy that is not ours (they cannot renew), short enough to wait for after a runner died. A run that waits
# longer between its own tasks asks for more (``lease_seconds``).
LEASE_SECONDS = 120
RENEW_SECONDS = 20.0
_RUN = f"{PREFIX}/run"
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


HELD = -1
"""Fence of a run that looked at a tenant while another was at work on it: it never fits."""


class Held(PlatformError):
    """Another run that may be alive works on the tenant, or has changed it since this one looked."""


def process_started(pid: int) -> int | None:
    """Return when a process of this machine started, in clock ticks since boot; None when there is no such process, or nobody has buried it yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    # The name, in parentheses, may hold anything; the start is the 22nd field of proc(5), the 20th after the name, and the state the first.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def boot() -> str:
    """Return the identity of this boot of this machine, "" when the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def pid_namespace() -> str:
    """Return the identity of the namespace that this process has its number in, "" when the system does not tell."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def lives(run: Mapping[str, Any]) -> bool | None:
    """Return whether the process of a run is there; None when nobody can tell: of another machine (or container, whatever its host name).

    ``run`` has ``host``, ``boot``, ``pid_namespace``, ``pid`` and ``pid_started``.
    """
    if run.get("host") != socket.gethostname() or not run.get("boot") or run["boot"] != boot() or run.get("pid_namespace") != pid_namespace():
        return None
    return process_started(int(run["pid"])) == run.get("pid_started")


def is_orphan() -> bool:
    """Return whether this is a task of a playbook that has ended before it: a fork that another process has for its parent by now."""
    parent = multiprocessing.parent_process()
    return parent is not None and os.getppid() != parent.pid


def shown(run: Mapping[str, Any]) -> str:
    """Return a run as a person reads it."""
    return f"{run.get('user', 'unknown')}@{run.get('host', 'unknown')} ({run.get('operation', 'run')} since {run.get('began', 'an unknown time')})"


class Lease:
    """The lease of one tenant, asked for by one run (see the filter P(barberpro.platform.run_identity#filter)).

    A run that has looked at the tenant before it writes says so by ``run["fence"]``, what ``fence()`` was then. It gets the lease only when
    nobody else has had it since: what it is going to write follows from what it saw.
    """

    def __init__(self, resources: Resources, tenant: str, run: Mapping[str, Any]) -> None:
        self.resources = resources
        self.tenant = tenant
        self.run = dict(run)
        self.ref = Ref("coordination.k8s.io/v1", "Lease", SYSTEM_NAMESPACE, f"tenant-{tenant}")
        seen = self.run.get("fence")
        self._seen = None if seen in (None, "") else int(seen)
        self.seconds = max(int(self.run.get("lease_seconds") or 0), LEASE_SECONDS)
        self._lost: PlatformError | None = None
        self._heard: float | None = None

    def fence(self) -> int:
        """Return how often the lease has changed hands, or HELD while another run that may be alive has it."""
        lease, run = self.holder()
        return HELD if run and run["id"] != self.run.get("id") else _transitions(lease)

    def holder(self) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """Return the Lease (None when there is none) and the run that holds it now ({} when nobody does, or nobody who lives)."""
        lease = self.resources.get(self.ref)
        if lease is None:
            return None, {}
        spec = lease.get("spec") or {}
        if not spec.get("holderIdentity"):
            return lease, {}
        try:
            run: dict[str, Any] = json.loads(((lease["metadata"].get("annotations") or {}).get(_RUN)) or "{}")
        except ValueError:
            run = {}
        run = {"id": spec["holderIdentity"], **run}
        if run["id"] == self.run.get("id"):
            return lease, run
        left, alive = self._seconds_left(spec), lives(run)
        # Between its tasks a run waits for the others of its wave; while its process lives, it goes on. Of two runs of one process the first is over.
        if alive is False or (left <= 0 and not (alive and run["pid"] != self.run.get("pid"))):
            return lease, {}
        return lease, {**run, "seconds_left": math.ceil(left)}

    def check(self, *, removed: bool = False) -> None:
        """Raise Held when another run holds the lease; nothing is written. ``removed`` says that this run has removed the tenant before."""
        _lease, run = self.holder()
        if run and run["id"] != self.run.get("id"):
            raise self.reborn(run) if removed else self._held(run)

    def acquire(self) -> None:
        """Take the lease, or renew it when it is ours. Raises Held."""

        def attempt() -> None:
            lease, run = self.holder()
            if run and run["id"] != self.run["id"]:
                raise self._held(run)
            if not self._ours(lease) and self._seen not in (None, _transitions(lease)):
                raise self.superseded()
            self._write(lease, self.run["id"])

        self._until_written(attempt)

    def renew(self) -> None:
        """Renew the lease. Raises Held when it is not ours any more: whoever took it has undone what this run did, or is about to."""

        def attempt() -> None:
            lease = self.resources.get(self.ref)
            if not self._ours(lease):
                raise self.superseded()
            self._write(lease, self.run["id"])

        self._until_written(attempt)

    def release(self) -> None:
        """Let the lease go when it is ours."""
        lease, run = self.holder()
        if lease is not None and run.get("id") == self.run["id"]:
            self._write(lease, None)

    def remove(self) -> None:
        """Delete the lease of a tenant that is gone. Raises Held when another run that may be alive has it."""

        def attempt() -> None:
            lease, run = self.holder()
            if run and run["id"] != self.run.get("id"):
                raise self.reborn(run)
            if lease is not None:
                self.resources.delete(self.ref, version=lease["metadata"]["resourceVersion"])

        self._until_written(attempt)

    def reborn(self, run: Mapping[str, Any]) -> Held:
        """Return what is raised when ``run`` ({}: one that is not known) has begun on a tenant that this one has just removed."""
        who = shown(run) if run else "another run"
        return Held(f"tenant {self.tenant} was removed, and {who} has begun to change it since: its lease and its journal stay")

    def guard(self) -> None:
        """Call before a write. Raises Held when another run has taken the lease, or may have; after that, nothing may be written any more.

        A process that stood still (stopped, or its machine asleep) for longer than the lease lasts asks before it goes on. A task outlives its
        playbook that was killed (each is in a session of its own), and whoever comes next does not wait for the dead.
        """
        self._alive()
        if self._heard is not None and _clock() - self._heard > self.seconds - RENEW_SECONDS:
            self.renew()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the lease in the background while the body works."""
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(RENEW_SECONDS):
                try:
                    self._alive()
                    self.renew()
                except Held as error:
                    self._lost = error
                    return
                except PlatformError:
                    continue  # an API server that is away for a moment; if it stays away, the writes fail with their own sentence

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _alive(self) -> None:
        """Raise Held when this run has lost the lease, or its playbook was killed."""
        if self._lost is None and is_orphan():
            self._lost = Held(f"tenant {self.tenant}: the playbook of this run was killed, so that it writes nothing any more; the next run clears up")
        if self._lost is not None:
            raise self._lost

    def _ours(self, lease: Mapping[str, Any] | None) -> bool:
        return bool(lease) and ((lease or {}).get("spec") or {}).get("holderIdentity") == self.run["id"]

    def _until_written(self, attempt: Callable[[], None]) -> None:
        """Try until nobody else writes the lease at the same moment."""
        while True:
            before = _clock()
            try:
                attempt()
            except ApiError as error:
                if error.status == 409:  # somebody was faster: look again who
                    continue
                if error.not_found:
                    raise PlatformError(f"namespace {SYSTEM_NAMESPACE} does not exist: the platform is not installed; run deploy_platform.yml") from error
                raise
            self._heard = before
            return

    def superseded(self) -> Held:
        """Return what is raised when another run has had the tenant since this one looked at it."""
        return Held(
            f"tenant {self.tenant}: another run has changed it since this one looked at it, so this one stops before its next write; "
            "run it again: it begins with what is there now"
        )

    def _held(self, run: Mapping[str, Any]) -> Held:
        left = run.get("seconds_left", LEASE_SECONDS)
        ends = f"if its machine is gone, its lease ({self.ref}) ends by itself in at most {left} s"
        if left <= 0:
            ends = f"its lease ({self.ref}) has expired, but its process {run['pid']} lives on this machine: if it hangs, end that process, then run again"
        return Held(f"tenant {self.tenant} is being changed by {shown(run)}; nothing was changed by this run. Wait for its end; {ends}")

    def _seconds_left(self, spec: Mapping[str, Any]) -> float:
        renewed = datetime.strptime(str(spec.get("renewTime")), _TIME).replace(tzinfo=UTC).timestamp()
        return renewed + float(spec.get("leaseDurationSeconds") or LEASE_SECONDS) - self.resources.client.now()

    def _write(self, lease: Mapping[str, Any] | None, holder: str | None) -> None:
        self._alive()
        now = datetime.fromtimestamp(self.resources.client.now(), UTC).strftime(_TIME)
        before = (lease or {}).get("spec") or {}
        ours = holder is not None and before.get("holderIdentity") == holder
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": self.seconds,
            "acquireTime": before.get("acquireTime") if ours else now,
            "renewTime": now,
            "leaseTransitions": _transitions(lease) + (0 if ours or holder is None else 1),
        }
        metadata: dict[str, Any] = {
            "name": self.ref.name,
            "namespace": self.ref.namespace,
            "labels": {"app.kubernetes.io/managed-by": PREFIX, TENANT_LABEL: self.tenant},
            "annotations": {_RUN: json.dumps(self.run, sort_keys=True)} if holder else {},
        }
        wanted = {"apiVersion": self.ref.api_version, "kind": self.ref.kind, "metadata": metadata, "spec": spec}
        if lease is None:
            self.resources.create(wanted)
        else:
            metadata["resourceVersion"] = lease["metadata"]["resourceVersion"]
            self.resources.replace(wanted)


def _transitions(lease: Mapping[str, Any] | None) -> int:
    return int(((lease or {}).get("spec") or {}).get("leaseTransitions") or 0)


def _clock() -> float:
    """Return seconds that go on while the machine sleeps, where it can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
