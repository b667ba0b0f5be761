"""The daemon's configuration as its own reference has it: every key of config/default.toml, its default and its bounds.

In that file a line that begins with # and no space is a key or table without a default, and comments of a key stand above it.
"""

import re
import tomllib

from chart import CHECKOUT

REFERENCE = CHECKOUT / "config" / "default.toml"

# Tables whose keys are the user's own, or librdkafka's.
OPEN_TABLES = {
    ("kafka", "properties"),
    ("kafka", "topic_settings"),
    ("kafka", "property_files"),
    ("kafka", "ingress", "properties"),
    ("kafka", "engine", "properties"),
    # of a source: types of events, and places in bodies
    ("topics",),
    ("event", "require"),
}
RULES = ("confirmation", "rules")
OF_EVERY_SOURCE = {
    "provider",
    "path",
    "allow_from",
    "client_cert_names",
    "on_unverified",
    "keep_bytes_per_second",
    "ack_timeout_ms",
}
# The tables of a source that describe its sender, and keys of such sources that the reference does not show, with the reason.
DESCRIBING_TABLES = ("signature", "timestamp", "event", "topics", "answer")
NOT_IN_THE_REFERENCE = {
    "public_key_files": "a source has either these or secret_files",
    "signature.url": "only senders that sign the URL need it",
    "answer.handshake.hmac_as": "only one sender wants it",
}


def camel(name):
    """A key of the TOML as the chart's values have it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def defaults():
    """Every key that has a default, by its path."""
    return dict(_leaves(tomllib.loads(REFERENCE.read_text())))


def keys():
    """Every key that there is, by its path, with its default or its example; those of sources are by provider."""
    return dict(_leaves(_everything()))


def source_keys():
    """What a source of each provider may have, by the provider's name: nested tables have dots in their keys."""
    tables = {table["provider"]: table for table in _everything()["sources"].values()}
    assert OF_EVERY_SOURCE <= tables["smart-glocal"].keys(), "the first source shows what every source may have"
    found = {provider: OF_EVERY_SOURCE | {".".join(path) for path, _ in _leaves(table)} for provider, table in tables.items()}
    described = found["custom"] | NOT_IN_THE_REFERENCE.keys()
    # every key of a custom source can be put over a preset's
    return found | {"custom": described, "stripe": found["stripe"] | described}


def custom_source():
    """The reference's own example of a source that tables describe."""
    return next(table for table in _everything()["sources"].values() if table["provider"] == "custom")


def rule_keys():
    """What a rule has."""
    return set().union(*(rule.keys() for rule in _everything()["confirmation"]["rules"]))


def bounds():
    """The least and the greatest value of each number that has a default and whose comment names them, by its path."""
    numbers = {path for path, value in defaults().items() if type(value) is int}
    return {path: both for path, both in _named_bounds().items() if path in numbers}


def source_bounds():
    """The same of keys of sources, by provider and key."""
    sources = _everything()["sources"]
    found = {path: both for path, both in _named_bounds().items() if path[0] == "sources"}
    return {(sources[name]["provider"], ".".join(key)): both for (_, name, *key), both in found.items()}


def _named_bounds():
    found, table, comment = {}, (), ""
    for line in REFERENCE.read_text().splitlines():
        if line.startswith("# "):
            comment += line[1:]
            continue
        bare = line.removeprefix("#")
        if header := re.fullmatch(r"\[([a-z_.-]+)\]", bare):
            table = tuple(header[1].split("."))
        elif (key := re.match(r"([a-z_]+) = ", bare)) and (named := re.search(r"(?<![\d.])(\d+) to (\d+)\b", comment)):
            found[(*table, key[1])] = int(named[1]), int(named[2])
        comment = ""
    return found


def _everything():
    lines = REFERENCE.read_text().splitlines()
    return tomllib.loads("\n".join(re.sub(r"^#(?=[^ ])", "", line) for line in lines))


def _leaves(table, path=()):
    for key, value in table.items():
        here = (*path, key)
        if here in OPEN_TABLES:
            yield here, {}
        elif isinstance(value, dict) and here != ("sources",):
            yield from _leaves(value, here)
        elif here not in {RULES, ("sources",)}:
            yield here, value
