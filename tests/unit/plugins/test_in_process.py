"""A module in the process of its task does what it does in a process of its own."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.plugin_utils._in_process import Ended, InProcess, InProcessAction

from tests.support.api_stand_in import StandIn

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "ansible_collections.barberpro.platform.plugins"
NAMES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))


def action(name: str, args: dict[str, Any], **options: Any) -> InProcessAction:
    """Return the action plugin as the task executor makes it; ``options`` are how the task is run."""
    plugin = importlib.import_module(f"{PACKAGE}.action.{name}").ActionModule
    environment, become, transport = options.get("environment", [{}]), options.get("become", False), options.get("transport", "local")
    task = SimpleNamespace(
        action=f"barberpro.platform.{name}", args=args, check_mode=options.get("check", False), diff=options.get("diff", False),
        environment=environment, async_val=options.get("async_val", 0),
    )
    made: InProcessAction = plugin.__new__(plugin)
    made._task, made._display = task, mock.Mock()
    made._play_context, made._connection = SimpleNamespace(become=become), SimpleNamespace(transport=transport)
    made._templar = SimpleNamespace(template=lambda value: sys.executable if value == "{{ ansible_playbook_python }}" else value)
    return made


def run(made: InProcessAction, **task_vars: Any) -> dict[str, Any]:
    """Run it; the part of ActionBase.run that talks to a connection is not under test."""
    with mock.patch("ansible.plugins.action.ActionBase.run", return_value={}):
        result: dict[str, Any] = made.run(None, task_vars)
    return result


def test_every_module_runs_in_process() -> None:
    assert sorted(path.stem for path in (ROOT / "plugins" / "action").glob("*.py")) == NAMES
    assert yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["all"] == NAMES
    for name in NAMES:
        assert importlib.import_module(f"{PACKAGE}.action.{name}").ActionModule.module.__name__ == f"{PACKAGE}.modules.{name}"


def test_result_is_that_of_the_module(api: StandIn) -> None:
    api.answers["GET /api/v1"] = {"resources": [{"kind": "Namespace", "name": "namespaces", "namespaced": False}]}
    api.items("/api/v1/namespaces")
    result = run(action("tenant_info", {"kubeconfig": api.kubeconfig, "health": False}), ansible_python_interpreter="{{ ansible_playbook_python }}")
    assert result == {"changed": False, "tenants": []}


@pytest.mark.parametrize(
    ("name", "args", "sentence"),
    [
        ("tenant_info", {"name": "a_b"}, "tenant name 'a_b' (3 characters) is not an RFC 1123 label"),
        ("tenant_info", {"nam": "x"}, "Unsupported parameters for (barberpro.platform.tenant_info) module: nam. Supported parameters include: context,"),
        ("release", {"name": "x", "state": "up"}, "value of state must be one of: planned, staged, promoted"),
        ("release", {"name": "x"}, "missing required arguments: state"),
        ("transaction", {"name": "x", "state": "done", "run": {}}, "state is done but all of the following are missing: step"),
        ("tenant_info", {"kubeconfig": "/none"}, "kubeconfig /none does not exist"),
    ],
)
def test_wrong_input_is_the_modules_own_sentence(name: str, args: dict[str, Any], sentence: str) -> None:
    result = run(action(name, args))
    assert result["failed"]
    assert result["msg"].startswith(sentence)


@pytest.mark.parametrize(
    ("options", "task_vars"),
    [
        ({"become": True}, {}),
        ({"environment": [{"KUBECONFIG": "/other"}]}, {}),
        ({"async_val": 60}, {}),
        ({"transport": "ssh"}, {}),
        ({}, {"ansible_python_interpreter": "/usr/bin/python3.12"}),
    ],
)
def test_elsewhere_it_is_sent_as_any_module(options: dict[str, Any], task_vars: dict[str, Any]) -> None:
    made = action("tenant_info", {}, **options)
    made._execute_module = mock.Mock(return_value={"changed": False, "sent": True})
    assert run(made, **task_vars) == {"changed": False, "sent": True}


def test_warnings_and_check_mode_reach_the_user(tmp_path: Path) -> None:
    report = {
        "kubeconfig": "/none", "path": str(tmp_path), "tenant": "palermo", "vertical": "barbershop", "result": "failed", "started": 1.0,
    }
    made = action("run_report", report)
    assert run(made)["report"]["result"] == "failed"
    assert made._display.warning.call_args.args[0].startswith("the report is not kept in the cluster: kubeconfig /none does not exist")
    looked = run(action("run_report", report, check=True))
    assert (looked["changed"], looked["report_path"]) == (False, "")


def test_values_of_secret_options_are_not_shown() -> None:
    made = action("tenant", {"token": "s3cret"})
    module = InProcess(made, {"token": {"type": "str", "no_log": True}}, supports_check_mode=True)
    with pytest.raises(Ended) as ended:
        module.exit_json(said="the token is s3cret", changed=True)
    assert ended.value.result == {"changed": True, "said": "the token is ********"}


def test_a_module_without_check_mode_is_skipped() -> None:
    with pytest.raises(Ended) as ended:
        InProcess(action("tenant", {}, check=True), {})
    assert ended.value.result == {"skipped": True, "msg": "barberpro.platform.tenant does not support check mode"}


def test_a_module_that_just_returns_is_an_error() -> None:
    made = action("tenant_info", {})
    made.module = SimpleNamespace(main=lambda _new: None)  # type: ignore[assignment]
    assert run(made) == {"failed": True, "msg": "barberpro.platform.tenant_info ended without a result"}
