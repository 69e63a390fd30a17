"""Running other programs, and the small file operations that survive being killed half-way."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .console import step
from .errors import ClusterError

Argv = Sequence[str | Path]


def run(argv: Argv, *, env: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: str | None = None, builds: bool = False) -> str:
    """Run a program and return its standard output.

    With ``builds`` it ends with this process, should that be killed (where setpriv is installed, as Debian has it): otherwise it would go on writing where
    the next run builds the same thing. Where this user may make namespaces, all that it started ends too, and none of its mounts is left.

    Raises ClusterError with the program's last lines when it cannot be started or exits non-zero.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            [*(_until_killed() if builds else ()), *words],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as problem:
        raise ClusterError(f"cannot run {words[0]}: {problem.strerror}") from problem
    if done.returncode != 0:
        tail = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-15:])
        raise ClusterError(f"{' '.join(words)[:300]} failed with exit code {done.returncode}:\n{tail}")
    return done.stdout


@functools.cache
def _until_killed() -> tuple[str, ...]:
    """The words before those of a program that is to end with this process."""
    if not shutil.which("setpriv"):
        return ()
    alone, with_all_of_its = ("setpriv", "--pdeathsig=KILL", "--"), ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
    # Not everybody may, and root in an ordinary container may not either.
    return (*alone, *with_all_of_its) if succeeds([*alone, *with_all_of_its, "true"]) else alone


def succeeds(argv: Argv) -> bool:
    """Whether a program exits with 0; its output is dropped."""
    words = [str(word) for word in argv]
    return subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0


def write_if_changed(path: Path, content: str | bytes, mode: int = 0o644) -> bool:
    """Write a file through a rename, only when its content differs; returns whether it was written."""
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
    temporary.rename(path)
    return True


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on a file while the body runs; a process that dies lets go of it. Without ``wait`` the body is told whether it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                yield False
                return
            with step(f"waiting for another command to let go of {path}"):
                fcntl.flock(stream, fcntl.LOCK_EX)
        yield True
