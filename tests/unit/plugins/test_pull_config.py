"""What nodes get to pull with: the credentials of the images' registries, and nothing else of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.barberpro.platform.plugins.filter.pull_config import pull_config

IMAGE = "registry.barberpro.test:5000/barberpro/booking@sha256:" + "1" * 64
ENTRY = {"auth": "YW5hOnNlY3JldA=="}


@pytest.mark.parametrize(
    ("auths", "image", "kept"),
    [
        ({"registry.barberpro.test:5000": ENTRY, "other.test": ENTRY}, IMAGE, ["registry.barberpro.test:5000"]),
        ({"https://registry.barberpro.test:5000/v2/": ENTRY}, IMAGE, ["https://registry.barberpro.test:5000/v2/"]),
        ({"registry.barberpro.test:5000/barberpro": {"username": "ana", "password": "x"}}, IMAGE, ["registry.barberpro.test:5000/barberpro"]),
        ({"https://index.docker.io/v1/": ENTRY, "registry.barberpro.test:5000": ENTRY}, "postgres:17", ["https://index.docker.io/v1/"]),
    ],
)
def test_only_what_the_images_need_leaves_the_runner(tmp_path: Path, auths: dict[str, Any], image: str, kept: list[str]) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": auths, "credsStore": "desktop"}))
    assert json.loads(pull_config(str(file), [image])) == {"auths": {key: auths[key] for key in kept}}


@pytest.mark.parametrize("auths", [{}, {"other.test": ENTRY}, {"registry.barberpro.test:5000": {}}])
def test_a_file_without_them_is_refused_and_says_what_to_do(tmp_path: Path, auths: dict[str, Any]) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": auths}))
    with pytest.raises(AnsibleFilterError) as caught:
        pull_config(str(file), [IMAGE])
    assert str(caught.value) == (
        f"auth_file {file} has no user and password for registry.barberpro.test:5000; log in there with a client that writes them into this file "
        "(no credential helper), or leave the variable empty"
    )


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(AnsibleFilterError, match=r"auth_file .*/none cannot be read: .*; name a docker config.json"):
        pull_config(str(tmp_path / "none"), [IMAGE])
