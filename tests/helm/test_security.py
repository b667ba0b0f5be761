"""Every pod of every variant keeps the pod security standard `restricted`, and its secrets follow their changes."""

import copy

import pytest
import security
import yaml
from chart import VARIANTS, load_all, manifests, name_of, of_kind, pod_templates, succeed, template, values_file

GOOD = {
    "spec": {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "c",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "resources": {"limits": {"memory": "1Gi"}},
                "volumeMounts": [{"name": "keys", "mountPath": "/keys", "readOnly": True}],
            }
        ],
        "volumes": [{"name": "keys", "secret": {"secretName": "s"}}],
    }
}

# Where a good template is changed, to what, and what is said of it.
BREACHES = [
    (("hostNetwork",), True, "hostNetwork"),
    (("automountServiceAccountToken",), True, "automountServiceAccountToken"),
    (("enableServiceLinks",), True, "enableServiceLinks"),
    (("securityContext", "sysctls"), [{"name": "a", "value": "b"}], "sysctls"),
    (("securityContext", "runAsNonRoot"), False, "runAsNonRoot"),
    (("securityContext", "runAsUser"), 0, "root"),
    (("securityContext", "seccompProfile"), {"type": "Unconfined"}, "seccompProfile"),
    (("volumes", 0), {"name": "keys", "hostPath": {"path": "/"}}, "hostPath"),
    (("containers", 0, "securityContext", "privileged"), True, "privileged"),
    (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True, "allowPrivilegeEscalation"),
    (("containers", 0, "securityContext", "readOnlyRootFilesystem"), False, "readOnlyRootFilesystem"),
    (("containers", 0, "securityContext", "capabilities"), {"drop": []}, "drop ALL"),
    (("containers", 0, "securityContext", "capabilities"), {"drop": ["ALL"], "add": ["SYS_TIME"]}, "adds"),
    (("containers", 0, "securityContext", "procMount"), "Unmasked", "procMount"),
    (("containers", 0, "securityContext", "runAsNonRoot"), False, "runAsNonRoot"),
    (("containers", 0, "ports"), [{"containerPort": 1, "hostPort": 1}], "port of the host"),
    (("containers", 0, "resources"), {}, "memory"),
    (("containers", 0, "volumeMounts", 0, "subPath"), "k", "one file of a secret"),
    (("containers", 0, "volumeMounts", 0, "readOnly"), False, "read-only"),
    (("containers", 0, "volumeMounts", 0, "name"), "other", "no volume"),
    (("initContainers",), [{"name": "i"}], "i: "),
]


@pytest.mark.parametrize("place, value, said", BREACHES, ids=[said for _, _, said in BREACHES])
def test_a_breach_is_found(place, value, said):
    assert security.complaints(GOOD) == []
    bad = copy.deepcopy(GOOD)
    *outer, last = place
    target = bad["spec"]
    for key in outer:
        target = target[key]
    target[last] = value
    assert said in "\n".join(security.complaints(bad))


@pytest.mark.parametrize("variant", VARIANTS)
def test_pods_keep_the_restricted_standard(variant):
    templates = pod_templates(manifests(variant))
    assert templates
    assert {name: security.complaints(template) for name, template in templates.items()} == dict.fromkeys(templates, [])


@pytest.mark.parametrize("variant", VARIANTS)
def test_pods_run_as_nobody_in_particular(variant):
    for name, template in pod_templates(manifests(variant)).items():
        context = template["spec"]["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (65532, 65532, 65532), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_may_talk_to_kubernetes(variant):
    documents = manifests(variant)
    assert of_kind(documents, "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding") == []
    for account in of_kind(documents, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_chart_holds_no_secret(variant):
    assert of_kind(manifests(variant), "Secret") == []


def policies_of(documents):
    """The policies that choose each pod, by the pod's manifest."""
    policies = {policy["metadata"]["name"]: policy["spec"]["podSelector"]["matchLabels"] for policy in of_kind(documents, "NetworkPolicy")}
    return {
        name: [policy for policy, chosen in policies.items() if chosen.items() <= template["metadata"]["labels"].items()]
        for name, template in pod_templates(documents).items()
    }


def test_every_pod_has_the_policy_of_what_it_does():
    documents = manifests("split")
    assert policies_of(documents) == {
        "Deployment/pay-paybridge-ingress": ["pay-paybridge-ingress"],
        "Deployment/pay-paybridge-engine": ["pay-paybridge-engine"],
        "Job/pay-paybridge-ingress-check": ["pay-paybridge-check"],
        "Job/pay-paybridge-engine-check": ["pay-paybridge-check"],
        "Pod/pay-paybridge-test": ["pay-paybridge-test"],
    }
    assert len(of_kind(documents, "NetworkPolicy")) == 4


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_hooks_pod_needs_is_there_before_it_and_for_as_long(variant):
    documents = manifests(variant)
    hooks = {name_of(one): one["metadata"]["annotations"] for one in documents if is_hook(one)}
    pods = {name_of(pod): pod for pod in of_kind(documents, "Pod", "Job") if not drains(pod)}
    assert pods.keys() <= hooks.keys()
    for name, pod in pods.items():
        spec = pod_templates([pod])[name]["spec"]
        needed = [f"NetworkPolicy/{policy}" for policy in policies_of(documents)[name]]
        needed += [f"ServiceAccount/{spec['serviceAccountName']}"] if pod["kind"] == "Job" else []
        # the test runs when the release is there, whose configuration it has
        needed += [f"ConfigMap/{configuration_of(spec)}"] if pod["kind"] == "Job" else []
        for before in needed:
            assert hooks[before]["helm.sh/hook"] == hooks[name]["helm.sh/hook"], before
            assert hooks[before]["helm.sh/hook-delete-policy"] == hooks[name]["helm.sh/hook-delete-policy"], before
            assert int(hooks[before]["helm.sh/hook-weight"]) < int(hooks[name].get("helm.sh/hook-weight", 0)), before


def drains(document):
    return document["metadata"]["labels"]["app.kubernetes.io/component"] == "drain"


def is_hook(document):
    return "helm.sh/hook" in document["metadata"].get("annotations", {})


def configuration_of(spec):
    [name] = [volume["configMap"]["name"] for volume in spec["volumes"] if volume["name"] == "config"]
    return name


def test_the_check_has_an_account_like_the_daemons(tmp_path):
    values = tmp_path / "values.yaml"
    account = {"annotations": {"example.com/identity": "payments"}}
    values.write_text(yaml.safe_dump({"serviceAccount": account}))
    accounts = of_kind(load_all(succeed(template(values_file("default"), values))), "ServiceAccount")
    assert [one["metadata"]["name"] for one in accounts] == ["pay-paybridge", "pay-paybridge-check"]
    assert [one["metadata"]["annotations"]["example.com/identity"] for one in accounts] == ["payments", "payments"]
    assert [is_hook(one) for one in accounts] == [False, True]


def test_an_account_that_somebody_made_is_the_checks_too(tmp_path):
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"serviceAccount": {"create": False, "name": "mine"}}))
    documents = load_all(succeed(template(values_file("split"), values)))
    assert of_kind(documents, "ServiceAccount") == []
    assert {one["spec"]["serviceAccountName"] for one in pod_templates(documents).values()} == {"mine"}
