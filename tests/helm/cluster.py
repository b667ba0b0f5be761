"""The API server that the cluster's tests run against: kubectl, a namespace that refuses what is not restricted, and waiting.

It knows nothing of the chart.
"""

import contextlib
import json
import subprocess
import time
import uuid

import pytest
import schemas
import yaml

COMMAND_TIMEOUT_S = 120
PATIENCE_S = 60
# As many disks of each access mode as a release has pods.
DISKS_EACH = 3
LOOK_EVERY_S = 0.2

# What tells the tests' own namespaces from others: a run removes only its own.
MARK = {"paybridge.test/run": uuid.uuid4().hex[:8]}

# What every namespace has by itself.
OF_EVERY_NAMESPACE = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
# What comes and goes by itself: tellings, and what belongs to something that is listed.
SHORT_LIVED = {"events", "events.events.k8s.io", "endpoints", "endpointslices.discovery.k8s.io"}


def kubectl(*arguments, given=None):
    """Runs kubectl, with these manifests as its input if there are any; what came of it is for the caller to judge."""
    text = None if given is None else yaml.safe_dump_all(given)
    command = ["kubectl", *map(str, arguments)]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
    )


def succeed(result):
    """What a command printed; one that failed fails the test with all it said."""
    assert result.returncode == 0, f"{result.args}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def get(namespace, *what):
    """An object, or the items of a list."""
    found = json.loads(succeed(kubectl("--namespace", namespace, "get", *what, "--output=json")))
    return found.get("items", found)


def eventually(look):
    """Waits until `look` raises no AssertionError any more, and gives what it returns."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return look()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(LOOK_EVERY_S)


@contextlib.contextmanager
def restricted_namespace():
    """A namespace of its own, whose pods must keep the restricted standard; it is removed with all that is in it."""
    name = f"paybridge-test-{uuid.uuid4().hex[:8]}"
    standard = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    labels = standard | MARK
    labelled = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    succeed(kubectl("create", "--filename=-", given=[labelled]))
    eventually(lambda: get(name, "serviceaccount", "default"))
    try:
        yield name
    finally:
        # the last of them are waited for once, at the end
        succeed(kubectl("delete", "namespace", name, "--wait=false"))


@contextlib.contextmanager
def definitions(paths):
    """The custom resource definitions of these files; those that were not there are removed afterwards."""
    documents = [yaml.safe_load(path.read_text()) for path in paths]
    names = [document["metadata"]["name"] for document in documents]
    there = succeed(kubectl("get", "customresourcedefinitions", "--output=name")).split()
    new = [document for document in documents if not any(name.endswith(document["metadata"]["name"]) for name in there)]
    try:
        if new:
            succeed(kubectl("apply", "--server-side", "--filename=-", given=new))
        succeed(kubectl("wait", "--for=condition=Established", f"--timeout={PATIENCE_S}s", "crd", *names))
        yield names
    finally:
        selector = ",".join(f"{key}={value}" for key, value in MARK.items())
        succeed(kubectl("wait", "--for=delete", "namespace", f"--selector={selector}", f"--timeout={PATIENCE_S}s"))
        if new:
            mine = [document["metadata"]["name"] for document in new]
            succeed(kubectl("delete", "crd", *mine, f"--timeout={PATIENCE_S}s"))


def kinds():
    """Every kind of thing that can be in a namespace and listed."""
    listed = succeed(kubectl("api-resources", "--namespaced", "--verbs=list,delete", "--output=name")).split()
    return sorted(set(listed) - SHORT_LIVED)


def things(namespace):
    """All that somebody put into a namespace, as kind/name."""
    listed = succeed(kubectl("--namespace", namespace, "get", ",".join(kinds()), "--output=name", "--ignore-not-found"))
    return set(listed.split()) - OF_EVERY_NAMESPACE


@pytest.fixture(scope="session", name="custom_kinds")
def custom_kinds_fixture():
    """The custom resources of others are known to the server."""
    with definitions(schemas.crd_files()) as names:
        yield names


@pytest.fixture(name="namespace")
def namespace_fixture(custom_kinds):
    """A namespace for one test."""
    assert custom_kinds
    with restricted_namespace() as name:
        yield name


@pytest.fixture(name="disks")
def disks_fixture(namespace):
    """Disks for the claims of a test, by the name of their storage class; nothing is ever written to them."""
    modes = ["ReadWriteOnce", "ReadWriteOncePod"] * DISKS_EACH
    volumes = [disk(f"{namespace}-{number}", namespace, mode) for number, mode in enumerate(modes)]
    succeed(kubectl("create", "--filename=-", given=volumes))
    try:
        yield namespace
    finally:
        # they go when the claims have gone with the namespace
        succeed(kubectl("delete", "persistentvolume", *(one["metadata"]["name"] for one in volumes), "--wait=false"))


def disk(name, storage_class, mode):
    spec = {
        "capacity": {"storage": "100Gi"},
        "accessModes": [mode],
        "storageClassName": storage_class,
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": f"/nonexistent/{name}"},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name, "labels": MARK}, "spec": spec}


@pytest.fixture(scope="session", name="untouched_namespace")
def untouched_namespace_fixture(custom_kinds):
    """A namespace for all tests that leave nothing in it."""
    assert custom_kinds
    with restricted_namespace() as name:
        yield name
        assert things(name) == set()
