"""The SQL of the role `database`, as its tasks send it, for servers that a test runs by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.filter.core import regex_replace
from ansible.plugins.test.core import search
from ansible_collections.barberpro.platform.plugins.filter.scram import scram
from jinja2.nativetypes import NativeEnvironment

from tests.support.cluster import ROOT
from tests.support.playbooks import Run, play

ROLE = ROOT / "roles" / "database"


def _environment() -> NativeEnvironment:
    environment = NativeEnvironment(trim_blocks=True)
    environment.filters["barberpro.platform.scram"] = scram
    environment.filters["regex_replace"] = regex_replace
    environment.tests["search"] = search
    environment.filters["hash"] = lambda text, _kind: str(len(text))
    return environment


def _values(**given: Any) -> dict[str, Any]:
    """Return the role's variables as a run has them, but for what a server is asked. They stand in the file after what they are made of."""
    found: dict[str, Any] = {}
    for part in ("defaults", "vars"):
        for name, value in yaml.safe_load((ROLE / part / "main.yml").read_text()).items():
            if "query(" not in str(value):
                found[name] = _rendered(given.get(name, value), found)
    return found


def _rendered(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_rendered(item, values) for item in value]
    return _environment().from_string(value).render(values) if isinstance(value, str) else value


def render(template: str, **values: Any) -> str:
    """Return a variable of a role, rendered."""
    return str(_environment().from_string(template).render(values))


def shared(**given: str) -> str:
    """Return what makes the part of the database that tenants share."""
    return str(_values(**given)["__database_shared_sql"])


def shared_inspection() -> str:
    """Return what asks which text of that is in force."""
    return str(_values()["__database_shared_inspection"])


def inspection() -> str:
    """Return what asks which roles, schema and privileges of a tenant are there."""
    return str(_values()["__database_inspection"])


def tenant(**given: str) -> str:
    """Return what makes a tenant's roles, schema and privileges."""
    values = _values(**given)
    tasks = yaml.safe_load((ROLE / "tasks" / "converge.yml").read_text())[1]["block"]
    queries = [task["community.postgresql.postgresql_query"]["query"] for task in tasks if "community.postgresql.postgresql_query" in task]
    return "".join(str(_environment().from_string(query).render(values)) + ";\n" for query in queries)


def login(**given: str) -> str:
    """Return what gives a role that serves its password."""
    values = _values(**given)
    values["__database_wanted"] = [{"name": given["database_app_role"], "password": given["database_app_password"]}]
    text = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["__database_roles_sql"]
    return str(_environment().from_string(text).render(values))


def closing(**given: Any) -> str:
    """Return what closes other databases of the server."""
    return str(_values(**given)["__database_closing"])


def unmade(message: str, **given: Any) -> str:
    """Return what a run says when a task that converges has failed with a message of the module."""
    values = {**_values(**given), "ansible_failed_result": {"msg": message}}
    texts = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    values["__database_said"] = _rendered(texts["__database_said"], values)
    return str(_rendered(texts["__database_unmade"], values))


def run(port: int, folder: Path, schema: str, *tasks: str, verbosity: int = 0, **values: Any) -> Run:
    """Have Ansible run tasks of the role against a server of the test's own; its administrator, if no other one is given, is trusted."""
    given = {
        "database_admin_host": "127.0.0.1", "database_admin_port": port, "database_admin_user": "admin", "database_admin_sslmode": "disable",
        "database_schema": schema, "database_owner_password": "o", "database_app_password": "a", "database_readonly_password": "r", **values,
    }
    included = [{"name": name, "ansible.builtin.include_role": {"name": "barberpro.platform.database", "tasks_from": f"{name}.yml"}} for name in tasks]
    book = folder / "play.yml"
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": included}]))
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    return play(str(book), inventory="localhost,", extra={**given, **local}, ANSIBLE_VERBOSITY=str(verbosity))


def gone(**given: str) -> str:
    """Return what drops a tenant's schema and its roles."""
    values = _values(**given)
    return f"DROP SCHEMA {given['database_schema']} CASCADE; {values['__database_drop_roles']}"
