"""Try connections and say what happened: `python -m barberpro_service.probe --open HOST:PORT --closed HOST:PORT`.

Prints one JSON object a target and exits 0 iff every target is as expected (1 otherwise, 2 for wrong usage). A name
that does not resolve is as expected for nobody: it proves neither reachability nor isolation. Standard library only.

What must be open is tried again until it is, by any of its name's addresses. What must be closed is tried by every address
of its name, several times side by side, and one connection, or one that the target itself refused, settles it: what
has been reached once is not closed because the next attempt fails. Only what answers can be said to be closed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

# What getaddrinfo says of one address.
Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
# Outcomes of connections, what got farthest first.
FARTHEST = ("open", "refused", "error", "closed")
REACHED = ("open", "refused")
# Connections side by side to each address that must be closed: a Service may have pods of which one is reachable and the next is not.
TRIES = 3
# Linux: what makes a socket keep the messages of the network (IP_RECVERR, IPV6_RECVERR); the module socket does not name them.
RECEIVE_ERRORS = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
ICMP = (2, 3)  # the origin of such a message: ICMP, ICMPv6


def parse_target(text: str) -> tuple[str, int]:
    """Split `host:port` or `[v6]:port`; raises argparse.ArgumentTypeError with the reason."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT with a port of 1-65535")
    return host, int(port)


def rejected(connection: socket.socket) -> bool:
    """Whether a connection was refused by a message of the network (ICMP, port unreachable) and not by the target itself (TCP, reset)."""
    try:
        _data, messages, _flags, _address = connection.recvmsg(1, 512, socket.MSG_ERRQUEUE)
    except OSError:  # the queue is empty: no such message came
        return False
    return any((level, kind) in RECEIVE_ERRORS.values() and data[4] in ICMP for level, kind, data in messages)


async def connect(found: Found, timeout: float) -> tuple[str, str]:
    """Try one TCP connection to an address for `timeout` seconds; returns (open | refused | closed | error, what happened)."""
    family, kind, protocol, _, address = found
    with socket.socket(family, kind, protocol) as connection:
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # a kernel that keeps no messages: each refusal is then taken for the target's own, the stricter reading
            connection.setsockopt(*RECEIVE_ERRORS[family], 1)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().sock_connect(connection, address)
        except TimeoutError:
            return "closed", f"no answer within {timeout:g} s"
        except ConnectionRefusedError as error:
            return ("closed", "rejected on the way") if rejected(connection) else ("refused", os.strerror(error.errno or errno.ECONNREFUSED))
        except OSError as error:
            if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPERM, errno.EACCES, errno.ETIMEDOUT):
                return "closed", os.strerror(error.errno)
            return "error", str(error)
    return "open", "connected"


async def attempt(host: str, port: int, timeout: float, tries: int = 1) -> tuple[str, str]:
    """Try all addresses of a host side by side, each `tries` times; returns (open | refused | error | closed | unresolved, what happened).

    What got farthest counts: open when any connection was made, closed when nothing got through to any address.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return "unresolved", f"the name server did not answer within {timeout:g} s"
    except socket.gaierror as error:
        return "unresolved", f"the name does not resolve: {error.strerror}"
    places = [found for found in addresses for _turn in range(tries)]
    seen = await asyncio.gather(*(connect(found, timeout) for found in places))
    (actual, reason), farthest = min(zip(seen, places, strict=True), key=lambda item: FARTHEST.index(item[0][0]))
    return actual, reason if len(addresses) == 1 else f"{farthest[4][0]}: {reason}"


async def check(host: str, port: int, expected: str, timeout: float, retries: int) -> dict[str, Any]:
    """Try a target until it is as expected, or must not be and was reached, or `retries` more attempts failed; returns the JSON object to print."""
    started = time.monotonic()
    for number in range(retries + 1):
        actual, reason = await attempt(host, port, timeout, TRIES if expected == "closed" else 1)
        if actual == expected or (expected == "closed" and actual in REACHED):
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
    await asyncio.sleep(arguments.settle)
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
    parser.add_argument("--retries", type=int, default=0, help="more attempts when a target is not as expected; none once a closed one was reached (0)")
    parser.add_argument("--settle", type=float, default=0.0, help="seconds before the first attempt, where the network's rules come after the pod (0)")
    arguments = parser.parse_args(argv)
    if not arguments.open and not arguments.closed:
        parser.error("give at least one --open or --closed HOST:PORT")
    results = asyncio.run(run(arguments))
    for result in results:
        print(json.dumps(result), flush=True)
    return 0 if all(result["ok"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
