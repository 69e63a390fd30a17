"""The cluster's own certificate authorities and every certificate its parts prove themselves with.

Files are written once through a rename; a leaf is made again when it is missing, ends within 30 days, was signed by
another authority, or must name other hosts.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .layout import API_SERVICE_IP, CLUSTER_DOMAIN, NODE_NAME, Layout
from .shell import write_if_changed

AUTHORITY_YEARS = 10
LEAF_DAYS = 365
RENEW_DAYS = 30

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Leaf:
    """One certificate: file name, subject, who signs it, and the host names and addresses it is valid for."""

    name: str
    common_name: str
    organization: str | None = None
    authority: str = "ca"
    hosts: tuple[str, ...] = ()


def leaves(node_ip: str) -> tuple[Leaf, ...]:
    """Every certificate of the cluster whose node has that address."""
    api_hosts = (
        "kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
        "localhost", "127.0.0.1", API_SERVICE_IP, node_ip, NODE_NAME,
    )  # fmt: skip
    metrics = tuple(f"metrics-server.kube-system.svc{suffix}" for suffix in ("", f".{CLUSTER_DOMAIN}"))
    return (
        Leaf("etcd", "etcd", authority="etcd-ca", hosts=("localhost", "127.0.0.1")),
        Leaf("etcd-client", "kube-apiserver", authority="etcd-ca"),
        Leaf("apiserver", "kube-apiserver", hosts=api_hosts),
        Leaf("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Leaf("front-proxy-client", "front-proxy-client", authority="front-proxy-ca"),
        Leaf("admin", "barberpro-admin", "system:masters"),
        Leaf("deployer", "barberpro-deployer"),
        Leaf("controller-manager", "system:kube-controller-manager"),
        Leaf("scheduler", "system:kube-scheduler"),
        Leaf("kube-proxy", "system:kube-proxy"),
        Leaf("policy-agent", "barberpro-policy-agent"),
        Leaf("kubelet", f"system:node:{NODE_NAME}", "system:nodes"),
        Leaf("kubelet-server", f"system:node:{NODE_NAME}", "system:nodes", hosts=(NODE_NAME, node_ip)),
        Leaf("pebble", "acme", hosts=(node_ip, "localhost", "127.0.0.1")),
        Leaf("metrics-server", "metrics-server.kube-system.svc", hosts=metrics),
    )


def ensure(layout: Layout, node_ip: str, extra: tuple[Leaf, ...] = ()) -> None:
    """Make what is missing: three authorities, the key of service account tokens, every leaf and the extra ones."""
    os.makedirs(layout.pki, mode=0o700, exist_ok=True)
    authorities = {name: _authority(layout.pki, name) for name in ("ca", "front-proxy-ca", "etcd-ca")}
    _service_account_key(layout.pki)
    for leaf in (*leaves(node_ip), *extra):
        certificate, key = authorities[leaf.authority]
        if not _still_good(layout.pki, leaf, certificate):
            _issue(layout.pki, leaf, certificate, key)


def _authority(folder: Path, name: str) -> tuple[x509.Certificate, Key]:
    certificate_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    if not certificate_file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(f"barberpro {name}", None)
        builder = _builder(subject, subject, key.public_key(), 365 * AUTHORITY_YEARS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = _key_usage(sign_certificates=True)
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        certificate = builder.sign(key, hashes.SHA256())
        # The key first: an authority whose certificate exists always has its key.
        write_if_changed(key_file, _key_pem(key), mode=0o600)
        write_if_changed(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
    certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    loaded = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return certificate, loaded


def _service_account_key(folder: Path) -> None:
    if (folder / "sa.pub").exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_if_changed(folder / "sa.key", _key_pem(key), mode=0o600)
    write_if_changed(folder / "sa.pub", public)


def _still_good(folder: Path, leaf: Leaf, authority: x509.Certificate) -> bool:
    certificate_file = folder / f"{leaf.name}.crt"
    if not certificate_file.exists() or not (folder / f"{leaf.name}.key").exists():
        return False
    certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=RENEW_DAYS)
    if certificate.not_valid_after_utc < soon or certificate.subject != _name(leaf.common_name, leaf.organization):
        return False
    if certificate.issuer != authority.subject or _hosts_of(certificate) != set(leaf.hosts):
        return False
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(_public(authority))
    return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value == identifier


def _hosts_of(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


def _issue(folder: Path, leaf: Leaf, authority: x509.Certificate, authority_key: Key) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(leaf.common_name, leaf.organization)
    builder = _builder(subject, authority.subject, key.public_key(), LEAF_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(sign_certificates=False), critical=True)
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if leaf.hosts else [])
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(_public(authority))
    builder = builder.add_extension(identifier, critical=False)
    if leaf.hosts:
        names = [_general_name(host) for host in leaf.hosts]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(authority_key, hashes.SHA256())
    # The certificate last: _still_good asks for both, and a pair never mixes generations after a kill in between,
    # because the old certificate is removed first.
    (folder / f"{leaf.name}.crt").unlink(missing_ok=True)
    write_if_changed(folder / f"{leaf.name}.key", _key_pem(key), mode=0o600)
    write_if_changed(folder / f"{leaf.name}.crt", certificate.public_bytes(serialization.Encoding.PEM))


def _public(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(common_name: str, organization: str | None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # A minute back: the clock of a virtual machine may step while it starts.
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=sign_certificates, crl_sign=sign_certificates,
        key_encipherment=False, content_commitment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _key_pem(key: Key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
