"""What makes a program or an image be built again, and what does not."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from barberpro_cluster import binaries, images
from barberpro_cluster.errors import ClusterError
from barberpro_cluster.layout import Layout

GO_MOD = "module x\n\nrequire (\n\texample.org/tool v1.2.3\n\texample.org/tool/sub v9.9.9 // indirect\n)\n"
TOOL = binaries.Tool("tool", "example.org/tool", (("tool", "example.org/tool/cmd"),), values=("main.version={version}",))


@pytest.fixture
def module(tmp_path):
    (tmp_path / "go.mod").write_text(GO_MOD)
    (tmp_path / "go.sum").write_text("example.org/tool v1.2.3 h1:x=\n")
    return tmp_path


def test_the_version_of_a_tool_stands_in_its_go_mod_alone():
    assert binaries.version_of(GO_MOD, "example.org/tool") == "v1.2.3"
    assert binaries.flags(TOOL, GO_MOD) == ["-trimpath", "-ldflags", "-s -w -X main.version=v1.2.3"]


def test_a_go_mod_without_the_tool_is_refused():
    with pytest.raises(ClusterError, match=r"^go.mod does not require example.org/other; run `go get -tool` for it in that folder$"):
        binaries.version_of(GO_MOD, "example.org/other")


def test_the_key_follows_what_is_compiled(module):
    before = binaries.key_of(TOOL, module, "go1.26")
    assert binaries.key_of(TOOL, module, "go1.26") == before
    assert binaries.key_of(TOOL, module, "go1.27") != before

    (module / "go.sum").write_text("example.org/tool v1.2.3 h1:y=\n")
    assert binaries.key_of(TOOL, module, "go1.26") != before


def test_a_program_of_this_repository_is_keyed_by_its_source_without_its_tests(module):
    own = binaries.Tool("own", "", (("own", "."),), source="own")
    (module / "main.go").write_text("package main\n")
    before = binaries.key_of(own, module, "go1.26")

    (module / "main_test.go").write_text("package main\n")
    assert binaries.key_of(own, module, "go1.26") == before
    (module / "main.go").write_text("package main // changed\n")
    assert binaries.key_of(own, module, "go1.26") != before


def test_every_tool_of_the_checkout_is_pinned():
    layout = Layout.of(Path(__file__).resolve().parents[3])

    for tool in binaries.TOOLS:
        folder = binaries.source_of(layout, tool)
        go_mod = (folder / "go.mod").read_text()
        assert (folder / "go.sum").stat().st_size > 0
        if tool.module:
            assert binaries.version_of(go_mod, tool.module).startswith("v")


# Programs whose modules agree on versions, and who may differ in what.
ALIKE = (
    ("kubernetes", "etcd"),
    ("envoy-gateway", "coredns", "metrics-server", "local-path-provisioner", "helm", "prometheus", "prometheus-operator", "policy-agent"),
)
APART = {
    # The operator's admission webhook does not compile with a newer one.
    "sigs.k8s.io/controller-runtime": "prometheus-operator",
    # It is compiled with the Prometheus and Alertmanager whose configuration it writes.
    "github.com/prometheus/prometheus": "prometheus-operator",
    "github.com/prometheus/alertmanager": "prometheus-operator",
}


@pytest.mark.parametrize("names", ALIKE, ids=lambda names: names[0])
def test_what_programs_share_has_one_version_so_that_it_is_compiled_once(names):
    layout = Layout.of(Path(__file__).resolve().parents[3])
    versions: dict[str, dict[str, str]] = {}
    for name in names:
        go_mod = (binaries.source_of(layout, binaries.tool(name)) / "go.mod").read_text()
        for module, version in re.findall(r"^(?:require )?\t?([a-z]\S+) (v\S+)", go_mod, re.MULTILINE):
            if APART.get(module) != name and "go.etcd.io" not in module:
                versions.setdefault(module, {})[name] = version

    assert {module: found for module, found in versions.items() if len(set(found.values()) - {"v0.0.0"}) > 1} == {}
    assert sum(len(found) > 1 for found in versions.values()) > 20


def test_a_link_is_replaced_at_once(tmp_path):
    link = tmp_path / "bin" / "kubectl"
    binaries.link(link, tmp_path / "old")
    binaries.link(link, tmp_path / "new")

    assert os.readlink(link) == str(tmp_path / "new")
    assert [path.name for path in link.parent.iterdir()] == ["kubectl"]


def test_only_what_comes_from_the_context_counts_as_copied():
    text = "FROM a AS b\nCOPY --chown=1:1 one two /x/\nRUN true\nCOPY --from=b /y /y\n"

    assert images.copied(text) == ["one", "two"]


def test_an_image_is_keyed_by_the_files_that_its_containerfile_copies(tmp_path):
    layout = Layout(checkout=tmp_path, cache=tmp_path / "cache")
    (tmp_path / "services/shop/app").mkdir(parents=True)
    (tmp_path / "services/shop/tests").mkdir()
    (tmp_path / "services/shop/Containerfile").write_text("FROM base\nCOPY shop/app /app\n")
    (tmp_path / "services/shop/app/main.py").write_text("1\n")
    image = images.Image("shop", "services/shop/Containerfile", "services")

    def key(base="base-1"):
        return images.key_of(images.context_files(layout, image, {}), base)

    before = key()
    (tmp_path / "services/shop/tests/test_main.py").write_text("1\n")
    assert key() == before
    assert key("base-2") != before
    (tmp_path / "services/shop/app/main.py").write_text("2\n")
    assert key() != before


def test_a_program_in_an_image_counts_by_its_digest_not_by_its_place(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").write_text("binary")
        (tmp_path / folder / "tool.sha256").write_text("abc\n")

    assert images.key_of({"tool": tmp_path / "one/tool"}, "") == images.key_of({"tool": tmp_path / "two/tool"}, "")


def test_every_image_has_its_containerfile_and_copies_only_what_there_is():
    layout = Layout.of(Path(__file__).resolve().parents[3])

    for image in images.IMAGES:
        text = (layout.checkout / image.containerfile).read_text()
        assert "ARG BASE_IMAGE=" in text, image.name
        present = {name for name in images.copied(text) if (layout.checkout / image.context / name).exists()}
        assert set(images.copied(text)) - present <= {*image.programs, "wheels/"}, image.name


def test_the_newest_layouts_of_an_image_stay_and_other_images_are_not_touched(tmp_path):
    for number in range(images.KEPT + 2):
        (tmp_path / f"shop-{number}").mkdir()
        os.utime(tmp_path / f"shop-{number}", (number, number))
    (tmp_path / "shop-window-1").mkdir()

    images._forget_older(tmp_path / f"shop-{images.KEPT + 1}")

    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [*(f"shop-{number}" for number in range(2, images.KEPT + 2)), "shop-window-1"]
