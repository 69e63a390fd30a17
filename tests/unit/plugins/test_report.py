"""The report of a run: document, page, copies, and what happens when one cannot be written."""

from __future__ import annotations

import html.parser
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils import _report, _report_html
from ansible_collections.barberpro.platform.plugins.module_utils._redact import redact, redact_text
from ansible_collections.barberpro.platform.plugins.modules import run_report

from tests.support import modules
from tests.support.api_stand_in import StandIn
from tests.support.loopback import Reply, Request

MAPS = "/api/v1/namespaces/barberpro-system/configmaps"
CHECK = {"check": "rollout", "target": "Deployment a/b", "outcome": "passed", "evidence": "2/2 <replicas> & more", "elapsed_seconds": 0.05}
STAGES = [
    {"name": "validation", "budget_seconds": 225.0, "elapsed_seconds": 2.0, "result": "passed", "checks": [CHECK]},
    {
        "name": "containers",
        "budget_seconds": 10.0,
        "elapsed_seconds": 6.0,
        "result": "failed",
        "checks": [{**CHECK, "outcome": "failed"}, {**CHECK, "outcome": "skipped"}],
    },
]
PLANNED = [{"name": "validation", "budget_seconds": 225}, {"name": "containers", "budget_seconds": 10}, {"name": "own_stage", "budget_seconds": 60}]


@pytest.fixture
def report(api: StandIn, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    api.answers["GET /version"] = {"gitVersion": "v1.35.4"}

    def call(check: bool = False, **options: Any) -> dict[str, Any]:
        asked = {"kubeconfig": api.kubeconfig, "path": str(tmp_path / "reports"), "tenant": "palermo", "vertical": "barbershop", "revision": "r3"}
        times = {"started": 1_790_000_000.5, "finished": 1_790_000_041.75}
        return modules.call(run_report, {**asked, **times, "result": "succeeded", "stages": STAGES, "planned_stages": PLANNED, **options}, check=check)

    return call


@pytest.fixture
def kept(api: StandIn) -> list[dict[str, Any]]:
    """The ConfigMaps of a cluster that works."""
    found: list[dict[str, Any]] = []

    def create(request: Request) -> Reply:
        if any(item["metadata"]["name"] == request.body["metadata"]["name"] for item in found):
            return Reply(409, {"message": "already exists"})
        found.append(request.body)
        return Reply(201, request.body)

    api.answers[f"POST {MAPS}"] = create
    api.answers[f"GET {MAPS}"] = lambda _request: {"items": found}
    return found


def test_the_document_has_the_promised_fields(report: Callable[..., dict[str, Any]], kept: list[dict[str, Any]]) -> None:
    done = report(error="", versions={"image booking": "x@sha256:1"}, operator={"user": "ana", "host": ""})
    document = json.loads(Path(done["report_path"]).read_text())
    assert document == done["report"]
    assert (document["tenant"], document["vertical"], document["revision"], document["result"]) == ("palermo", "barbershop", "r3", "succeeded")
    assert (document["started"], document["finished"]) == ("2026-09-21T14:13:20.500Z", "2026-09-21T14:14:01.750Z")
    assert document["stages"] == STAGES
    assert document["elapsed_seconds"] == 41.25
    assert document["operator"]["user"] == "ana"
    assert set(document["operator"]) == {"user", "host", "ansible"}
    assert document["operator"]["host"]
    assert document["versions"]["kubernetes"] == "v1.35.4"
    assert document["versions"]["image booking"] == "x@sha256:1"
    assert done["report_path"].endswith("/reports/palermo/2026-09-21T14-13-20Z/report.json")
    assert done["config_map"] == "barberpro-system/report-palermo-20260921141320"
    assert json.loads(kept[0]["data"]["report.json"]) == document
    assert kept[0]["metadata"]["labels"]["barberpro.platform/tenant"] == "palermo"
    assert done["changed"]


def test_a_second_run_in_the_same_second_has_its_own(report: Callable[..., dict[str, Any]], kept: list[dict[str, Any]]) -> None:
    report()
    done = report()
    assert done["report_path"].endswith("2026-09-21T14-13-20Z-2/report.json")
    assert done["config_map"].endswith("report-palermo-20260921141320-2")
    assert len(kept) == 2


def test_check_mode_writes_nothing(report: Callable[..., dict[str, Any]], kept: list[dict[str, Any]], tmp_path: Path) -> None:
    done = report(check=True)
    assert done["report"]["tenant"] == "palermo"
    assert (done["changed"], done["report_path"], done["config_map"]) == (False, "", "")
    assert not kept
    assert not (tmp_path / "reports").exists()


def test_the_newest_are_kept(report: Callable[..., dict[str, Any]], kept: list[dict[str, Any]], api: StandIn) -> None:
    removed = []
    for number in range(4):
        name = f"report-palermo-{number}"
        kept.append({"metadata": {"name": name, "creationTimestamp": f"2026-01-0{number + 1}T00:00:00Z"}})

        def remove(_request: Request, name: str = name) -> Reply:
            removed.append(name)
            return Reply(200, {})

        api.answers[f"DELETE {MAPS}/{name}"] = remove
    with mock.patch.object(_report, "_create", return_value="new"):
        report(keep=3)
    assert removed == ["report-palermo-0"]


def warnings(call: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    done = call()
    return done, done.pop("warnings", [])


def test_a_path_that_cannot_be_written_loses_nothing(report: Callable[..., dict[str, Any]], kept: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done, said = warnings(lambda: report(path=str(tmp_path / "file" / "reports"), result="failed"))
    assert done["report"]["result"] == "failed"
    assert (done["report_path"], len(kept)) == ("", 1)
    assert said == [
        f"the report of tenant palermo cannot be written: Not a directory ({tmp_path}/file/reports); "
        f"the run itself ended as failed and a copy is in ConfigMap {done['config_map']}; make room or name another path"
    ]


def test_a_full_disk_leaves_no_half_file(report: Callable[..., dict[str, Any]], kept: list[dict[str, Any]], tmp_path: Path) -> None:
    full = OSError(28, "No space left on device")
    with mock.patch.object(os, "replace", side_effect=full):
        done, said = warnings(report)
    assert "No space left on device" in said[0]
    assert (done["report_path"], done["changed"]) == ("", True)
    assert not [file for file in (tmp_path / "reports").rglob("*") if file.is_file()]
    with mock.patch.object(_report, "page", side_effect=full):
        done, said = warnings(report)
    assert said[0].startswith("report.html of tenant palermo cannot be written: No space left on device")
    assert done["report_path"]
    assert done["html_path"] == ""


def test_a_really_full_disk(tmp_path: Path) -> None:
    """A write to /dev/full fails as one to a full disk does."""
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "report.json.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        _report.write_whole(str(folder / "report.json"), "text")
    assert list(folder.iterdir()) == []


def test_an_unreachable_cluster_is_a_warning(report: Callable[..., dict[str, Any]]) -> None:
    done, said = warnings(lambda: report(kubeconfig="/none"))
    assert said[0].startswith("the report is not kept in the cluster: kubeconfig /none does not exist")
    assert done["report_path"]
    assert "kubernetes" not in done["report"]["versions"]
    done, said = warnings(lambda: report(kubeconfig="/none", keep_in_cluster=False))
    assert said == []


def test_a_cluster_that_refuses_is_a_warning(report: Callable[..., dict[str, Any]], api: StandIn, kept: list[dict[str, Any]]) -> None:
    api.answers[f"GET {MAPS}"] = Reply(403, {"message": "no list for you"})
    _done, said = warnings(report)
    assert said[0].startswith("old reports are not removed from the cluster: ")
    api.answers[f"POST {MAPS}"] = Reply(403, {"message": "no"})
    _done, said = warnings(report)
    assert said[0].startswith("the report is not kept in the cluster: ")


def test_a_document_that_is_too_large_is_kept_without_its_diff(report: Callable[..., dict[str, Any]], kept: list[dict[str, Any]]) -> None:
    done = report(diff=[{"before": "", "after": "x" * 1_000_000}])
    assert json.loads(kept[0]["data"]["report.json"])["diff"] == [{"prepared": "left out: too large to be kept in the cluster"}]
    assert len(json.loads(Path(done["report_path"]).read_text())["diff"][0]["after"]) == 1_000_000


class Page(html.parser.HTMLParser):
    """Collects text, ids, and whether every tag is closed."""

    VOID = {"meta"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID and tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_page_shows_everything_and_needs_nothing(report: Callable[..., dict[str, Any]], kept: list[dict[str, Any]]) -> None:
    diff = [{"before_header": "HTTPRoute a/main", "before": "name: r2\n", "after": "name: r3\n"}, {"prepared": "# by hand"}]
    done = report(
        result="failed",
        error="stage containers failed: <b>bad</b>",
        next_step="push the image",
        undone=["route back to r2"],
        url="https://palermo.test/",
        diff=diff,
        objects=[{"object": "Deployment a/b", "action": "created"}, {"object": "Service a/b", "action": "unchanged"}],
    )
    text = Path(done["html_path"]).read_text()
    page = Page(text)
    assert page.open == []
    for words in (
        "palermo r3",
        "What went wrong. stage containers failed: <b>bad</b>",
        "route back to r2",
        "What to do next. push the image",
        "2.0 s of 3 min 45 s",
        "not reached",
        "Own stage",
        "2/2 <replicas> & more",
        "1 created, 1 unchanged",
        "1 passed, 1 failed, 1 skipped",
        "-name: r2",
        "+name: r3",
        "# by hand",
        "v1.35.4",
    ):
        assert words in page.text
    # Nothing is loaded from elsewhere: no script, no link to a style, a policy that forbids it.
    assert "script" not in {tag for tag, _name, _value in page.attributes}
    assert not [value for _tag, name, value in page.attributes if name == "src"]
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    # The failed stage is open, the one that passed is closed.
    assert re.search(r'id="containers" open', text)
    assert 'id="validation">' in text


def test_seconds_that_came_as_text_are_numbers(report: Callable[..., dict[str, Any]], kept: list[dict[str, Any]]) -> None:
    """As those of a stage that failed before its gate do with ansible-core 2.18."""
    stages = [{**stage, "budget_seconds": str(stage["budget_seconds"]), "elapsed_seconds": str(stage["elapsed_seconds"])} for stage in STAGES]
    assert report(stages=stages)["report"]["stages"] == STAGES


def test_a_page_without_stages(report: Callable[..., dict[str, Any]], kept: list[dict[str, Any]]) -> None:
    page = Page(Path(report(stages=[], planned_stages=[], result="unchanged")["html_path"]).read_text())
    assert "The run ended before its first stage." in page.text
    assert "No check was run." in page.text


def test_a_long_diff_is_cut_and_says_so() -> None:
    found = _report_html.unified({"before": "", "after": {"key": list(range(1000))}})
    assert found["lines"][-1][0] == "note"
    assert re.fullmatch(r"\d+ more lines", found["lines"][-1][1])
    assert found["title"] == "Change"


def test_the_bars_of_the_timeline_follow_each_other() -> None:
    first, second, third = _report_html.timeline({"stages": STAGES, "planned_stages": PLANNED})
    assert (first["left"], first["width"], first["used"]) == (0, 25, pytest.approx(0.889, abs=0.01))
    assert (second["left"], second["width"], second["used"]) == (25, 75, 60)
    assert (third["result"], third["width"], third["budget"]) == ("not reached", 0, 60)


SECRET = "apiVersion: v1\ndata:\n  password: Y2FuYXJ5\n  token: |\n    canary\n    canary\nkind: Secret\nmetadata:\n  name: x\n---\nkind: ConfigMap\n"


def test_secrets_do_not_reach_a_report(report: Callable[..., dict[str, Any]], kept: list[dict[str, Any]]) -> None:
    diff = [
        {"before": "", "after": SECRET},
        {"after": {"kind": "Secret", "data": {"a": "canary", "b": "(redacted 1a2b)"}, "stringData": "canary"}},
        {"after": {"settings": [{"db_password": "canary", "token_count": 3, "name": "kept"}]}},
        {"prepared": "\n".join(f"+{line}" for line in SECRET.replace("Y2FuYXJ5", "canary").splitlines())},
    ]
    done = report(diff=diff)
    for file in (done["report_path"], done["html_path"]):
        text = Path(file).read_text()
        assert "canary" not in text
        assert "Y2FuYXJ5" not in text
        assert "kept" in text
    assert "canary" not in json.dumps(kept)
    assert "(redacted 1a2b)" in json.dumps(kept)


def test_text_without_secrets_stays_as_it_is() -> None:
    text = "kind: ConfigMap\ndata:\n  password: visible\n"
    assert redact_text(text) == text
    assert redact(5) == 5
    assert redact_text(SECRET).endswith("kind: ConfigMap\n")


def test_who_ran_it() -> None:
    with mock.patch.dict(os.environ, {"SUDO_USER": "ana"}):
        assert _report._user() == "ana"
    with mock.patch.dict(os.environ, clear=True), mock.patch.object(_report.getpass, "getuser", side_effect=KeyError("no such uid")):
        assert _report._user() == str(os.getuid())


def test_the_version_is_that_of_the_collection(root: Path) -> None:
    assert yaml.safe_load((root / "galaxy.yml").read_text())["version"] == _report.VERSION


def test_a_playbook_ends_with_the_stage_table(root: Path, tmp_path: Path) -> None:
    """In a child process as an operator runs it, without a terminal: no escape codes."""
    tasks = [
        {"barberpro.platform.run_report": {"path": str(tmp_path), "tenant": "palermo", "vertical": "barbershop", "revision": "r3", "result": "failed",
                                           "started": 1_790_000_000, "finished": 1_790_000_041, "keep_in_cluster": False, "stages": STAGES,
                                           "planned_stages": PLANNED, "error": "stage containers failed: why", "next_step": "push the image"}}
    ]
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    (tmp_path / "inventory.yml").write_text(
        yaml.safe_dump({"all": {"hosts": {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}}})
    )
    (tmp_path / "ansible.cfg").write_text(f"[defaults]\ncollections_path={root}/.venv/collections\ncallbacks_enabled=barberpro.platform.stages\n")
    environment = {**os.environ, "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "KUBECONFIG": "/none"}
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(tmp_path / "inventory.yml"), str(tmp_path / "play.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    assert (
        "palermo r3: failed in 41 s\n"
        "  stage       result        took       budget  checks\n"
        "  --------------------------------------------------------------\n"
    )[:52] in done.stdout
    for line in (
        "  validation  passed       2.0 s  3 min 45 s  1/1",
        "  containers  failed       6.0 s        10 s  0/2 (1 skipped)",
        "  own_stage   not reached      -        60 s  -",
        "  Failed: stage containers failed: why",
        "  Next:   push the image",
        f"  Report: {tmp_path}/palermo/2026-09-21T14-13-20Z/report.html",
    ):
        assert line in done.stdout.splitlines()
