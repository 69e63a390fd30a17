"""The renderer: folders of templates in, objects out, and the sentence for everything that can be wrong."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.barberpro.platform.plugins.filter import render as render_plugin
from ansible_collections.barberpro.platform.plugins.module_utils import _render
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain
from ansible_collections.barberpro.platform.plugins.module_utils._render import RenderError, render

TENANT = {"name": "shop", "namespace": "tenant-shop", "vertical": "barbershop", "tier": "small"}
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {key: %s}\n"

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a template below templates/ and return its path."""

    def put(name: str, text: str) -> Path:
        path = tmp_path / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return put


def objects(tmp_path: Path, phases: list[str] | None = None, **context: Any) -> list[dict[str, Any]]:
    return render([str(tmp_path / "templates")], {"tenant": TENANT, **context}, phases)


def test_every_object_carries_phase_labels_and_namespace(tmp_path: Path, write: Write) -> None:
    write("workloads/10-config.yml.j2", CONFIG % ("settings-{{ revision }}", "value"))
    write("infrastructure/00-namespace.yml.j2", "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {{ tenant.namespace }}\n  labels: {own: 'yes'}\n---\n")
    namespace, config = objects(tmp_path, revision="@revision@")
    labels = {
        "app.kubernetes.io/managed-by": "barberpro.platform",
        "barberpro.platform/tenant": "shop",
        "barberpro.platform/vertical": "barbershop",
        "barberpro.platform/tier": "small",
    }
    assert namespace["metadata"] == {"name": "tenant-shop", "labels": {"own": "yes", **labels}, "annotations": {"barberpro.platform/phase": "infrastructure"}}
    assert config["metadata"] == {
        "name": "settings-@revision@",
        "namespace": "tenant-shop",
        "labels": labels,
        "annotations": {"barberpro.platform/phase": "workloads"},
    }


def test_order_is_by_phase_then_folder_then_file(tmp_path: Path) -> None:
    for folder, name in (("b", "monitoring/1"), ("b", "infrastructure/2"), ("a", "infrastructure/9"), ("b", "infrastructure/1")):
        path = tmp_path / folder / f"{name}.yml.j2"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CONFIG % (f"{folder}-{name.replace('/', '-')}", "v"))
    (tmp_path / "a" / "infrastructure" / "notes.txt").write_text("no template")
    found = render([str(tmp_path / "a"), str(tmp_path / "b")], {"tenant": TENANT})
    assert [item["metadata"]["name"] for item in found] == ["a-infrastructure-9", "b-infrastructure-1", "b-infrastructure-2", "b-monitoring-1"]
    assert [item["metadata"]["name"] for item in render(str(tmp_path / "b"), {"tenant": TENANT}, ["monitoring"])] == ["b-monitoring-1"]


def test_an_undefined_variable_names_itself_the_line_and_the_tenant(tmp_path: Path, write: Write) -> None:
    path = write("workloads/a.yml.j2", CONFIG % ("x", "{{ market.replicas }}"))
    with pytest.raises(RenderError) as caught:
        objects(tmp_path, market={})
    assert str(caught.value) == (
        f"tenant shop: template {path}: line 4 (data: {{key: {{{{ market.replicas }}}}}}): variable 'replicas' is undefined in the value it is read from; "
        "define it in the inventory or give it a default"
    )
    write("workloads/a.yml.j2", CONFIG % ("x", "{{ nothing }}"))
    with pytest.raises(RenderError, match="variable 'nothing' is undefined; define it in the inventory"):
        objects(tmp_path)


@pytest.mark.parametrize("expression", ["workloads.booking.resources | to_json", "workloads.booking.resources | to_yaml", "workloads.x | hash"])
def test_undefined_is_found_inside_filters_too(tmp_path: Path, write: Write, expression: str) -> None:
    write("workloads/a.yml.j2", CONFIG % ("x", f"{{{{ {expression} }}}}"))
    with pytest.raises(RenderError, match="is undefined"):
        objects(tmp_path, workloads={"booking": {}})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind: ConfigMap\nmetadata: {name: x}\n", "an object has no apiVersion"),
        ("apiVersion: v1\nmetadata: {name: x}\n", "an object has no kind"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", "a ConfigMap has no metadata.name that is text"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {on: true}}\n", "metadata.labels.True is True, which is not text; quote it"),
        ("- a\n- b\n", "a document is a list, not an object"),
        ("a: [\n", "what it renders is not YAML"),
        ("a: 1\na: 2\n", "key 'a' is there twice"),
        ("{% if %}", "line 1: Expected an expression"),
        ("{{ 1 / 0 }}", "line 1 ({{ 1 / 0 }}): ZeroDivisionError"),
        ("{% include 'none.j2' %}", "cannot be read; check the name in include or import"),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {barberpro.platform/tenant: other}}\n",
            "ConfigMap x carries the label of tenant other",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, write: Write, text: str, sentence: str) -> None:
    path = write("workloads/a.yml.j2", text)
    with pytest.raises(RenderError) as caught:
        objects(tmp_path)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"tenant shop: template {path}: ")


def test_an_object_rendered_twice_names_both_templates(tmp_path: Path, write: Write) -> None:
    one, two = write("workloads/a.yml.j2", CONFIG % ("x", "1")), write("monitoring/b.yml.j2", CONFIG % ("x", "2"))
    with pytest.raises(RenderError) as caught:
        objects(tmp_path)
    assert str(caught.value) == f"tenant shop: ConfigMap tenant-shop/x is rendered twice, by {one} and by {two}; remove one"


def test_wrong_calls(tmp_path: Path, write: Write) -> None:
    write("workloads/a.yml.j2", CONFIG % ("x", "1"))
    with pytest.raises(RenderError, match=r"the context must hold tenant.name and tenant.namespace"):
        render([str(tmp_path / "templates")], {"tenant": {"name": "x"}})
    with pytest.raises(RenderError, match="unknown phase test; the phases are infrastructure, workloads, promotion, monitoring"):
        objects(tmp_path, ["test"])
    with pytest.raises(RenderError, match=r"template folder .*/none does not exist; name the templates folder of a role"):
        render([str(tmp_path / "none")], {"tenant": TENANT})
    with pytest.raises(RenderError, match="in the folders monitoring"):
        objects(tmp_path, ["monitoring"])


def test_macros_are_imported_relative_to_the_template(tmp_path: Path, write: Write) -> None:
    write("_macros.j2", "{% macro name(key) %}{{ key | dns_name }}-x{% endmacro %}")
    write("workloads/a.yml.j2", "{% import '../_macros.j2' as m %}" + CONFIG % ("{{ m.name('Walkin_Queue') }}", "1"))
    assert objects(tmp_path)[0]["metadata"]["name"] == "walkin-queue-x"


def test_a_changed_template_is_compiled_again_and_others_are_not(tmp_path: Path, write: Write) -> None:
    path = write("workloads/a.yml.j2", CONFIG % ("x", "first"))
    assert objects(tmp_path)[0]["data"] == {"key": "first"}
    compiled = _render.environment().get_template(str(path))
    objects(tmp_path)
    assert _render.environment().get_template(str(path)) is compiled
    path.write_text(CONFIG % ("x", "second"))
    os.utime(path, (time.time() + 5, time.time() + 5))
    assert objects(tmp_path)[0]["data"] == {"key": "second"}


def test_values_reach_yaml_unharmed(tmp_path: Path, write: Write) -> None:
    awkward = {"text": 'Ñandú: "x" # no comment\n- two', "number": 1, "none": None, "list": [True, 1.5]}
    body = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n  json: {{ value | to_json | to_json }}\n"
        "  yaml: |\n    {{ value | to_yaml | indent(4) }}  hash: {{ value | hash('sha1') }}\n  b64: {{ 'ñ' | b64encode }}\n"
        "  merged: {{ value | combine({'number': 2, 'deep': {'a': 1}}) | combine({'deep': {'b': 2}}, recursive=true) | to_json | to_json }}\n"
        "  items: '{{ ({'a': 1} | dict2items)[0].key }}'\n  bool: '{{ 'yes' | bool }}{{ true | bool }}'\n  sub: {{ 'a-b' | regex_replace('-', '.') }}\n"
        "  date: 2026-01-02\n"
    )
    write("workloads/a.yml.j2", body)
    data = objects(tmp_path, value=awkward)[0]["data"]
    assert _render.yaml.safe_load(data["json"]) == awkward
    assert _render.yaml.safe_load(data["yaml"]) == awkward
    merged = _render.yaml.safe_load(data["merged"])
    assert merged["number"] == 2
    assert merged["deep"] == {"a": 1, "b": 2}
    assert (data["b64"], data["items"], data["bool"], data["sub"]) == ("w7E=", "a", "TrueTrue", "a.b")
    assert data["date"] == "2026-01-02"
    assert len(data["hash"]) == 40


def test_a_text_that_was_read_before_gives_objects_of_their_own(tmp_path: Path, write: Write) -> None:
    write("workloads/a.yml.j2", CONFIG % ("x", "1") + "---\n" + CONFIG % ("{{ tenant.name }}", "2"))
    first = objects(tmp_path)
    first[0]["data"]["key"] = "changed"
    assert [item["data"] for item in objects(tmp_path)] == [{"key": 1}, {"key": 2}]


def test_what_a_template_changes_is_its_own_copy(tmp_path: Path, write: Write) -> None:
    write("workloads/a.yml.j2", "{% do names.append('z') %}" + CONFIG % ("x", "{{ names | join }}"))
    names = ["y"]
    assert [objects(tmp_path, names=names)[0]["data"]["key"] for _turn in range(2)] == ["yz", "yz"]
    assert names == ["y"]


def test_a_mark_names_the_line_of_the_whole_text_and_directives_are_read(tmp_path: Path, write: Write) -> None:
    write("workloads/a.yml.j2", "%YAML 1.1\n---\n" + CONFIG % ("x", "1") + "--- # and\n" + CONFIG % ("y", "'--- \n  ---'"))
    assert [item["data"]["key"] for item in objects(tmp_path)] == [1, "--- ---"]
    write("workloads/a.yml.j2", CONFIG % ("x", "1") + "---\n" + CONFIG % ("y", "["))
    with pytest.raises(RenderError, match="line 9"):
        objects(tmp_path)


def test_merge_keys_may_be_overridden(tmp_path: Path, write: Write) -> None:
    write("workloads/a.yml.j2", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {<<: {a: one, b: two}, a: three}\n")
    assert objects(tmp_path)[0]["data"] == {"a": "three", "b": "two"}


def test_the_filter_gives_one_sentence_without_a_cause(tmp_path: Path, write: Write) -> None:
    write("workloads/a.yml.j2", CONFIG % ("x", "{{ nothing }}"))
    render_filter = render_plugin.FilterModule().filters()["render"]
    with pytest.raises(AnsibleFilterError) as caught:
        render_filter([str(tmp_path / "templates")], {"tenant": TENANT})
    assert caught.value.__cause__ is None
    assert "variable 'nothing' is undefined" in str(caught.value)
    assert render_filter(str(tmp_path / "templates"), {"tenant": TENANT, "nothing": "x"})[0]["kind"] == "ConfigMap"


def test_a_thousand_tenants_take_seconds(tmp_path: Path, write: Write) -> None:
    write("infrastructure/a.yml.j2", "{% for n in range(10) %}\n---\n" + CONFIG % ("x{{ n }}", "{{ tenant.name }}") + "{% endfor %}")
    begun = time.monotonic()
    for number in range(1000):
        name = f"t{number}"
        found = render([str(tmp_path / "templates")], {"tenant": {**TENANT, "name": name, "namespace": name}})
        assert found[3]["data"] == {"key": name}
    # 10,000 objects; about 3 s alone on the machine of the tests.
    assert time.monotonic() - begun < 60


def test_plain_data_comes_out_of_everything() -> None:
    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "wrong"

    class Number(int):
        pass

    date = _render.yaml.safe_load("2026-01-02")
    found = to_plain({Text("a"): (Text("b"), Number(3), 1.5, True, None, b"x"), 7: {"s": {"y", "x"}}, "d": date, "p": Path("/x")})
    assert found == {"a": ["b", 3, 1.5, True, None, "x"], "7": {"s": ["x", "y"]}, "d": "2026-01-02", "p": "/x"}
    assert isinstance(found["a"][0], str)
    assert isinstance(found["a"][1], int)


def test_compiled_templates_are_kept_if_the_disk_has_room(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("workloads/a.yml.j2", CONFIG % ("x", "{{ tenant.name }}"))
    kept = tmp_path / "kept"
    kept.mkdir()
    for room in (True, False):
        monkeypatch.setattr(_render, "_ENVIRONMENT", None)
        monkeypatch.setattr(tempfile, "tempdir", str(kept))
        if not room:
            monkeypatch.setattr(tempfile, "NamedTemporaryFile", mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
            for path in kept.rglob("*.cache"):
                path.unlink()
        assert [item["data"] for item in objects(tmp_path)] == [{"key": "shop"}]
        assert len(list(kept.rglob("barberpro.platform-*.cache"))) == room
    # A folder that is somebody else's is left alone.
    next(kept.iterdir()).chmod(0o777)
    monkeypatch.setattr(_render, "_ENVIRONMENT", None)
    assert len(objects(tmp_path)) == 1
