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
}
RULES = ("confirmation", "rules")
OF_EVERY_SOURCE = {"provider", "path", "allow_from", "client_cert_names", "on_unverified", "keep_bytes_per_second"}


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
    return {provider: OF_EVERY_SOURCE | {".".join(path) for path, _ in _leaves(table)} for provider, table in tables.items()}


def rule_keys():
    """What a rule has."""
    return set().union(*(rule.keys() for rule in _everything()["confirmation"]["rules"]))


def bounds():
    """The least and the greatest value of each number whose comment names them, by its path."""
    numbers = {path for path, value in defaults().items() if type(value) is int}
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
    return {path: both for path, both in found.items() if path in numbers}


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
