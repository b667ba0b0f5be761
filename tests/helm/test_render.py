"""What Helm renders of each variant of the chart: valid everywhere, and as it was reviewed.

PAYBRIDGE_BLESS=1 writes the golden files anew; what changed in them is for a reviewer to read.
"""

import difflib
import os
import pathlib
import re
import shutil

import pytest
import schemas
import yaml
from chart import (
    CHART,
    GOLDEN_KUBERNETES_VERSION,
    KUBERNETES_VERSIONS,
    RELEASE,
    VARIANTS,
    helm,
    load_all,
    manifests,
    name_of,
    of_kind,
    rendered,
    succeed,
    template,
    values_file,
)

GOLDEN = pathlib.Path(__file__).parent / "golden"
TAKEN = """
kafka: {bootstrapServers: "[2001:db8::1]:9092, [2001:db8::2]:9093"}
ingress: {listen: "[::]:8080"}
admin: {listen: "[::]:9090"}
workload: {env: [{name: PAYBRIDGE_KAFKA__PROPERTIES__SASL__PASSWORD, valueFrom: {secretKeyRef: {name: s, key: k}}}]}
"""
NOTES_TEMPLATE = 'kind: Notes\nnotes: {{ tpl (.Files.Get "files/NOTES.txt") . | toJson }}\n'


def check_golden(name, text):
    """Compares a text with its golden file byte for byte, or writes it where that is asked for."""
    path = GOLDEN / name
    if os.environ.get("PAYBRIDGE_BLESS") == "1":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text)
        return
    assert path.exists(), f"{path.name} is not there: PAYBRIDGE_BLESS=1 tests/helm/run writes it"
    lines = difflib.unified_diff(path.read_text().splitlines(), text.splitlines(), "golden", "rendered", lineterm="")
    difference = "\n".join(lines)
    assert path.read_bytes() == text.encode(), f"{name}: if this is as it should be, PAYBRIDGE_BLESS=1\n{difference}"


def test_there_is_a_variant_of_each_kind():
    assert {"default", "split", "production", "strimzi", "strimzi-split", "keda", "off", "spool", "spool-split"} <= set(VARIANTS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_lint_has_nothing_to_say(variant):
    succeed(helm("lint", "--strict", CHART, f"--values={values_file(variant)}"))


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_manifest_is_valid(variant, version):
    documents = manifests(variant, version)
    assert documents
    complaints = [
        f"{name_of(document)}: {complaint}"
        for document in documents
        for complaint in schemas.complaints(document, version)
    ]
    assert complaints == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_version_of_kubernetes_changes_nothing(variant):
    for version in KUBERNETES_VERSIONS:
        assert rendered(variant, version) == rendered(variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_two_manifests_have_one_name(variant):
    names = [(document["apiVersion"], name_of(document)) for document in manifests(variant)]
    assert len(names) == len(set(names)), sorted(names)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_manifest_is_labelled_as_the_releases_own(variant):
    for document in manifests(variant):
        labels = document["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "paybridge", name_of(document)
        assert labels["app.kubernetes.io/instance"] == RELEASE, name_of(document)
        assert labels["app.kubernetes.io/managed-by"] == "Helm", name_of(document)
        assert document["metadata"]["namespace"], name_of(document)


@pytest.mark.parametrize("variant", VARIANTS)
def test_renders_what_was_reviewed(variant):
    check_golden(f"{variant}.yaml", rendered(variant))


@pytest.mark.parametrize("variant", VARIANTS)
def test_says_what_to_do_next_as_it_was_reviewed(variant, tmp_path):
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    # Helm renders the notes without a cluster, but prints them for nobody: a template of our own does
    (chart / "templates" / "NOTES.txt").rename(chart / "files" / "NOTES.txt")
    (chart / "templates" / "notes.yaml").write_text(NOTES_TEMPLATE)
    shown = template(values_file(variant), chart=chart, arguments=["--show-only=templates/notes.yaml"])
    [document] = load_all(succeed(shown))
    check_golden(f"{variant}.notes.txt", document["notes"])


def test_every_golden_file_has_its_variant():
    expected = {name for variant in VARIANTS for name in (f"{variant}.yaml", f"{variant}.notes.txt")}
    assert {path.name for path in GOLDEN.iterdir()} == expected


def test_strict_about_what_the_golden_files_say():
    for variant in VARIANTS:
        assert load_all((GOLDEN / f"{variant}.yaml").read_text()) == manifests(variant)


def test_takes_brokers_by_ipv6_addresses_and_a_password_from_a_secret(tmp_path):
    values = tmp_path / "values.yaml"
    values.write_text(TAKEN)
    succeed(template(values_file("split"), values))


V1BETA2 = "--api-versions=kafka.strimzi.io/v1beta2/KafkaTopic"
V1 = "--api-versions=kafka.strimzi.io/v1/KafkaTopic"


@pytest.mark.parametrize(
    "served, expected", [([], "v1beta2"), ([V1BETA2], "v1beta2"), ([V1BETA2, V1], "v1"), ([V1], "v1")], ids=["none", "old", "both", "new"]
)
def test_strimzis_resources_are_of_a_version_that_is_served(served, expected):
    documents = of_kind(load_all(succeed(template(values_file("strimzi"), arguments=served))), "KafkaTopic", "KafkaUser")
    assert {document["kind"] for document in documents} == {"KafkaTopic", "KafkaUser"}
    assert {document["apiVersion"] for document in documents} == {f"kafka.strimzi.io/{expected}"}
    assert [complaint for document in documents for complaint in schemas.complaints(document, GOLDEN_KUBERNETES_VERSION)] == []
    reviewed = of_kind(manifests("strimzi"), "KafkaTopic", "KafkaUser")
    assert [document | {"apiVersion": ""} for document in documents] == [document | {"apiVersion": ""} for document in reviewed]


UMBRELLA = """
apiVersion: v2
name: umbrella
version: 1.0.0
dependencies: [{name: paybridge, version: "*", condition: paybridge.enabled}]
"""


@pytest.mark.parametrize("enabled", [True, False])
def test_a_chart_around_it_may_have_a_condition(enabled, tmp_path):
    shutil.copytree(CHART, tmp_path / "charts" / "paybridge")
    (tmp_path / "Chart.yaml").write_text(UMBRELLA)
    inner = yaml.safe_load(values_file("default").read_text())
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"paybridge": inner | {"enabled": enabled}}))
    documents = load_all(succeed(template(chart=tmp_path)))
    assert len(of_kind(documents, "Deployment")) == (1 if enabled else 0)


def test_pods_are_spread_as_it_is_said(tmp_path):
    given = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    own = given | {"labelSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}}
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"workload": {"topologySpreadConstraints": [own, given]}}))
    [workload] = of_kind(load_all(succeed(template(values_file("default"), values))), "Deployment")
    chosen = workload["spec"]["selector"]
    assert workload["spec"]["template"]["spec"]["topologySpreadConstraints"] == [own, given | {"labelSelector": chosen}]


def test_notes_tell_no_path_that_may_be_a_secret():
    path = yaml.safe_load(values_file("split").read_text())["sources"]["udt"]["path"]
    assert path in rendered("split")
    notes = (GOLDEN / "split.notes.txt").read_text()
    assert "udt: https://webhooks.example.com and the path that is configured for it\n" in notes
    assert path.split("/")[2] not in notes


def test_another_version_of_the_chart_alone_restarts_no_pod(tmp_path):
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    description = chart / "Chart.yaml"
    text = description.read_text()
    description.write_text(re.sub(r"^version: .*$", "version: 99.0.0", text, flags=re.MULTILINE))
    shown = load_all(succeed(template(values_file("split"), chart=chart)))
    [now, then] = [of_kind(documents, "Deployment") for documents in (manifests("split"), shown)]
    assert [one["metadata"]["labels"]["helm.sh/chart"] for one in then] == ["paybridge-99.0.0"] * 2
    assert [one["spec"] for one in then] == [one["spec"] for one in now]


def test_refuses_a_kubernetes_that_is_too_old():
    result = template(values_file("default"), kubernetes_version="1.27.0")
    assert result.returncode != 0
    assert "1.28.0" in result.stderr
    assert GOLDEN_KUBERNETES_VERSION in KUBERNETES_VERSIONS
