"""Every pod of every variant keeps the pod security standard `restricted`, and its secrets follow their changes."""

import copy

import pytest
import security
from chart import VARIANTS, manifests, name_of, of_kind, pod_templates

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


def test_every_pod_has_one_policy_of_its_own():
    documents = manifests("split")
    policies = {name_of(policy): policy for policy in of_kind(documents, "NetworkPolicy")}
    chosen = []
    for name, template in pod_templates(documents).items():
        labels = (template.get("metadata") or {})["labels"].items()
        selecting = [policy for policy in policies if policies[policy]["spec"]["podSelector"]["matchLabels"].items() <= labels]
        assert len(selecting) == 1, f"{name}: {selecting}"
        chosen += selecting
    assert sorted(chosen) == sorted(policies)
    assert len(chosen) == 4


def test_a_hooks_policy_is_there_before_its_pod_and_for_as_long():
    documents = [document for document in manifests("split") if "helm.sh/hook" in document["metadata"].get("annotations", {})]
    pods = {name_of(document): document for document in of_kind(documents, "Pod", "Job")}
    policies = {policy["metadata"]["name"]: policy for policy in of_kind(documents, "NetworkPolicy")}
    assert len(pods) == len(policies) == 2
    for name, pod in pods.items():
        before, after = policies[pod["metadata"]["name"]]["metadata"]["annotations"], pod["metadata"]["annotations"]
        assert before["helm.sh/hook"] == after["helm.sh/hook"], name
        assert int(before["helm.sh/hook-weight"]) < int(after.get("helm.sh/hook-weight", 0)), name
