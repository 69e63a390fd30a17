"""The node's own network namespace and the one veth pair that joins it to the host.

The host's firewall, routes of others and sysctls stay as they are: the host gains one interface with a /30.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError
from .layout import SERVICE_CIDR, Layout
from .shell import run, succeeds, write_if_changed

NAMES = Path("/run/netns")
POOL = ipaddress.ip_network("10.200.0.0/16")
LINKS = 2 ** (30 - POOL.prefixlen)
SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    # A packet that was translated for a Service may come back on another interface than the kernel expects.
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}
# The cluster has IPv4 alone. By their link-local addresses pods would reach the node past every rule of the policy agent. The loopback stays as
# it is: the API server may use its ::1. A kernel without IPv6 has none of these settings.
WITHOUT_IPV6 = """
for each in /proc/sys/net/ipv6/conf/*; do
  case "${each##*/}" in "*"|all|lo) ;; *) echo 1 > "$each/disable_ipv6" ;; esac
done
"""


@dataclass(frozen=True)
class Link:
    """Addresses of the two ends of the veth pair."""

    subnet: str
    host_ip: str
    node_ip: str


def link_at(index: int) -> Link:
    """The index-th /30 of the pool: the host is its first address, the node its second."""
    subnet = ipaddress.ip_network((int(POOL.network_address) + 4 * (index % LINKS), 30))
    return Link(str(subnet), str(subnet[1]), str(subnet[2]))


def choose(seed: str, used: list[str]) -> Link:
    """The /30 that a checkout's identity names, or the next one that overlaps no used network.

    ``used`` holds addresses or networks in CIDR notation. Raises ClusterError when the whole pool is in use.
    """
    networks = [ipaddress.ip_network(text, strict=False) for text in used]
    first = int(hashlib.sha256(seed.encode()).hexdigest()[:8], 16) % LINKS
    for offset in range(LINKS):
        link = link_at(first + offset)
        if not any(network.overlaps(ipaddress.ip_network(link.subnet)) for network in networks):
            return link
    raise ClusterError(f"every /30 of {POOL} is in use on this machine; free one of these networks and try again")


def ensure(layout: Layout) -> Link:
    """Make the namespace and the veth pair when they are not there; returns the addresses."""
    link = _remembered(layout) or _chosen(layout)
    if not (NAMES / layout.namespace).exists():
        run(["ip", "netns", "add", layout.namespace])
    inside = ["ip", "-n", layout.namespace]
    if not succeeds(["ip", "link", "show", "dev", layout.veth]):
        peer = ["peer", "name", "eth0", "netns", layout.namespace]
        run(["ip", "link", "add", layout.veth, "type", "veth", *peer])
    run(["ip", "address", "replace", f"{link.host_ip}/30", "dev", layout.veth])
    run(["ip", "link", "set", layout.veth, "up"])
    run([*inside, "address", "replace", f"{link.node_ip}/30", "dev", "eth0"])
    run([*inside, "link", "set", "lo", "up"])
    run([*inside, "link", "set", "eth0", "up"])
    # Enough for the kernel to let a packet to a Service address leave, so that kube-proxy can translate it. There is
    # no default route: nothing of this cluster reaches anything but the host.
    run([*inside, "route", "replace", SERVICE_CIDR, "dev", "eth0"])
    script = "; ".join(f"echo {value} > /proc/sys/{name}" for name, value in SYSCTLS.items())
    run(["nsenter", f"--net={NAMES / layout.namespace}", "sh", "-ec", script + WITHOUT_IPV6])
    return link


def remove(layout: Layout) -> None:
    """Remove the interface and the namespace, with everything inside it: rules, tables, the pods' interfaces."""
    if succeeds(["ip", "link", "show", "dev", layout.veth]):
        run(["ip", "link", "delete", layout.veth])
    if (NAMES / layout.namespace).exists():
        run(["ip", "netns", "delete", layout.namespace])
    # `ip netns add` mounts this folder on itself at its first use on a machine, and leaves it. The mount is of
    # the same file system, so that os.path.ismount does not see it.
    while _is_mounted(NAMES) and not any(NAMES.iterdir()):
        run(["umount", NAMES])


def _is_mounted(path: Path) -> bool:
    return str(path) in {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def exists(layout: Layout) -> bool:
    """Whether anything of this checkout's network is there."""
    return (NAMES / layout.namespace).exists() or Path("/sys/class/net", layout.veth).exists()


def _remembered(layout: Layout) -> Link | None:
    path = layout.state / "network.json"
    if not path.exists():
        return None
    return Link(**json.loads(path.read_text()))


def _chosen(layout: Layout) -> Link:
    link = choose(str(layout.checkout), _used(layout.veth))
    write_if_changed(layout.state / "network.json", json.dumps(link.__dict__) + "\n")
    return link


def _used(own: str) -> list[str]:
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"]))
    addresses = json.loads(run(["ip", "-json", "-4", "address"]))
    found = [route["dst"] for route in routes if route["dst"] != "default" and route.get("dev") != own]
    for interface in addresses:
        if interface.get("ifname") != own:
            found += [f"{entry['local']}/{entry['prefixlen']}" for entry in interface["addr_info"]]
    return found
