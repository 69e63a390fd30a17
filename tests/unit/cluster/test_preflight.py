"""What the user reads on a machine that cannot run the cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from barberpro_cluster import preflight
from barberpro_cluster.layout import Layout

GIB = 1024**3
GOOD = preflight.Machine(
    system="Linux",
    user=0,
    free_disk=40 * GIB,
    memory=8 * GIB,
    controllers=frozenset(preflight.CONTROLLERS),
    programs=frozenset({"go", "git", "apt-get", "unshare", "nsenter"}),
    go=(1, 99),
    file_system="ext4",
)
LAYOUT = Layout(checkout=Path("/srv/shop"), cache=Path("/root/.cache/barberpro"))


def test_a_machine_that_will_do_is_refused_nothing():
    assert preflight.refusals(GOOD, LAYOUT, warm=False) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"user": 1000},
            "the embedded cluster needs root (network namespaces, mounts, cgroups), and this is user 1000; run it with sudo, "
            "use `make cluster PROFILE=simulated`, or name an own cluster with BARBERPRO_KUBECONFIG",
        ),
        (
            {"free_disk": 5 * GIB},
            "/srv/shop or /root/.cache/barberpro has 5.0 GiB of free disk, and the embedded cluster needs 30 GiB (its tools are built from source); "
            "free some space",
        ),
        (
            {"memory": 4 * GIB},
            "this machine has 4.0 GiB of memory, and the embedded cluster needs 6 GiB; use a larger machine or `make cluster PROFILE=simulated`",
        ),
        (
            {"controllers": frozenset({"cpu", "cpuacct", "cpuset", "pids"})},
            "the kernel offers no cgroup controller memory under /sys/fs/cgroup; mount it (inside a container: start the container with --privileged)",
        ),
        ({"programs": GOOD.programs - {"go"}}, "missing program: go; install it and make sure that PATH finds it"),
        (
            {"file_system": "overlay"},
            "/srv/shop lies on an overlay file system, on which containers cannot be stacked; put the checkout on a disk or a volume",
        ),
    ],
)
def test_each_lack_is_one_sentence(change, sentence):
    assert preflight.refusals(replace(GOOD, **change), LAYOUT, warm=False) == [sentence]


@pytest.mark.parametrize(("found", "shown"), [("go1.19.8", "1.19.8"), ("go1.26rc1", "1.26"), ("", "of an unknown version")])
def test_a_go_that_is_too_old_is_refused_before_it_has_built_for_minutes(tmp_path, found, shown):
    for tool, version in (("etcd", "1.25.0"), ("kwok", "1.26.8")):
        (tmp_path / "cluster" / "tools" / tool).mkdir(parents=True)
        (tmp_path / "cluster" / "tools" / tool / "go.mod").write_text(f"module x\n\ngo {version}\n")
    layout = Layout(checkout=tmp_path, cache=tmp_path)

    assert preflight.refusals(replace(GOOD, go=preflight.numbers(found)), layout, warm=False) == [
        f"the Go that PATH finds is {shown}, and the tools of the cluster need 1.26.8; install that or a later one"
    ]
    assert preflight.refusals(replace(GOOD, go=(1, 26, 8)), layout, warm=False) == []


def test_this_machine_says_its_go():
    assert preflight.go_version() >= (1, 26)


def test_another_system_is_refused_alone():
    other = replace(GOOD, system="Darwin", user=501, free_disk=0, memory=0)

    assert preflight.refusals(other, LAYOUT, warm=False) == [
        "the embedded cluster needs Linux, and this is Darwin; use a Debian 12 machine, or name an own cluster with BARBERPRO_KUBECONFIG"
    ]


def test_a_filled_cache_needs_less_disk():
    little = replace(GOOD, free_disk=10 * GIB)

    assert preflight.refusals(little, LAYOUT, warm=True) == []


def test_every_lack_is_told_at_once():
    poor = replace(GOOD, user=1, memory=GIB, free_disk=GIB)

    assert len(preflight.refusals(poor, LAYOUT, warm=False)) == 3


def test_the_innermost_mount_decides_about_the_file_system():
    mounts = "overlay / overlay rw 0 0\n/dev/sdb1 /srv ext4 rw 0 0\n/dev/sdc1 /srvother xfs rw 0 0\n"

    assert preflight.file_system_of(Path("/srv/shop"), mounts) == "ext4"
    assert preflight.file_system_of(Path("/home"), mounts) == "overlay"


def test_both_versions_of_cgroups_are_understood(tmp_path):
    unified, old = tmp_path / "unified", tmp_path / "old"
    (unified / "sys/fs/cgroup").mkdir(parents=True)
    (unified / "sys/fs/cgroup/cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    for name in preflight.CONTROLLERS:
        (old / "sys/fs/cgroup" / name).mkdir(parents=True)

    assert set(preflight.CONTROLLERS) <= preflight.cgroup_controllers(unified)
    assert set(preflight.CONTROLLERS) <= preflight.cgroup_controllers(old)


def test_the_readme_names_the_go_that_is_needed():
    root = Path(__file__).resolve().parents[3]
    needed = ".".join(str(part) for part in preflight.go_needed(Layout(checkout=root, cache=root)))
    assert f"Go {needed} or later" in (root / "README.md").read_text()
