"""The `simulated` profile: a real control plane on loopback, nodes and pods by kwok; no root and no containers.

It serves integration and scale tests. Everything is in one folder, so two run side by side, also of one checkout:
`python -m barberpro_cluster.simulated up --state DIR`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from . import binaries, control_plane, crds, kubeconfigs, kubectl, pki
from .console import say, step, warn
from .errors import ClusterError
from .layout import Layout
from .shell import locked, run, write_if_changed
from .simulated_programs import HOST, SimulatedLayout, commands, ports, supervisor_config

START_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0
INSTALLED = ("gateway_api", "prometheus_operator")
"""Definitions that the objects of tenants need; those of Envoy Gateway come with it, where it is installed."""
PARTS = 3
"""How many kubectl install definitions side by side: the API server spends a second of CPU on a large one."""
REMOVED = ".removed-"
TEST_LABEL = {"barberpro.platform/cluster": "test"}


def layout_of(checkout: Path, state: Path | None = None) -> SimulatedLayout:
    """The layout of the simulated cluster of a checkout, or of one in a folder of its own."""
    base = Layout.of(checkout)
    return SimulatedLayout(checkout=base.checkout, cache=base.cache, folder=state.resolve() if state else None)


def up(layout: SimulatedLayout) -> None:
    """Start the cluster, or do nothing when it runs as it should; raises ClusterError when it does not come up."""
    started = time.monotonic()
    _clear_removed(layout)
    layout.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(layout.state / "lock"):
        binaries.ensure(layout, binaries.SIMULATED)
        definitions = crds.files(layout)
        alive = supervisor_pid(layout)
        if alive is not None and _stopping(layout).exists():
            stop(layout)  # a stop that was killed had asked it to end, and it serves nobody any more
            alive = None
        if alive is None:
            _end_orphans(layout)  # they would hold the kept ports
        port = ports(layout, running=alive is not None)
        changed = _configure(layout, port)
        if alive is not None and changed:
            say("==> the simulated cluster's configuration changed: it is started again")
            stop(layout)
            alive = None
        if alive is None:
            for mark in (layout.state / "supervisord.pid", _stopping(layout)):
                mark.unlink(missing_ok=True)
            _start_supervisor(layout)
        _wait_ready(layout, port["apiserver"])
        _install(layout, definitions)
        write_if_changed(layout.facts, json.dumps(facts(layout, definitions), indent=1) + "\n")
    state = "runs already" if alive is not None else f"is up after {time.monotonic() - started:.1f} s"
    say(f"The simulated cluster {state}: export KUBECONFIG={layout.kubeconfig}")


def down(layout: SimulatedLayout) -> None:
    """End every process of the cluster and remove its state, which is first moved aside at once: half a state is none that could be started."""
    _clear_removed(layout)
    if not layout.state.exists():
        say("The simulated cluster does not run and has no state.")
        return
    with locked(layout.state / "lock"):
        stop(layout)
        layout.state.rename(layout.state.with_name(f"{layout.state.name}{REMOVED}{os.getpid()}"))
    _clear_removed(layout)
    say("The simulated cluster is gone; its programs stay in the cache.")


def _clear_removed(layout: SimulatedLayout) -> None:
    for old in layout.state.parent.glob(f"{layout.state.name}{REMOVED}*"):
        run(["rm", "-rf", "--", old])


def status(layout: SimulatedLayout) -> bool:
    """Say whether the cluster runs and how many nodes are ready; returns whether it does."""
    if supervisor_pid(layout) is None:
        say("The simulated cluster does not run; start it with `make cluster PROFILE=simulated`.")
        return False
    version = json.loads(kubectl.kubectl(layout, "version", "-o", "json"))["serverVersion"]["gitVersion"]
    nodes = kubectl.get(layout, "nodes")["items"]
    say(f"The simulated cluster runs Kubernetes {version} with {len(nodes)} simulated nodes: {layout.kubeconfig}")
    return True


def facts(layout: SimulatedLayout, definitions: dict[str, list[Path]]) -> dict[str, object]:
    """The facts file: of the same form as the embedded cluster's, without what a simulated one does not have."""
    return {
        "profile": "simulated",
        "node_ip": HOST,
        "host_ip": HOST,
        "kubeconfig": str(layout.kubeconfig),
        "deployer_kubeconfig": str(layout.deployer_kubeconfig),
        "kubectl": str(layout.state / "bin" / "kubectl"),
        "crds": {key: [str(path) for path in paths] for key, paths in definitions.items()},
    }


def stop(layout: SimulatedLayout) -> None:
    """End supervisord and with it every process; what outlived a killed supervisord is ended too."""
    pid = supervisor_pid(layout)
    if pid is not None:
        _stopping(layout).touch()
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT
        while supervisor_pid(layout) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        if supervisor_pid(layout) is not None:
            os.kill(pid, signal.SIGKILL)
    _end_orphans(layout)


def supervisor_pid(layout: SimulatedLayout) -> int | None:
    """Process id of this cluster's supervisord; None when it does not run."""
    config = str(_config_file(layout))
    for pid, words in _processes():
        if config in words and "supervisor.supervisord" in words:
            return pid
    return None


def _stopping(layout: SimulatedLayout) -> Path:
    """The mark that supervisord was asked to end: it takes seconds, and looks like one at work meanwhile."""
    return layout.state / "stopping"


def _config_file(layout: SimulatedLayout) -> Path:
    return layout.state / "supervisord.conf"


def _processes() -> list[tuple[int, list[str]]]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            raw = (entry / "cmdline").read_bytes()
        except OSError:  # it ended while we looked, or belongs to somebody who hides it
            continue
        if raw:
            found.append((int(entry.name), raw.decode(errors="replace").rstrip("\0").split("\0")))
    return found


def _end_orphans(layout: SimulatedLayout) -> None:
    """End processes whose supervisord was killed: their program is one of this cluster's own links."""
    prefix = f"{layout.state}/bin/"
    deadline = time.monotonic() + STOP_TIMEOUT
    while orphans := [pid for pid, words in _processes() if words[0].startswith(prefix)]:
        if time.monotonic() > deadline:
            raise ClusterError(f"processes {', '.join(map(str, orphans))} of {prefix} do not end; end them by hand")
        for pid in orphans:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # ended by itself meanwhile
                continue
        time.sleep(0.05)


def _configure(layout: SimulatedLayout, port: dict[str, int]) -> bool:
    """Write keys, kubeconfigs and configuration; returns whether processes that run must be started again."""
    before = _digest_inputs(layout)
    pki.ensure(layout, HOST, (pki.Leaf("kwok", "kwok", "system:masters"),))
    control_plane.write_config(layout)
    targets = {layout.kubeconfig: "admin", layout.deployer_kubeconfig: "deployer"}
    for name in ("controller-manager", "scheduler", "kwok"):
        targets[layout.state / "kubeconfigs" / name] = name
    for path, certificate in targets.items():
        write_if_changed(path, _kubeconfig(layout, port["apiserver"], certificate), mode=0o600)
    config = supervisor_config(layout, commands(layout, port))
    changed = write_if_changed(_config_file(layout), config, mode=0o600)
    return _digest_inputs(layout) != before or changed


def _digest_inputs(layout: SimulatedLayout) -> dict[str, bytes | str]:
    """Content of every file that the processes read when they start, and what the links of the programs name."""
    content: dict[str, bytes | str] = {}
    for folder in ("pki", "config", "kubeconfigs"):
        for path in sorted((layout.state / folder).glob("*")):
            content[str(path)] = path.read_bytes()
    return content


def _kubeconfig(layout: SimulatedLayout, port: int, certificate: str) -> str:
    document = yaml.safe_load(kubeconfigs.render(layout, HOST, certificate))
    document["clusters"][0]["cluster"]["server"] = f"https://{HOST}:{port}"
    return yaml.safe_dump(document, sort_keys=True)


def _start_supervisor(layout: SimulatedLayout) -> None:
    layout.logs.mkdir(mode=0o700, exist_ok=True)
    log = layout.logs / "supervisord.out"
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            # -m: the script's first line names the interpreter of the checkout that made the environment.
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", _config_file(layout)],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=layout.state, start_new_session=True,
            env={**environment, "HOME": str(layout.state)},
        )  # fmt: skip
    deadline = time.monotonic() + START_TIMEOUT
    while not (layout.state / "supervisord.pid").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            raise ClusterError(f"supervisord of the simulated cluster did not start; the end of {log}:\n{tail}")
        time.sleep(0.02)


def _wait_ready(layout: SimulatedLayout, port: int) -> None:
    with step("waiting for the API server"):
        context = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
        deadline = time.monotonic() + START_TIMEOUT
        answer = "no answer"
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"https://{HOST}:{port}/readyz", timeout=5, context=context):
                    return
            except OSError as problem:  # HTTPError is one too
                answer = str(problem)
            time.sleep(0.1)
    log = layout.logs / "kube-apiserver.log"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:]) if log.exists() else "(no log)"
    raise ClusterError(
        f"the simulated API server at {HOST}:{port} is not ready after {START_TIMEOUT:.0f} s ({answer}); "
        f"the end of {log}:\n{tail}"
    )


def _install(layout: SimulatedLayout, definitions: dict[str, list[Path]]) -> None:
    """Label the cluster, make the nodes, install the definitions and wait until all of them serve."""
    label = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "labels": TEST_LABEL}}
    paths = [path for key in INSTALLED for path in definitions[key]]
    texts = [json.dumps(label) + "\n---\n" + (layout.definitions / "nodes.yaml").read_text()]
    # Round-robin, so that the few large definitions are not all in one part.
    texts += ["\n---\n".join(path.read_text() for path in paths[part::PARTS]) for part in range(PARTS)]
    # The mark is removed with the cluster's data, so it says what the data holds.
    mark, digest = layout.state / "installed", hashlib.sha256("".join(texts).encode()).hexdigest()
    if mark.exists() and mark.read_text() == digest:
        return
    with step("nodes and custom resource definitions"), ThreadPoolExecutor(PARTS) as pool:
        list(pool.map(lambda text: kubectl.apply(layout, text), texts))
        waits = [["nodes", "--all"], *([f"--filename={path}" for path in paths[part::PARTS]] for part in range(PARTS))]
        conditions = ["Ready"] + ["Established"] * PARTS
        list(pool.map(lambda words, condition: _wait(layout, f"condition={condition}", *words), waits, conditions))
        _wait(layout, "create", "--namespace=default", "serviceaccount/default")
    write_if_changed(mark, digest)


def _wait(layout: SimulatedLayout, what: str, *words: str) -> None:
    kubectl.kubectl(layout, "wait", f"--for={what}", "--timeout=60s", *words)


def main(arguments: list[str] | None = None) -> int:
    """Command line: up, down or status; returns the exit code."""
    parser = argparse.ArgumentParser(prog="barberpro_cluster.simulated", description=__doc__)
    parser.add_argument("action", choices=("up", "down", "status"))
    parser.add_argument("--checkout", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--state", type=Path, help="folder for another cluster than the checkout's")
    options = parser.parse_args(arguments)
    layout = layout_of(options.checkout, options.state)
    try:
        if options.action == "status":
            return 0 if status(layout) else 1
        (up if options.action == "up" else down)(layout)
    except ClusterError as problem:
        warn(f"ERROR: {problem}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
