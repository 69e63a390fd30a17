"""Asks network-config-analyzer about worlds: one JSON object a line in, one answer a line out.

Runs in an environment of its own, because it pins packages that the collection needs in other versions. An answer is a list of
[source, target, protocol, first port, last port]; pods are NAMESPACE/NAME. It keeps all pods that it ever saw in one table of the process,
so each world is a child process; the import, which is what takes long, happens once.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import time

from nca.NetworkConfig.NetworkConfig import PolicyConnectionsFilter  # noqa: F401 - imported before the fork
from nca.NetworkConfig.ResourcesHandler import ResourcesHandler

PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}


def pod_of(item: dict) -> dict:
    """Return a Pod object. It has no address: network-config-analyzer reads none, an ipBlock is never a pod to it."""
    ports = [{"name": port["name"], "containerPort": port["port"], "protocol": port["protocol"]} for port in item["ports"]]
    metadata = {"namespace": item["namespace"], "name": item["name"], "labels": item["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "main", "ports": ports}]}}


def objects(world: dict) -> list[dict]:
    """Return a world as objects."""
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}} for name, labels in world["namespaces"].items()]
    policies = [{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", **policy} for policy in world["policies"]]
    return spaces + [pod_of(item) for item in world["pods"]] + policies


def answer(world: dict) -> list[list]:
    """Return the open connections of a world, those of a pod with itself left out."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"apiVersion": "v1", "kind": "List", "items": objects(world)}, file)
        file.flush()
        config = ResourcesHandler().get_network_config(None, None, None, [file.name])
    found = []
    connections = config.allowed_connections().all_allowed_conns
    for cube in connections:
        values = connections.get_connectivity_cube(cube)
        for protocol in (name for number, name in PROTOCOLS.items() if number in values["protocols"]):
            ranges = [[part.start, part.end] for part in values["dst_ports"].port_set]
            for source in values["src_peers"]:
                for target in values["dst_peers"]:
                    if hasattr(source, "namespace") and hasattr(target, "namespace") and source != target:
                        pair = [f"{peer.namespace.name}/{peer.name}" for peer in (source, target) if peer.namespace]
                        found += [[*pair, protocol, *part] for part in ranges if len(pair) == 2]
    return found


def in_child(line: str) -> str:
    """Return the answer of a child process; its complaints go to stderr only when it fails."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        noise = io.StringIO()
        code = 1
        try:
            with contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
                text = json.dumps(answer(json.loads(line)))
            with os.fdopen(writing, "w") as out:
                out.write(text)
            code = 0
        except Exception as error:
            sys.stderr.write(f"{noise.getvalue()}\n{type(error).__name__}: {error}\n")
            raise
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as out:
        text = out.read()
    os.waitpid(child, 0)
    return text or "null"


def timed(line: str) -> float:
    """Return the seconds of CPU that one world takes, import and writing its file left out."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"apiVersion": "v1", "kind": "List", "items": objects(json.loads(line))}, file)
        file.flush()
        noise = io.StringIO()
        with contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
            begun = time.process_time()
            config = ResourcesHandler().get_network_config(None, None, None, [file.name])
            config.allowed_connections()
            return time.process_time() - begun


if __name__ == "__main__":
    for asked in sys.stdin:
        print(timed(asked) if "--time" in sys.argv else in_child(asked), flush=True)
