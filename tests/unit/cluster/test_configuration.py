"""Configuration files and command lines of the node, and the facts that others read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from barberpro_cluster import addons, control_plane, facts, foreign, node, outside, packages, pki, supervisor
from barberpro_cluster.errors import ClusterError
from barberpro_cluster.layout import Layout
from barberpro_cluster.network import link_at

LINK = link_at(0)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def layout(tmp_path):
    found = Layout(checkout=tmp_path / "shop", cache=tmp_path / "cache")
    found.state.mkdir(parents=True)
    return found


def test_the_api_server_authorizes_audits_and_encrypts():
    words = control_plane.api_server(LINK.node_ip)

    assert "--authorization-mode=Node,RBAC" in words
    assert "--kubelet-preferred-address-types=InternalIP" in words
    assert "--audit-log-path=/run/barberpro/logs/audit.log" in words
    assert any(word.startswith("--encryption-provider-config=") for word in words)


def test_secrets_are_written_encrypted_and_read_in_both_forms():
    providers = control_plane.encryption_document("a2V5")["resources"][0]["providers"]

    assert [next(iter(provider)) for provider in providers] == ["secretbox", "identity"]


def test_every_write_is_audited_whoever_does_it():
    rules = control_plane.documents()["audit-policy.yaml"]["rules"]

    assert rules[-1] == {"level": "Metadata"}
    for rule in rules[:-1]:
        assert rule["level"] == "None"
        reads = set(rule.get("verbs", [])) == {"get", "list", "watch"}
        assert reads or "nonResourceURLs" in rule or rule["resources"][0]["group"] == "coordination.k8s.io"


def test_pods_are_restricted_to_the_baseline_outside_the_clusters_own_namespaces():
    plugin = control_plane.documents()["admission.yaml"]["plugins"][0]["configuration"]

    assert plugin["defaults"]["enforce"] == "baseline"
    assert plugin["exemptions"]["namespaces"] == ["kube-system", "local-path-storage"]


def test_the_policy_agent_stands_last_in_the_chain_of_a_pods_network():
    assert [plugin["type"] for plugin in node.cni_config()["plugins"]] == ["ptp", "policy-agent"]


def test_the_hosts_connection_tracking_is_left_alone():
    assert node.kube_proxy_config(LINK)["conntrack"]["maxPerCore"] == 0
    assert node.kube_proxy_config(LINK)["mode"] == "nftables"


def test_the_zone_takes_updates_signed_with_the_deployers_key_only():
    text = outside.knot_config(LINK, "c2VjcmV0")

    assert "action: [ update, transfer ]" in text
    assert "secret: c2VjcmV0" in text
    assert f"listen: [ {LINK.node_ip}@53, 127.0.0.1@53 ]" in text


def test_a_change_of_a_file_or_of_a_program_asks_for_a_restart(tmp_path):
    (tmp_path / "config").write_text("1")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tool").symlink_to("/cache/tool-1/tool")
    program = supervisor.Program("tool", ["/run/barberpro/bin/tool", "--percent=%"], ("config",))

    before = supervisor.render([program], tmp_path)
    assert "command=/run/barberpro/bin/tool --percent=%%" in before
    assert supervisor.render([program], tmp_path) == before
    (tmp_path / "config").write_text("2")
    changed = supervisor.render([program], tmp_path)
    assert changed != before
    (tmp_path / "bin/tool").unlink()
    (tmp_path / "bin/tool").symlink_to("/cache/tool-2/tool")
    assert supervisor.render([program], tmp_path) != changed


def test_the_first_process_hides_the_hosts_tunables_and_folders(layout):
    script = supervisor.init_script(layout)

    assert script.splitlines()[0] == "mount --make-rshared /"
    for name in supervisor.KERNEL_TUNABLES:
        assert f" /proc/sys/{name}\n" in script
    assert f"mount --bind '{layout.state}' /run/barberpro\n" in script


def test_the_deployer_has_no_privileged_group():
    deployer = next(leaf for leaf in pki.leaves(LINK.node_ip) if leaf.name == "deployer")

    assert (deployer.common_name, deployer.organization) == ("barberpro-deployer", None)


def test_keys_are_made_once_and_follow_the_nodes_address(layout):
    pki.ensure(layout, "10.200.0.2")
    first = {path.name: path.read_bytes() for path in layout.pki.iterdir()}
    pki.ensure(layout, "10.200.0.2")
    assert {path.name: path.read_bytes() for path in layout.pki.iterdir()} == first

    pki.ensure(layout, "10.200.0.6")
    assert (layout.pki / "ca.crt").read_bytes() == first["ca.crt"]
    assert (layout.pki / "apiserver.crt").read_bytes() != first["apiserver.crt"]
    assert (layout.pki / "admin.crt").read_bytes() == first["admin.crt"]


def test_a_leaf_of_another_authority_is_made_again(layout):
    pki.ensure(layout, "10.200.0.2")
    admin = (layout.pki / "admin.crt").read_bytes()
    (layout.pki / "ca.crt").unlink()

    pki.ensure(layout, "10.200.0.2")

    assert (layout.pki / "admin.crt").read_bytes() != admin


def test_manifests_know_every_placeholder_and_stay_yaml(layout):
    pki.ensure(layout, LINK.node_ip)
    real = Layout(checkout=ROOT, cache=layout.cache)
    # The manifests are the checkout's, the keys those of the test.
    images = {name: f"registry/{name}" for name in ("base", "coredns", "metrics_server", "local_path_provisioner")}
    known = addons.values(Layout(checkout=layout.checkout, cache=layout.cache), LINK, images, folder=real.checkout)

    documents = list(yaml.safe_load_all(addons.substitute(real.checkout, known)))

    assert {"Deployment", "StorageClass", "APIService"} <= {document["kind"] for document in documents}
    label = next(document for document in documents if document["kind"] == "Namespace" and document["metadata"]["name"] == "kube-system")
    assert label["metadata"]["labels"] == {"barberpro.platform/cluster": "test"}


def test_facts_name_what_the_inventory_reads(layout, tmp_path):
    sources = {"envoy-gateway": tmp_path / "eg", "prometheus-operator": tmp_path / "po"}
    images = {key: f"10.200.0.2:5000/barberpro/{key}@sha256:0" for key in facts.DEPLOYED}

    document = facts.document(layout, LINK, images, sources)

    assert set(document) >= {
        "profile", "node_ip", "host_ip", "kubeconfig", "deployer_kubeconfig", "kubectl", "helm", "promtool", "registry",
        "images", "dns", "acme", "charts", "crds", "storage_class",
    }  # fmt: skip
    assert document["registry"] == "10.200.0.2:5000"
    assert document["acme"]["directory"] == "https://10.200.0.2:14000/dir"
    assert facts.write(layout, document) is True
    assert facts.write(layout, document) is False
    assert json.loads(layout.facts.read_text()) == document


def test_packages_that_dpkg_knows_are_not_missing():
    assert packages.wanted("# comment\nbash\n\nno-such-package # why\n") == ["bash", "no-such-package"]
    assert packages.missing(["bash", "no-such-package"]) == ["no-such-package"]


def test_an_own_cluster_that_is_no_file_is_refused(layout, tmp_path):
    with pytest.raises(ClusterError) as caught:
        foreign.check(layout, tmp_path / "nothing")

    assert str(caught.value) == f"BARBERPRO_KUBECONFIG names {tmp_path / 'nothing'}, which is not a file; name a kubeconfig"


def test_an_own_cluster_without_the_label_is_refused(layout, tmp_path):
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("{}")
    kubectl = layout.state / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text('#!/bin/sh\necho \'{"kubernetes.io/metadata.name":"kube-system"}\'\n')
    kubectl.chmod(0o755)

    with pytest.raises(ClusterError) as caught:
        foreign.check(layout, kubeconfig)

    assert str(caught.value) == (
        f"the cluster of BARBERPRO_KUBECONFIG={kubeconfig} is not for tests: its namespace kube-system lacks the label "
        "barberpro.platform/cluster=test; if it may be used, run `kubectl label namespace kube-system barberpro.platform/cluster=test`"
    )
