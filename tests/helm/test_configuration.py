"""What the chart renders as the daemon's configuration, as the daemon itself reads it: its own program is the judge."""

import json
import pathlib
import re
import tomllib

import pytest
import security
import yaml
from chart import (
    VARIANTS,
    WORKLOADS,
    StrictLoader,
    bridge,
    load_all,
    manifests,
    name_of,
    of_kind,
    pod_templates,
    succeed,
    template,
    values_file,
)
from daemon import FILE, STRIMZI, asked_topics, configurations, findings, named_files, place, topics

ALL = [(variant, name) for variant in VARIANTS for name in configurations(manifests(variant))]
every_configuration = pytest.mark.parametrize("variant, name", ALL)


@every_configuration
def test_the_daemon_takes_it(variant, name, tmp_path, contents):
    path = place(configurations(manifests(variant))[name], tmp_path, contents)
    assert findings(path) == []


def test_the_daemon_would_say_what_is_wrong_with_it(tmp_path, contents):
    text = configurations(manifests("default"))["pay-paybridge"]
    path = place(text, tmp_path, contents)
    path.write_text(path.read_text().replace("window_s = 7200", "window_s = 0"))
    assert "window_s" in json.dumps(findings(path))
    [secret] = [file for file in tmp_path.rglob("secret")]
    secret.unlink()
    place(text, tmp_path, contents)
    secret.unlink()
    assert [finding["code"] for finding in findings(path)] == ["key-file-unreadable"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_pod_has_the_files_that_its_configuration_names(variant):
    documents = manifests(variant)
    texts = configurations(documents)
    seen = set()
    for pod, pod_template in pod_templates(documents).items():
        spec = pod_template["spec"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        name = volumes["config"]["configMap"]["name"]
        seen.add(name)
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
            assert mounts["/etc/paybridge/config"]["configMap"]["name"] == name, pod
            assert {"name": "PAYBRIDGE_CONFIG", "value": f"/etc/paybridge/config/{FILE}"} in container["env"], pod
            for file, _ in named_files(tomllib.loads(texts[name])):
                folders = [folder for folder in map(str, pathlib.PurePosixPath(file).parents) if folder in mounts]
                assert folders and not mounts[folders[0]].keys() & {"emptyDir"}, f"{pod} has no {file}"
    assert seen == texts.keys()


# What one of two workloads has and the other has not, and what both have.
OF_EACH = """
workload:
  volumes: [{name: both, secret: {secretName: both}}]
  volumeMounts: [{name: both, mountPath: /both, readOnly: true}]
split:
  ingress:
    env: [{name: PAYBRIDGE__LOG__LEVEL, value: debug}]
    nodeSelector: {pool: webhooks}
  engine:
    volumes: [{name: own, secret: {secretName: own}}]
    volumeMounts: [{name: own, mountPath: /own, readOnly: true}]
    tolerations: [{key: dedicated, operator: Exists}]
check: {createTopics: true}
"""


@pytest.mark.parametrize("variant", ["default", "production", "split", "spool", "spool-split"])
def test_each_workload_is_checked_with_what_it_has_and_nothing_else(variant, tmp_path):
    values = tmp_path / "values.yaml"
    values.write_text(OF_EACH)
    documents = load_all(succeed(template(values_file(variant), values)))
    texts = configurations(documents)
    jobs = {job["metadata"]["name"]: job["spec"]["template"]["spec"] for job in of_kind(documents, "Job") if is_check(job)}
    workloads = {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in of_kind(documents, *WORKLOADS)}
    assert jobs.keys() == {f"{name}-check" for name in workloads}
    for name, workload in workloads.items():
        job = jobs[f"{name}-check"]
        assert texts[f"{name}-check"] == texts[name]
        config, *others = job["volumes"]
        assert config == {"name": "config", "configMap": {"name": f"{name}-check"}}
        # the disks are the daemon's own, by a claim that its StatefulSet makes
        assert [volume for volume in others if volume != {"name": "spool", "emptyDir": {}}] == workload["volumes"][1:]
        assert [job.get(key) for key in ("nodeSelector", "tolerations")] == [workload.get(key) for key in ("nodeSelector", "tolerations")]
        for container in [*job["initContainers"], *job["containers"]]:
            for key in ("env", "volumeMounts", "image"):
                assert container[key] == workload["containers"][0][key], name


def is_check(job):
    return job["metadata"]["labels"]["app.kubernetes.io/component"] == "check"


def test_the_longest_names_are_not_too_long(tmp_path):
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"fullnameOverride": "a" * 80}))
    names = [one["metadata"]["name"] for one in load_all(succeed(template(values_file("split"), values)))]
    # of a Job's name a label is made
    assert max(map(len, names)) == 63


@pytest.mark.parametrize("variant", VARIANTS)
def test_ports_are_those_that_the_daemon_listens_on(variant):
    documents = manifests(variant)
    texts = configurations(documents)
    for workload in of_kind(documents, *WORKLOADS):
        [container] = workload["spec"]["template"]["spec"]["containers"]
        configuration = tomllib.loads(texts[workload["metadata"]["name"]])
        expected = {"admin": port_of(configuration["admin"])}
        if configuration["ingress"]["enabled"]:
            expected["webhooks"] = port_of(configuration["ingress"])
        assert {port["name"]: port["containerPort"] for port in container["ports"]} == expected, name_of(workload)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_daemons_program_takes_its_arguments(variant):
    for pod, pod_template in pod_templates(manifests(variant)).items():
        spec = pod_template["spec"]
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            # all before --help is parsed, and nothing is done
            result = bridge(*container["args"], "--help")
            assert result.returncode == 0, f"{pod}: {container['args']}\n{result.stderr}"


def test_the_daemons_program_would_refuse_an_argument():
    assert bridge("run", "--no-such", "--help").returncode == 2


def port_of(part):
    return int(part["listen"].rsplit(":", 1)[1])


def test_a_source_may_have_the_longest_name(tmp_path, contents):
    names = ["a" * 62 + "1", "a" * 62 + "2"]
    source = {"provider": "smart-glocal", "existingSecret": "s", "publicKeyFiles": ["k"]}
    api = {"baseUrl": "https://a", "version": 2, "project": "p", "privateKeyFile": "k", "existingSecret": "t"}
    values = {"sources": {name: source | {"api": api} for name in names}, "confirmation": {"enabled": True}}
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    documents = load_all(succeed(template(values_file("default"), path)))
    for pod, pod_template in pod_templates(documents).items():
        volumes = [volume["name"] for volume in pod_template["spec"]["volumes"]]
        assert len(volumes) == len(set(volumes)) == 6, pod
        assert all(re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", volume) for volume in volumes), volumes
        assert security.complaints(pod_template) == []
    assert findings(place(configurations(documents)["pay-paybridge"], tmp_path, contents)) == []


# --- text -------------------------------------------------------------------------------------------------------------

NASTY = [
    "plain",
    "with 'single' quotes",
    'with "double" quotes',
    "with both ' and \"",
    "back\\slash \\n \\u0041",
    "line\nbreak",
    "tab\there",
    "snow ☃ and 𝄞",
    "<a> & </b>",
    "{{ .Values.kafka }}",
    "# no comment",
    " spaces at both ends ",
    "true",
    "12",
    "line\u2028separator",
]


@pytest.mark.parametrize("text", NASTY)
def test_text_reaches_the_daemon_as_it_is(text, tmp_path):
    rule = {"name": "r", "when": f'session.id == "{text}"', "then": "hold"}
    values = {
        "confirmation": {"enabled": True, "dryRun": True, "rules": [rule]},
        "kafka": {"properties": {"client.id": text, "a.b": text}},
        "sources": {
            "sg": {"provider": "smart-glocal", "existingSecret": "s", "publicKeyFiles": ["k"]},
        },
    }
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True))
    documents = load_all(succeed(template(values_file("default"), path)))
    configuration = tomllib.loads(configurations(documents)["pay-paybridge"])
    assert configuration["kafka"]["properties"] == {"client.id": text, "a.b": text}
    assert configuration["confirmation"]["rules"] == [rule]


def test_numbers_reach_the_daemon_whole(tmp_path):
    values = {
        "ingress": {"inFlightBytesMax": 4294967295, "connectionsMax": 1000000},
        "dedup": {"entriesMax": 100000000},
        "kafka": {"properties": {"queue.buffering.max.kbytes": 2147483647, "socket.keepalive.enable": True}},
    }
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    documents = load_all(succeed(template(values_file("default"), path)))
    configuration = tomllib.loads(configurations(documents)["pay-paybridge"])
    assert configuration["ingress"]["in_flight_bytes_max"] == 4294967295
    assert configuration["ingress"]["connections_max"] == 1000000
    assert configuration["dedup"]["entries_max"] == 100000000
    assert configuration["kafka"]["properties"] == values["kafka"]["properties"]


# --- topics -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_strimzis_topics_are_those_that_the_daemon_asks_for(variant, tmp_path):
    overlay = tmp_path / "strimzi.yaml"
    overlay.write_text(yaml.safe_dump(STRIMZI))
    documents = load_all(succeed(template(values_file(variant), overlay)))
    asked = asked_topics(documents, tmp_path)
    assert len(asked) > 2
    assert topics(documents) == asked


# --- restarts ---------------------------------------------------------------------------------------------------------


def checksums(values, tmp_path):
    """The checksum of the configuration that each workload's pods carry."""
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    documents = load_all(succeed(template(values_file("split"), path)))
    return {
        workload["metadata"]["name"]: workload["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        for workload in of_kind(documents, "Deployment")
    }


@pytest.mark.parametrize(
    "values, changed",
    [
        ({}, set()),
        ({"workload": {"replicas": 9}}, set()),
        ({"log": {"level": "debug"}}, {"ingress", "engine"}),
        ({"confirmation": {"atDeadline": "nothing"}}, {"engine"}),
        ({"sources": {"unipaas": {"secretFiles": ["secret", "next"]}}}, {"ingress"}),
        ({"sources": {"sg-main": {"api": {"project": "other"}}}}, {"engine"}),
    ],
)
def test_pods_are_made_anew_when_their_configuration_changes_and_not_otherwise(values, changed, tmp_path):
    before, after = checksums({}, tmp_path), checksums(values, tmp_path)
    assert {name.removeprefix("pay-paybridge-") for name in before if before[name] != after[name]} == changed


def test_the_values_file_that_pods_are_made_from_is_read_strictly():
    with pytest.raises(yaml.constructor.ConstructorError, match="given twice"):
        yaml.load("a: 1\na: 2\n", Loader=StrictLoader)
