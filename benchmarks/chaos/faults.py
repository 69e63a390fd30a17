"""Makes the faults, on this checkout's embedded cluster and nowhere else."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos import image
from benchmarks.chaos.plan import Deploy
from tests.support import cluster, outages

PLATFORM_NAMESPACES = ("barberpro-gateway", "barberpro-monitoring")


@dataclass
class Armed:
    """A fault that is ready: what it adds to the environment and the variables of the run, and what is done to it at its moment."""

    environment: dict[str, str] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    strike: Callable[[subprocess.Popen[str]], None] | None = None


@contextmanager
def armed(deploy: Deploy, work: Path) -> Iterator[Armed]:
    """Prepare the fault of a deploy, and take back afterwards what lasts. ``work`` is a folder for its files."""
    with _MAKERS[deploy.fault](deploy, work) as found:
        yield found


@contextmanager
def _none(_deploy: Deploy, _work: Path) -> Iterator[Armed]:
    yield Armed()


@contextmanager
def _pods_killed(deploy: Deploy, _work: Path) -> Iterator[Armed]:
    def strike(_process: subprocess.Popen[str]) -> None:
        pods = [pod for namespace in (f"tenant-{deploy.tenant}", *PLATFORM_NAMESPACES) for pod in cluster.objects("pods", "-n", namespace)]
        running = [pod["metadata"] for pod in pods if pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")]
        victim = deploy.chosen(running)
        cluster.kubectl("delete", "pod", victim["name"], "-n", victim["namespace"], "--grace-period=0", "--force", "--wait=false")

    yield Armed(strike=strike)


@contextmanager
def _image_missing(deploy: Deploy, _work: Path) -> Iterator[Armed]:
    reference = image.without_a_layer(deploy.number) if deploy.layer_gone else image.unknown(deploy.number)
    yield Armed(variables={"image_overrides": {"booking": reference}})


@contextmanager
def _api_server_restarted(_deploy: Deploy, _work: Path) -> Iterator[Armed]:
    def strike(_process: subprocess.Popen[str]) -> None:
        outages.restart_api_server()

    yield Armed(strike=strike)


@contextmanager
def _database_restarted(_deploy: Deploy, _work: Path) -> Iterator[Armed]:
    def strike(_process: subprocess.Popen[str]) -> None:
        outages.restart_database()

    yield Armed(strike=strike)


@contextmanager
def _packet_loss(deploy: Deploy, _work: Path) -> Iterator[Armed]:
    with outages.packets_lost(deploy.loss, f"chaos_{deploy.number}"):
        yield Armed()


@contextmanager
def _disk_full(_deploy: Deploy, work: Path) -> Iterator[Armed]:
    folder = work / "full"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "barberpro-chaos", str(folder)], check=True)
    try:
        with (folder / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"\0" * 4096)
            except OSError:  # no byte is left
                pass
        yield Armed(variables={"pipeline_report_path": str(folder)})
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def _clock_skew(deploy: Deploy, work: Path) -> Iterator[Armed]:
    library = work / "wrong_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O", "-o", str(library), str(Path(__file__).with_name("wrong_clock.c"))], check=True)
    yield Armed(environment={"LD_PRELOAD": str(library), "WRONG_CLOCK_SECONDS": str(deploy.skew)})


@contextmanager
def _runner_killed(_deploy: Deploy, _work: Path) -> Iterator[Armed]:
    yield Armed(strike=lambda process: os.killpg(process.pid, signal.SIGKILL))


_MAKERS: Mapping[str, Callable[[Deploy, Path], Any]] = {
    "none": _none,
    "pods_killed": _pods_killed,
    "image_missing": _image_missing,
    "api_server_restarted": _api_server_restarted,
    "database_restarted": _database_restarted,
    "packet_loss": _packet_loss,
    "disk_full": _disk_full,
    "clock_skew": _clock_skew,
    "runner_killed": _runner_killed,
}
