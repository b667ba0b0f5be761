"""The chart and a real API server: what is installed, tested, changed, taken back and removed.

Its nodes may be simulated: that a pod is ready proves nothing about the daemon here, that the server took it does.
"""

import copy
import functools
import io
import json
import shutil
import subprocess
import tarfile

import pytest
import yaml
from chart import (
    CHART,
    CHECKOUT,
    RELEASE,
    VARIANTS,
    helm,
    load_all,
    name_of,
    of_kind,
    pod_templates,
    template,
    values_file,
)
from cluster import eventually, get, kubectl, succeed, things

pytestmark = pytest.mark.cluster

LOWER_VERSION = "0.0.0"
# A cluster that is anybody's has no class of priority of this name, and no disks that somebody could drain: the pods would
# not be made.
FOR_ANY_CLUSTER = {"workload": {"priorityClassName": ""}, "spool": {"drainClaims": []}}
WAIT = ["--wait", "--wait-for-jobs", "--timeout=90s"]

CUSTOM_KINDS = {
    "ServiceMonitor": "split",
    "PodMonitor": "production",
    "PrometheusRule": "production",
    "KafkaTopic": "strimzi",
    "KafkaUser": "strimzi",
    "ScaledObject": "keda",
    "HTTPRoute": "split",
}


def rendered(variant, namespace):
    """A variant's manifests for a namespace."""
    return load_all(succeed(template(values_file(variant), arguments=["--namespace", namespace])))


def dry_run(namespace, documents):
    """Gives manifests to the server without leaving anything, and lets it refuse what it does not know."""
    how = ["--dry-run=server", "--validate=strict", "--server-side", "--force-conflicts"]
    return kubectl("--namespace", namespace, "apply", *how, "--filename=-", given=documents)


# --- what the server takes, and refuses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_server_takes_every_manifest(variant, untouched_namespace):
    # a pod is refused without its account, of which a dry run leaves nothing: the next test has them
    documents = [one for one in rendered(variant, untouched_namespace) if one["kind"] != "Pod"]
    result = dry_run(untouched_namespace, documents)
    printed = succeed(result)
    assert len(printed.splitlines()) == len(documents)
    # a Deployment whose pods would be refused is only warned of
    assert "Warning" not in result.stderr, result.stderr


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_server_takes_every_pod(variant, untouched_namespace):
    pods = [pod_of(name, template) for name, template in pod_templates(rendered(variant, untouched_namespace)).items()]
    assert len(succeed(dry_run(untouched_namespace, pods)).splitlines()) == len(pods) > 0


def pod_of(name, pod_template):
    """A pod as a controller would make it, but for what is not there yet: its account and its priority."""
    spec = copy.deepcopy(pod_template["spec"]) | {"serviceAccountName": "default"}
    spec.pop("priorityClassName", None)
    metadata = {"name": name.lower().replace("/", "-"), "labels": pod_template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    "place, value",
    [
        (("hostNetwork",), True),
        (("securityContext", "runAsNonRoot"), False),
        (("securityContext", "seccompProfile"), None),
        (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True),
        (("containers", 0, "securityContext", "capabilities"), None),
    ],
)
def test_the_server_would_refuse_a_pod_that_is_not_restricted(place, value, untouched_namespace):
    [pod] = of_kind(rendered("default", untouched_namespace), "Pod")
    pod = pod_of("Pod/p", pod)
    *outer, last = place
    functools.reduce(lambda inner, key: inner[key], outer, pod["spec"])[last] = value
    result = dry_run(untouched_namespace, [pod])
    assert result.returncode != 0
    assert 'violates PodSecurity "restricted' in result.stderr


@pytest.mark.parametrize("kind, variant", CUSTOM_KINDS.items())
def test_the_server_would_refuse_a_wrong_custom_resource(kind, variant, untouched_namespace):
    documents = of_kind(rendered(variant, untouched_namespace), kind)
    assert documents, f"{variant} has no {kind}"
    succeed(dry_run(untouched_namespace, documents[:1]))
    unknown = copy.deepcopy(documents[0])
    unknown["spec"]["unheardOf"] = 1
    result = dry_run(untouched_namespace, [unknown])
    assert result.returncode != 0
    assert "unheardOf" in result.stderr
    result = dry_run(untouched_namespace, [documents[0] | {"spec": "text"}])
    assert result.returncode != 0


# --- the life of a release --------------------------------------------------------------------------------------------


@pytest.fixture(name="overlay")
def overlay_fixture(tmp_path, disks):
    """A file of values that let a variant be installed anywhere."""
    path = tmp_path / "overlay.yaml"
    values = copy.deepcopy(FOR_ANY_CLUSTER)
    values["spool"]["volume"] = {"storageClassName": disks}
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="session", name="previous")
def previous_fixture(tmp_path_factory):
    """The chart of the version before: of the history, or else this one with a lower version."""
    folder = tmp_path_factory.mktemp("previous") / "paybridge"
    commit = previous_commit()
    if commit:
        archive = git("archive", "--format=tar", commit, "helm/paybridge")
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder.parent, filter="data")
        return folder.parent / "helm" / "paybridge"
    shutil.copytree(CHART, folder)
    chart = folder / "Chart.yaml"
    chart.write_text(chart.read_text().replace(f"\nversion: {version_of(CHART)}\n", f"\nversion: {LOWER_VERSION}\n"))
    assert version_of(folder) == LOWER_VERSION
    return folder


def previous_commit():
    """The last commit whose chart has another version, where the history goes back so far."""
    for commit in git("rev-list", "HEAD", "--", "helm/paybridge/Chart.yaml").decode().split():
        version = yaml.safe_load(git("show", f"{commit}:helm/paybridge/Chart.yaml"))["version"]
        if version != version_of(CHART):
            return commit
    return None


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=CHECKOUT, check=True, capture_output=True).stdout


def version_of(chart):
    return yaml.safe_load((chart / "Chart.yaml").read_text())["version"]


def release(command, namespace, *arguments):
    """Runs one of Helm's commands on the release."""
    return succeed(helm(command, RELEASE, *arguments, "--namespace", namespace))


def put(command, namespace, chart, variant, *arguments):
    """Installs or upgrades to a chart with the values of one of its variants, and waits."""
    values = f"--values={chart / 'ci' / values_file(variant).name}"
    return release(command, namespace, chart, values, *arguments, *WAIT)


def workloads(namespace):
    """What makes the daemon's pods."""
    return get(namespace, "deployments,statefulsets")


def names_of(namespace, kind):
    return {one["metadata"]["name"] for one in get(namespace, kind)}


def chart_versions(namespace):
    """The chart's version on every workload."""
    return {one["metadata"]["name"]: one["metadata"]["labels"]["helm.sh/chart"] for one in workloads(namespace)}


@pytest.mark.parametrize("variant", VARIANTS)
def test_installs_upgrades_goes_back_and_leaves_nothing(variant, namespace, previous, overlay):
    assert things(namespace) == set()
    put("install", namespace, previous, variant, f"--values={overlay}")
    check_running(namespace, previous)

    put("upgrade", namespace, CHART, variant, f"--values={overlay}")
    check_running(namespace, CHART)
    check_test_passes(namespace)

    release("rollback", namespace, "1", *WAIT)
    check_running(namespace, previous)
    revisions = json.loads(release("history", namespace, "--output=json"))
    assert [one["status"] for one in revisions] == ["superseded", "superseded", "deployed"]

    kept = {f"kafkatopic.kafka.strimzi.io/{name}" for name in names_of(namespace, "kafkatopics")}
    kept |= {f"persistentvolumeclaim/{name}" for name in names_of(namespace, "persistentvolumeclaims")}
    release("uninstall", namespace, *WAIT[:1], WAIT[2])
    # topics and disks outlive the release: what is on them does not belong to it
    eventually(lambda: check_things(namespace, kept))


def check_running(namespace, chart):
    """Every workload is there as often as it should be, from this chart."""
    versions = chart_versions(namespace)
    assert versions
    assert set(versions.values()) == {f"paybridge-{version_of(chart)}"}
    for workload in workloads(namespace):
        status, wanted = workload["status"], workload["spec"]["replicas"]
        assert status["readyReplicas"] == status["updatedReplicas"] == wanted > 0, name_of(workload)


def check_test_passes(namespace):
    # as YAML, a value that is "=" alone would be none that Python's reader knows
    status = json.loads(release("status", namespace, "--output=json"))
    tests = [hook for hook in status.get("hooks", []) if "test" in hook["events"]]
    printed = release("test", namespace, "--timeout=60s")
    assert printed.count("Phase:          Succeeded") == len(tests)


def check_things(namespace, expected):
    assert things(namespace) == expected


def pods(namespace):
    """The pods of the release's workloads, each with what tells it from its successor."""
    found = get(namespace, "pods", "--selector", f"app.kubernetes.io/instance={RELEASE},pod-template-hash")
    return {pod["metadata"]["uid"]: pod for pod in found if "deletionTimestamp" not in pod["metadata"]}


def test_pods_are_made_anew_for_a_changed_configuration_alone(namespace):
    put("install", namespace, CHART, "default")
    before = pods(namespace).keys()
    put("upgrade", namespace, CHART, "default", "--set=check.activeDeadlineSeconds=60")
    assert pods(namespace).keys() == before
    put("upgrade", namespace, CHART, "default", "--set=dedup.windowS=60")

    def all_are_new():
        after = pods(namespace).keys()
        assert len(after) == len(before)
        assert not after & before

    eventually(all_are_new)


def test_a_wrong_upgrade_changes_nothing(namespace):
    put("install", namespace, CHART, "default")
    before, things_before = pods(namespace).keys(), things(namespace)
    result = helm("upgrade", RELEASE, CHART, "--reuse-values", "--set=dedup.windowS=0", "--namespace", namespace)
    assert result.returncode != 0
    assert "dedup.windowS" in result.stderr
    assert pods(namespace).keys() == before
    assert things(namespace) == things_before


def test_selectors_find_the_pods_that_they_are_for(namespace):
    put("install", namespace, CHART, "split", "--set=split.ingress.autoscaling.type=none", "--set=split.ingress.replicas=2")
    fullname = f"{RELEASE}-paybridge"

    def named(component):
        return {pod["metadata"]["name"] for pod in pods(namespace).values() if component_of(pod) == component}

    assert (len(named("ingress")), len(named("engine"))) == (2, 3)
    eventually(lambda: equal(addresses(namespace, fullname), named("ingress")))
    eventually(lambda: equal(addresses(namespace, f"{fullname}-metrics"), named("ingress") | named("engine")))
    for budget in get(namespace, "poddisruptionbudgets"):
        component = component_of(budget)
        eventually(lambda name=budget["metadata"]["name"], count=len(named(component)): check_budget(namespace, name, count))
    [monitor] = get(namespace, "servicemonitors")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    selected = get(namespace, "services", "--selector", ",".join(f"{key}={value}" for key, value in wanted.items()))
    with_port = [one for one in selected if has_port(one, monitor["spec"]["endpoints"][0]["port"])]
    assert [one["metadata"]["name"] for one in with_port] == [f"{fullname}-metrics"]


def addresses(namespace, service):
    """The pods that a Service sends to."""
    slices = get(namespace, "endpointslices", "--selector", f"kubernetes.io/service-name={service}")
    return {endpoint["targetRef"]["name"] for one in slices for endpoint in one["endpoints"] or []}


def component_of(thing):
    return thing["metadata"]["labels"]["app.kubernetes.io/component"]


def has_port(service, name):
    return any(port["name"] == name for port in service["spec"]["ports"])


def equal(found, expected):
    assert found == expected


def check_budget(namespace, name, count):
    status = get(namespace, "poddisruptionbudget", name)["status"]
    assert (status["expectedPods"], status["disruptionsAllowed"]) == (count, 1), name


def test_the_autoscaler_finds_its_workload(namespace):
    put("install", namespace, CHART, "split")

    def finds():
        [scaler] = get(namespace, "horizontalpodautoscalers")
        conditions = {one["type"]: one for one in scaler.get("status", {}).get("conditions", [])}
        assert conditions["AbleToScale"]["reason"] == "SucceededGetScale" if conditions else None, scaler

    eventually(finds)


# --- disks ------------------------------------------------------------------------------------------------------------


def test_disks_come_without_a_gap_and_outlive_pods_and_release(namespace, disks):
    """The commands of the README's chapter about the disk spool."""
    name = f"{RELEASE}-paybridge"
    first, second = (f"{name}-{number}" for number in range(2))

    def upgrade(*settings):
        chosen = [f"--set=spool.enabled=true,spool.volume.storageClassName={disks}", *(f"--set={one}" for one in settings)]
        return put("upgrade", namespace, CHART, "default", *chosen)

    put("install", namespace, CHART, "default")
    old = addresses_of(namespace, name, 2)
    keep(namespace, "deployment", name)
    upgrade()
    # webhooks reach both, until somebody deletes the old ones
    eventually(lambda: equal(addresses(namespace, name), old | {first, second}))
    succeed(kubectl("--namespace", namespace, "delete", "deployment", name))
    eventually(lambda: equal(addresses(namespace, name), {first, second}))
    claims = {f"spool-{pod}" for pod in (first, second)}
    assert claims_of_release(namespace) == claims

    told = upgrade("workload.replicas=1")
    assert "DRAIN NOW" in told
    assert f"--set 'spool.drainClaims={{spool-{second}}}'" in told
    eventually(lambda: equal(addresses(namespace, name), {first}))
    # it waits until the Job has ended
    told = upgrade("workload.replicas=1", f"spool.drainClaims={{spool-{second}}}")
    assert "DRAIN NOW" not in told
    [job] = get(namespace, "jobs", "--selector", "app.kubernetes.io/component=drain")
    assert job["status"]["succeeded"] == 1

    [pod] = [one for one in get(namespace, "pods") if one["metadata"]["name"] == first]
    succeed(kubectl("--namespace", namespace, "delete", "statefulset", name, "--cascade=orphan"))
    upgrade("workload.replicas=1", "spool.volume.size=3Gi")
    [after] = [one for one in get(namespace, "pods") if one["metadata"]["name"] == first]
    assert after["metadata"]["uid"] == pod["metadata"]["uid"], "its pods run on"

    both = ",".join(sorted(claims))
    put("upgrade", namespace, CHART, "default", f"--set=spool.drainClaims={{{both}}}")
    check_running(namespace, CHART)
    assert (names_of(namespace, "statefulsets"), names_of(namespace, "deployments")) == (set(), {name})
    release("uninstall", namespace, *WAIT[:1], WAIT[2])
    eventually(lambda: check_things(namespace, {f"persistentvolumeclaim/{claim}" for claim in claims}))


def addresses_of(namespace, service, count):
    """The pods that a Service sends to, when there are so many."""

    def found():
        pods = addresses(namespace, service)
        assert len(pods) == count
        return pods

    return eventually(found)


def keep(namespace, kind, name):
    succeed(kubectl("--namespace", namespace, "annotate", kind, name, "helm.sh/resource-policy=keep"))


def claims_of_release(namespace):
    found = get(namespace, "persistentvolumeclaims", "--selector", f"app.kubernetes.io/instance={RELEASE}")
    return {one["metadata"]["name"] for one in found}
