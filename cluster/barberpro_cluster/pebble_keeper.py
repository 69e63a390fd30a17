"""Runs Pebble and saves the root certificate that it makes at each start (it cannot be given one).

The file keeps the roots of earlier starts too, so that a certificate issued before a restart still verifies. Arguments:
program, configuration file, DNS server, file of roots, authority of Pebble's own HTTPS. Standard library only.
"""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT_URL = "https://127.0.0.1:15000/roots/0"


def fetch_root(authority: Path, timeout: float = 30.0) -> str:
    """The root certificate (PEM) that the running Pebble signs with; raises OSError when it does not answer."""
    context = ssl.create_default_context(cafile=str(authority))
    deadline = time.monotonic() + timeout
    while True:
        try:
            with urllib.request.urlopen(ROOT_URL, timeout=5, context=context) as response:
                return str(response.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def add_root(path: Path, root: str) -> None:
    """Put the root first in the file, unless it is there already."""
    known = path.read_text() if path.exists() else ""
    if root.strip() in known:
        return
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(root.strip() + "\n" + known)
    temporary.rename(path)


def main(program: str, config: str, dns: str, roots: str, authority: str) -> int:
    """Run Pebble until it ends; a signal to stop is passed on."""
    environment = {
        **os.environ,
        # Validate at once, refuse no good nonce, validate every order anew.
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_WFE_NONCEREJECT": "0",
        "PEBBLE_AUTHZREUSE": "0",
    }
    process = subprocess.Popen([program, "-config", config, "-dnsserver", dns], env=environment)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        add_root(Path(roots), fetch_root(Path(authority)))
    except OSError as problem:
        print(f"Pebble does not show its root certificate: {problem}", flush=True)
        process.terminate()
    return process.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
