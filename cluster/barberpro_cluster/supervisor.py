"""The processes of the node, kept by supervisord.

supervisord is the first process of a PID namespace inside the node's network, mount and host-name namespaces. So the
end of that one process ends everything (containers too), and the kernel drops every mount with it.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import cgroups
from .errors import ClusterError
from .layout import NODE, NODE_NAME, Layout, in_node
from .shell import run, write_if_changed

SOCKET = in_node("run", "supervisor.sock")

HEADER = f"""\
[unix_http_server]
file={SOCKET}
chmod=0700

[supervisord]
nodaemon=true
user=root
logfile={in_node("logs", "supervisord.log")}
logfile_maxbytes=5MB
logfile_backups=1
pidfile={in_node("run", "supervisord.pid")}
minfds=16384

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{SOCKET}
"""

# Values that kubelet demands of the kernel. It would write them to the host; it finds them in files that are mounted
# over these sysctls in the node's mount namespace instead, and leaves the host as it is.
KERNEL_TUNABLES = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


@dataclass(frozen=True)
class Program:
    """One process: its command line, and the files whose change asks for a restart."""

    name: str
    command: list[str]
    files: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


def render(programs: list[Program], state: Path) -> str:
    """supervisord's configuration; each program carries a digest of its files, so that `update` sees a change."""
    sections = [HEADER]
    for program in programs:
        digest = hashlib.sha256()
        # A program built anew has another folder in the cache, which its link in bin/ names.
        for word in program.command:
            if word.startswith(in_node("bin", "")):
                digest.update(os.readlink(state / "bin" / Path(word).name).encode())
        for name in program.files:
            digest.update((state / name).read_bytes())
        variables = (*program.environment, ("BARBERPRO_CONFIG", digest.hexdigest()[:16]))
        sections.append(
            f"[program:{program.name}]\n"
            f"command={' '.join(program.command).replace('%', '%%')}\n"
            f"environment={','.join(f'{key}={chr(34)}{value}{chr(34)}' for key, value in variables)}\n"
            f"stdout_logfile={in_node('logs', program.name + '.log')}\n"
            "stdout_logfile_maxbytes=20MB\nstdout_logfile_backups=1\nredirect_stderr=true\n"
            # A part that cannot reach another one yet ends and is started again until it can.
            "autostart=true\nautorestart=true\nstartsecs=1\nstartretries=1000000\nstopwaitsecs=8\n"
        )
    return "\n".join(sections)


def init_script(layout: Layout) -> str:
    """What the first process does in its new namespaces before it becomes supervisord."""
    state = layout.state
    binds = "".join(f"mount --bind {NODE}/sysctl/{name.replace('/', '.')} /proc/sys/{name}\n" for name in KERNEL_TUNABLES)
    # supervisord comes from this interpreter's environment, whatever PATH says.
    program = Path(sys.executable).parent / "supervisord"
    joins = "".join(f"echo 0 > {_quoted(path)}\n" for path in cgroups.system(layout))
    return (
        f"{joins}"
        "mount --make-rshared /\n"
        "mount -t tmpfs -o mode=755 tmpfs /run\n"
        f"mkdir -p {NODE} /run/lock\n"
        f"mount --bind {_quoted(state)} {NODE}\n"
        f"mount --bind {NODE}/var/lib /var/lib\n"
        f"mount --bind {NODE}/var/log /var/log\n"
        f"{binds}"
        f"hostname {NODE_NAME}\n"
        f"cd {NODE}\n"
        f"exec {_quoted(program)} -n -c {NODE}/supervisord.conf\n"
    )


def ensure(layout: Layout, programs: list[Program]) -> bool:
    """Start supervisord, or let the running one take over what changed; returns whether anything was started."""
    for name, value in KERNEL_TUNABLES.items():
        write_if_changed(layout.state / "sysctl" / name.replace("/", "."), value + "\n")
    write_if_changed(layout.state / "supervisord.conf", render(programs, layout.state))
    if init_pid(layout) is None:
        _start(layout)
        return True
    # Also when the file is as wanted: a run that was interrupted may have written it and no more, or stopped programs that it was to start again.
    # supervisord compares the file with what it runs, and says nothing when they are equal.
    return bool(control(layout, "update").strip())


def control(layout: Layout, *words: str) -> str:
    """Run supervisorctl inside the node."""
    program = Path(sys.executable).parent / "supervisorctl"
    return run([*enter(layout), program, "-c", in_node("supervisord.conf"), *words])


def states(layout: Layout) -> list[str]:
    """One line for each process: name, state, process id inside the node, how long it runs."""
    program = Path(sys.executable).parent / "supervisorctl"
    # supervisorctl answers with an exit code of its own when a process is not running: the lines are what counts.
    command = [*enter(layout), str(program), "-c", in_node("supervisord.conf"), "status"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def enter(layout: Layout) -> list[str]:
    """The words that run a command inside the node's namespaces; raises ClusterError when the node is not running."""
    pid = init_pid(layout)
    if pid is None:
        raise ClusterError("the embedded cluster of this checkout is not running; start it with `make cluster`")
    return ["nsenter", f"--target={pid}", "--mount", "--net", "--pid", "--uts", "--"]


def init_pid(layout: Layout) -> int | None:
    """Process id, as the host sees it, of the node's first process; None when the node is not running."""
    handle = Path("/run/netns", layout.namespace)
    if not handle.exists():
        return None
    wanted = handle.stat().st_ino
    depth = len(_pid_chain(Path("/proc/self")))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/net").stat().st_ino != wanted:
                continue
            chain = _pid_chain(process)
        except OSError:  # it ended while we looked, or is a kernel thread
            continue
        if len(chain) == depth + 1 and chain[-1] == 1:
            return int(process.name)
    return None


def kill(layout: Layout, timeout: float = 30.0) -> bool:
    """End the node with everything in it; returns whether there was anything to end."""
    handle = Path("/run/netns", layout.namespace)
    deadline = time.monotonic() + timeout
    found = False
    while handle.exists():
        pids = _inside(handle.stat().st_ino)
        if not pids:
            return found
        found = True
        if time.monotonic() > deadline:
            raise ClusterError(
                f"processes {', '.join(map(str, pids))} of the embedded cluster do not end; "
                "look at `cat /proc/PID/stack` for what they wait for, and run `make down` again"
            )
        for pid in [init_pid(layout) or 0, *pids]:
            if pid:
                _signal(pid)
        time.sleep(0.1)
    return found


def _start(layout: Layout) -> None:
    log = layout.logs / "init.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [
        "nsenter", f"--net=/run/netns/{layout.namespace}", "--",
        "unshare", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--propagation", "private", "--",
        "/bin/sh", "-ec", init_script(layout),
    ]  # fmt: skip
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd="/", start_new_session=True,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
        )  # fmt: skip
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if (layout.state / "run" / "supervisor.sock").exists() and init_pid(layout):
            return
        time.sleep(0.05)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    raise ClusterError(f"the node's first process did not start; the end of {log}:\n{tail}")


def _inside(namespace: int) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/net").stat().st_ino == namespace:
                found.append(int(process.name))
        except OSError:  # it ended while we looked
            continue
    return found


def _pid_chain(process: Path) -> list[int]:
    for line in (process / "status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return [int(word) for word in line.split()[1:]]
    return []


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # ended by itself meanwhile
        return


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"
