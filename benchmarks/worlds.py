"""Small worlds of namespaces, pods and NetworkPolicies, made from a seed: every kind of selector, peer and port, every default.

A world is a dictionary of plain values: ``namespaces`` (labels by name), ``pods`` (namespace, name, labels, address, ports), ``policies``
(objects as a user writes them) and ``points`` (ports at which an answer may change).
"""

from __future__ import annotations

import random
from typing import Any

World = dict[str, Any]

KEYS = ("app", "tier", "zone")
VALUES = ("a", "b", "c")
NAMES = (("web", 80), ("db", 5432), ("dns", 53))
PROTOCOLS = ("TCP", "UDP", "SCTP")
NUMBERS = (53, 79, 80, 81, 443, 5431, 5432, 5433, 8080)


def world(seed: int) -> World:
    """Return the world of a seed: 2-4 namespaces, 2-6 pods, 0-5 policies."""
    dice = random.Random(f"world {seed}")
    spaces = {f"n{number}": {"kubernetes.io/metadata.name": f"n{number}", **_labels(dice)} for number in range(dice.randint(2, 4))}
    pods = [_pod(dice, number, dice.choice(list(spaces))) for number in range(dice.randint(2, 6))]
    policies = [_policy(dice, number, dice.choice(list(spaces))) for number in range(dice.randint(0, 5))]
    return {"namespaces": spaces, "pods": pods, "policies": policies, "points": [{"port": n, "protocol": p} for n in NUMBERS for p in PROTOCOLS]}


# Where pods get addresses: within one block, in several, in what blocks except partly or altogether, in no block.
RANGES = (("10.0.0.248/29",), ("10.0.1.0/29",), ("10.0.1.0/30",), ("10.0.0.252/30", "10.0.1.0/30"), ("10.0.2.0/31", "192.168.7.0/31"), ("10.0.9.0/31",))


def starting(seed: int) -> World:
    """Return the world of a seed in which some of the pods have no address yet, with the ``ranges`` of which they may get one."""
    dice = random.Random(f"starting {seed}")
    made = world(seed)
    for pod in made["pods"]:
        pod["address"] = "" if dice.random() < 0.6 else pod["address"]
    return {**made, "ranges": dice.choice(RANGES)}


def _labels(dice: random.Random) -> dict[str, str]:
    return {key: dice.choice(VALUES) for key in KEYS if dice.random() < 0.6}


def _pod(dice: random.Random, number: int, namespace: str) -> dict[str, Any]:
    """Return a pod; its own label ``pod`` keeps apart what a peer would take for copies of one pod and leave out."""
    ports = [{"name": name, "port": port, "protocol": dice.choice(PROTOCOLS[:2])} for name, port in NAMES if dice.random() < 0.6]
    labels = {**_labels(dice), "pod": f"p{number}"}
    return {"namespace": namespace, "name": f"p{number}", "labels": labels, "address": f"10.0.{dice.randint(0, 3)}.{number + 1}", "ports": ports}


def _policy(dice: random.Random, number: int, namespace: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"podSelector": _selector(dice)}
    kinds = dice.choice((["Ingress"], ["Egress"], ["Ingress", "Egress"], None))
    if kinds:
        spec["policyTypes"] = kinds
    if dice.random() < 0.8 and (kinds is None or "Ingress" in kinds):
        spec["ingress"] = [_rule(dice, "from") for _ in range(dice.randint(0, 2))]
    if dice.random() < 0.8 and (kinds is None or "Egress" in kinds):
        spec["egress"] = [_rule(dice, "to") for _ in range(dice.randint(0 if kinds else 1, 2))]
    return {"metadata": {"namespace": namespace, "name": f"policy{number}"}, "spec": spec}


def _rule(dice: random.Random, side: str) -> dict[str, Any]:
    rule: dict[str, Any] = {}
    if dice.random() < 0.85:
        rule[side] = [_peer(dice) for _ in range(dice.randint(1, 3))]
    if dice.random() < 0.7:
        rule["ports"] = [_port(dice) for _ in range(dice.randint(1, 3))]
    return rule


def _peer(dice: random.Random) -> dict[str, Any]:
    kind = dice.randrange(5)
    if kind == 0:
        return {"podSelector": _selector(dice)}
    if kind == 1:
        return {"namespaceSelector": _selector(dice, space=True)}
    if kind in (2, 3):
        return {"namespaceSelector": _selector(dice, space=True), "podSelector": _selector(dice)}
    block: dict[str, Any] = {"cidr": dice.choice(("10.0.0.0/22", "10.0.0.0/23", "10.0.2.0/24", "0.0.0.0/0", "192.168.0.0/16"))}
    if block["cidr"] in ("10.0.0.0/22", "10.0.0.0/23", "0.0.0.0/0") and dice.random() < 0.5:
        block["except"] = dice.sample(["10.0.0.0/24", "10.0.1.0/24", "10.0.1.0/30"], dice.randint(1, 2))
    return {"ipBlock": block}


def _selector(dice: random.Random, space: bool = False) -> dict[str, Any]:
    """Return a selector with matchLabels, with expressions, with both or empty."""
    selector: dict[str, Any] = {}
    if dice.random() < 0.5:
        if space and dice.random() < 0.4:
            selector["matchLabels"] = {"kubernetes.io/metadata.name": f"n{dice.randrange(4)}"}
        else:
            selector["matchLabels"] = {dice.choice(KEYS): dice.choice(VALUES)}
    if dice.random() < 0.4:
        selector["matchExpressions"] = [_expression(dice) for _ in range(dice.randint(1, 2))]
    return selector


def _expression(dice: random.Random) -> dict[str, Any]:
    operator = dice.choice(("In", "NotIn", "Exists", "DoesNotExist"))
    found: dict[str, Any] = {"key": dice.choice(KEYS), "operator": operator}
    if operator in ("In", "NotIn"):
        found["values"] = dice.sample(VALUES, dice.randint(1, 2))
    return found


def _port(dice: random.Random) -> dict[str, Any]:
    kind = dice.randrange(4)
    port: dict[str, Any] = {"protocol": dice.choice(PROTOCOLS)} if dice.random() < 0.8 or kind == 0 else {}
    if kind == 1:
        port["port"] = dice.choice(NUMBERS)
    elif kind == 2:
        port["port"] = dice.choice(NAMES)[0]
    elif kind == 3:
        port["port"] = dice.choice((53, 80, 443))
        port["endPort"] = dice.choice((443, 5432, 8080))
    return port
