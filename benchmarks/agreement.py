"""Do we agree with cyclonus and network-config-analyzer about who reaches whom? `make agreement`.

Asks all three about generated worlds and compares every source, target, protocol and port. Where a peer differs it is asked again about a
world that means the same by the specification but does not meet its known error (see ``judges``): a disagreement that stays is ours or
new, and ends this with 1. Writes benchmarks/results/agreement.json and, with --record, the peers' answers that the tests compare with.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import judges, worlds

RESULTS = Path(__file__).resolve().parent / "results"
RECORDED = Path(__file__).resolve().parents[1] / "tests" / "unit" / "plugins" / "data" / "peers.json.gz"
RECORD = 100  # worlds whose answers the tests keep


@dataclass
class Peer:
    """A peer: how it is asked, how its answer differs from ours (sentences), and the world in which its known error does not matter."""

    name: str
    command: Callable[[], list[str]]
    differs: Callable[[worlds.World, str], list[str]]
    same_world: Callable[[worlds.World], worlds.World]
    error: str
    answers: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def ask(self, given: list[worlds.World]) -> list[str]:
        """Return its answers. cyclonus reads what the API server keeps, so policyTypes are filled in."""
        return judges.ask(self.command(), [judges.with_types(world) for world in given]) if given else []


def differs_from_cyclonus(world: worlds.World, line: str) -> list[str]:
    """Return how cyclonus differs."""
    mine, theirs = judges.at_points(world, judges.ours(world)), judges.of_cyclonus(world, line)
    return [f"{'we' if cell in mine else 'only it'} let {cell[0]} reach {cell[1]} on {cell[2]} {cell[3]}" for cell in sorted(mine ^ theirs)]


def differs_from_analyzer(world: worlds.World, line: str) -> list[str]:
    """Return how network-config-analyzer differs; to it, as to us when addresses are not given, no address block holds a pod."""
    mine, theirs = judges.ours(world, addresses=False), judges.of_analyzer(line)
    pairs = sorted(pair for pair in mine.keys() | theirs.keys() if mine.get(pair) != theirs.get(pair))
    return [f"{a} -> {b}: we say {mine.get((a, b))}, it says {theirs.get((a, b))}" for a, b in pairs]


def peers() -> list[Peer]:
    """Return the peers."""
    return [
        Peer("cyclonus", judges.cyclonus, differs_from_cyclonus, judges.for_cyclonus, "NotIn refuses an object that lacks the key"),
        Peer(
            "network-config-analyzer",
            judges.analyzer,
            differs_from_analyzer,
            judges.for_analyzer,
            "Exists and DoesNotExist of a podSelector beside a namespaceSelector look in the policy's own namespace",
        ),
    ]


def examine(peer: Peer, asked: list[worlds.World]) -> tuple[dict[str, Any], list[str]]:
    """Ask a peer about all worlds; its part of the result, and the disagreements that its known error does not explain."""
    peer.command()  # built before the clock runs
    begun = time.perf_counter()
    peer.answers = peer.ask(asked)
    seconds = time.perf_counter() - begun
    differing = [seed for seed, world in enumerate(asked) if peer.differs(world, peer.answers[seed])]
    again = dict(zip(differing, peer.ask([peer.same_world(asked[seed]) for seed in differing]), strict=True))
    left = [f"world {seed}: {peer.name}: {text}" for seed in differing for text in peer.differs(asked[seed], again[seed])]
    known = {"error": peer.error, "worlds": len(differing) - len({text.split(":")[0] for text in left})}
    return {"worlds": len(asked), "explained": known, "unexplained": len(left), "seconds": round(seconds, 2)}, left


def main() -> int:
    """Ask, compare, write the result; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=1000)
    parser.add_argument("--record", action="store_true", help="keep the peers' answers about the first worlds for the tests")
    options = parser.parse_args()
    asked = [worlds.world(seed) for seed in range(options.worlds)]
    result: dict[str, Any] = {"worlds": len(asked), "peers": {}}
    left: list[str] = []
    judged = peers()
    for peer in judged:
        result["peers"][peer.name], more = examine(peer, asked)
        left += more
    open_points = sum(len(judges.of_cyclonus(world, line)) for world, line in zip(asked, judged[0].answers, strict=True))
    points = sum(len(world["pods"]) * (len(world["pods"]) - 1) * len(world["points"]) for world in asked)
    result["points"] = {"open": open_points, "closed": points - open_points}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "agreement.json").write_text(json.dumps(result, indent=2) + "\n")
    if options.record:
        RECORDED.parent.mkdir(exist_ok=True)
        same = {peer.name: peer.ask([peer.same_world(world) for world in asked[:RECORD]]) for peer in judged}
        RECORDED.write_bytes(gzip.compress(json.dumps(same).encode(), mtime=0))
    print(json.dumps(result, indent=2))
    print("\n".join(left[:20]))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
