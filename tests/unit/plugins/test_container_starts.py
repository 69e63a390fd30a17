"""What a runtime says of a container that it could not start: whether trying again helps is told by its words, never by a name among them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._pods import pod_problem

# Long enough ago for whatever may be missing a moment after a pod was made.
STARTED = "2026-01-01T00:00:00Z"


def problem(image: str, reason: str, message: str) -> Any:
    status = {"startTime": STARTED, "containerStatuses": [{"name": "main", "state": {"waiting": {"reason": reason, "message": message}}}]}
    return pod_problem({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": image}]}, "status": status}, now=1.8e9)


# (image, message of the runtime, outcome, words)
PULLS = [
    ("r/x:1.512.0", "failed to resolve reference r/x:1.512.0: manifest unknown", "failed", "manifest unknown (the registry does not have it)"),
    ("r/x:1.512.0", 'failed to resolve reference "docker.io/r/x:1.512.0": r/x:1.512.0: not found', "failed", "manifest unknown"),
    ("x", 'failed to resolve reference "docker.io/library/x:latest": not found', "failed", "manifest unknown"),
    ("x", 'Head "https://docker.io/v2/x/manifests/latest": context deadline exceeded', "progress", "context deadline exceeded"),
    ("r/timeout-page:1", 'failed to resolve reference "r/timeout-page:1": r/timeout-page:1: not found', "failed", "manifest unknown"),
    ("r/timeout-page:1", "pull access denied, https://r/v2/timeout-page/manifests/1: 403 Forbidden", "failed", "pull access denied"),
    ("r/x:1", "unexpected status from HEAD request to https://r/v2/x/manifests/1: 503 Service Unavailable, not found", "progress", "503 Service"),
    (
        "r/x:1",
        "failed to copy: httpReadSeeker: failed open: unexpected status code https://r/v2/x/blobs/sha256:500: 502 Bad Gateway: not found",
        "progress",
        "502",
    ),
    ("r/x:1", "unexpected status code [manifests 1]: 500 Internal Server Error: not found", "progress", "500"),
    ("r/x:1", "pulling from host r failed with status code: 503, unauthorized", "progress", "503"),
    (
        "r/x:1",
        "failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:0040 (application/vnd.oci.image.layer) from remote: not found",
        "failed",
        "the registry has lost a layer of it (push it again)",
    ),
    ("r/unauthorized:1", 'Back-off pulling image "r/unauthorized:1"', "progress", "Back-off"),
]


@pytest.mark.parametrize(("image", "message", "outcome", "words"), PULLS)
def test_the_name_of_an_image_says_nothing_of_its_pull(image: str, message: str, outcome: str, words: str) -> None:
    found = problem(image, "ErrImagePull", message)
    assert found.outcome == outcome
    assert found.reason.startswith(f"pod p container main: image {image} cannot be pulled: ")
    assert words in found.reason


STARTS = [
    ("CreateContainerConfigError", "failed to sync configmap cache: timed out waiting for the condition", "progress"),
    ("CreateContainerError", "context deadline exceeded", "progress"),
    ("CreateContainerError", 'failed to reserve container name "main_p_1": name "main_p_1" is reserved for "4f2a"', "progress"),
    ("RunContainerError", "failed to create shim task: context deadline exceeded", "progress"),
    ("RunContainerError", 'exec: "serve": executable file not found in $PATH', "failed"),
    ("CreateContainerConfigError", 'secret "x" not found', "failed"),
]


@pytest.mark.parametrize(("reason", "message", "outcome"), STARTS)
def test_a_node_that_is_busy_is_waited_for_however_old_the_pod_is(reason: str, message: str, outcome: str) -> None:
    found = problem("r/x:1", reason, message)
    assert (found.outcome, found.reason) == (outcome, f"pod p container main cannot be started: {message}")
