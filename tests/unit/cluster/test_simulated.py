"""The simulated profile without processes: ports, command lines, supervisor's configuration, facts, refusals."""

from __future__ import annotations

import configparser
import json
import shlex
import socket
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
PORTS = {"apiserver": 20001, "etcd": 20002, "etcd-peer": 20003, "controller-manager": 20004, "scheduler": 20005}


@pytest.fixture
def layout(tmp_path):
    from barberpro_cluster import simulated

    folder = tmp_path / "with a space" / "state"
    folder.mkdir(parents=True)
    return simulated.layout_of(CHECKOUT, folder)


def options(words):
    return dict(word.split("=", 1) for word in words[1:] if "=" in word)


def test_the_ports_of_the_last_start_are_kept(layout):
    from barberpro_cluster import simulated_programs

    first = simulated_programs.ports(layout, running=False)
    assert len(set(first.values())) == len(simulated_programs.PORT_NAMES)
    assert simulated_programs.ports(layout, running=False) == first


def test_only_a_port_that_another_program_took_is_replaced(layout):
    from barberpro_cluster import simulated_programs

    first = simulated_programs.ports(layout, running=False)
    with socket.socket() as other:
        other.bind(("127.0.0.1", first["etcd"]))
        other.listen()
        second = simulated_programs.ports(layout, running=False)
        assert simulated_programs.ports(layout, running=True) == second, "of a running cluster they are never replaced"
    assert {name for name in first if first[name] != second[name]} == {"etcd"}


def test_command_lines_are_those_of_the_embedded_cluster_on_loopback(layout):
    from barberpro_cluster import control_plane, simulated_programs

    commands = simulated_programs.commands(layout, PORTS)
    api, embedded = options(commands["kube-apiserver"]), options(["", *control_plane.api_server("127.0.0.1")])
    assert set(embedded) <= set(api), "nothing of the embedded cluster's configuration is lost"
    assert api["--authorization-mode"] == "Node,RBAC"
    assert api["--bind-address"] == "127.0.0.1"
    assert api["--secure-port"] == "20001"
    assert api["--etcd-servers"] == "https://127.0.0.1:20002"
    for name in ("--encryption-provider-config", "--audit-policy-file", "--admission-control-config-file"):
        assert api[name].startswith(f"{layout.state}/config/")
    assert not [word for words in commands.values() for word in words if "/run/barberpro" in word]
    assert options(commands["kube-scheduler"])["--secure-port"] == "20005"


def test_an_option_that_is_changed_appears_once():
    from barberpro_cluster.simulated_programs import adapted

    words = adapted(["--name=node", "--data-dir=/run/barberpro/etcd", "--flag"], Path("/x"), {"--name": "simulated"})
    assert words == ["--data-dir=/x/etcd", "--flag", "--name=simulated"]


def test_the_supervisors_configuration_survives_spaces_and_percent_signs(layout):
    from barberpro_cluster.simulated_programs import supervisor_config

    text = supervisor_config(layout, {"etcd": ["/a b/etcd", "--x=50%"]})
    parser = configparser.ConfigParser()
    parser.read_string(text)
    assert shlex.split(parser["program:etcd"]["command"]) == ["/a b/etcd", "--x=50%"]
    assert parser["program:etcd"]["stdout_logfile"] == str(layout.logs / "etcd.log")
    assert parser["program:etcd"]["autorestart"] == "true"
    assert "user" not in parser["supervisord"], "it runs as whoever starts it"
    assert "unix_http_server" not in parser, "a socket's path would limit the length of the checkout's"


def test_facts_have_the_form_of_the_embedded_ones_without_what_is_not_there(layout):
    from barberpro_cluster import simulated

    facts = simulated.facts(layout, {"gateway_api": [Path("/x/a.yaml")]})
    assert facts["profile"] == "simulated"
    assert facts["kubeconfig"] == str(layout.state / "kubeconfig")
    assert facts["deployer_kubeconfig"] == str(layout.state / "deployer.kubeconfig")
    assert facts["crds"] == {"gateway_api": ["/x/a.yaml"]}
    assert not {"registry", "images", "dns", "acme", "charts", "storage_class"} & set(facts)
    json.dumps(facts)


def test_two_checkouts_and_two_folders_have_states_of_their_own(tmp_path):
    from barberpro_cluster import simulated

    assert simulated.layout_of(CHECKOUT).state == CHECKOUT / ".embedded" / "simulated"
    assert simulated.layout_of(CHECKOUT, tmp_path / "a").state == tmp_path / "a"
    assert simulated.layout_of(tmp_path).state == tmp_path / ".embedded" / "simulated"


def test_nodes_and_stages_are_what_kwok_reads(layout):
    nodes = [node for node in yaml.safe_load_all((layout.definitions / "nodes.yaml").read_text()) if node]
    assert {node["kind"] for node in nodes} == {"Node"}
    assert all(node["status"]["allocatable"] == node["status"]["capacity"] for node in nodes)
    stages = list(yaml.safe_load_all((layout.definitions / "stages.yaml").read_text()))
    assert stages[0]["kind"] == "KwokConfiguration"
    names = [stage["metadata"]["name"] for stage in stages[1:]]
    assert names == ["node-initialize", "node-heartbeat-with-lease", "pod-ready", "pod-image-pull", "pod-crash-loop",
                     "pod-never-ready", "pod-complete", "pod-delete"]  # fmt: skip


def test_without_a_cluster_down_and_status_say_so(tmp_path, capsys):
    from barberpro_cluster import simulated

    state = str(tmp_path / "none")
    assert simulated.main(["down", "--state", state]) == 0
    assert capsys.readouterr().out == "The simulated cluster does not run and has no state.\n"
    assert simulated.main(["status", "--state", state]) == 1
    assert capsys.readouterr().out == (
        "The simulated cluster does not run; start it with `make cluster PROFILE=simulated`.\n"
    )


def test_a_supervisor_that_cannot_start_is_told_with_its_last_words(layout, monkeypatch):
    from barberpro_cluster import simulated
    from barberpro_cluster.errors import ClusterError

    (layout.state / "supervisord.conf").write_text("[supervisord]\nlogfile=/does/not/exist/x.log\n")
    with pytest.raises(ClusterError, match=r"supervisord of the simulated cluster did not start; the end of .*\n.*exist"):
        simulated._start_supervisor(layout)
