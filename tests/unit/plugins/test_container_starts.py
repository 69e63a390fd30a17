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
    (
        "r/x:1",
        "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://r/token?scope=x: 401 Unauthorized",
        "failed",
        "401 Unauthorized",
    ),
    ("r/x:1", "unexpected status from HEAD request to https://r/v2/x/manifests/1: 403 Forbidden", "failed", "403 Forbidden"),
    ("r/x:1", 'Head "https://r/v2/x/manifests/1": tls: failed to verify certificate: x509: certificate signed by unknown authority', "failed", "x509"),
    ("r/x:1", "unexpected status from HEAD request to https://r/v2/x/manifests/1: 429 Too Many Requests", "progress", "429"),
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
    ("RunContainerError", "ttrpc: closed: unknown", "progress"),
    ("CreateContainerError", 'rpc error: code = Unavailable desc = connection error: dial unix /run/containerd.sock: connect: connection refused', "progress"),
    ("RunContainerError", 'error reading from server: EOF', "progress"),
    ("RunContainerError", 'exec: "serve": executable file not found in $PATH', "failed"),
    ("CreateContainerConfigError", 'secret "x" not found', "failed"),
]


@pytest.mark.parametrize(("reason", "message", "outcome"), STARTS)
def test_a_node_that_is_busy_is_waited_for_however_old_the_pod_is(reason: str, message: str, outcome: str) -> None:
    found = problem("r/x:1", reason, message)
    assert (found.outcome, found.reason) == (outcome, f"pod p container main cannot be started: {message}")


# (message of the kubelet, outcome)
MOUNTS = [
    ('MountVolume.SetUp failed for volume "admin" : secret "booking-admin" not found', "failed"),
    ('MountVolume.SetUp failed for volume "c" : configmap "settings" not found', "failed"),
    ('MountVolume.SetUp failed for volume "admin" : references non-existent secret key: token', "failed"),
    ("MountVolume.MountDevice failed: driver name ebs.csi.aws.com not found in the list of registered CSI drivers", "progress"),
    ('MountVolume.SetUp failed for volume "api-access" : configmap "kube-root-ca.crt" not registered', "progress"),
]


@pytest.mark.parametrize(("message", "outcome"), MOUNTS)
def test_a_volume_is_given_up_where_somebody_has_to_write_what_is_missing(message: str, outcome: str) -> None:
    event = {"reason": "FailedMount", "involvedObject": {"uid": "u"}, "message": message}
    pod = {"metadata": {"name": "p", "uid": "u"}, "status": {"phase": "Pending", "startTime": STARTED}}
    found = pod_problem(pod, [event], now=1.8e9)
    assert found is not None
    assert (found.outcome, found.reason) == (outcome, f"pod p cannot mount a volume: {message}")
