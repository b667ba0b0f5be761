"""The strictness of the schemas themselves: what they let through nobody else would find."""

import pytest
import schemas
from chart import KUBERNETES_VERSIONS

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d"},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    },
}
MONITOR_SPEC = {"selector": {"matchLabels": {"a": "b"}}, "endpoints": [{"port": "admin", "interval": "30s"}]}
TOPIC_SPEC = {"partitions": 3, "replicas": 1, "config": {"retention.ms": "1000", "any.name": 1}}
SCALED_SPEC = {"scaleTargetRef": {"name": "d"}, "triggers": [{"type": "kafka", "metadata": {"topic": "t"}}]}
ROUTE_SPEC = {"rules": [{"backendRefs": [{"name": "s", "port": 80}]}]}
RULE_SPEC = {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": "up == 0", "for": "5m"}]}]}
USER_SPEC = {"authentication": {"type": "tls"}}

CUSTOM = [
    ("monitoring.coreos.com/v1", "ServiceMonitor", MONITOR_SPEC, ("endpoints", 0)),
    ("monitoring.coreos.com/v1", "PodMonitor", {"selector": {}, "podMetricsEndpoints": [{"port": "admin"}]}, ()),
    ("monitoring.coreos.com/v1", "PrometheusRule", RULE_SPEC, ("groups", 0, "rules", 0)),
    ("kafka.strimzi.io/v1beta2", "KafkaTopic", TOPIC_SPEC, ()),
    ("kafka.strimzi.io/v1beta2", "KafkaUser", USER_SPEC, ("authentication",)),
    ("kafka.strimzi.io/v1", "KafkaTopic", TOPIC_SPEC, ()),
    ("kafka.strimzi.io/v1", "KafkaUser", USER_SPEC, ("authentication",)),
    ("keda.sh/v1alpha1", "ScaledObject", SCALED_SPEC, ("triggers", 0)),
    ("gateway.networking.k8s.io/v1", "HTTPRoute", ROUTE_SPEC, ("rules", 0, "backendRefs", 0)),
]


def custom(api_version, kind, spec):
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": spec}


def with_field(value, place, name):
    """The value with one more field at a place in it."""
    if not place:
        return value | {name: "x"}
    first, *rest = place
    copied = list(value) if isinstance(value, list) else dict(value)
    copied[first] = with_field(value[first], rest, name)
    return copied


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_takes_what_is_right_and_refuses_an_unknown_field(version):
    assert schemas.complaints(DEPLOYMENT, version) == []
    wrong = with_field(DEPLOYMENT, ("spec", "template", "spec", "containers", 0), "imagePulPolicy")
    assert "imagePulPolicy" in "\n".join(schemas.complaints(wrong, version))
    text = DEPLOYMENT | {"spec": DEPLOYMENT["spec"] | {"replicas": "2"}}
    assert "replicas" in "\n".join(schemas.complaints(text, version))


@pytest.mark.parametrize("api_version, kind, spec, place", CUSTOM, ids=[f"{kind} of {version}" for version, kind, _, _ in CUSTOM])
def test_takes_custom_resources_and_refuses_an_unknown_field(api_version, kind, spec, place):
    assert schemas.complaints(custom(api_version, kind, spec), "1.32.0") == []
    wrong = custom(api_version, kind, with_field(spec, place, "unheardOf"))
    assert "unheardOf" in "\n".join(schemas.complaints(wrong, "1.32.0"))
    metadata = with_field(custom(api_version, kind, spec), ("metadata",), "label")
    assert "label" in "\n".join(schemas.complaints(metadata, "1.32.0"))


@pytest.mark.parametrize("api_version, kind", [("apps/v1", "Deploymnet"), ("apps/v2", "Deployment"), ("a.b/v1", "Pod")])
def test_a_kind_without_a_schema_is_an_error(api_version, kind):
    wrong = DEPLOYMENT | {"apiVersion": api_version, "kind": kind}
    assert "has no schema" in "\n".join(schemas.complaints(wrong, "1.32.0"))


def test_what_a_version_has_no_more_is_an_error():
    old = {"apiVersion": "flowcontrol.apiserver.k8s.io/v1beta3", "kind": "FlowSchema", "metadata": {"name": "x"}}
    assert schemas.complaints(old, "1.28.0") == []
    assert "has no schema" in "\n".join(schemas.complaints(old, "1.32.0"))
