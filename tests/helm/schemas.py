"""What a manifest is allowed to say: the schemas of a Kubernetes version, and of the custom resources that the chart uses.

Every schema is strict: a field that it does not know is an error, as a misspelt field would be dropped by the server in
silence. A kind without a schema is an error too. It knows nothing of the chart.
"""

import functools
import os
import pathlib
import re

import jsonschema
import kubernetes_validate.utils as core
import referencing
import yaml

# What `metadata` is in a custom resource, whose own definition leaves it open.
METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def complaints(manifest, kubernetes_version):
    """What is wrong with a manifest for this version of Kubernetes, a sentence each."""
    api_version, kind = manifest.get("apiVersion"), manifest.get("kind")
    validator = _validator(api_version, kind, kubernetes_version)
    if validator is None:
        return [f"{kind} of {api_version} has no schema in Kubernetes {kubernetes_version} or among the custom resources"]
    errors = sorted(validator.iter_errors(manifest), key=lambda error: list(map(str, error.absolute_path)))
    return [f"{kind} at {error.json_path}: {error.message}" for error in errors]


@functools.cache
def _validator(api_version, kind, kubernetes_version):
    schema = _core_schema(api_version, kind, kubernetes_version) or _custom_schemas().get((api_version, kind))
    if schema is None:
        return None
    return jsonschema.Draft202012Validator(schema, registry=_definitions(kubernetes_version))


def _core_schema(api_version, kind, kubernetes_version):
    group, _, version = api_version.rpartition("/")
    if "." in group and not group.endswith(".k8s.io"):
        return None
    # the package names its files by the first part of the group alone: apps-v1, policy-v1
    name = "-".join(filter(None, [kind.lower(), group.split(".")[0], version]))
    file = f"kubernetes-json-schema/v{kubernetes_version}-local-strict/{name}.json"
    try:
        schema = core.schema_contents(file, kubernetes_version)
    except FileNotFoundError:
        return None
    return schema if api_version in schema["properties"]["apiVersion"].get("enum", []) else None


@functools.cache
def _definitions(kubernetes_version):
    file = f"kubernetes-json-schema/v{kubernetes_version}-local-strict/_definitions.json"
    return referencing.Resource.from_contents(core.schema_contents(file, kubernetes_version)) @ referencing.Registry()


@functools.cache
def _custom_schemas():
    schemas = {}
    for path in crd_files():
        definition = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        spec = definition["spec"]
        for version in spec["versions"]:
            key = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
            schemas[key] = _strict_resource(version["schema"]["openAPIV3Schema"])
    return schemas


def crd_files():
    """The files of the custom resource definitions."""
    return sorted(pathlib.Path(os.environ["PAYBRIDGE_CRDS"]).glob("*.yaml"))


def _strict_resource(schema):
    strict = _strict(schema)
    strict["properties"]["metadata"] = {"$ref": f"https://kubernetes.io/api/_definitions.json#/$defs/{METADATA}"}
    return strict


def _strict(schema):
    """A structural schema in plain JSON Schema, with every object closed that does not say it is open."""
    open_words = {"x-kubernetes-preserve-unknown-fields", "additionalProperties", "x-kubernetes-embedded-resource"}
    strict = {key: value for key, value in schema.items() if not key.startswith("x-") and key != "nullable"}
    if "properties" in schema:
        strict["properties"] = {name: _strict(inner) for name, inner in schema["properties"].items()}
        if not open_words & schema.keys():
            strict["additionalProperties"] = False
    if isinstance(schema.get("items"), dict):
        strict["items"] = _strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        strict["additionalProperties"] = _strict(schema["additionalProperties"])
    if schema.get("x-kubernetes-int-or-string"):
        strict.pop("type", None)
        strict.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
    if schema.get("nullable") and "type" in strict:
        strict["type"] = [strict["type"], "null"]
    # Go's regular expressions are written a little otherwise than Python's
    if "pattern" in strict:
        strict["pattern"] = _python_pattern(strict["pattern"])
    return strict


def _python_pattern(pattern):
    for word, letters in {"alnum": "A-Za-z0-9", "alpha": "A-Za-z", "digit": "0-9"}.items():
        pattern = pattern.replace(f"[:{word}:]", letters)
    if "(?i)" in pattern:  # Python has flags at the beginning alone
        pattern = "(?i)" + pattern.replace("(?i)", "")
    re.compile(pattern)
    return pattern
