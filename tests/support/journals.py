"""Follows the journals that runs keep in barberpro-system from outside, so that something can happen at a point of a run that the test chooses."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.support import cluster


@contextmanager
def at_write(tenant: str, number: int, act: Callable[[], object]) -> Iterator[threading.Event]:
    """Act as soon as a tenant's journal has been written so many times, and yield what is set when that begins. The body waits for the end of the run.

    At the end what was begun is waited for; raises what ``act`` raised.
    """
    facts = cluster.facts()
    command = [facts["kubectl"], "--kubeconfig", facts["kubeconfig"], "get", "secrets", "-n", "barberpro-system", "--watch-only"]
    command += ["--field-selector", f"metadata.name=journal-{tenant}", "-o", "name"]
    reached, over = threading.Event(), threading.Event()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch, ThreadPoolExecutor(max_workers=1) as pool:
        assert watch.stdout is not None
        lines = watch.stdout

        def follow() -> None:
            for seen, _line in enumerate(lines, start=1):
                if over.is_set():
                    return
                if seen == number:
                    reached.set()
                    act()
                    return

        following = pool.submit(follow)
        try:
            yield reached
        finally:
            over.set()
            watch.kill()
        following.result()
