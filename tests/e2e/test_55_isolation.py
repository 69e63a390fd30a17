"""The isolation report of two real tenants and their database, and what it says when a hand opens something that really opens."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support import cluster
from tests.support.playbooks import Run, play

from .test_50_tenants import address_of, pod_of, probe

pytestmark = pytest.mark.cluster


def secret(namespace: str, name: str) -> dict[str, str]:
    """Return the data of a Secret."""
    return {key: base64.b64decode(value).decode() for key, value in cluster.objects("secret", name, "-n", namespace)[0]["data"].items()}


def sql(statement: str) -> None:
    """Run a statement as the database's administrator."""
    facts = cluster.facts()
    password = secret("barberpro-data", "postgresql-admin")["password"]
    with psycopg.connect(host=facts["node_ip"], port=30432, user="postgres", password=password, dbname="barberpro", sslmode="require") as connection:
        connection.execute(statement)


def report(*arguments: str) -> Run:
    """Run the playbook."""
    return play("isolation_report.yml", *arguments)


def edge(tenant: str, name: str, component: str, side: str, peer: dict[str, Any]) -> None:
    """Apply a NetworkPolicy by hand, as an administrator who means well would."""
    rule = {"to" if side == "Egress" else "from": [peer], "ports": [{"protocol": "TCP", "port": 8080}]}
    spec = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": component}}, "policyTypes": [side], side.lower(): [rule]}
    metadata = {"name": name, "namespace": f"tenant-{tenant}"}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}))


@pytest.fixture
def hole(palermo: str, recoleta: str) -> Iterator[None]:
    """From walk-in queue of one to booking of the other, TCP 8080, opened on both sides."""
    try:
        for tenant, name, component, side, other in (
            (palermo, "hole-out", "walkin-queue", "Egress", recoleta), (recoleta, "hole-in", "booking", "Ingress", palermo),
        ):
            edge(tenant, name, component, side, {"namespaceSelector": {"matchLabels": {"barberpro.platform/tenant": other}}, "podSelector": {}})
        yield
    finally:
        cluster.kubectl("delete", "networkpolicy", "hole-out", "-n", f"tenant-{palermo}", "--ignore-not-found")
        cluster.kubectl("delete", "networkpolicy", "hole-in", "-n", f"tenant-{recoleta}", "--ignore-not-found")


def test_nobody_reaches_either_and_they_reach_nobody(palermo: str, recoleta: str, tmp_path: Path) -> None:
    # Not all tenants at once: other tests make and remove some meanwhile.
    for tenant in (palermo, recoleta):
        run = report("-e", f"tenant_name={tenant}", "-e", f"isolation_report_path={tmp_path / tenant}")
        assert run.code == 0, run.output
        assert " pairs, nobody reaches anybody" in run.words()
        (file,) = (tmp_path / tenant).glob("isolation/*/isolation.json")
        document = json.loads(file.read_text())
        assert document["tenants"] == [tenant]
        assert document["network"]["pairs"] >= 2
        assert document["network"]["paths"] == []
        assert document["rbac"]["findings"] == document["sql"]["findings"] == []
        assert document["sql"]["roles"] >= 6
        assert document["sql"]["schemas"] >= 2
        assert document["keys"]["findings"] == document["keys"]["without_key"] == []
        assert min(document["keys"]["keys"], document["keys"]["logins"]) >= 2


def test_what_a_hand_opens_is_named_and_really_open(palermo: str, recoleta: str, hole: None) -> None:
    run = report("-e", f"tenant_name={palermo}")
    assert run.code != 0
    source, target = (f"tenant-{palermo}/{pod_of(palermo, 'walkin-queue')}", f"tenant-{recoleta}/{pod_of(recoleta, 'booking')}")
    assert (
        f"{source} reaches {target} on TCP 8080: egress allowed by tenant-{palermo}/hole-out, ingress allowed by tenant-{recoleta}/hole-in"
    ) in run.words()
    assert "pairs, 1 pair open" in run.words()
    found = probe(palermo, "walkin-queue", "--open", f"{address_of(recoleta, 'booking')}:8080")
    assert [finding["actual"] for finding in found] == ["open"], "the report says open, a connection says closed"


def test_what_was_opened_is_closed_again(palermo: str, recoleta: str) -> None:
    run = report("-e", f"tenant_name={palermo}")
    assert run.code == 0, run.output
    found = probe(palermo, "walkin-queue", "--closed", f"{address_of(recoleta, 'booking')}:8080")
    assert [finding["actual"] for finding in found] == ["closed"]


def test_a_grant_too_many_in_the_database_is_named(palermo: str, recoleta: str) -> None:
    schema, role = secret(f"tenant-{recoleta}", "booking-database")["schema"], secret(f"tenant-{palermo}", "booking-database")["user"]
    sql(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
    try:
        run = report("-e", f"tenant_name={palermo}")
    finally:
        sql(f"REVOKE USAGE ON SCHEMA {schema} FROM {role}")
    assert run.code != 0
    assert f"role {role} of tenant {palermo} may use schema {schema} of tenant {recoleta}" in run.words()
