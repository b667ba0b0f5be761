"""How the tests reach the chart: where it is, what variants it has, and what Helm renders of them.

It knows Helm's command line and YAML, and nothing of what is rendered.
"""

import functools
import os
import pathlib
import subprocess

import yaml

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
CHART = CHECKOUT / "helm" / "paybridge"
VARIANTS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
RELEASE = "pay"
NAMESPACE = "payments"

# The oldest and the newest Kubernetes that the chart is for, and one between.
KUBERNETES_VERSIONS = ("1.28.0", "1.32.0", "1.36.0")
GOLDEN_KUBERNETES_VERSION = "1.32.0"

# What the daemon's pods are made by.
WORKLOADS = ("Deployment", "StatefulSet")

HELM_TIMEOUT_S = 60


class StrictLoader(yaml.SafeLoader):
    """Takes no key twice: in a manifest the second would silently win."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"keys given twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


def load_all(text):
    """The documents of a YAML text that are not empty."""
    return [document for document in yaml.load_all(text, Loader=StrictLoader) if document is not None]


def helm(*arguments, **options):
    """Runs Helm; what came of it is for the caller to judge."""
    command = ["helm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HELM_TIMEOUT_S, check=False, **options)


def succeed(result):
    """What a command printed; one that failed fails the test with all it said."""
    assert result.returncode == 0, f"{result.args}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def values_file(variant):
    """The file of one variant's values."""
    return CHART / "ci" / f"{variant}-values.yaml"


def template(*value_files, chart=CHART, kubernetes_version=GOLDEN_KUBERNETES_VERSION, arguments=()):
    """Runs `helm template` with these files of values, the later ones over the earlier."""
    files = [f"--values={path}" for path in value_files]
    where = ["--namespace", NAMESPACE, "--kube-version", kubernetes_version]
    return helm("template", RELEASE, chart, *where, *files, *arguments)


@functools.cache
def rendered(variant, kubernetes_version=GOLDEN_KUBERNETES_VERSION):
    """The text that Helm renders of a variant."""
    return succeed(template(values_file(variant), kubernetes_version=kubernetes_version))


def manifests(variant, kubernetes_version=GOLDEN_KUBERNETES_VERSION):
    """The rendered manifests of a variant, hooks and tests too."""
    return load_all(rendered(variant, kubernetes_version))


def of_kind(documents, *kinds):
    """Those of the manifests that are of one of these kinds."""
    return [document for document in documents if document["kind"] in kinds]


def name_of(manifest):
    """A manifest's kind and name, for messages."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def pod_templates(documents):
    """What the pods of these manifests are made from, by the manifest's name; a bare Pod is its own.

    Volumes of a StatefulSet's claims are among the others, as the pods have them.
    """
    pods = {name_of(pod): pod for pod in of_kind(documents, "Pod")}
    workloads = of_kind(documents, "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")
    jobs = of_kind(documents, "CronJob")
    return (
        pods
        | {name_of(workload): _with_claims(workload) for workload in workloads}
        | {name_of(job): job["spec"]["jobTemplate"]["spec"]["template"] for job in jobs}
    )


def _with_claims(workload):
    template = workload["spec"]["template"]
    claims = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])]
    if not claims:
        return template
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": f"{name}-{workload['metadata']['name']}-0"}} for name in claims]
    spec = template["spec"] | {"volumes": [*template["spec"]["volumes"], *volumes]}
    return template | {"spec": spec}


def bridge(*arguments, **options):
    """Runs the daemon's program with an environment that configures nothing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAYBRIDGE_")}
    command = [os.environ["PAYBRIDGE_BIN"], *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=HELM_TIMEOUT_S, check=False, env=environment, **options
    )
