"""The way back of the pipeline, and what becomes of the journal that a killed run has left, with both ansible-cores; the API server is a stand-in.

They differ in what a variable makes of a value: with 2.18, none is empty text, and a number is text.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._store import Record

from tests.support.api_stand_in import StandIn, secret, stand_in
from tests.support.cluster import ROOT
from tests.support.cores import CORES
from tests.support.loopback import Reply, Request

TASKS = ROOT / "roles" / "pipeline" / "tasks"
SYSTEM = "namespaces/barberpro-system"
JOURNAL = f"/api/v1/{SYSTEM}/secrets/journal-shop"
LEASE = f"/apis/coordination.k8s.io/v1/{SYSTEM}/leases/tenant-shop"
Play = Callable[..., str]


@pytest.fixture(params=CORES, ids=["newest", "oldest"], scope="module")
def core(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ansible(core: str, folder: Path, inventory: dict[str, Any], play: dict[str, Any]) -> str:
    """Run a play on an inventory with one of the cores and return what it said in one line."""
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    (folder / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "connection": "local", "gather_facts": False, **play}]))
    command = [str(ROOT / core / "bin" / "ansible-playbook"), "-i", str(folder / "hosts.yml"), str(folder / "play.yml")]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "COLUMNS": "400", **CORES[core]}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    return " ".join((done.stdout + done.stderr).split())


def steps(*names: str, **undo: Any) -> list[dict[str, Any]]:
    return [{"step": name, "intended": "t", "done": None, "undo": undo.get(name, {})} for name in names]


def begun(previous: int | None, *names: str, **undo: Any) -> dict[str, Any]:
    return {"__pipeline_begun": {"journal": {"previous": previous, "steps": steps(*names, **undo)}}}


def left(following: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"__pipeline_left": {"left_by": "ana@r7", "next": following, "journal": {"previous": None, "steps": steps(*names)}}, **more}


def written(path: str, task: str, place: str, key: str) -> str:
    """Return an expression as a task file has it."""
    (found,) = [entry for entry in yaml.safe_load((TASKS / path).read_text()) if entry["name"] == task]
    return str(found[place][key]).strip().removeprefix("{{").removesuffix("}}")


SERVING = written("rollback/rehearse.yml", "Read the revision that serves", "barberpro.platform.release_info", "revision")
NOTED = f"({written('offboard/inspect.yml', 'Remember whether there is anything', 'ansible.builtin.set_fact', '__pipeline_noted')}) | list"
EXPORTED = {"__pipeline_leaving": {"signed": False, "record": {"steps": [{"step": "export"}]}}}
BACK = "{{ 'shop' | barberpro.platform.run_identity('roll back') }}"
NEW_KEY = {"key": {"existed": False}}
# What is known, what is asked of it, and the answer. A roll back has taken the revision that serves through a variable.
ASKED: dict[str, tuple[dict[str, Any], str, Any]] = {
    "run-of-none": ({"current": None}, "__pipeline_run.previous", None),
    "run-of-six": ({"current": 6}, "__pipeline_run.previous", 6),
    "run-that-looked": ({"current": None, "__pipeline_left": {"fence": 7}}, "__pipeline_run.fence | int", 7),
    "run-that-planned": ({"current": None, "fence": 6, "__pipeline_left": {"fence": 7}}, "__pipeline_run.fence | int", 6),
    "noted-by-a-killed-one": ({**left("adopt"), **EXPORTED}, NOTED, ["export"]),
    "noted-and-swept": ({"__pipeline_left": {"next": "none", "journal": {}}, **EXPORTED}, NOTED, ["export"]),
    "noted-and-lived-on": ({**left("none", "finished"), **EXPORTED}, NOTED, []),
    "noted-and-deployed": ({**left("undo", "staged"), **EXPORTED}, NOTED, []),
    "serving-none": ({"current": None}, f"'left out' if ({SERVING}) == omit else 'given'", "left out"),
    "serving-six": ({"current": 6}, f"({SERVING}) | int", 6),
    "undo-none": (begun(None), "__pipeline_undo_previous | string", ""),
    "undo-six": (begun(6), "__pipeline_undo_previous | int", 6),
    "back-rotation": ({**left("undo"), "__pipeline_history": {"current": 6}}, "__pipeline_back | int", 6),
    "back-first": ({**left("undo"), "__pipeline_history": {"current": None}}, "__pipeline_back | default('none', true)", "none"),
    "key-never-came-to-it": ({**begun(None, "key", **NEW_KEY), "database_state": {"schema_exists": False}}, "__pipeline_undo_key", True),
    "key-schema-of-before": ({**begun(None, "key", **NEW_KEY), "database_state": {"schema_exists": True}}, "__pipeline_undo_key", False),
    "key-dropped": (
        {**begun(None, "key", "database", **NEW_KEY, database={"existed": False}), "database_dropped": True},
        "__pipeline_undo_key", True,
    ),
    "key-rows": (
        {**begun(None, "key", "database", **NEW_KEY, database={"existed": False}), "database_dropped": False}, "__pipeline_undo_key", False,
    ),
    "key-existed": ({**begun(None, "key", key={"existed": True}), "database_state": {"schema_exists": False}}, "__pipeline_undo_key", False),
    "key-none": ({**begun(None, "infrastructure"), "database_state": {"schema_exists": False}}, "__pipeline_undo_key", False),
    "says-step": (left("undo", "key", "staged"), "__pipeline_left_sentence", "The run of ana@r7 was killed in step staged; first undo it."),
    "says-end": (left("finish", "finished"), "__pipeline_left_sentence", "The run of ana@r7 was killed in step finished; first carry it to its end."),
    "says-no-step": (
        left("undo"), "__pipeline_left_sentence", "The run of ana@r7 was killed and has left nothing to be undone; first close its journal.",
    ),
    "says-dry": (
        left("undo", pipeline_plan_only=True), "__pipeline_left_sentence",
        "The run of ana@r7 was killed and has left nothing to be undone; a run would first close its journal.",
    ),
}  # fmt: skip
LASTS, DUE = "__pipeline_run.lease_seconds", {"dns_tls_certificate_due": "it does not exist", "dns_tls_acme_propagation_seconds": 60}
LEASES: dict[str, tuple[dict[str, Any], str, int]] = {
    "lease-of-a-wave": ({}, LASTS, 120),
    "lease-nothing-due": ({**DUE, "dns_tls_certificate_due": "", "dns_tls_provider": "route53"}, LASTS, 120),
    "lease-certificate": ({**DUE, "dns_tls_certificate_changed": False, "dns_tls_provider": "rfc2136"}, LASTS, 120 + 120 + 60),
    "lease-certificate-route53": ({**DUE, "dns_tls_certificate_changed": False, "dns_tls_provider": "route53"}, LASTS, 120 + 120 + 60 + 2 * 300),
    "lease-record-route53": (
        {**DUE, "dns_tls_certificate_changed": True, "dns_tls_record_changed": True, "dns_tls_provider": "route53"}, LASTS, 120 + 300,
    ),
    "lease-record-of-another-kind-route53": (
        {"dns_tls_record_changed": True, "dns_tls_record": {"other": [{"type": "A", "values": ["10.0.0.1"]}]}, "dns_tls_provider": "route53"}, LASTS, 120 + 600,
    ),
}  # fmt: skip
# All that is asked is asked of one wave, of which five tenants at a time go on.
ROUNDS = -(-(len(ASKED) + len(LEASES)) // 5)
ASKED |= {name: (known, asked, seconds * ROUNDS) for name, (known, asked, seconds) in LEASES.items()}


@pytest.fixture(scope="module")
def found(core: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answers, by one run of Ansible."""
    folder = tmp_path_factory.mktemp("asked")
    shared = {"current": None, "pipeline_plan_only": False, "__pipeline_identity": {"id": "a"}, "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    hosts = {name: {**shared, **known, "answer": f"{{{{ [{asked}] | to_json }}}}"} for name, (known, asked, _answer) in ASKED.items()}
    said = ansible(core, folder, {"all": {"hosts": hosts}}, {
        "vars_files": [str(ROOT / "roles/pipeline/vars/main.yml")],
        "tasks": [
            {"ansible.builtin.set_fact": {"__pipeline_plan": {"previous": "{{ current }}"}}},
            {"ansible.builtin.set_fact": {"__pipeline_plan": {"previous": "{{ current }}", "fence": "{{ fence }}"}}, "when": "fence is defined"},
            {"ansible.builtin.copy": {"content": "{{ answer }}", "dest": f"{folder}/{{{{ inventory_hostname }}}}.json"}},
        ],
    })  # fmt: skip
    assert "failed=1" not in said, said
    return {name: json.loads((folder / f"{name}.json").read_text())[0] for name in ASKED}


@pytest.mark.parametrize("name", ASKED)
def test_what_the_pipeline_makes_of(found: dict[str, Any], name: str) -> None:
    assert found[name] == ASKED[name][2]


@pytest.mark.parametrize("option", ["service_accounts", "narrow"])
def test_a_plan_asks_for_the_key_as_its_run_does(option: str) -> None:
    """So a dry run says what becomes of who may use it."""
    planned = written("stages/validation.yml", "See whether Vault would give the tenant its key", "barberpro.platform.tenant_key", option)
    assert planned == written("stages/infrastructure.yml", "Give the tenant a key of its own", "barberpro.platform.tenant_key", option)


class Tenant:
    """A tenant on the stand-in: its lease, and the journal that a killed run has left."""

    def __init__(self, api: StandIn, folder: Path, core: str) -> None:
        self.api, self.folder, self.core = api, folder, core
        self._keep(LEASE, None)
        self._keep(JOURNAL, None)

    def _keep(self, path: str, item: dict[str, Any] | None) -> None:
        def put(request: Request) -> Reply:
            request.body["metadata"]["resourceVersion"] = str(len(self.api.log))
            self.api.answers[f"GET {path}"] = request.body
            return Reply(200, request.body)

        self.api.answers.update({f"GET {path}": item, f"PUT {path}": put, f"POST {path.rpartition('/')[0]}": put})

    def leave(self, previous: int | None, *names: str, operation: str = "deploy", content: str | None = "other", **undo: Any) -> None:
        """Have a run be killed after it has begun these steps."""
        run = {"id": "killed", "operation": operation, "content": content, "user": "ana", "host": "r7", "began": "t"}
        document = {"run": run, "previous": previous, "steps": steps(*names, **undo), "closed": None, "outcome": None}
        item = secret("barberpro-system", "journal-shop", journal=json.dumps(document))
        item["metadata"]["resourceVersion"] = "1"
        self._keep(JOURNAL, item)

    def keep(self, current: int, *numbers: int) -> None:
        """Have revisions be kept, all of runs that ended well, of which ``current`` serves. Of their objects nothing is read."""
        record = Record(current=current, finished=current, highest=max(numbers), proven=set(numbers)).document()
        self.api.answers[f"GET /api/v1/{SYSTEM}/secrets/release-shop-record"] = secret("barberpro-system", "release-shop-record", record=json.dumps(record))
        kept = []
        for number in numbers:
            item = secret("barberpro-system", f"release-shop-r{number}-0")
            item["metadata"].update(
                labels={"barberpro.platform/revision": f"r{number}", "barberpro.platform/tenant": "shop"}, annotations={"barberpro.platform/chunks": "1"}
            )
            kept.append(item)
        self.api.items(f"/api/v1/{SYSTEM}/secrets", *kept)

    def journal(self) -> dict[str, Any]:
        """Return the journal as it is now."""
        return dict(json.loads(base64.b64decode(self.api.answers[f"GET {JOURNAL}"]["data"]["journal"])))

    def play(self, *files: str, **facts: Any) -> str:
        """Include files of the role in turn, in a run that has just begun, and return what was said with what is not undone."""
        shared = {
            "barberpro_kubeconfig": self.api.kubeconfig, "platform_zone": "barberpro.test", "images": {}, "database_admin_host": "127.0.0.1",
            "database_admin_port": 1, "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        }  # fmt: skip
        run = {
            "__pipeline_identity": "{{ 'shop' | barberpro.platform.run_identity('deploy') }}", "__pipeline_plan": {"content_hash": "this"},
            "__pipeline_undone": [], "__pipeline_undo_failures": [], "__pipeline_left_open": [], "__pipeline_error": "", "__pipeline_committed": False,
            "__pipeline_dry": False, "__pipeline_gate": {}, "__pipeline_left": {"next": "none"}, **facts,
        }  # fmt: skip
        includes: list[dict[str, Any]] = []
        for name in files:
            if name == "end.yml":
                includes.append({"ansible.builtin.set_fact": {"__pipeline_error": facts.get("__pipeline_error", "stage validation failed: no such image.")}})
            include = {"ansible.builtin.include_role": {"name": "barberpro.platform.pipeline", "tasks_from": name, "public": True}}
            includes.append({"block": [include], "rescue": [{"ansible.builtin.debug": {"msg": "FAILED {{ ansible_failed_result.msg }}"}}]})
        look = {"name": "shop", "run": {"id": "next", "operation": "deploy"}, "state": "inspected"}
        inspect = {"barberpro.platform.transaction": look, "register": "__pipeline_left"}
        return ansible(self.core, self.folder, {"all": {"hosts": {"shop": shared}}}, {
            "module_defaults": {"group/barberpro.platform.all": {"kubeconfig": self.api.kubeconfig, "outage_timeout": 1}},
            "tasks": [
                {"ansible.builtin.set_fact": run}, *([inspect] if "recover.yml" in files else []), *includes,
                {"ansible.builtin.debug": {"msg": "SAID{{ __pipeline_undo_sentence }}"}},
                {"ansible.builtin.debug": {"msg": "TO r{{ __pipeline_to | default('') }} BY {{ __pipeline_left.next }}"}},
            ],
        })  # fmt: skip


@pytest.fixture
def tenant(core: str, tmp_path: Path) -> Iterator[Tenant]:
    with stand_in(tmp_path) as api:
        yield Tenant(api, tmp_path, core)


def test_a_first_deploy_is_undone(tenant: Tenant) -> None:
    tenant.leave(None, "infrastructure")
    said = tenant.play("undo.yml", "end.yml")
    assert "SAID Undone: objects: 0 put back" in said, said
    assert "NOT undone" not in said
    assert "undo_data.yml for shop" in said
    assert tenant.journal()["outcome"] == "undone"


def test_a_key_stays_where_the_rows_that_it_seals_could_not_be_counted(tenant: Tenant) -> None:
    """Although the same playbook has dropped the empty schema of a killed run before."""
    tenant.leave(None, "key", "database", key={"existed": False}, database={"existed": False, "schema": "t_1"})
    said = tenant.play(
        "undo.yml",
        "end.yml",
        database_undone="dropped the empty schema t_1",
        database_dropped=True,
        database_schema="t_1",
        __pipeline_platform={"vault": {}},
        database_admin_user="postgres",
        database_admin_password="x",
        database_name="barberpro",
    )
    assert "NOT undone: database: " in said, said
    assert "Destroy the key that this run made" in said
    assert "key: " not in said.partition("SAID")[2]
    assert tenant.journal()["closed"] is None


def test_a_killed_run_without_steps_is_closed(tenant: Tenant) -> None:
    tenant.leave(None, operation="rotate credentials")
    said = tenant.play("recover.yml")
    assert "The run of ana@r7 (rotate credentials since t) was killed and has left nothing to be undone; first close its journal." in said, said
    assert (tenant.journal()["outcome"], tenant.journal()["steps"]) == ("undone", [])


@pytest.mark.slow
def test_what_could_not_be_undone_stays_in_the_journal_of_a_run_that_is_refused(tenant: Tenant) -> None:
    tenant.leave(6, "settings", settings={"before": {"name": "Palermo"}})
    said = tenant.play("recover.yml", "end.yml")
    assert "could not be undone (settings: " in said, said
    assert "SAID NOT undone: settings: " in said
    assert "; run again, which undoes that first." in said
    assert tenant.journal()["closed"] is None
    assert tenant.api.answers[f"GET {LEASE}"]["spec"]["holderIdentity"] is None


def test_what_a_later_stage_undoes_after_all_is_no_longer_open(tenant: Tenant) -> None:
    tenant.leave(None, "infrastructure")
    said = tenant.play("undo.yml", "end.yml", __pipeline_left_open=["objects: the API server was away"])
    assert "NOT undone" not in said
    assert tenant.journal()["outcome"] == "undone"


def test_what_only_the_next_run_clears_up_stays_open(tenant: Tenant) -> None:
    tenant.leave(None, "infrastructure", "rehearsal", rehearsal={"schema": "x"})
    said = tenant.play("undo.yml", "end.yml", __pipeline_left_open=["rehearsal: the database was away"])
    assert "NOT undone: rehearsal: the database was away; run again, which undoes that first." in said, said
    assert tenant.journal()["closed"] is None


def test_a_scratch_schema_that_cannot_be_dropped_is_left_to_the_next_run(tenant: Tenant) -> None:
    schema = f"x_{'0' * 20}"
    said = tenant.play("try_migrations.yml", "end.yml", __pipeline_scratch_schema=schema)
    assert f"FAILED scratch schema {schema}, in which migrations were tried, could not be cleared away." in said, said
    assert "SAID NOT undone: rehearsal: " in said
    journal = tenant.journal()
    assert (journal["closed"], journal["steps"][0]["step"], journal["steps"][0]["done"]) == (None, "rehearsal", None)


def test_a_run_that_goes_on_with_a_killed_one_and_finds_nothing_left_to_write_closes_its_journal(tenant: Tenant) -> None:
    tenant.leave(3, "rolled_back", "settings", operation="roll back", content="r2")
    said = tenant.play(
        "end.yml",
        __pipeline_identity=BACK,
        __pipeline_plan={"content_hash": "r2"},
        __pipeline_left={"next": "adopt"},
        __pipeline_error="",
    )
    assert "NOT undone" not in said, said
    journal = tenant.journal()
    assert (journal["outcome"], journal["previous"], journal["run"]["content"]) == ("succeeded", 3, "r2")
    assert journal["run"]["id"] != "killed"
    assert tenant.api.answers[f"GET {LEASE}"]["spec"]["holderIdentity"] is None


def test_one_that_went_on_and_was_overtaken_closes_nothing(tenant: Tenant) -> None:
    tenant.leave(3, "rolled_back", operation="roll back", content="r2")
    said = tenant.play(
        "end.yml",
        __pipeline_identity=BACK,
        __pipeline_plan={"content_hash": "r2", "fence": 4},
        __pipeline_left={"next": "adopt"},
        __pipeline_error="",
    )
    assert "SAID NOT undone: journal: tenant shop: another run has changed it since this one looked at it" in said, said
    assert (tenant.journal()["closed"], tenant.journal()["run"]["id"]) == (None, "killed")


@pytest.mark.parametrize(
    ("current", "kept", "content", "asked", "chosen"),
    [
        (2, (1, 2, 3), "r2", None, "TO r2 BY adopt"),  # killed behind the switch: the one before is another one by now
        (3, (1, 2, 3), "r2", "", "TO r2 BY adopt"),  # killed before it; a survey sends a blank
        (2, (2, 3), "r2", None, "TO r2 BY adopt"),
        (2, (1, 2, 3), None, None, "TO r2 BY undo"),  # of a fleet, which had named none
        (2, (1, 2, 3), "r2", "1", "TO r1 BY undo"),
    ],
)
def test_a_killed_return_is_repeated_to_where_it_was_going(
    tenant: Tenant, current: int, kept: tuple[int, ...], content: str | None, asked: str | None, chosen: str
) -> None:
    tenant.keep(current, *kept)
    tenant.leave(3, "rolled_back", operation="roll back", content=content)
    named = {} if asked is None else {"to_revision": asked}
    said = tenant.play("rollback/validation.yml", __pipeline_identity=BACK, __pipeline_plan={}, __pipeline_dry=True, **named)
    assert chosen in said, said
    assert "FAILED revision r" in said


def test_after_a_deploy_that_was_killed_behind_its_promotion_the_one_before_it_is_returned_to(tenant: Tenant) -> None:
    tenant.keep(4, 1, 2, 3, 4)
    tenant.leave(3, "staged", "promoted")
    said = tenant.play("rollback/validation.yml", __pipeline_identity=BACK, __pipeline_plan={}, __pipeline_dry=True)
    assert "TO r3 BY undo" in said, said


def test_a_tenant_without_an_earlier_revision_is_told_what_is_kept(tenant: Tenant) -> None:
    tenant.keep(3, 3)
    said = tenant.play("rollback/validation.yml", __pipeline_identity=BACK, __pipeline_plan={})
    assert "FAILED Tenant shop has no earlier revision that is kept and ended well: choose one of 3 with -e to_revision=NUMBER. Nothing was changed." in said, (
        said
    )


@pytest.mark.parametrize(("committed", "said", "last"), [
    (False, "ERROR stage monitoring failed: the API server is away; .", ["dns_ssl", "monitoring"]),
    (True, "ERROR r3 serves, is tested and watched, but tidying up behind it failed: the API server is away; "
           "run again: the same release is gone on with from there.", ["monitoring", "tidying up"]),
])  # fmt: skip
def test_what_fails_behind_the_last_gate_is_not_told_as_a_stage(core: str, tmp_path: Path, committed: bool, said: str, last: list[str]) -> None:
    names = ["validation", "infrastructure", "containers", "configuration", "testing", "dns_ssl", "monitoring"]
    stages = [{"name": name, "result": "passed", "checks": []} for name in names[: None if committed else -1]]
    facts = {
        "__pipeline_committed": committed, "__pipeline_plan": {"revision": "r3"}, "__pipeline_gate": {"stages": stages, "ended": 1.0},
        "__pipeline_stage_names": names, "__pipeline_budgets": dict.fromkeys(names, 60),
    }  # fmt: skip
    failed = {"ansible.builtin.include_role": {"name": "barberpro.platform.pipeline", "tasks_from": "failed.yml", "public": True}}
    text = "ERROR {{ __pipeline_error }}; {{ __pipeline_next_step }}. {{ __pipeline_gate.stages[-2:] | map(attribute='name') | join(' AND ') }}"
    told = ansible(core, tmp_path, {"all": {"hosts": {"shop": {"images": {}}}}}, {"tasks": [
        {"ansible.builtin.set_fact": facts},
        {"block": [{"ansible.builtin.fail": {"msg": "the API server is away"}}], "rescue": [failed, {"ansible.builtin.debug": {"msg": text}}]},
    ]})  # fmt: skip
    assert f"{said} {' AND '.join(last)}" in told, told
