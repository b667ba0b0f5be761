"""What the daemon says of a configuration that the chart renders: it is the judge, with files where the configuration names them."""

import json
import shutil
import subprocess
import tomllib

import pytest
from chart import CHECKOUT, bridge, load_all, of_kind, succeed

KEYS = CHECKOUT / "tests" / "fixtures" / "keys"
# Keys that are not in a file with their provider's name.
KEY_OF_PROVIDER = {"smart-glocal": "smart-glocal-public.pem", "custom": "unipaas.key"}
KEY_OF_ALGORITHM = {
    "rsa-pkcs1-sha256": "smart-glocal-public.pem",
    "rsa-pss-sha256": "smart-glocal-public.pem",
    "ecdsa-p256-sha256": "p256-public.pem",
    "ed25519": "ed25519-public.pem",
}
FILE = "paybridge.toml"
PRESETS = CHECKOUT / "src" / "provider" / "presets"
TLS_FILES = {"cert_file": "tls.crt", "key_file": "tls.key", "client_ca_file": "tls.crt"}
# Lays Strimzi's topics over the values of any variant.
STRIMZI = {
    "strimzi": {"enabled": True, "cluster": "c", "user": {"enabled": False}, "topics": {"enabled": True}},
    "check": {"createTopics": False},
    # what strimzi.user would have named
    "kafka": {"auth": {"existingSecret": "s"}},
}


def configurations(documents):
    """The text of each rendered configuration, by its ConfigMap's name."""
    maps = [document for document in of_kind(documents, "ConfigMap") if FILE in document["data"]]
    return {document["metadata"]["name"]: document["data"][FILE] for document in maps}


def key_of(source):
    """The fixture's key with which a source of a configuration can be made."""
    provider = source["provider"]
    algorithm = source.get("signature", {}).get("algorithm")
    return KEY_OF_ALGORITHM.get(algorithm, KEY_OF_PROVIDER.get(provider, f"{provider}.key"))


def named_files(configuration):
    """The files that a configuration names, each with what is in it: a file of the fixtures, or what is generated."""
    for source in configuration["sources"].values():
        for key in ("public_key_files", "key_files", "secret_files"):
            yield from ((file, key_of(source)) for file in source.get(key, []))
        yield from ((file, "adyen-basic-auth.key") for file in source.get("basic_auth_files", []))
        if "api" in source:
            yield source["api"]["private_key_file"], "smart-glocal-private.pem"
    tls = configuration["ingress"].get("tls", {})
    yield from ((tls[key], content) for key, content in TLS_FILES.items() if key in tls)
    kafka = configuration["kafka"]
    yield from ((file, "unipaas.key") for file in kafka.get("property_files", {}).values())
    for name, value in kafka.get("properties", {}).items():
        if name.endswith(".location"):
            yield value, "tls.key" if name == "ssl.key.location" else "tls.crt"


@pytest.fixture(scope="session", name="contents")
def contents_fixture(tmp_path_factory):
    """A folder with what the named files hold: the fixtures' keys, and a certificate."""
    folder = tmp_path_factory.mktemp("contents")
    for file in KEYS.iterdir():
        shutil.copy(file, folder)
    certificate = ["-out", folder / "tls.crt", "-keyout", folder / "tls.key"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=bridge", "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *kind, *certificate], check=True, capture_output=True)
    return folder


def place(text, folder, contents):
    """Writes a configuration whose files are all below a folder, and the files too; gives its path."""
    for file, content in set(named_files(tomllib.loads(text))):
        there = folder / file.lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(contents / content, there)
        text = text.replace(f'"{file}"', f'"{there}"')
    path = folder / FILE
    # a disk of the pod is a folder here
    disk = tomllib.loads(text)["spool"].get("directory")
    if disk:
        (folder / disk.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        text = text.replace(f'"{disk}"', f'"{folder / disk.lstrip("/")}"')
    path.write_text(text)
    return path


def findings(path):
    """What `paybridge check` says of a configuration that is worse than a piece of information."""
    result = bridge("check", "--offline", "--config", path, "--format", "json")
    assert result.stdout, result.stderr
    said = json.loads(result.stdout)
    assert result.returncode == (0 if said["ok"] else 1)
    return [finding for finding in said["findings"] if finding["severity"] == "error"]


def event_types():
    """What `paybridge send` can send: the parts of topics' names, by provider. Of presets without what a user adds."""
    _, listed = succeed(bridge("send", "--help")).split("Events, by the source's provider:\n")
    found, provider = {}, ""
    for line in listed.splitlines():
        if line.startswith("    "):
            found[provider].append(line.strip())
        elif line.startswith("  "):
            provider = line.strip().removesuffix(":")
            found[provider] = []
    return found


def presets():
    """What the preset of each name sets, as TOML has it."""
    return {path.stem: tomllib.loads(path.read_text()) for path in sorted(PRESETS.glob("*.toml"))}


def asked_topics(documents, folder):
    """What the daemon asks of Strimzi for the configurations of these manifests, by the topics' names."""
    asked = {}
    for name, text in configurations(documents).items():
        path = folder / f"{name}.toml"
        path.write_text(text)
        printed = succeed(bridge("topics", "--format", "strimzi", "--cluster", "c", "--config", path))
        asked |= topics(load_all(printed))
    return asked


def topics(documents):
    """What is asked of Strimzi for each topic, by the topic's name."""
    found = of_kind(documents, "KafkaTopic")
    for topic in found:
        assert topic["metadata"]["labels"]["strimzi.io/cluster"] == "c"
    return {topic["metadata"]["name"]: (topic["apiVersion"], topic["spec"]) for topic in found}
