"""Try connections and say what happened: `python -m barberpro_service.probe --open HOST:PORT --closed HOST:PORT`.

Prints one JSON object a target and exits 0 iff every target is as expected (1 otherwise, 2 for wrong usage). A name
that does not resolve is as expected for nobody: it proves neither reachability nor isolation. Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any


def parse_target(text: str) -> tuple[str, int]:
    """Split `host:port` or `[v6]:port`; raises argparse.ArgumentTypeError with the reason."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT with a port of 1-65535")
    return host, int(port)


async def attempt(host: str, port: int, timeout: float) -> tuple[str, str]:
    """Try one TCP connection for `timeout` seconds; returns (open | closed | unresolved | error, what happened)."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return "unresolved", f"the name server did not answer within {timeout:g} s"
    except socket.gaierror as error:
        return "unresolved", f"the name does not resolve: {error.strerror}"
    family, kind, protocol, _, address = addresses[0]
    with socket.socket(family, kind, protocol) as connection:
        connection.setblocking(False)
        try:
            async with asyncio.timeout(timeout):
                await loop.sock_connect(connection, address)
        except TimeoutError:
            return "closed", f"no answer within {timeout:g} s"
        except OSError as error:
            if error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPERM, errno.EACCES, errno.ETIMEDOUT):
                return "closed", os.strerror(error.errno)
            return "error", str(error)
    return "open", "connected"


async def check(host: str, port: int, expected: str, timeout: float, retries: int) -> dict[str, Any]:
    """Try a target until it is as expected or `retries` more attempts failed; returns the JSON object to print."""
    started = time.monotonic()
    for number in range(retries + 1):
        actual, reason = await attempt(host, port, timeout)
        if actual == expected:
            break
        if number < retries:
            await asyncio.sleep(1)
    return {
        "target": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "expected": expected,
        "actual": actual,
        "ok": actual == expected,
        "reason": reason,
        "attempts": number + 1,
        "elapsed_seconds": round(time.monotonic() - started, 3),
    }


async def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Try all targets side by side, in the order given."""
    wanted = [(target, "open") for target in arguments.open] + [(target, "closed") for target in arguments.closed]
    return list(
        await asyncio.gather(
            *(check(host, port, expected, arguments.timeout, arguments.retries) for (host, port), expected in wanted)
        )
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line entry; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="barberpro_service.probe", description="Try connections, print what happened as JSON lines.")
    parser.add_argument("--open", action="append", default=[], type=parse_target, metavar="HOST:PORT", help="must accept a connection")
    parser.add_argument("--closed", action="append", default=[], type=parse_target, metavar="HOST:PORT", help="must not be reachable")
    parser.add_argument("--timeout", type=float, default=3.0, help="seconds for one attempt (3)")
    parser.add_argument("--retries", type=int, default=0, help="more attempts when a target is not as expected (0)")
    arguments = parser.parse_args(argv)
    if not arguments.open and not arguments.closed:
        parser.error("give at least one --open or --closed HOST:PORT")
    results = asyncio.run(run(arguments))
    for result in results:
        print(json.dumps(result), flush=True)
    return 0 if all(result["ok"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
