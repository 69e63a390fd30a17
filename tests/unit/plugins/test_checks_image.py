"""The image check against a registry on loopback: present, unknown, private, with TLS."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed
from ansible_collections.barberpro.platform.plugins.module_utils._checks_image import is_insecure, parse_reference

from tests.support import loopback
from tests.support.loopback import Reply, Request

Check = Callable[..., str]
DIGEST = "sha256:" + "4c1d" * 16
BASIC = base64.b64encode(b"ana:secret-canary").decode()


def registry(request: Request) -> Reply:
    """One public image, one behind basic authentication, one behind a token, one broken."""
    path = request.path
    auth = request.headers.get("authorization", "")
    if path.startswith("/token"):
        assert "service=reg&scope=pull" in path
        return Reply(200, {"token": "good"}) if auth == f"Basic {BASIC}" else Reply(401)
    if path.startswith("/v2/token/"):
        realm = f'Bearer realm="http://{request.headers["host"]}/token",service="reg",scope="pull"'
        return Reply(200, headers={"Docker-Content-Digest": DIGEST}) if auth == "Bearer good" else Reply(401, headers={"WWW-Authenticate": realm})
    if path.startswith("/v2/basic/"):
        return Reply(200) if auth == f"Basic {BASIC}" else Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    if path in (f"/v2/shop/booking/manifests/{DIGEST}", "/v2/shop/booking/manifests/1"):
        return Reply(200, headers={"Docker-Content-Digest": DIGEST})
    return Reply(503) if path.startswith("/v2/broken") else Reply(404)


@pytest.fixture
def auth_file(tmp_path: Path) -> Callable[[str], str]:
    """A docker config.json with credentials for a registry."""

    def make(host: str) -> str:
        file = tmp_path / "config.json"
        file.write_text(json.dumps({"auths": {host: {"auth": BASIC}, f"https://{host}": {"username": "ana", "password": "secret-canary"}}}))
        return str(file)

    return make


def test_present_by_digest_and_by_tag(check: Check) -> None:
    with loopback.web(registry) as server:
        for version in (f"@{DIGEST}", ":1", f":9@{DIGEST}"):
            found = check("image", reference=f"{server.address}/shop/booking{version}")
            assert found == f"passed: manifest sha256:4c1d4c1d4c1d is in {server.address}"


def test_unknown_refused_and_broken(check: Check) -> None:
    with loopback.web(registry) as server:
        reference = f"{server.address}/shop/none:1"
        assert check("image", reference=reference, wait=10) == (
            f"failed: image {reference}: manifest unknown to registry {server.address}; push the image or correct its reference"
        )
        reference = f"{server.address}/basic/x:1"
        assert check("image", reference=reference).startswith(f"failed: image {reference}: registry {server.address} refuses access (HTTP 401)")
        reference = f"{server.address}/broken/x:1"
        assert check("image", reference=reference) == f"failed: image {reference}: registry {server.address} answers HTTP 503; check the registry"
    reference = f"127.0.0.1:{loopback.free_port()}/x:1"
    assert "does not answer: [Errno 111] Connection refused; check the registry's address" in check("image", reference=reference)


def test_credentials(check: Check, auth_file: Callable[[str], str], tmp_path: Path) -> None:
    with loopback.web(registry) as server:
        file = auth_file(server.address)
        assert check("image", reference=f"{server.address}/basic/x:1", auth_file=file).startswith("passed: manifest 1 is in")
        assert check("image", reference=f"{server.address}/token/x:1", auth_file=file).startswith("passed: manifest sha256:4c1d")
        assert "refuses access" in check("image", reference=f"{server.address}/token/x:1")
        (tmp_path / "config.json").write_text("{")
        assert f"auth_file {file} cannot be read" in check("image", reference=f"{server.address}/basic/x:1", auth_file=file)


@pytest.mark.parametrize("key", ["{host}", "https://{host}", "https://{host}/v2/", "{host}/basic"])
def test_credentials_are_found_however_the_file_names_the_registry(key: str, check: Check, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    with loopback.web(registry) as server:
        file.write_text(json.dumps({"auths": {"other.test": {"auth": "eDp5"}, key.format(host=server.address): {"auth": BASIC}}}))
        assert check("image", reference=f"{server.address}/basic/x:1", auth_file=str(file)).startswith("passed: manifest 1 is in")


def test_tls_is_verified_and_not_given_up(check: Check, tmp_path: Path) -> None:
    authority = loopback.Authority(tmp_path)
    with loopback.web(registry, authority.issue("127.0.0.1")) as server:
        reference = f"{server.address}/shop/booking:1"
        assert check("image", reference=reference, ca_file=str(authority.file)).startswith("passed")
        assert (
            f"the certificate of registry {server.address} is not trusted: unable to get local issuer certificate; "
            "give the bundle of its authority by ca_file (pipeline_registry_ca_file), or correct the name"
        ) in check("image", reference=reference)


def test_without_tls_only_where_allowed(check: Check) -> None:
    with loopback.web(registry) as server:
        assert "does not answer" in check("image", reference=f"{server.address}/shop/booking:1", insecure_networks=["10.0.0.0/8"])
    assert is_insecure("10.200.7.2:5000", ["10.0.0.0/8"])
    assert not is_insecure("8.8.8.8", ["10.0.0.0/8", "fc00::/7"])
    assert not is_insecure("no-such-host.invalid", ["0.0.0.0/0"])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("debian", ("docker.io", "library/debian", "latest")),
        ("envoyproxy/envoy:v1", ("docker.io", "envoyproxy/envoy", "v1")),
        ("localhost/does-not-exist:1", ("localhost", "does-not-exist", "1")),
        ("10.200.7.2:5000/barberpro/booking", ("10.200.7.2:5000", "barberpro/booking", "latest")),
        (f"quay.io/a/b:1@{DIGEST}", ("quay.io", "a/b", DIGEST)),
    ],
)
def test_references(text: str, parts: tuple[str, str, str]) -> None:
    found = parse_reference(text)
    assert (found.registry, found.repository, found.version) == parts


@pytest.mark.parametrize("text", ["", "UPPER/case", "a b", "x@sha256:zz", "quay.io/"])
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        parse_reference(text)
    assert caught.value.reason == f"image {text!r} is not an image reference"
