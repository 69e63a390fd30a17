"""Starting, inspecting and removing the embedded cluster: the order of the steps, and nothing else."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import (
    addons,
    binaries,
    cgroups,
    control_plane,
    facts,
    images,
    kubeconfigs,
    kubectl,
    network,
    node,
    outside,
    packages,
    parts,
    pki,
    preflight,
    registry,
    simulated,
    supervisor,
)  # fmt: skip
from .console import say, step
from .errors import ClusterError
from .layout import Layout
from .network import Link
from .programs import programs
from .shell import locked

REMOVED = "removed"
NODE_TOOLS = ("kubernetes", "etcd", "coredns", "metrics-server", "local-path-provisioner", "pebble", "policy-agent")
"""Tools that a ready node needs; the others are built while it starts."""


def check(layout: Layout) -> None:
    """Refuse a machine that cannot run the cluster, before anything is touched."""
    sentences = preflight.found(layout)
    if sentences:
        raise ClusterError("\n".join(sentences))


def up(layout: Layout) -> None:
    """Make the cluster as declared, starting from whatever is there; says so when nothing had to change."""
    started = time.monotonic()
    check(layout)
    layout.state.mkdir(mode=0o755, exist_ok=True)
    with locked(_lock(layout)):
        if (layout.state / REMOVED).exists():
            shutil.rmtree(layout.state / REMOVED)
        packages.ensure(layout)
        # Compiling waits for the processor, and these images for the network: side by side they take less time.
        with ThreadPoolExecutor(max_workers=1) as pool:
            early = pool.submit(_build_early, layout)
            built = binaries.ensure(layout, NODE_TOOLS)
            link, changed = _start(layout, built)
            built = binaries.ensure(layout)
            early.result()
        references = _publish(layout, link, built)
        with step("add-ons: DNS, storage, metrics"):
            addons.ensure(layout, link, references)
        sources = {item.name: built[item.packages[0][0]].parent for item in binaries.wanted(layout)}
        changed = facts.write(layout, facts.document(layout, link, references, sources)) or changed
    verb = "is up" if changed else "was up already, nothing changed"
    say(f"The embedded cluster {verb} ({time.monotonic() - started:.0f} s): API https://{link.node_ip}:6443, "
        f"kubeconfig {layout.kubeconfig}")  # fmt: skip


def add_vault(layout: Layout) -> None:
    """Have Vault from now on: its program and image, and its name among the facts."""
    parts.ask(layout, parts.VAULT)
    publish(layout)


def publish(layout: Layout) -> None:
    """Build every image whose sources changed and push it; the facts file names the new digests."""
    if supervisor.init_pid(layout) is None:
        raise ClusterError("the embedded cluster of this checkout is not running; start it with `make cluster`")
    with locked(_lock(layout)):
        built = binaries.ensure(layout)
        link = network.ensure(layout)
        references = _publish(layout, link, built)
        sources = {item.name: built[item.packages[0][0]].parent for item in binaries.wanted(layout)}
        changed = facts.write(layout, facts.document(layout, link, references, sources))
    say("Images: pushed what changed" if changed else "Images: nothing changed")


def down(layout: Layout) -> None:
    """Remove everything of this checkout's cluster but the cache of binaries and images."""
    simulation = simulated.layout_of(layout.checkout)
    if simulation.state.exists():
        simulated.down(simulation)
    if not layout.state.exists() and not network.exists(layout) and not cgroups.exists(layout):
        say("There is no embedded cluster of this checkout")
        return
    with locked(_lock(layout)):
        with step("stopping the embedded cluster"):
            supervisor.kill(layout)
            cgroups.remove(layout)
            network.remove(layout)
        with step(f"removing {layout.state}"):
            _remove_state(layout)
    say("The embedded cluster is gone; its binaries and images stay in the cache")


def _lock(layout: Layout) -> Path:
    """Outside the state folder, which `down` removes while it holds the lock."""
    return layout.cache / "locks" / f"cluster-{layout.ident}.lock"


def _remove_state(layout: Layout) -> None:
    """Remove all state; killed half-way, nothing is left that a new cluster would take for its own.

    Each part is first moved aside at once, the data of etcd before all others. Raises ClusterError for a part that cannot be removed.
    """
    aside = layout.state / REMOVED
    aside.mkdir(parents=True, exist_ok=True)
    parts = sorted((path for path in layout.state.iterdir() if path != aside), key=lambda path: path.name != "etcd")
    for number, path in enumerate(parts):
        path.rename(aside / f"{os.getpid()}-{number}")
    try:
        shutil.rmtree(layout.state)
    except OSError as error:
        # ENOTEMPTY: somebody has written into it meanwhile.
        raise ClusterError(
            f"{error.filename or layout.state} cannot be removed: {error.strerror}; the cluster itself is stopped. "
            "End what still uses this checkout (a test, a playbook), then run `make down` again"
        ) from error


def _build_early(layout: Layout) -> None:
    """Build the images that need no program of the tools."""
    for image in images.IMAGES:
        if not image.programs:
            images.ensure(layout, image, {})


def _start(layout: Layout, built: dict[str, Path]) -> tuple[Link, bool]:
    """Network, certificates, configuration and processes; returns when the API server is ready."""
    link = network.ensure(layout)
    pki.ensure(layout, link.node_ip)
    kubeconfigs.write_all(layout, link.node_ip)
    control_plane.write_config(layout)
    outside.write_config(layout, link)
    pause = next(image for image in images.IMAGES if image.name == "pause")
    key, folder = images.ensure(layout, pause, built)
    address = node.registry_of(link)
    digest = images.digest_of(folder)
    node.write_config(layout, link, registry.reference(address, pause.name, digest))
    cgroups.ensure(layout)
    with step("control plane and node"):
        changed = supervisor.ensure(layout, programs(layout, link))
        registry.wait(address, layout.logs / "registry.log")
        registry.push(address, pause.name, folder, digest, key)
        kubectl.wait_for_api(layout, link.node_ip)
        if changed:
            addons.prepare(layout)
    return link, changed


def _publish(layout: Layout, link: Link, built: dict[str, Path]) -> dict[str, str]:
    """Every image in the registry; returns the references by digest."""
    address = node.registry_of(link)
    found = {}
    with step("images"):
        for image in images.wanted(layout):
            key, folder = images.ensure(layout, image, built)
            found[image.name] = registry.push(address, image.name, folder, images.digest_of(folder), key)
        base = images.base_folder(layout)
        found[images.BASE] = registry.push(address, images.BASE, base, images.digest_of(base), "latest")
    return found
