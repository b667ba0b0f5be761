"""The disk spool in the chart: which workload has disks, that nobody but people deletes them, and how one that is left is drained."""

import json
import shutil

import pytest
import yaml
from chart import (
    CHART,
    WORKLOADS,
    load_all,
    manifests,
    name_of,
    of_kind,
    pod_templates,
    succeed,
    template,
    values_file,
)

DISK = "/var/lib/paybridge"


def rendered(variant, values, tmp_path, chart=CHART, arguments=()):
    """The manifests of a variant with some more values."""
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_all(succeed(template(values_file(variant), path, chart=chart, arguments=arguments)))


def workloads(documents):
    """Which kind each workload is."""
    return {one["metadata"]["name"]: one["kind"] for one in of_kind(documents, *WORKLOADS)}


def test_only_the_workload_that_takes_webhooks_has_disks():
    assert workloads(manifests("default")) == {"pay-paybridge": "Deployment"}
    assert workloads(manifests("spool")) == {"pay-paybridge": "StatefulSet"}
    documents = manifests("spool-split")
    assert workloads(documents) == {"pay-paybridge-ingress": "StatefulSet", "pay-paybridge-engine": "Deployment"}
    mounted = {name for name, one in pod_templates(documents).items() if "spool" in json.dumps(one["spec"]["volumes"])}
    assert mounted == {"StatefulSet/pay-paybridge-ingress", "Job/pay-paybridge-ingress-check"}


@pytest.mark.parametrize("variant", ["default", "production"])
def test_a_pod_with_a_disk_is_a_pod_without_one_but_for_the_disk(variant, tmp_path):
    [plain] = of_kind(manifests(variant), "Deployment")
    documents = rendered(variant, {"spool": {"enabled": True}}, tmp_path)
    [stateful] = of_kind(documents, "StatefulSet")
    for key in ("replicas", "selector", "revisionHistoryLimit"):
        assert stateful["spec"][key] == plain["spec"][key]
    assert stateful["metadata"] == plain["metadata"]
    pod, plain_pod = stateful["spec"]["template"], plain["spec"]["template"]
    assert pod["metadata"]["labels"] == plain_pod["metadata"]["labels"], "the Service takes both while one replaces the other"
    [container], [plain_container] = pod["spec"].pop("containers"), plain_pod["spec"].pop("containers")
    assert container["volumeMounts"].pop() == {"name": "spool", "mountPath": DISK}
    # it reads what is on its disk before it answers
    assert container["startupProbe"].pop("failureThreshold") > plain_container["startupProbe"].pop("failureThreshold")
    assert container == plain_container
    for constraint in plain_pod["spec"]["topologySpreadConstraints"]:
        assert constraint.pop("matchLabelKeys") == ["pod-template-hash"], "a label of a Deployment's pods"
    assert pod["spec"] == plain_pod["spec"]


def test_everything_but_the_workload_is_as_without_disks(tmp_path):
    before = {name_of(one): one for one in manifests("production")}
    after = {name_of(one): one for one in rendered("production", {"spool": {"enabled": True}}, tmp_path)}
    added = {"StatefulSet/pay-paybridge", "Service/pay-paybridge-pods", "ConfigMap/pay-paybridge-dashboard-spool"}
    assert after.keys() - before.keys() == added
    assert before.keys() - after.keys() == {"Deployment/pay-paybridge"}
    differ = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    # the configuration, the check's emptyDir, and alerts
    assert differ == {"ConfigMap/pay-paybridge", "ConfigMap/pay-paybridge-check", "Job/pay-paybridge-check", "PrometheusRule/pay-paybridge"}


def test_only_people_delete_a_claim():
    for variant in ("spool", "spool-split"):
        [stateful] = of_kind(manifests(variant), "StatefulSet")
        assert stateful["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
        assert of_kind(manifests(variant), "PersistentVolumeClaim") == [], "Helm would delete its own"


def test_a_claim_is_as_the_values_say(tmp_path):
    [stateful] = of_kind(manifests("spool"), "StatefulSet")
    [claim] = stateful["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["annotations"] == {"example.com/owner": "payments"}
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast-encrypted",
        "resources": {"requests": {"storage": "12Gi"}},
    }
    [stateful] = of_kind(manifests("spool-split"), "StatefulSet")
    [claim] = stateful["spec"]["volumeClaimTemplates"]
    assert claim["metadata"] == {"name": "spool"}
    assert claim["spec"] == {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "2Gi"}}}


def test_what_kubernetes_lets_never_be_changed_stays_with_another_version_of_the_chart(tmp_path):
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    description = chart / "Chart.yaml"
    changed = yaml.safe_load(description.read_text()) | {"version": "99.0.0", "appVersion": "99.0.0"}
    description.write_text(yaml.safe_dump(changed))
    values = {"log": {"level": "debug"}, "workload": {"replicas": 5}, "spool": {"bytesMax": 16777216, "drainClaims": []}}
    [before] = of_kind(manifests("spool"), "StatefulSet")
    [after] = of_kind(rendered("spool", values, tmp_path, chart), "StatefulSet")
    assert before["spec"]["template"] != after["spec"]["template"]
    for key in ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"):
        assert before["spec"][key] == after["spec"][key], key


def test_a_disk_as_small_as_possible_is_taken(tmp_path):
    for size in ("1127Mi", "1182M", "1.2G", "1181116007"):
        rendered("default", {"spool": {"enabled": True, "volume": {"size": size}}}, tmp_path)


# --- draining ---------------------------------------------------------------------------------------------------------


def jobs(documents):
    """The Jobs that drain claims."""
    return [job for job in of_kind(documents, "Job") if job["metadata"]["labels"]["app.kubernetes.io/component"] == "drain"]


def claim_of(job):
    [claim] = [volume for volume in job["spec"]["template"]["spec"]["volumes"] if volume["name"] == "spool"]
    return claim["persistentVolumeClaim"]["claimName"]


def test_each_claim_that_is_named_has_a_job_that_drains_it():
    found = jobs(manifests("spool"))
    assert [claim_of(job) for job in found] == ["spool-pay-paybridge-3", "spool-pay-paybridge-4"]
    for job in found:
        assert claim_of(job) in job["metadata"]["name"]
        [container] = job["spec"]["template"]["spec"]["containers"]
        assert container["args"] == ["spool", "drain", "--directory", f"{DISK}/spool"]
        assert {"name": "spool", "mountPath": DISK} in container["volumeMounts"]
        assert "helm.sh/hook" not in job["metadata"].get("annotations", {}), "an upgrade does not wait for Kafka"
    assert jobs(manifests("spool-split")) == []


def test_a_drain_has_all_it_needs_where_the_release_is_gone():
    shown = template(values_file("spool"), arguments=["--show-only=templates/drain.yaml"])
    documents = load_all(succeed(shown))
    names = {name_of(one) for one in documents}
    for job in jobs(documents):
        spec = job["spec"]["template"]["spec"]
        assert f"ServiceAccount/{spec['serviceAccountName']}" in names
        maps = [volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume]
        assert maps and all(f"ConfigMap/{name}" in names for name in maps)
        [policy] = of_kind(documents, "NetworkPolicy")
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    everything = {name_of(one) for one in manifests("spool")}
    assert names < everything, "and under names of its own, which the release's other objects do not have"


def test_a_claim_is_drained_after_the_spool_is_turned_off_too(tmp_path):
    claims = ["spool-pay-paybridge-0", "spool-pay-paybridge-3"]
    off = {"spool": {"enabled": False, "drainClaims": claims}}
    # where the release takes no webhooks any more too
    for values in (off, off | {"ingress": {"enabled": False}}):
        documents = rendered("spool", values, tmp_path)
        assert workloads(documents) == {"pay-paybridge": "Deployment"}
        assert [claim_of(job) for job in jobs(documents)] == claims


def test_another_image_drains_by_another_job(tmp_path):
    def names(values):
        return {job["metadata"]["name"] for job in jobs(rendered("spool", values, tmp_path))}

    assert names({}) == names({"log": {"level": "debug"}}), "a Job that runs is left alone"
    assert not names({}) & names({"image": {"tag": "other"}}), "a Job's pod cannot be changed"


def test_the_longest_claims_have_jobs_of_different_names(tmp_path):
    claims = [f"spool-{'a' * 52}-{number}" for number in range(3)]
    values = {"spool": {"drainClaims": claims}, "fullnameOverride": "b" * 49}
    names = [job["metadata"]["name"] for job in jobs(rendered("spool", values, tmp_path))]
    assert len(set(names)) == 3
    assert max(map(len, names)) <= 63
