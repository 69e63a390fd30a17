"""Command line: ``python -m barberpro_cluster [--profile simulated] up|down|status|images|vault|build|doctor|enter|conformance``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from .console import warn
from .errors import ClusterError
from .layout import Layout

COMMANDS = {
    "up": "start the cluster, or bring it to what the checkout declares",
    "down": "remove it with everything it made, except the cache",
    "status": "tell what runs",
    "images": "build the images whose sources changed and push them",
    "vault": "build Vault and its image; from now on the facts name it",
    "build": "build the binaries that the cache lacks",
    "doctor": "say what this machine lacks, touch nothing",
    "enter": "run a command inside the node, for example: enter nft list ruleset",
    "conformance": "ask the upstream NetworkPolicy tests about the policy agent",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; a refusal is printed as it is, with exit code 1."""
    parser = argparse.ArgumentParser(prog="barberpro_cluster", description=__doc__)
    parser.add_argument("command", choices=COMMANDS, help="; ".join(f"{k}: {v}" for k, v in COMMANDS.items()))
    parser.add_argument("--profile", choices=("embedded", "simulated"), default="embedded")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="the command that `enter` runs")
    arguments = parser.parse_args(argv)
    if arguments.words and arguments.command != "enter":
        # Options after the command land here; to ignore them would act on the other cluster.
        parser.error(f"{arguments.command} takes nothing behind it, but got: {' '.join(arguments.words)}")
    layout = Layout.of(Path(__file__).resolve().parents[2])
    try:
        if arguments.profile == "simulated":
            return _simulated(arguments.command)
        return _dispatch(layout, arguments.command, arguments.words)
    except ClusterError as problem:
        for line in str(problem).splitlines():
            warn(f"cluster: {line}")
        return 1
    except KeyboardInterrupt:
        warn("cluster: interrupted; run the same command again to go on")
        return 130


def _dispatch(layout: Layout, command: str, words: list[str]) -> int:
    # The commands import what they need: `doctor` runs before the Python environment exists.
    if command == "doctor":
        from . import preflight

        return preflight.report(layout)
    from . import cluster, foreign, status, supervisor

    if foreign.named():
        return foreign.dispatch(layout, command)
    if command == "enter":
        argv = supervisor.enter(layout) + (words or ["/bin/bash"])
        os.execvp(argv[0], argv)
    if command == "conformance":
        from . import conformance

        return conformance.run_suite(layout)
    if command == "build":
        from . import binaries

        binaries.ensure(layout)
        return 0
    if command == "status":
        return status.report(layout)
    {"up": cluster.up, "down": cluster.down, "images": cluster.publish, "vault": cluster.add_vault}[command](layout)
    return 0


def _simulated(command: str) -> int:
    from . import simulated

    if command not in ("up", "down", "status"):
        raise ClusterError(f"the simulated profile has no command {command}; it has up, down and status")
    return simulated.main([command])


if __name__ == "__main__":
    sys.exit(main())
