"""The chart's values beside their schema, their comments, and the daemon's own reference."""

import json
import re

import configuration
import daemon
import pytest
import yaml
from chart import CHART, StrictLoader, load_all, name_of, succeed, template, values_file

VALUES_TEXT = (CHART / "values.yaml").read_text()
VALUES = yaml.load(VALUES_TEXT, Loader=StrictLoader)
SCHEMA = json.loads((CHART / "values.schema.json").read_text())

# What the daemon has and the values have not, with the reason.
NOT_VALUES = {("bridge_instance",): "it is the pod's name, by the environment"}
# Defaults that are otherwise than the daemon's, with the reason.
OTHER_DEFAULTS = {
    ("kafka", "bootstrap_servers"): ("", "no broker is in the pod: it has to be named"),
    ("ingress", "tls", "cert_file"): ("tls.crt", "the name in a Secret of Kubernetes' own type"),
    ("ingress", "tls", "key_file"): ("tls.key", "the name in a Secret of Kubernetes' own type"),
    ("ingress", "tls", "client_ca_file"): ("", "it has no default"),
}
# What the values have under the daemon's names and the daemon has not.
CHART_ONLY = {
    ("ingress", "tls", "enabled"),
    ("ingress", "tls", "existingSecret"),
    ("kafka", "auth", "type"),
    ("kafka", "auth", "mechanism"),
    ("kafka", "auth", "username"),
    ("kafka", "auth", "existingSecret"),
    ("kafka", "auth", "passwordKey"),
    ("kafka", "auth", "certificateKey"),
    ("kafka", "auth", "privateKeyKey"),
    ("kafka", "auth", "encrypted"),
    ("kafka", "auth", "ca", "existingSecret"),
    ("kafka", "auth", "ca", "existingConfigMap"),
    ("kafka", "auth", "ca", "key"),
    ("spool", "volume", "size"),
    ("spool", "volume", "storageClassName"),
    ("spool", "volume", "accessMode"),
    ("spool", "volume", "annotations"),
    ("spool", "drainClaims"),
}
CHART_ONLY_OF_SOURCES = {"existingSecret", "volume", "api.existingSecret", "api.volume"}
# Properties of the schema that values.yaml does not show: Helm gives `global` to every chart, `enabled` is what a chart around
# this one has as its condition, and those of `split` are those of `workload`.
NOT_SHOWN = {("global",), ("enabled",), ("split", "ingress"), ("split", "engine")}


def resolve(schema):
    """The schema itself where it is a reference."""
    reference = schema.get("$ref")
    return SCHEMA["$defs"][reference.removeprefix("#/$defs/")] if reference else schema


def schema_leaves(schema, path=()):
    """The values that the schema knows by name, with the schema of each; those in lists and of open tables are data."""
    for name, inner in resolve(schema).get("properties", {}).items():
        here, inner = (*path, name), resolve(inner)
        if "properties" in inner and here not in NOT_SHOWN:
            yield from schema_leaves(inner, here)
        else:
            yield here, inner


def value_at(path):
    value = VALUES
    for key in path:
        assert key in value, f"values.yaml has no {'.'.join(path)}"
        value = value[key]
    return value


def camel_path(path):
    """A path of the TOML as the values have it; the tables that describe a sender are the same in both."""
    first, *rest = path
    return (first, *rest) if first in configuration.DESCRIBING_TABLES else tuple(map(configuration.camel, path))


SCHEMA_LEAVES = dict(schema_leaves(SCHEMA))


def test_every_value_of_the_schema_is_shown_and_the_other_way_round():
    shown = {path for path in SCHEMA_LEAVES if path not in NOT_SHOWN}
    for path in shown:
        value_at(path)
    unknown = [".".join(path) for path in value_paths(VALUES) if not is_known(path)]
    assert unknown == [], "values that the schema does not know by name"


def value_paths(table, path=()):
    for key, value in table.items():
        here = (*path, key)
        if isinstance(value, dict) and value and here not in SCHEMA_LEAVES:
            yield from value_paths(value, here)
        else:
            yield here


def is_known(path):
    # an empty table in values.yaml may be a place for values that the schema names
    return path in SCHEMA_LEAVES or path in NOT_SHOWN


def all_schemas(schema, path=()):
    """The schema and every schema in it, by its place."""
    yield path, schema
    for word in ("properties", "$defs"):
        for name, inner in schema.get(word, {}).items():
            yield from all_schemas(inner, (*path, name))
    for word in ("items", "additionalProperties", "then"):
        if isinstance(schema.get(word), dict):
            yield from all_schemas(schema[word], (*path, word))
    for index, inner in enumerate(schema.get("allOf", [])):
        yield from all_schemas(inner, (*path, str(index)))


def test_objects_of_the_schema_are_closed():
    schemas = list(all_schemas(SCHEMA))
    assert len(schemas) > 200
    # a source is closed by the case of its provider
    named = [(path, schema) for path, schema in schemas if "properties" in schema and path != ("source",)]
    assert [path for path, schema in named if schema.get("additionalProperties") is not False] == []


def test_every_value_has_a_comment():
    lines = VALUES_TEXT.splitlines()
    node = yaml.compose(VALUES_TEXT, Loader=yaml.SafeLoader)
    bare = [
        ".".join(path)
        for path, line in key_lines(node)
        if not lines[line - 1].lstrip().startswith("# ") and path not in groups()
    ]
    assert bare == [], "values without a comment above them"


def key_lines(node, path=()):
    """The keys of a YAML tree that are values' names, each with the index of its line."""
    for key, value in node.value:
        here = (*path, key.value)
        yield here, key.start_mark.line
        if isinstance(value, yaml.MappingNode) and here not in SCHEMA_LEAVES:
            yield from key_lines(value, here)


def groups():
    """Tables whose values are each explained."""
    return {path[:length] for path in SCHEMA_LEAVES for length in range(1, len(path))}


def test_every_key_of_the_daemon_is_a_value_with_the_same_default():
    wanted = {path: default for path, default in configuration.defaults().items()}
    assert len(wanted) > 40
    for path, default in wanted.items():
        expected, _reason = OTHER_DEFAULTS.get(path, (default, ""))
        assert value_at(camel_path(path)) == expected, path
    assert value_at(("confirmation", "rules")) == []
    assert value_at(("sources",)) == {}


def test_the_values_of_the_daemons_parts_are_its_keys():
    daemons = set(configuration.keys()) - set(NOT_VALUES)
    expected = {camel_path(path) for path in daemons} | CHART_ONLY | {("confirmation", "rules"), ("sources",)}
    parts = {path[0] for path in expected}
    assert {path for path in SCHEMA_LEAVES if path[0] in parts} == expected
    for path, (value, _reason) in OTHER_DEFAULTS.items():
        assert value_at(camel_path(path)) == value


def test_values_that_are_the_charts_own_say_so():
    for path in CHART_ONLY:
        table = path[:2] if path[:2] in {("kafka", "auth"), ("spool", "volume")} else path
        line = next(line for here, line in key_lines(yaml.compose(VALUES_TEXT, Loader=yaml.SafeLoader)) if here == table)
        assert "The chart's own" in VALUES_TEXT.splitlines()[line - 1], path


def test_numbers_have_the_daemons_bounds():
    bounds = configuration.bounds()
    assert len(bounds) > 20
    for path, (least, greatest) in bounds.items():
        schema = SCHEMA_LEAVES[camel_path(path)]
        assert (schema["minimum"], schema["maximum"]) == (least, greatest), path


def test_a_default_that_says_something_cannot_be_taken_away():
    required = {(*path, key) for path, schema in objects(SCHEMA) for key in schema.get("required", [])}
    # of `workload` the templates ask it, see refusals.yaml: `split` has the same shape, where nothing is required
    others = {path for path in SCHEMA_LEAVES if path[0] != "workload" and path not in NOT_SHOWN}
    wanted = {path for path in others if value_at(path) not in ("", [], {}) and not isinstance(value_at(path), dict | list)}
    assert len(wanted) > 60
    assert wanted <= required
    # and no table in which they are
    assert {path[:length] for path in wanted for length in range(1, len(path))} <= required


def objects(schema, path=()):
    """The tables that the schema knows by their values' names."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from objects(inner, (*path, name))


def test_a_null_for_what_is_empty_takes_nothing_away(tmp_path):
    # some cannot be empty in this variant
    file = values_file("split")
    given = yaml.safe_load(file.read_text())
    nulls = {}
    for path in SCHEMA_LEAVES:
        if path not in NOT_SHOWN and value_at(path) in ("", [], {}) and not is_given(given, path):
            table = nulls
            for key in path[:-1]:
                table = table.setdefault(key, {})
            table[path[-1]] = None
    without = tmp_path / "nulls.yaml"
    without.write_text(yaml.safe_dump(nulls))
    documents = load_all(succeed(template(file, without)))
    assert list(map(name_of, documents)) == list(map(name_of, load_all(succeed(template(file)))))


def is_given(given, path):
    for key in path:
        if key not in given:
            return False
        given = given[key]
    return True


PROVIDERS = SCHEMA["$defs"]["provider"]["enum"]


def source_schemas():
    """The schema of a source of each provider."""
    *typed, described = SCHEMA["$defs"]["source"]["allOf"]
    found = {case["if"]["properties"]["provider"]["const"]: case["then"] for case in typed}
    # an unknown provider is told by the list of all
    assert set(described["if"]["properties"]["provider"]["not"]["enum"]) == found.keys()
    return {provider: found.get(provider, described["then"]) for provider in PROVIDERS}


@pytest.mark.parametrize("provider", configuration.source_keys())
def test_sources_have_the_daemons_keys(provider):
    wanted = {".".join(camel_path(key.split("."))) for key in configuration.source_keys()[provider]}
    own = {".".join(path) for path, _ in schema_leaves(source_schemas()[provider])}
    assert own - CHART_ONLY_OF_SOURCES == wanted
    # of the tables that describe a sender, docs/providers.md has every key
    described = {key for key in wanted if key.split(".")[0] in configuration.DESCRIBING_TABLES}
    shown = wanted - described | {key.split(".")[0] for key in described} | {"existingSecret", "volume"}
    for key in shown:
        assert f"{key.split('.')[-1]}:" in VALUES_TEXT, f"values.yaml says nothing of {key}"


def test_there_is_a_source_of_each_provider_of_the_daemon():
    assert len(PROVIDERS) == len(set(PROVIDERS))
    assert set(PROVIDERS) == daemon.event_types().keys() | {"custom"}


def test_numbers_of_sources_have_the_daemons_bounds():
    bounds = configuration.source_bounds()
    assert ("custom", "timestamp.tolerance_s") in bounds
    for (provider, key), (least, greatest) in bounds.items():
        schema = dict(schema_leaves(source_schemas()[provider]))[camel_path(key.split("."))]
        assert (schema["minimum"], schema["maximum"]) == (least, greatest), key


def test_rules_have_the_daemons_keys():
    rule = SCHEMA["properties"]["confirmation"]["properties"]["rules"]["items"]
    assert rule["properties"].keys() == configuration.rule_keys()


def test_the_chart_is_of_the_daemons_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    lines = (configuration.CHECKOUT / "Cargo.toml").read_text().splitlines()
    [version, *_] = [line.split('"')[1] for line in lines if line.startswith("version = ")]
    assert chart["appVersion"] == version


def test_the_limit_of_memory_holds_what_the_defaults_may_take():
    text = " ".join((CHART / "README.md").read_text().split("### Memory")[1].split("###")[0].split())
    [process, connection, event, sessions, ended, total] = map(
        int,
        re.search(
            r"(\d+) MiB for the process; (\d+) KB for each connection.* (\d+) bytes for each event.* (\d+) MiB for 200,000 open"
            r" sessions.* (\d+) MiB for a million sessions that have ended.* that is about (\d+) MiB",
            text,
        ).groups(),
    )
    ingress, mebibyte = VALUES["ingress"], 2**20
    needed = (process + sessions + ended) * mebibyte + connection * 1000 * ingress["connectionsMax"]
    needed += 2 * ingress["inFlightBytesMax"] + event * VALUES["dedup"]["entriesMax"]
    assert needed // mebibyte <= total <= needed // mebibyte + 5
    limit = VALUES["workload"]["resources"]["limits"]["memory"]
    # a quarter is for what the allocator keeps
    assert total * 5 / 4 < int(limit.removesuffix("Mi"))
