"""The peers that say who reaches whom: cyclonus and network-config-analyzer, each built once into the cache of this user.

Both are asked about the same worlds (see ``worlds``), and so are we; what is compared is every source, target, protocol and port.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._policies import Policy, merged
from ansible_collections.barberpro.platform.plugins.module_utils._reachability import Pod, Reachability

from benchmarks.worlds import KEYS, VALUES, World

TOOLS = Path(__file__).resolve().parent / "tools"
ROOT = TOOLS.parents[1]
PROTOCOLS = ("TCP", "UDP", "SCTP")
# What is open: (source, target, protocol, port) at the points of a world, or ranges of ports.
Answer = set[tuple[str, str, str, int]]


def cache() -> Path:
    """Return the folder of this user's built programs, shared by all checkouts."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "barberpro" / "judges"


def _key(*files: Path) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]


def built(folder: str, name: str, package: str = ".") -> Path:
    """Return a judge written in Go, of the module in that folder; builds it when it is not in the cache."""
    source = TOOLS / folder
    program = cache() / f"{name}-{_key(source / 'go.mod', source / 'go.sum', *sorted(source.glob('*.go')))}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        draft = program.with_suffix(f".{os.getpid()}")
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
        subprocess.run(["go", "build", "-trimpath", "-o", str(draft), package], cwd=source, env=environment, check=True)
        draft.rename(program)
    return program


def environment(folder: str) -> Path:
    """Return the Python environment of the judges whose requirements.lock that folder has; makes it when it is not in the cache."""
    lock = TOOLS / folder / "requirements.lock"
    found = cache() / f"{folder.replace('_', '-')}-{_key(lock)}"
    if not (found / ".ready").exists():
        uv = str(ROOT / ".venv" / "bin" / "uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", "3.11", str(found)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(found / "bin" / "python"), "--require-hashes"]
        subprocess.run([*install, "-r", str(lock)], check=True)
        (found / ".ready").touch()
    return found


def cyclonus() -> list[str]:
    """Return the command that asks cyclonus."""
    return [str(built("cyclonus", "cyclonus"))]


def analyzer() -> list[str]:
    """Return the command that asks network-config-analyzer."""
    folder = environment("network_config_analyzer")
    return [str(folder / "bin" / "python"), str(TOOLS / "network_config_analyzer" / "judge.py")]


def ask(command: list[str], worlds: Sequence[World]) -> list[str]:
    """Return one line for each world. Raises RuntimeError with what the peer said when it gave up."""
    text = "".join(json.dumps(world) + "\n" for world in worlds)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) != len(worlds):
        raise RuntimeError(f"{command[-1]} answered {len(lines)} of {len(worlds)} worlds: {done.stderr[-2000:]}")
    return lines


def with_types(world: World) -> World:
    """Return the world as the API server keeps it: policyTypes filled in. cyclonus reads what the server kept, not what a user wrote."""
    policies = []
    for policy in world["policies"]:
        spec = policy["spec"]
        policies.append({**policy, "spec": {"policyTypes": ["Ingress", *(["Egress"] if spec.get("egress") else [])], **spec}})
    return {**world, "policies": policies}


def _rewritten(value: Any, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Any:
    """Return a document in which every dictionary that ``change`` answers for is replaced by its answer."""
    if isinstance(value, list):
        return [_rewritten(item, change) for item in value]
    if not isinstance(value, dict):
        return value
    changed = change(value)
    return changed if changed is not None else {key: _rewritten(item, change) for key, item in value.items()}


def for_cyclonus(world: World) -> World:
    """Return a world that means the same and does not meet cyclonus' error: its NotIn refuses an object without the key.

    The API's documentation of label selectors: notin also selects "all resources with no labels with the ... key". Each NotIn looks at a
    copy of its key (``copy/KEY``) that every pod and namespace carries, ``none`` where it has no such label.
    """

    def labels(own: dict[str, str]) -> dict[str, str]:
        return {**own, **{f"copy/{key}": own.get(key, "none") for key in KEYS}}

    def change(value: dict[str, Any]) -> dict[str, Any] | None:
        return {**value, "key": f"copy/{value['key']}"} if value.get("operator") == "NotIn" else None

    return {
        **world,
        "namespaces": {name: labels(own) for name, own in world["namespaces"].items()},
        "pods": [{**pod, "labels": labels(pod["labels"])} for pod in world["pods"]],
        "policies": _rewritten(world["policies"], change),
    }


def for_analyzer(world: World) -> World:
    """Return a world that means the same and does not meet network-config-analyzer's error.

    In a podSelector it looks for Exists and DoesNotExist in the policy's own namespace alone (K8sPolicyYamlParser,
    parse_label_selector_requirement). The API: with both selectors, a rule selects "the pods matching PodSelector in the Namespaces
    selected by NamespaceSelector". Both operators are said by In and NotIn of all values that there are.
    """

    def change(value: dict[str, Any]) -> dict[str, Any] | None:
        said = {"Exists": "In", "DoesNotExist": "NotIn"}.get(str(value.get("operator")))
        return {"key": value["key"], "operator": said, "values": list(VALUES)} if said else None

    return {**world, "policies": _rewritten(world["policies"], change)}


def name_of(pod: dict[str, Any]) -> str:
    """Return NAMESPACE/NAME of a world's pod."""
    return f"{pod['namespace']}/{pod['name']}"


def of_cyclonus(world: World, line: str) -> Answer:
    """Return the open points of a world as cyclonus' answer says them, those of a pod with itself left out."""
    names = [name_of(pod) for pod in world["pods"]]
    cells = ((a, b, point["protocol"], point["port"]) for a in names for b in names for point in world["points"])
    return {cell for cell, bit in zip(cells, line, strict=True) if bit == "1" and cell[0] != cell[1]}


def of_analyzer(line: str) -> dict[tuple[str, str], Any]:
    """Return the open ports of each pair as network-config-analyzer's answer says them."""
    found: dict[tuple[str, str], list[tuple[str, int, int]]] = {}
    for source, target, protocol, first, last in json.loads(line):
        found.setdefault((source, target), []).append((protocol, first, last))
    return {pair: merged(ranges) for pair, ranges in found.items()}


def reachability(world: World, addresses: bool = True) -> Reachability:
    """Return our model of a world; a pod whose address is empty may get one of the world's ``ranges``; without ``addresses`` no address block holds a pod."""
    pods = [
        Pod(
            pod["namespace"],
            pod["name"],
            pod["labels"],
            (pod["address"],) if addresses and pod["address"] else (),
            tuple(sorted((port["name"], port["protocol"], port["port"]) for port in pod["ports"])),
        )
        for pod in world["pods"]
    ]
    ranges = [ipaddress.ip_network(cidr) for cidr in world.get("ranges", ())]
    return Reachability(world["namespaces"], pods, [Policy.of(policy) for policy in world["policies"]], ranges)


def ours(world: World, addresses: bool = True) -> dict[tuple[str, str], Any]:
    """Return the open ports of each pair of pods as we compute them, by the sets of classes that the report is made from."""
    model = reachability(world, addresses)
    found: dict[tuple[str, str], list[tuple[str, int, int]]] = {}
    for sources, targets, ports in model.products(model.everything, model.everything, {}):
        for one in (item for number, item in enumerate(model.classes) if sources >> number & 1):
            for other in (item for number, item in enumerate(model.classes) if targets >> number & 1):
                for source in one.pods:
                    for target in other.pods:
                        pair = (f"{one.namespace}/{source}", f"{other.namespace}/{target}")
                        if pair[0] != pair[1]:
                            found.setdefault(pair, []).extend(ports)
    return {pair: merged(ranges) for pair, ranges in found.items()}


def at_points(world: World, open_ports: dict[tuple[str, str], Any]) -> Answer:
    """Return the points of a world that are open."""
    return {
        (source, target, point["protocol"], point["port"])
        for (source, target), ports in open_ports.items()
        for point in world["points"]
        if any(protocol == point["protocol"] and first <= point["port"] <= last for protocol, first, last in ports)
    }
