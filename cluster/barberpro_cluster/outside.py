"""What stands outside Kubernetes in real life: image registry, DNS server, certificate authority (ACME)."""

from __future__ import annotations

import base64
import json
import secrets
import sys
from pathlib import Path

import yaml

from .layout import TSIG_NAME, ZONE, Layout, in_node
from .network import Link
from .node import registry_of
from .shell import write_if_changed

ACME_PORT = 14000
ACME_MANAGEMENT_PORT = 15000
TSIG_ALGORITHM = "hmac-sha256"

KNOT = """\
server:
    rundir: {run}
    listen: [ {node_ip}@53, 127.0.0.1@53 ]
    udp-workers: 1
    tcp-workers: 2
    background-workers: 1
log:
  - target: stdout
    any: info
database:
    storage: {database}
key:
  - id: {key}
    algorithm: {algorithm}
    secret: {secret}
acl:
  - id: deployer
    key: {key}
    action: [ update, transfer ]
zone:
  - domain: {zone}
    storage: {storage}
    file: {zone}.zone
    acl: deployer
    # Written at once: a zone that was killed must come back with every record that was acknowledged.
    zonefile-sync: 0
"""

# Short times: nobody wants to wait for a cache to forget in a test.
ZONE_FILE = """\
$ORIGIN {zone}.
$TTL 5
@ SOA ns hostmaster 1 5 5 60 1
@ NS ns
ns A {node_ip}
"""


def registry_config(link: Link) -> dict[str, object]:
    """docker-registry: plain HTTP on the node's address, blobs in the state folder, deletion allowed."""
    return {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": in_node("registry")},
            "delete": {"enabled": True},
            "cache": {"blobdescriptor": "inmemory"},
        },
        "http": {"addr": registry_of(link)},
    }


def pebble_config(link: Link) -> dict[str, object]:
    """Pebble: certificates of 90 days, answers to polls without the pauses that load tests want."""
    return {
        "pebble": {
            "listenAddress": f"{link.node_ip}:{ACME_PORT}",
            "managementListenAddress": f"127.0.0.1:{ACME_MANAGEMENT_PORT}",
            "certificate": in_node("pki", "pebble.crt"),
            "privateKey": in_node("pki", "pebble.key"),
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "retryAfter": {"authz": 1, "order": 1},
            "keyAlgorithm": "ecdsa",
            "profiles": {"default": {"description": "90 days", "validityPeriod": 7776000}},
        }
    }


def knot_config(link: Link, secret: str) -> str:
    """Knot: one zone that the deployer's key may update (RFC 2136)."""
    return KNOT.format(
        run=in_node("run", "knot"),
        database=in_node("knot", "db"),
        storage=in_node("knot"),
        node_ip=link.node_ip,
        key=TSIG_NAME,
        algorithm=TSIG_ALGORITHM,
        secret=secret,
        zone=ZONE,
    )


def registry_command() -> list[str]:
    """Debian's docker-registry."""
    return ["/usr/bin/docker-registry", "serve", in_node("config", "registry.yaml")]


def knot_command() -> list[str]:
    """Debian's knotd, in the foreground."""
    return ["/usr/sbin/knotd", "--config", in_node("config", "knot.conf")]


def pebble_command(layout: Layout, link: Link) -> list[str]:
    """Pebble behind a small keeper that saves the root it makes at each start."""
    return [
        sys.executable, str(layout.checkout / "cluster" / "barberpro_cluster" / "pebble_keeper.py"),
        in_node("bin", "pebble"), in_node("config", "pebble.json"), f"{link.node_ip}:53", in_node("acme", "roots.pem"),
        in_node("pki", "ca.crt"),
    ]  # fmt: skip


def tsig_secret_file(layout: Layout) -> Path:
    """The file with the deployer's key for DNS updates (base64)."""
    return layout.state / "knot" / "tsig.secret"


def write_config(layout: Layout, link: Link) -> None:
    """Write the configuration of all three, the DNS key, and the zone's first records."""
    config = layout.state / "config"
    for folder in ("registry", "knot/db", "run/knot", "acme"):
        Path(layout.state, folder).mkdir(parents=True, exist_ok=True)
    secret = tsig_secret_file(layout)
    if not secret.exists():
        write_if_changed(secret, base64.b64encode(secrets.token_bytes(32)).decode() + "\n", mode=0o600)
    write_if_changed(config / "registry.yaml", yaml.safe_dump(registry_config(link)))
    write_if_changed(config / "knot.conf", knot_config(link, secret.read_text().strip()), mode=0o600)
    write_if_changed(config / "pebble.json", json.dumps(pebble_config(link), indent=1))
    zone = layout.state / "knot" / f"{ZONE}.zone"
    if not zone.exists():
        write_if_changed(zone, ZONE_FILE.format(zone=ZONE, node_ip=link.node_ip))
