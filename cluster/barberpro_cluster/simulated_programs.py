"""What the simulated profile runs: the embedded cluster's control plane on loopback, and kwok in place of nodes."""

from __future__ import annotations

import json
import random
import shlex
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import control_plane
from .errors import ClusterError
from .layout import NODE, Layout
from .shell import write_if_changed

HOST = "127.0.0.1"
POD_RANGE = "10.64.0.1/10"
"""First address and range of the simulated pods: more than four million."""

PORT_NAMES = ("apiserver", "etcd", "etcd-peer", "controller-manager", "scheduler")
# Below the range that the kernel gives to outgoing connections, so that a kept port is free after a restart.
FIRST_PORT, LAST_PORT = 20000, 29999

# A thousand tenants are converged at once on two cores: the controllers must not hold themselves back. A namespace that goes costs more than a
# hundred requests, two for each kind.
_CLIENT = {"--kube-api-qps": "1000", "--kube-api-burst": "2000"}
_CONTROLLERS = {"deployment": 20, "replicaset": 20, "endpoint": 20, "service-endpoint": 20, "resource-quota": 20,
                "namespace": 20, "serviceaccount-token": 20}  # fmt: skip


_ENVIRONMENT = ",".join(f'{name}="{value}"' for name, value in control_plane.go_environment("2GiB"))


@dataclass(frozen=True)
class SimulatedLayout(Layout):
    """The paths of one simulated cluster: `.embedded/simulated` of the checkout, or another folder."""

    folder: Path | None = None

    @property
    def state(self) -> Path:
        """The folder with all state of the simulated cluster."""
        return self.folder or self.checkout / ".embedded" / "simulated"

    @property
    def definitions(self) -> Path:
        """The folder with what kwok simulates."""
        return self.checkout / "cluster" / "simulated"


def ports(layout: Layout, running: bool) -> dict[str, int]:
    """The ports of the cluster by name: those of the last start, unless another program took one meanwhile."""
    path = layout.state / "ports.json"
    kept: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    if running and set(kept) == set(PORT_NAMES):
        return kept
    chosen: dict[str, int] = {}
    for name in PORT_NAMES:
        port = kept.get(name)
        kept_is_good = port and port not in chosen.values() and _soon_free(port)
        chosen[name] = port if port and kept_is_good else _random_port(chosen)
    write_if_changed(path, json.dumps(chosen, indent=1) + "\n")
    return chosen


def _soon_free(port: int) -> bool:
    """Whether a kept port is free, or gets so: the threads of a process that was killed may end a moment after it."""
    deadline = time.monotonic() + 2.0
    while not _free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _random_port(taken: Mapping[str, int]) -> int:
    for _ in range(1000):
        port = random.randint(FIRST_PORT, LAST_PORT)
        if port not in taken.values() and _free(port):
            return port
    raise ClusterError(f"no free port between {FIRST_PORT} and {LAST_PORT} on {HOST}; stop what uses them")


def adapted(words: list[str], state: Path, changes: Mapping[str, str]) -> list[str]:
    """A command line of the embedded cluster with this cluster's paths, and with other values for some options."""
    kept = [word.replace(f"{NODE}/", f"{state}/") for word in words if word.partition("=")[0] not in changes]
    return kept + [f"{option}={value}" for option, value in changes.items()]


def commands(layout: SimulatedLayout, port: Mapping[str, int]) -> dict[str, list[str]]:
    """The command line of every process by its name, in the order in which they need each other."""
    state = layout.state
    client_url = f"https://{HOST}:{port['etcd']}"
    peer_url = f"http://{HOST}:{port['etcd-peer']}"
    controllers = {f"--concurrent-{name}-syncs": str(count) for name, count in _CONTROLLERS.items()}
    return {
        "etcd": _program(state, "etcd", control_plane.etcd(), {
            "--name": "simulated",
            "--listen-client-urls": client_url, "--advertise-client-urls": client_url,
            "--listen-peer-urls": peer_url, "--initial-advertise-peer-urls": peer_url,
            "--initial-cluster": f"simulated={peer_url}",
            "--auto-compaction-retention": "5m",
        }),
        "kube-apiserver": _program(state, "kube-apiserver", control_plane.api_server(HOST), {
            "--bind-address": HOST, "--secure-port": str(port["apiserver"]), "--etcd-servers": client_url,
            # A loopback address cannot be an endpoint of the Service `kubernetes`, and no pod is there to use it.
            "--endpoint-reconciler-type": "none",
        }),
        "kube-controller-manager": _program(state, "kube-controller-manager", control_plane.controller_manager(), {
            "--secure-port": str(port["controller-manager"]), **_CLIENT, **controllers,
        }),
        "kube-scheduler": _program(state, "kube-scheduler", control_plane.scheduler(), {
            "--secure-port": str(port["scheduler"]), **_CLIENT,
        }),
        "kwok": [
            f"{state}/bin/kwok", f"--kubeconfig={state}/kubeconfigs/kwok", "--manage-all-nodes",
            f"--config={layout.definitions}/stages.yaml", "--node-lease-duration-seconds=40",
            f"--cidr={POD_RANGE}", f"--node-ip={HOST}",
        ],
    }  # fmt: skip


def _program(state: Path, name: str, words: list[str], changes: Mapping[str, str]) -> list[str]:
    return [f"{state}/bin/{name}", *adapted(words, state, changes)]


def supervisor_config(layout: SimulatedLayout, programs: Mapping[str, list[str]]) -> str:
    """supervisord's configuration. It has no socket: it is ended by a signal, and a change restarts everything."""
    sections = [
        "[supervisord]\nnodaemon=true\nminfds=1024\n"
        f"logfile={_value(layout.logs / 'supervisord.log')}\nlogfile_maxbytes=5MB\nlogfile_backups=1\n"
        f"pidfile={_value(layout.state / 'supervisord.pid')}\n"
    ]
    for priority, (name, words) in enumerate(programs.items()):
        sections.append(
            f"[program:{name}]\ncommand={_value(shlex.join(words))}\npriority={priority}\n"
            f"stdout_logfile={_value(layout.logs / f'{name}.log')}\n"
            "stdout_logfile_maxbytes=20MB\nstdout_logfile_backups=1\nredirect_stderr=true\n"
            # A part that cannot reach another one yet ends and is started again until it can.
            f"environment={_ENVIRONMENT}\nautostart=true\nautorestart=true\nstartsecs=0\nstartretries=1000000\nstopwaitsecs=8\n"
        )
    return "\n".join(sections)


def _value(text: str | Path) -> str:
    return str(text).replace("%", "%%")
