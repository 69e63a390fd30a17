"""What the pipeline says before it reaches a tenant, and how a roll back is reported; the API server is a stand-in."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._store import Record

from tests.support.api_stand_in import StandIn, secret, stand_in
from tests.support.loopback import Reply

ROOT = Path(__file__).resolve().parents[3]
Play = Callable[..., str]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[StandIn]:
    with stand_in(tmp_path) as found:
        yield found


@pytest.fixture
def play(api: StandIn, tmp_path: Path) -> Play:
    """Run a playbook on an inventory of two tenants and return what it said in one line; reports are below the returned folder."""
    hosts = {"shop": {"vertical": "barbershop", "tier": "small"}, "other": {}}
    shared = {"barberpro_kubeconfig": api.kubeconfig, "platform_zone": "barberpro.test", "images": {"booking": "b:1"}, "pipeline_report_path": str(tmp_path)}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"vars": shared, "children": {"tenants": {"hosts": hosts}}}}))

    def run(playbook: str | Path, *arguments: str, **extra: Any) -> str:
        command = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(inventory), str(playbook), *arguments, "-e", json.dumps(extra)]
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_SHOW_CUSTOM_STATS": "1", "COLUMNS": "400"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
        return " ".join((done.stdout + done.stderr).split())

    return run


def report(folder: Path) -> dict[str, Any]:
    """Return the one report that was written."""
    (path,) = folder.glob("shop/*/report.json")
    return dict(json.loads(path.read_text()))


def test_a_roll_back_that_is_refused_is_reported_as_a_deploy_is(play: Play, tmp_path: Path) -> None:
    said = play("rollback_vertical.yml", "--limit", "shop", to_revision="")
    assert "Tenant shop has no release on this cluster, so there is nothing to return to" in said
    found = report(tmp_path)
    assert (found["result"], found["revision"], found["vertical"], found["url"]) == ("failed", "", "barbershop", "https://shop.barberpro.test/")
    assert [stage["name"] for stage in found["planned_stages"]] == ["validation", "containers", "configuration", "dns_ssl"]
    assert "barberpro_runs: shop:" in said.partition("CUSTOM STATS")[2]


def keep(api: StandIn, *tiers: str) -> None:
    """Have the stand-in keep two revisions of the tenant (of these tiers), of which the second serves; of both, only the namespace is live."""
    labels = {"barberpro.platform/tenant": "shop", "barberpro.platform/vertical": "barbershop", "app.kubernetes.io/managed-by": "barberpro.platform"}
    notes = {"barberpro.platform/host": "old.barberpro.test"}
    place = {"namespace": "tenant-shop", "labels": labels}
    pods = {"spec": {"containers": [{"name": "booking", "image": "registry.test/booking:1"}]}}
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant-shop", "labels": labels, "annotations": notes}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings-@revision@", **place}, "data": {"settings.json": "{}"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "booking-@revision@", **place}, "spec": {"template": pods}},
    ]
    secrets, record = "/api/v1/namespaces/barberpro-system/secrets", Record(current=2, finished=2, highest=2, proven={1, 2}).document()
    api.answers[f"GET {secrets}/release-shop-record"] = secret("barberpro-system", "release-shop-record", record=json.dumps(record))
    revisions = []
    for number in (1, 2):
        if tiers:
            objects[0]["metadata"] = {**objects[0]["metadata"], "labels": {**labels, "barberpro.platform/tier": tiers[number - 1]}}
        kept = secret("barberpro-system", f"release-shop-r{number}-0")
        kept["metadata"]["labels"] = {"barberpro.platform/revision": f"r{number}"}
        kept["metadata"]["annotations"] = {"barberpro.platform/chunks": "1", "barberpro.platform/content-hash": f"h{number}"}
        kept["data"] = {"set": base64.b64encode(gzip.compress(json.dumps(objects).encode())).decode()}
        api.answers[f"GET {secrets}/release-shop-r{number}-0"] = kept
        revisions.append(kept)
    api.items(secrets, *revisions)
    inside = "/namespaces/tenant-shop"
    api.answers[f"GET /api/v1{inside}"] = objects[0]
    for path in (f"/api/v1{inside}/configmaps", f"/apis/apps/v1{inside}/deployments"):
        api.items(path)
    api.answers[f"PATCH /api/v1{inside}"] = lambda request: request.body
    for path in (f"/api/v1{inside}/configmaps/settings-r1", f"/apis/apps/v1{inside}/deployments/booking-r1"):
        api.answers[f"PATCH {path}"] = lambda request: Reply(201, request.body)


def test_a_blank_revision_is_the_one_before_and_its_differences_are_reported(api: StandIn, play: Play, tmp_path: Path) -> None:
    keep(api)
    play("rollback_vertical.yml", "--limit", "shop", to_revision="")
    found = report(tmp_path)
    assert (found["revision"], found["stages"][0]["name"], found["url"]) == ("r1", "validation", "https://old.barberpro.test/")
    assert found["versions"]["booking"] == "registry.test/booking:1"
    created = ["ConfigMap tenant-shop/settings-r1", "Deployment tenant-shop/booking-r1"]
    # Beside the claim on the host name.
    assert [entry["after_header"] for entry in found["diff"]][1:] == [entry["object"] for entry in found["objects"]][1:] == created


def test_a_tenant_that_is_leaving_is_not_returned_to_what_it_was(api: StandIn, play: Play, tmp_path: Path) -> None:
    keep(api)
    run = {"id": "eva", "operation": "offboard", "user": "eva", "host": "runner-1", "began": "2026-11-26 18:00:00 UTC"}
    steps = [{"step": "removed", "intended": "t", "done": None, "undo": {}}]
    document = json.dumps({"run": run, "previous": None, "steps": steps, "closed": None, "outcome": None})
    secrets = "/api/v1/namespaces/barberpro-system/secrets"
    api.answers[f"GET {secrets}/journal-shop"] = secret("barberpro-system", "journal-shop", journal=document)
    play("rollback_vertical.yml", "--limit", "shop", to_revision="")
    assert (
        "tenant shop is being offboarded since 2026-11-26 18:00:00 UTC by eva@runner-1, whose run did not come to its end: finish it with offboard_tenant.yml"
    ) in report(tmp_path)["error"]
    assert [request.path for request in api.log if request.method in ("POST", "PUT", "DELETE") and "/leases" in request.path] == []


@pytest.mark.parametrize("tiers", [("large", "small"), ("gone", "small")])
def test_a_return_to_another_tier_does_not_wait_for_what_nobody_can_say(api: StandIn, play: Play, tmp_path: Path, tiers: tuple[str, str]) -> None:
    """The database does not answer, or the tier is not in the table any more."""
    keep(api, *tiers)
    facts = json.dumps({"salt": "s", "database_name": "barberpro"})
    api.answers["GET /api/v1/namespaces/barberpro-system/secrets/barberpro-platform"] = secret("barberpro-system", "barberpro-platform", facts=facts)
    said = play("rollback_vertical.yml", "--limit", "shop", "-v", database_admin_host="127.0.0.1", database_admin_port=1)
    assert re.search(r"__pipeline_target_connections: '?0'? ", said), said
    found = report(tmp_path)
    # A return is planned all the same.
    assert "Deployment tenant-shop/booking-r1" in [entry["object"] for entry in found["objects"]]


# What rollback.yml has set when the module that returns to a revision fails, after it has changed something.
FAILED_RETURN = {
    "__pipeline_run_started": 1764170000.0,
    "__pipeline_gate": {"stages": [{"name": "validation", "result": "passed"}, {"name": "containers", "result": "failed"}]},
    "__pipeline_budgets": {"validation": 300, "containers": 300},
    "__pipeline_rolled_back": {"failed": True, "msg": "booking-r1 is not ready"},
    "__pipeline_error": "booking-r1 is not ready",
    "__pipeline_next_step": "",
    "__pipeline_undone": ["objects: 2 put back, r2 serves"],
    "__pipeline_undo_failures": [],
    "__pipeline_left_open": [],
    "__pipeline_plan": {"revision": "r1"},
    "__pipeline_dry": False,
    "__pipeline_images": {},
    "pipeline_vertical": "barbershop",
}


def test_a_roll_back_that_failed_is_kept_in_the_cluster(api: StandIn, play: Play, tmp_path: Path) -> None:
    api.answers["GET /version"] = {"gitVersion": "v1.35.4"}
    api.items("/api/v1/namespaces/barberpro-system/configmaps")
    api.answers["POST /api/v1/namespaces/barberpro-system/configmaps"] = lambda request: Reply(201, request.body)
    role = {"name": "barberpro.platform.pipeline", "tasks_from": "report.yml"}
    defaults = {"group/barberpro.platform.all": {"kubeconfig": api.kubeconfig}}
    tasks = [{"ansible.builtin.set_fact": FAILED_RETURN}, {"ansible.builtin.include_role": role}]
    book = tmp_path / "play.yml"
    book.write_text(yaml.safe_dump([{"hosts": "shop", "connection": "local", "gather_facts": False, "module_defaults": defaults, "tasks": tasks}]))
    said = play(book)
    kept = [request.body for request in api.log if request.method == "POST"]
    assert [json.loads(item["data"]["report.json"])["result"] for item in kept] == ["rolled_back"], said
    assert "Undone: objects: 2 put back, r2 serves." in report(tmp_path)["error"]


@pytest.mark.parametrize(
    ("arguments", "name", "sentence"),
    [
        ([], "tenants", "tenant_name 'tenants' is a group of the inventory, and it names one tenant; for all of a group use --limit tenants. Nothing was"),
        ([], "all", "tenant_name 'all' is a group of the inventory"),
        ([], "localhost", "tenant_name 'localhost' is the machine that runs the playbook"),
        ([], "", "No tenant was named: rollback_vertical.yml acts on inventory hosts only under --limit TENANT"),
        (["--limit", "shop"], "other", "tenant_name 'other' and --limit 'shop' name different tenants (shop): give one of the two"),
        (["--limit", "shop"], "", "Tenant shop has no release on this cluster"),
    ],
)
def test_whom_the_operator_named(play: Play, arguments: list[str], name: str, sentence: str) -> None:
    assert sentence in play("rollback_vertical.yml", *arguments, tenant_name=name)


def test_a_plan_is_no_roll_back(api: StandIn, play: Play) -> None:
    said = play("rollback_vertical.yml", "--limit", "shop", plan_only=True)
    assert "plan_only is known to deploy_vertical.yml only: run rollback_vertical.yml with --check. Nothing was changed." in said
    assert api.log == []


def test_a_plan_is_made_for_each_tenant_of_a_group_whichever_fails(play: Play) -> None:
    said = play("deploy_vertical.yml", "--limit", "tenants", plan_only=True)
    assert "The platform is not installed on this cluster" in said.partition("fatal: [shop]")[2]
    assert "vertical '' is unknown" in said
    recap = said.partition("PLAY RECAP")[2]
    assert [recap.partition(f"{name} :")[2].partition("failed=")[2][:1] for name in ("shop", "other")] == ["1", "1"]


WRONG = {
    "budget_minutes": (0, "budget_minutes '0' is no budget: give minutes above 0"),
    "pipeline_stage_budget_seconds": ({"testing": "0.00"}, 'pipeline_stage_budget_seconds {"testing": "0.00"} is no set of budgets'),
    "pipeline_node_timeout": (900, "pipeline_node_timeout '900' is no time for a node: give seconds above 0, at most 300"),
    "quota_overrides": ({"memory": "0.0Gi"}, "has a value that is no amount"),
    "business": ({"timezone": "America/Nowhere"}, "business.timezone 'America/Nowhere' is no time zone of the IANA database"),
}


def test_wrong_values_are_refused_before_the_cluster_is_asked(api: StandIn, play: Play) -> None:
    said = play("deploy_vertical.yml", "--limit", "shop", **{name: value for name, (value, _sentence) in WRONG.items()})
    assert [sentence for _value, sentence in WRONG.values() if sentence not in said] == [], said
    assert api.log == []
    assert "budget_minutes '0.0' is no budget" in play("deploy_vertical.yml", "--limit", "shop", budget_minutes="0.0")


def test_blanks_of_a_survey_are_not_given(play: Play) -> None:
    blank = dict.fromkeys(("market_size", "region", "tenant_host", "budget_minutes"), "")
    said = play("deploy_vertical.yml", "--check", tenant_name="new", vertical="barbershop", tier="small", **blank)
    assert "The platform is not installed on this cluster" in said, said
    # What the inventory says of a tenant is not replaced by nothing.
    assert "market_size '' is unknown" in play("deploy_vertical.yml", "--limit", "shop", "--check", **blank)


def sealed(api: StandIn) -> None:
    """Have the stand-in hold a tenant that encrypts, on a platform whose last run had no Vault."""
    facts = {"salt": "s", "vault": {}, "gateway_address": "203.0.113.7", "zone": "barberpro.test"}
    api.answers["GET /api/v1/namespaces/barberpro-system/secrets/barberpro-platform"] = secret(
        "barberpro-system", "barberpro-platform", facts=json.dumps(facts)
    )
    found = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "encryption", "namespace": "tenant-shop"}}
    api.answers["GET /api/v1/namespaces/tenant-shop/configmaps/encryption"] = found


def test_a_platform_that_lost_its_vault_does_not_turn_a_tenants_encryption_off(api: StandIn, play: Play, tmp_path: Path) -> None:
    sealed(api)
    sentence = (
        "Tenant shop encrypts its customers' data (ConfigMap tenant-shop/encryption), and the platform has no Vault (platform_vault is none): new customers "
        "would be stored in the clear, and those of before could not be read. Nothing was changed; set platform_vault in the inventory, run "
        "deploy_platform.yml, then this again."
    )
    said = play("deploy_vertical.yml", "--limit", "shop")
    assert sentence in said
    assert sentence in report(tmp_path)["error"]
    assert [request.path for request in api.log if request.method in ("PUT", "PATCH", "DELETE")] == []
    assert sentence in play("deploy_vertical.yml", "--limit", "shop", "--check")
    # A tenant that never encrypted is asked nothing more.
    del api.answers["GET /api/v1/namespaces/tenant-shop/configmaps/encryption"]
    assert "encrypts its customers' data" not in play("deploy_vertical.yml", "--limit", "shop", "--check")


def test_a_tenant_does_not_leave_without_the_vault_that_has_its_key(api: StandIn, play: Play) -> None:
    sealed(api)
    for path in ("secrets", "configmaps", "pods"):
        api.items(f"/api/v1/namespaces/barberpro-system/{path}")
    said = play("offboard_tenant.yml", "--limit", "shop", confirm_offboarding="shop")
    assert (
        "Tenant shop has a key (ConfigMap tenant-shop/encryption), and the platform has no Vault (platform_vault is none) in which to destroy it: "
        "copies of the tenant's data could be read for ever. Nothing was changed; set platform_vault in the inventory, run deploy_platform.yml, then this "
        "again. If that Vault is gone for good, so is the key: delete the ConfigMap, then this again."
    ) in said
    assert [request.path for request in api.log if request.method != "GET"] == []
