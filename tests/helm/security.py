"""Kubernetes' pod security standard `restricted`, as rules over a pod's template, and what this project asks beyond it.

The API server enforces the standard too; here it is said which rule is broken, and without a server.
It knows nothing of the chart.
"""

VOLUME_TYPES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SECRET_VOLUMES = {"secret", "csi", "projected"}
OTHERS_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")


def complaints(template):
    """What a pod made from this template does that it must not, a sentence each."""
    spec = template["spec"]
    found = [*_of_pod(spec), *_of_volumes(spec)]
    for container in containers(spec):
        found += [f"{container['name']}: {complaint}" for complaint in _of_container(container, spec)]
    return found


def containers(spec):
    """All containers of a pod, those that run before the others too."""
    return [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]


def _of_pod(spec):
    yield from (f"{name} is set" for name in OTHERS_NAMESPACES if spec.get(name))
    if spec.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken is not false"
    if spec.get("enableServiceLinks") is not False:
        yield "enableServiceLinks is not false: other Services' addresses would be in the environment"
    if spec.get("securityContext", {}).get("sysctls"):
        yield "sysctls are set"


def _of_volumes(spec):
    for volume in spec.get("volumes", []):
        [kind] = volume.keys() - {"name"}
        if kind not in VOLUME_TYPES:
            yield f"volume {volume['name']} is a {kind}"


def _of_container(container, spec):
    pod, own = spec.get("securityContext", {}), container.get("securityContext", {})
    both = pod | own
    if own.get("privileged"):
        yield "it is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem is not true"
    if own.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "it does not drop ALL capabilities"
    if set(own.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "it adds capabilities"
    if both.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if not both.get("runAsUser"):
        yield "runAsUser is root or not set"
    if both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "it has no seccompProfile"
    if own.get("procMount", "Default") != "Default":
        yield "it has a procMount"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "it has a port of the host"
    if not container.get("resources", {}).get("limits", {}).get("memory"):
        yield "its memory has no limit"
    yield from _of_mounts(container, spec)


def _of_mounts(container, spec):
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        volume = volumes.get(mount["name"])
        if volume is None:
            yield f"{mount['mountPath']} mounts {mount['name']}, which is no volume"
        elif SECRET_VOLUMES & volume.keys() and {"subPath", "subPathExpr"} & mount.keys():
            yield f"{mount['mountPath']} mounts one file of a secret, which would not follow its changes"
        elif {"secret", "configMap"} & volume.keys() and mount.get("readOnly") is not True:
            yield f"{mount['mountPath']} is not mounted read-only"
