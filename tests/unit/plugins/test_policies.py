"""What a NetworkPolicy means, by the examples and the words of its specification; and against a model that asks pod by pod."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._policies import ALL_PORTS, Policy, common, merged, port_words, resolve
from ansible_collections.barberpro.platform.plugins.module_utils._reachability import Pod, Reachability
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import agreement, judges, worlds
from tests.support.naive_policies import reaches

PEERS = Path(__file__).parent / "data" / "peers.json.gz"
SPACES = {"default": {"kubernetes.io/metadata.name": "default", "project": "myproject"}, "other": {"kubernetes.io/metadata.name": "other"}}


def policy(spec: dict[str, Any], namespace: str = "default", name: str = "test") -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": spec}


def pod(name: str, namespace: str = "default", address: str = "", ports: tuple[tuple[str, str, int], ...] = (), **labels: str) -> Pod:
    return Pod(namespace, name, labels, (address,) if address else (), ports)


def ports(pods: list[Pod], *policies: dict[str, Any], spaces: dict[str, dict[str, str]] | None = None) -> Callable[[str, str], list[str]]:
    """A function that says on which ports one pod reaches another."""
    model = Reachability(spaces or SPACES, pods, [Policy.of(item) for item in policies])
    number = {name: place for place, item in enumerate(model.classes) for name in item.pods}

    def between(source: str, target: str) -> list[str]:
        path = model.path(number[source], number[target])
        return port_words(path.ports) if path else []

    return between


def test_the_example_of_the_documentation() -> None:
    """kubernetes.io/docs/concepts/services-networking/network-policies, "The NetworkPolicy resource"."""
    spec = {
        "podSelector": {"matchLabels": {"role": "db"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [
                    {"ipBlock": {"cidr": "172.17.0.0/16", "except": ["172.17.1.0/24"]}},
                    {"namespaceSelector": {"matchLabels": {"project": "myproject"}}},
                    {"podSelector": {"matchLabels": {"role": "frontend"}}},
                ],
                "ports": [{"protocol": "TCP", "port": 6379}],
            }
        ],
        "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/24"}}], "ports": [{"protocol": "TCP", "port": 5978}]}],
    }
    spaces = {"default": {}, "project": {"project": "myproject"}, "other": {}}
    pods = [
        pod("db", role="db"),
        pod("frontend", role="frontend"),
        pod("plain"),
        pod("anything", "project"),
        pod("inside", "other", "172.17.2.9"),
        pod("excepted", "other", "172.17.1.9"),
        pod("frontend-elsewhere", "other", role="frontend"),
        pod("server", "other", "10.0.0.7"),
    ]
    found = ports(pods, policy(spec), spaces=spaces)
    assert [found(name, "db") for name in ("frontend", "anything", "inside")] == [["TCP 6379"]] * 3
    assert [found(name, "db") for name in ("plain", "excepted", "frontend-elsewhere")] == [[]] * 3
    assert found("db", "server") == ["TCP 5978"]
    assert found("db", "frontend") == []
    assert found("plain", "frontend") == ["all ports"]


@pytest.mark.parametrize(
    ("spec", "incoming", "outgoing"),
    [
        ({"podSelector": {}}, [], ["all ports"]),  # no types: always ingress ...
        ({"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}, [], ["TCP 53"]),  # ... and egress when there are such rules
        ({"podSelector": {}, "policyTypes": ["Egress"]}, ["all ports"], []),
        ({"podSelector": {}, "policyTypes": ["Egress"], "ingress": [{}]}, ["all ports"], []),  # rules of a type that is not named do not count
        ({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}, ["all ports"], ["all ports"]),
        ({"podSelector": {}, "ingress": [{"from": [], "ports": []}]}, ["all ports"], ["all ports"]),  # empty lists match everything
        ({"podSelector": {"matchLabels": {"app": "none"}}, "policyTypes": ["Ingress", "Egress"]}, ["all ports"], ["all ports"]),
    ],
)
def test_which_directions_a_policy_closes(spec: dict[str, Any], incoming: list[str], outgoing: list[str]) -> None:
    found = ports([pod("a"), pod("b", "other")], policy(spec))
    assert (found("b", "a"), found("a", "b")) == (incoming, outgoing)


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        ({"podSelector": {}}, {"same"}),
        ({"namespaceSelector": {}}, {"same", "elsewhere", "bare"}),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "x"}}}, {"same", "elsewhere"}),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}, {"elsewhere", "bare"}),
        ({"namespaceSelector": {"matchExpressions": [{"key": "project", "operator": "DoesNotExist"}]}}, {"elsewhere", "bare"}),
        ({"namespaceSelector": {"matchExpressions": [{"key": "project", "operator": "NotIn", "values": ["myproject"]}]}}, {"elsewhere", "bare"}),
        ({"namespaceSelector": {}, "podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}, {"same", "elsewhere"}),
        ({"namespaceSelector": {}, "podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]}}, {"bare"}),
        ({"namespaceSelector": {}, "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "y"]}]}}, {"same", "elsewhere"}),
        ({"ipBlock": {"cidr": "2001:db8::/32"}}, {"elsewhere"}),
        ({"ipBlock": {"cidr": "0.0.0.0/0"}}, {"bare"}),
        ({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}, set()),
    ],
)
def test_who_a_peer_is(peer: dict[str, Any], allowed: set[str]) -> None:
    pods = [pod("target"), pod("same", app="x"), pod("elsewhere", "other", "2001:db8::7", app="x"), pod("bare", "other", "10.1.2.3")]
    found = ports(pods, policy({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [peer]}]}))
    assert {name for name in ("same", "elsewhere", "bare") if found(name, "target")} == allowed


def test_a_name_means_what_the_target_calls_so() -> None:
    """Also in egress; with the same protocol only; a pod that does not use the name is not reached."""
    rule = [{"podSelector": {}}]
    egress = policy({"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"], "egress": [{"to": rule, "ports": [{"port": "web"}]}]})
    pods = [
        pod("client", app="client"),
        pod("one", ports=(("web", "TCP", 80),)),
        pod("two", ports=(("web", "TCP", 8080),)),
        pod("udp", ports=(("web", "UDP", 80),)),
        pod("none"),
    ]
    found = ports(pods, egress)
    assert [found("client", name) for name in ("one", "two", "udp", "none")] == [["TCP 80"], ["TCP 8080"], [], []]


def test_policies_add_up_and_both_sides_must_agree() -> None:
    out = policy({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [{"port": 1, "endPort": 100}]}]}, name="out")
    first = policy({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 80, "endPort": 90}]}]}, "other", "first")
    second = policy({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 95, "endPort": 200}]}]}, "other", "second")
    third = policy({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 500}]}]}, "other", "third")
    model = Reachability(SPACES, [pod("a"), pod("b", "other")], [Policy.of(item) for item in (out, first, second, third)])
    path = model.path(0, 1)
    assert path
    assert port_words(path.ports) == ["TCP 80-90", "TCP 95-100"]
    assert (path.egress, path.ingress) == (("default/out",), ("other/first", "other/second"))


def test_a_pod_is_read_with_its_named_ports_and_addresses() -> None:
    container = {"ports": [{"name": "web", "containerPort": 80}, {"containerPort": 81}]}
    sidecar = {"restartPolicy": "Always", "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]}
    spec = {"containers": [container], "initContainers": [sidecar, {"ports": [{"name": "gone", "containerPort": 1}]}]}
    status = {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}
    found = Pod.of({"metadata": {"namespace": "n", "name": "p"}, "spec": spec, "status": status})
    assert found.ports == (("dns", "UDP", 53), ("web", "TCP", 80))
    assert found.addresses == ("10.0.0.1", "fd00::1")
    assert Pod.of({"metadata": {"namespace": "n", "name": "p"}, "status": {"podIP": "10.0.0.2"}}).addresses == ("10.0.0.2",)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}, "NetworkPolicy n/p: operator Like of a label selector is none of In,"),
        ({"ingress": [{"from": [{}]}]}, "NetworkPolicy n/p: a peer names neither pods, namespaces nor addresses; correct the policy"),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/40"}}]}]}, "NetworkPolicy n/p: ipBlock cannot be read: "),
        ({"ingress": [{"ports": [{"port": "web", "endPort": 90}]}]}, "NetworkPolicy n/p: endPort 90 needs a port that is a number, not 'web'"),
    ],
)
def test_what_cannot_be_understood_is_named(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(PlatformError) as error:
        Policy.of(policy(spec, "n", "p"))
    assert error.value.message.startswith(words)


def test_a_fleet_of_many_thousand_classes() -> None:
    """More than Python would print as digits of one number."""
    names = [f"n{number}" for number in range(15000)]
    model = Reachability({name: {} for name in names}, [pod("p", name) for name in names], [Policy.of(policy({"podSelector": {}}, "n0"))])
    ((sources, targets, found),) = model.products(model.everything, model.everything, {})
    assert (sources, targets, found) == (model.everything, model.everything & ~1, ALL_PORTS)


def test_sets_of_ports() -> None:
    assert merged([("TCP", 5, 9), ("TCP", 1, 4), ("UDP", 1, 2)]) == (("TCP", 1, 9), ("UDP", 1, 2))
    assert common((("TCP", 1, 9),), (("TCP", 5, 20), ("UDP", 1, 9))) == (("TCP", 5, 9),)
    assert resolve(None, ()) is ALL_PORTS
    assert common(ALL_PORTS, (("TCP", 1, 2),)) == common((("TCP", 1, 2),), ALL_PORTS) == (("TCP", 1, 2),)
    assert port_words(merged([("TCP", 1, 65535)])) == ["TCP all"]


@pytest.mark.parametrize("made", [worlds.world, worlds.starting])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(min_value=2000, max_value=10**9))
def test_classes_say_what_pod_by_pod_says(made: Callable[[int], worlds.World], seed: int) -> None:
    """The products of classes, and the path of each pair, against a model that knows no classes; also where pods have no address yet."""
    world = made(seed)
    naive = {
        (judges.name_of(a), judges.name_of(b), point["protocol"], point["port"])
        for a in world["pods"]
        for b in world["pods"]
        for point in world["points"]
        if a is not b and reaches(world, a, b, point["protocol"], point["port"])
    }
    assert judges.at_points(world, judges.ours(world)) == naive
    model = judges.reachability(world)
    by_path = {}
    for one, source in enumerate(model.classes):
        for other, target in enumerate(model.classes):
            path = model.path(one, other)
            pairs = ((f"{source.namespace}/{a}", f"{target.namespace}/{b}") for a in source.pods for b in target.pods)
            by_path.update({pair: path.ports for pair in pairs if path and pair[0] != pair[1]})
    assert judges.at_points(world, by_path) == naive


def test_the_peers_agree() -> None:
    """cyclonus and network-config-analyzer, as they answered about the first hundred worlds (make agreement asks them about a thousand)."""
    recorded = json.loads(gzip.decompress(PEERS.read_bytes()))
    for peer in agreement.peers():
        answers = recorded[peer.name]
        assert len(answers) == 100
        assert {seed: peer.differs(worlds.world(seed), line) for seed, line in enumerate(answers) if peer.differs(worlds.world(seed), line)} == {}


def test_a_peer_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison is not empty: a model that takes names of ports for nothing differs in some of the hundred worlds."""
    recorded = json.loads(gzip.decompress(PEERS.read_bytes()))
    cyclonus, analyzer = agreement.peers()
    original = judges.reachability

    def without_names(world: worlds.World, addresses: bool = True) -> Reachability:
        return original({**world, "pods": [{**item, "ports": []} for item in world["pods"]]}, addresses)

    monkeypatch.setattr(judges, "reachability", without_names)
    for peer in (cyclonus, analyzer):
        assert any(peer.differs(worlds.world(seed), line) for seed, line in enumerate(recorded[peer.name]))
