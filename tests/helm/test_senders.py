"""Sources whose sender is a preset, or is described by the source's own tables: the daemon has the same senders and topics.

PAYBRIDGE_BLESS=1 writes the chart's list of presets anew.
"""

import hmac
import json
import os
import tomllib

import configuration
import pytest
import yaml
from chart import CHART, CHECKOUT, bridge, load_all, manifests, of_kind, succeed, template, values_file
from daemon import STRIMZI, asked_topics, configurations, event_types, findings, place, presets, topics

FIXTURES = CHECKOUT / "tests" / "fixtures"
PRESETS_FILE = CHART / "files" / "presets.yaml"
# What the chart needs to know of a preset: the topics, and what decides whether values are refused early.
NEEDED = {"signature": ("algorithm", "signed", "url"), "event": ("each",)}
ABOUT_PRESETS = """\
# What the chart needs to know of each preset, as src/provider/presets has it. A test writes this file:
# PAYBRIDGE_BLESS=1 tests/helm/run fast test_senders.py
"""
SIGNATURE = {"algorithm": "hmac-sha256", "from": "header:x-signature", "signed": "{body}"}
CUSTOM = {"provider": "custom", "existingSecret": "s", "secretFiles": ["k"], "signature": SIGNATURE}
STRIPE = {"provider": "stripe", "existingSecret": "s", "secretFiles": ["k"]}


def render(values, folder, *arguments):
    """The manifests of the smallest variant with these values."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True))
    return load_all(succeed(template(values_file("default"), path, arguments=arguments)))


def sources_of(documents):
    """The sources of the one rendered configuration."""
    return tomllib.loads(configurations(documents)["pay-paybridge"])["sources"]


def parts_of(documents, group):
    """The parts of the names of the group's topics that are made, each with its partitions."""
    beginning = f"payments.{group}."
    found = {name: spec["partitions"] for name, (_, spec) in topics(documents).items() if name.startswith(beginning)}
    return {name.removeprefix(beginning).removesuffix(".v1"): partitions for name, partitions in found.items()}


# --- the lists --------------------------------------------------------------------------------------------------------


def test_presets_are_those_of_the_daemon():
    expected = {name: needed(table) for name, table in presets().items()}
    text = ABOUT_PRESETS + yaml.safe_dump(expected, width=1000)
    if os.environ.get("PAYBRIDGE_BLESS") == "1":
        PRESETS_FILE.write_text(text)
    assert PRESETS_FILE.read_text() == text, "a preset has changed: PAYBRIDGE_BLESS=1 tests/helm/run fast test_senders.py writes the list"
    assert expected.keys() <= event_types().keys()


def needed(preset):
    found = {table: {key: preset[table][key] for key in keys if key in preset.get(table, {})} for table, keys in NEEDED.items()}
    return {table: keys for table, keys in found.items() if keys} | {"topics": preset["topics"]}


def test_event_types_are_those_of_the_daemon():
    typed = {provider: sorted(parts) for provider, parts in event_types().items() if provider not in presets()}
    assert yaml.safe_load((CHART / "files" / "event-types.yaml").read_text()) == typed


def test_the_daemon_takes_a_source_of_each_provider_and_asks_for_the_same_topics(tmp_path, contents):
    sources = {f"of-{provider}": source_of(provider) for provider in event_types()}
    documents = render(STRIMZI | {"sources": sources}, tmp_path)
    assert topics(documents) == asked_topics(documents, tmp_path)
    assert findings(place(configurations(documents)["pay-paybridge"], tmp_path, contents)) == []
    for provider, parts in event_types().items():
        partitions = 3 if provider in presets() else 12
        assert parts_of(documents, provider) == dict.fromkeys(parts, partitions), provider


def source_of(provider):
    """The provider's source of the fixtures as values have it, with something that keeps strangers out."""
    table = tomllib.loads((FIXTURES / provider / "source.toml").read_text())
    source = {key if key in configuration.DESCRIBING_TABLES else configuration.camel(key): value for key, value in table.items()}
    return source | {"provider": provider, "existingSecret": "s", "allowFrom": ["192.0.2.0/24"]}


def test_choices_are_the_daemons(tmp_path):
    wrong = {"algorithm": "?", "key": "?", "encoding": "?", "from": "header:x", "signed": "{body}"}
    sections = {"signature": wrong, "timestamp": {"from": "header:x", "format": "?"}, "event": {"identity": "?"}}
    lines = ['[kafka]\nbootstrap_servers = "kafka:9092"\n[sources.x]\nprovider = "custom"\nsecret_files = ["k"]']
    for name, table in sections.items():
        lines += [f"[sources.x.{name}]"] + [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    path = tmp_path / "wrong.toml"
    path.write_text("\n".join(lines))
    said = json.dumps(findings(path))
    definitions = json.loads((CHART / "values.schema.json").read_text())["$defs"]
    choices = [definitions["signature"]["properties"][key]["enum"] for key in ("algorithm", "key", "encoding")]
    choices += [definitions["timeFormat"]["enum"], definitions["event"]["properties"]["identity"]["enum"]]
    for words in choices:
        assert json.dumps("must be one of " + ", ".join(f'"{word}"' for word in words))[1:-1] in said


# --- topics -----------------------------------------------------------------------------------------------------------

BANKS = {"payout.*": "bank", "transfer.*": "bank", "radar.*": "fraud"}
NO_PAYOUTS = {"payout.*": "", "transfer.*": "", "v1.payout.*": ""}
OF_STRIPE = {"customer", "dispute", "payment", "payout", "received", "refund", "subscription"}


@pytest.mark.parametrize(
    "sources, group, expected",
    [
        ({"shop": STRIPE}, "stripe", OF_STRIPE),
        ({"shop": STRIPE | {"topics": {"payout.*": "bank"}}}, "stripe", OF_STRIPE | {"bank"}),
        ({"shop": STRIPE | {"topics": BANKS}}, "stripe", OF_STRIPE | {"bank", "fraud"}),
        ({"shop": STRIPE | {"topics": BANKS | {"v1.payout.*": "bank"}}}, "stripe", OF_STRIPE - {"payout"} | {"bank", "fraud"}),
        ({"shop": STRIPE | {"topics": NO_PAYOUTS}}, "stripe", OF_STRIPE - {"payout"}),
        ({"shop": STRIPE | {"topicPart": "cards"}}, "cards", OF_STRIPE),
        ({"parcels": CUSTOM}, "parcels", {"received"}),
        ({"parcels": CUSTOM | {"topics": {"a.*": "one", "rules": "two", "*": "one"}}}, "parcels", {"one", "two", "received"}),
        ({"a": CUSTOM | {"topicPart": "both", "topics": {"a": "x"}}, "b": STRIPE | {"topicPart": "both"}}, "both", OF_STRIPE | {"x"}),
    ],
)
def test_topics_follow_the_sources_own_tables(sources, group, expected, tmp_path):
    documents = render(STRIMZI | {"sources": sources}, tmp_path)
    assert topics(documents) == asked_topics(documents, tmp_path)
    assert parts_of(documents, group).keys() == expected


@pytest.mark.parametrize("partitions, settings, expected", [(12, {}, 3), (2, {}, 2), (12, {"*.parcels.*": {"partitions": 8}}, 8)])
def test_such_topics_have_few_partitions_unless_it_is_said_otherwise(partitions, settings, expected, tmp_path):
    kafka = STRIMZI["kafka"] | {"partitions": partitions, "topicSettings": settings}
    documents = render(STRIMZI | {"kafka": kafka, "sources": {"parcels": CUSTOM}}, tmp_path)
    assert topics(documents) == asked_topics(documents, tmp_path)
    assert parts_of(documents, "parcels") == {"received": expected}


def test_the_user_may_write_the_topics_of_every_source(tmp_path):
    sources = {"shop": STRIPE, "parcels": CUSTOM, "letters": CUSTOM | {"topicPart": "post"}}
    auth = {"type": "scram"}
    values = {"strimzi": {"enabled": True, "cluster": "c"}, "kafka": {"auth": auth}, "sources": sources}
    documents = render(values, tmp_path)
    [user] = of_kind(documents, "KafkaUser")
    written = [rule["resource"] for rule in user["spec"]["authorization"]["acls"] if "Write" in rule["operations"]]
    prefixes = {resource["name"] for resource in written if resource["patternType"] == "prefix"}
    assert prefixes == {f"payments.{group}." for group in ("stripe", "parcels", "post", "standard-webhooks")}
    literals = {resource["name"] for resource in written if resource["patternType"] == "literal"}
    for topic in topics(documents):
        assert topic in literals or topic.startswith(tuple(prefixes)), topic


# --- the configuration ------------------------------------------------------------------------------------------------


def test_every_key_of_a_sender_reaches_the_daemon_as_it_is(tmp_path):
    example = configuration.custom_source()
    tables = {name: example[name] for name in configuration.DESCRIBING_TABLES}
    tables["signature"] |= {"url": "https://a.example/hooks?a=1", "signed": ["{t}.{url}", "{t}.{{x}}.{body}"]}
    tables["event"] |= {"occurred_at": [{"from": ["header:a", "pointer:/b"], "format": "unix"}, {"from": "pointer:/c", "format": "rfc3339"}]}
    tables["answer"]["handshake"]["hmac_as"] = "encryptedToken"
    own = {"topicPart": "post", "ackTimeoutMs": 4000, "allowFrom": ["192.0.2.1"]}
    documents = render({"sources": {"parcels": CUSTOM | tables | own}}, tmp_path)
    expected = {"provider": "custom", "secret_files": ["/etc/paybridge/sources/parcels/k"], "allow_from": ["192.0.2.1"]}
    assert sources_of(documents)["parcels"] == expected | {"topic_part": "post", "ack_timeout_ms": 4000} | tables


def test_the_daemon_takes_the_references_own_example(tmp_path, contents):
    example = configuration.custom_source()
    tables = {name: example[name] for name in configuration.DESCRIBING_TABLES}
    # it shows a key for each case: of a list no piece is taken
    del tables["signature"]["split"]
    tables["answer"]["handshake"] |= {"hmac_as": "encryptedToken"}
    documents = render({"sources": {"parcels": CUSTOM | tables}}, tmp_path)
    assert findings(place(configurations(documents)["pay-paybridge"], tmp_path, contents)) == []


@pytest.mark.parametrize(
    "text", ["with 'single' quotes", 'with "double" quotes', "both ' and \"", "back\\slash", "{{ .Values.kafka }}", "a.b*", "[x]", "rules", ""]
)
def test_text_in_a_table_reaches_the_daemon_as_it_is(text, tmp_path):
    tables = {
        "signature": SIGNATURE | {"prefix": text},
        "event": {"require": {f"pointer:/{text}": text, "pointer:/live": True, "pointer:/version": 9007199254740991}},
        "topics": {text: "part"},
        "answer": {"body": text},
    }
    documents = render({"sources": {"parcels": CUSTOM | tables}}, tmp_path)
    source = sources_of(documents)["parcels"]
    assert {name: source[name] for name in tables} == tables


def test_a_preset_can_be_made_a_token_as_its_file_says(tmp_path, contents):
    signature = {"algorithm": "token", "from": "header:verif-hash", "signed": [], "encoding": "hex"}
    source = STRIPE | {"provider": "flutterwave", "signature": signature, "path": "/webhooks/8Zk1u6qW/shop"}
    documents = render({"sources": {"shop": source}}, tmp_path)
    assert sources_of(documents)["shop"]["signature"] == signature
    assert findings(place(configurations(documents)["pay-paybridge"], tmp_path, contents)) == []


def test_a_presets_key_can_be_taken_away_by_an_empty_text(tmp_path, contents):
    github = STRIPE | {"provider": "github", "signature": {"prefix": ""}}
    documents = render({"sources": {"code": github}}, tmp_path)
    path = place(configurations(documents)["pay-paybridge"], tmp_path, contents)
    assert findings(path) == []
    assert "behind `sha256=`" not in succeed(bridge("check", "--offline", "--config", path))


def test_public_keys_are_files_of_the_secret_too(tmp_path, contents):
    signature = SIGNATURE | {"algorithm": "ed25519", "encoding": "base64"}
    source = {"provider": "custom", "existingSecret": "s", "publicKeyFiles": ["a.pem", "/b.pem"], "signature": signature}
    documents = render({"sources": {"parcels": source}}, tmp_path)
    assert sources_of(documents)["parcels"]["public_key_files"] == ["/etc/paybridge/sources/parcels/a.pem", "/b.pem"]
    assert findings(place(configurations(documents)["pay-paybridge"], tmp_path, contents)) == []


MOVED = "sed 's|\"/etc/paybridge/|\"|g'"


def test_verify_runs_beside_the_cluster_as_the_readme_says(tmp_path):
    assert MOVED in (CHART / "README.md").read_text()
    text = configurations(manifests("strimzi"))["pay-paybridge"].replace('"/etc/paybridge/', '"')
    (tmp_path / "paybridge.toml").write_text(text)
    secret = tmp_path / "sources" / "shop" / "secret"
    secret.parent.mkdir(parents=True)
    secret.write_text("a secret of no value")
    (tmp_path / "body.json").write_text('{"id":"evt_1","type":"payout.paid"}')
    signature = hmac.new(secret.read_bytes(), b"1700000000." + (tmp_path / "body.json").read_bytes(), "sha256").hexdigest()
    (tmp_path / "headers.txt").write_text(f"Stripe-Signature: t=1700000000,v1={signature}\n")
    files = ["--headers", tmp_path / "headers.txt", "--body", tmp_path / "body.json", "--at", "2023-11-14T22:13:20Z"]
    assert "payments.stripe.payout.v1" in succeed(bridge("verify", "shop", "--config", tmp_path / "paybridge.toml", *files))


# --- what keeps strangers out -----------------------------------------------------------------------------------------

XENDIT = {"provider": "xendit", "existingSecret": "s", "secretFiles": ["k"]}
TOKEN = CUSTOM | {"signature": {"algorithm": "token", "from": "header:x-token"}}
MERCADO_PAGO = XENDIT | {"provider": "mercado-pago"}
TLS = {"ingress": {"tls": {"enabled": True, "existingSecret": "t", "clientCaFile": "ca.crt"}}}


@pytest.mark.parametrize("source", [XENDIT, TOKEN, MERCADO_PAGO], ids=["preset by token", "custom by token", "preset without body"])
@pytest.mark.parametrize(
    "more, taken",
    [
        ({}, False),
        ({"allowFrom": ["0.0.0.0/0"]}, False),
        ({"allowFrom": ["192.0.2.1", "::/0"]}, False),
        ({"path": "/webhooks/unsigned"}, False),
        ({"clientCertNames": []}, False),
        ({"allowFrom": ["192.0.2.1"]}, True),
        ({"path": "/webhooks/8Zk1u6qW/unsigned"}, True),
        ({"clientCertNames": ["sender.example.com"]}, True),
    ],
)
def test_a_sender_that_does_not_sign_the_body_needs_something_else(source, more, taken, tmp_path, contents):
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(TLS | {"sources": {"unsigned": source | more}}))
    result = template(values_file("default"), path)
    if taken:
        text = configurations(load_all(succeed(result)))["pay-paybridge"]
        assert findings(place(text, tmp_path, contents)) == []
    else:
        assert "sources.unsigned is of a sender that does not sign the body" in result.stderr


# --- helm test --------------------------------------------------------------------------------------------------------

# The answer to several events at once names none of them.
ANSWERED_WITH_THE_EVENT = [provider for provider in event_types() if "each" not in presets().get(provider, {}).get("event", {})]


@pytest.mark.parametrize("provider", ANSWERED_WITH_THE_EVENT)
def test_the_test_sends_an_event_that_there_is(provider, tmp_path):
    key = {"signingKeyFile": "/k.pem"} if provider == "smart-glocal" else {}
    values = {"sources": {"one": source_of(provider)}, "helmTest": {"source": "one"} | key}
    [pod] = render(values, tmp_path, "--show-only=templates/tests/webhook.yaml")
    _, source, event, *_ = pod["spec"]["containers"][0]["args"]
    assert source == "one"
    assert event in event_types()[provider]
