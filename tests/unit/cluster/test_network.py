"""The /30 that a checkout's cluster lives on."""

from __future__ import annotations

import ipaddress

import pytest

from barberpro_cluster import network
from barberpro_cluster.errors import ClusterError
from barberpro_cluster.layout import Layout


def test_a_checkout_always_gets_the_same_subnet_of_the_pool():
    first, second = network.choose("/home/ana/shop", []), network.choose("/home/ana/shop", [])

    assert first == second
    assert ipaddress.ip_network(first.subnet).subnet_of(network.POOL)
    assert ipaddress.ip_network(first.subnet).prefixlen == 30


def test_host_and_node_are_the_two_usable_addresses():
    link = network.link_at(1)

    assert (link.subnet, link.host_ip, link.node_ip) == ("10.200.0.4/30", "10.200.0.5", "10.200.0.6")


def test_a_used_subnet_is_passed_over():
    taken = network.choose("/a", [])

    assert network.choose("/a", [f"{taken.host_ip}/30"]).subnet != taken.subnet


def test_a_large_foreign_network_is_left_altogether():
    inside = ipaddress.ip_network("10.200.128.0/17")
    used = [str(inside)]

    assert not any(ipaddress.ip_network(network.choose(f"/{n}", used).subnet).overlaps(inside) for n in range(50))


def test_the_search_goes_round_the_end_of_the_pool():
    assert network.link_at(network.LINKS) == network.link_at(0)


def test_a_full_pool_is_said_in_one_sentence():
    with pytest.raises(ClusterError) as caught:
        network.choose("/a", ["10.0.0.0/8"])

    assert str(caught.value) == "every /30 of 10.200.0.0/16 is in use on this machine; free one of these networks and try again"


def test_two_checkouts_share_no_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one, two = Layout.of(tmp_path / "one"), Layout.of(tmp_path / "two")

    for name in ("namespace", "veth", "cgroup", "state"):
        assert getattr(one, name) != getattr(two, name)
    assert one.cache == two.cache == tmp_path / "cache" / "barberpro"
    assert len(one.veth) <= 15  # the kernel's limit for the name of an interface
