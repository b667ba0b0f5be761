"""Alerts, dashboards and the runbook: that alerts fire when they should, and that all of them ask for what there is.

promtool judges the alerts; the daemon itself says which series and labels there are.
"""

import itertools
import json
import re
import shutil
import subprocess

import exposition
import promql
import pytest
import yaml
from chart import CHART, CHECKOUT, VARIANTS, WORKLOADS, helm, load_all, manifests, name_of, of_kind, pod_templates, succeed

RULES = CHECKOUT / "tests" / "helm" / "rules"
CASES = sorted(path.name for path in RULES.glob("*.yaml"))
RUNBOOK_URL = "https://runbooks.example.com/paybridge"
RUNBOOK_PARTS = ["Means", "If nobody acts", "Look", "Do"]
SEVERITIES = {"critical", "warning"}
# What every scraped series has besides its own labels.
TARGET_LABELS = {"namespace", "job", "pod"}
# Labels whose values are the user's, or of no closed set.
OPEN_LABELS = TARGET_LABELS | {"source", "topic", "key_id", "rule", "version", "le", "container"}
SCRAPED = {"up": {"container": {"paybridge"}}}
PROMTOOL_TIMEOUT_S = 600

# Everything that has alerts and dashboards, with all defaults. The cases in `rules` are written for it.
EVERYTHING = {
    "kafka": {"bootstrapServers": "kafka:9092"},
    "sources": {
        "sg-main": {
            "provider": "smart-glocal",
            "existingSecret": "paybridge-sg",
            "publicKeyFiles": ["sg.pem"],
            "api": {"baseUrl": "https://example.com", "version": 2, "project": "shop", "privateKeyFile": "own.pem"},
        }
    },
    "spool": {"enabled": True},
    "confirmation": {"enabled": True},
    "monitoring": {
        "podMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True, "runbookUrl": RUNBOOK_URL},
        "dashboards": {"enabled": True},
    },
}


def render(folder, *changes):
    """The manifests of release `paybridge` in namespace `payments`, with these changes to EVERYTHING."""
    files = []
    for number, values in enumerate([EVERYTHING, *changes]):
        files.append(folder / f"values-{number}.yaml")
        files[-1].write_text(yaml.safe_dump(values))
    shown = helm("template", "paybridge", CHART, "--namespace=payments", *(f"--values={file}" for file in files))
    return load_all(succeed(shown))


def groups_of(documents):
    """The groups of rules, by the part that each is about."""
    [rule] = of_kind(documents, "PrometheusRule")
    return {group["name"].split(".")[0].removeprefix("paybridge-"): group for group in rule["spec"]["groups"]}


def alerts_of(documents):
    """Every alert by its name."""
    rules = [rule for group in groups_of(documents).values() for rule in group["rules"]]
    alerts = {rule["alert"]: rule for rule in rules}
    assert len(alerts) == len(rules), "two alerts have one name"
    return alerts


@pytest.fixture(scope="session")
def everything(tmp_path_factory):
    return render(tmp_path_factory.mktemp("everything"))


@pytest.fixture(scope="session")
def alerts(everything):
    return alerts_of(everything)


@pytest.fixture(scope="session")
def dashboards(everything):
    """Every dashboard by the name of its ConfigMap."""
    maps = [document for document in of_kind(everything, "ConfigMap") if "-dashboard-" in document["metadata"]["name"]]
    return {document["metadata"]["name"]: json.loads(text) for document in maps for text in document["data"].values()}


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The labels and their values of every series that there is."""
    return exposition.exported(tmp_path_factory.mktemp("daemon")) | SCRAPED


# --- alerts ----------------------------------------------------------------------------------------------------------


def write_groups(folder, groups):
    """One file of rules for each part, as the cases name them."""
    folder.mkdir()
    for part, group in groups.items():
        (folder / f"{part}.yaml").write_text(yaml.safe_dump({"groups": [group]}))
    return sorted(folder.iterdir())


def promtool(*arguments):
    """What promtool says, which has to be that all is well."""
    command = ["promtool", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PROMTOOL_TIMEOUT_S, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("file", CASES)
def test_alerts_fire_when_they_should_and_not_before(file, everything, tmp_path):
    write_groups(tmp_path / "alerts", groups_of(everything))
    shutil.copy(RULES / file, tmp_path)
    promtool("test", "rules", tmp_path / file)


@pytest.mark.parametrize("variant", VARIANTS)
def test_rules_of_every_variant_are_right(variant, tmp_path):
    documents = manifests(variant)
    for number, rule in enumerate(of_kind(documents, "PrometheusRule")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(rule["spec"]))
        promtool("check", "rules", file)


def cases():
    """Every case of promtool's tests."""
    for file in CASES:
        yield from yaml.safe_load((RULES / file).read_text())["tests"]


def test_every_alert_has_a_case_that_fires_it_and_one_that_does_not(alerts):
    fires, does_not = set(), set()
    for case in cases():
        for check in case["alert_rule_test"]:
            (fires if check["exp_alerts"] else does_not).add(check["alertname"])
    assert fires == set(alerts)
    assert does_not == set(alerts)


def test_a_case_is_about_its_alert_and_gives_it_series_to_judge(alerts):
    for case in cases():
        [name] = {check["alertname"] for check in case["alert_rule_test"]}
        assert case["name"].startswith(f"{name}: "), case["name"]
        given = {re.match(r"\w+", series["series"])[0] for series in case["input_series"]}
        asked = {selector.metric for selector in promql.selectors(alerts[name]["expr"])}
        assert given & asked, case["name"]


def test_no_text_of_an_alert_is_left_with_a_gap():
    for case in cases():
        for expected in itertools.chain(*(check["exp_alerts"] for check in case["alert_rule_test"])):
            for text in expected["exp_annotations"].values():
                assert not re.search(r"\{\{|<no value>|  | [.,]|NaN|%!", text), text


def test_every_alert_says_what_whoever_is_on_call_needs(alerts):
    for name, alert in alerts.items():
        assert re.fullmatch(r"Paybridge[A-Z]\w+", name)
        assert set(alert["labels"]) == {"severity", "namespace", "job"}, name
        assert alert["labels"]["severity"] in SEVERITIES, name
        assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}, name
        assert alert["annotations"]["runbook_url"] == f"{RUNBOOK_URL}#{name.lower()}"
        for text in ("summary", "description"):
            assert alert["annotations"][text].endswith("."), name


def test_a_description_tells_the_labels_that_tell_alerts_apart(alerts):
    for name, alert in alerts.items():
        told = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["description"]))
        outermost = re.match(r"(?:sum|max|min)\s+by \(([\w, ]+)\)", alert["expr"])
        if outermost:
            assert told >= set(outermost[1].split(", ")), name


def test_a_page_has_a_cause_to_be_one(alerts):
    pages = {name for name, alert in alerts.items() if alert["labels"]["severity"] == "critical"}
    assert len(pages) < len(alerts) / 2, f"too many alerts wake somebody: {sorted(pages)}"


def test_without_a_runbook_no_alert_points_at_one(tmp_path):
    rendered = alerts_of(render(tmp_path, {"monitoring": {"prometheusRule": {"runbookUrl": ""}}}))
    assert all("runbook_url" not in alert["annotations"] for alert in rendered.values())


# Which parts have alerts, by what a release has.
PARTS = [
    ({}, {"replicas", "ingress", "kafka", "spool", "dedup", "shared_dedup", "confirmation"}),
    ({"mode": "split"}, {"replicas", "ingress", "kafka", "spool", "dedup", "shared_dedup", "confirmation"}),
    ({"dedup": {"mode": "local"}}, {"replicas", "ingress", "kafka", "spool", "dedup", "confirmation"}),
    ({"dedup": {"mode": "off"}}, {"replicas", "ingress", "kafka", "spool", "confirmation"}),
    ({"spool": {"enabled": False}}, {"replicas", "ingress", "kafka", "dedup", "shared_dedup", "confirmation"}),
    ({"confirmation": {"enabled": False}}, {"replicas", "ingress", "kafka", "spool", "dedup", "shared_dedup"}),
    ({"ingress": {"enabled": False}, "spool": {"enabled": False}}, {"replicas", "confirmation"}),
]


@pytest.mark.parametrize("change, parts", PARTS, ids=lambda value: json.dumps(value) if isinstance(value, dict) else "")
def test_a_release_has_the_alerts_of_its_parts(change, parts, tmp_path):
    assert set(groups_of(render(tmp_path, change))) == parts


# A value, an alert, and what its rule then has: in `expr`, or in `for`.
THRESHOLDS = [
    ({"ingress": {"ackTimeoutMs": 8000}}, "PaybridgeAnswersSlow", "> 4\n"),
    ({"ingress": {"ackTimeoutMs": 2500}}, "PaybridgeAnswersSlow", "> 1.25\n"),
    ({"ingress": {"ackTimeoutMs": 60000}}, "PaybridgeAnswersSlow", "> 30\n"),
    ({"ingress": {"inFlightBytesMax": 4294967295}}, "PaybridgeInFlightNearBound", "/ 4294967295 > 0.8"),
    ({"dedup": {"windowS": 604800}}, "PaybridgeDedupWindowShort", "< 302400"),
    ({"kafka": {"partitions": 24}}, "PaybridgePartitionsUnassigned", "< 24\n"),
    ({"confirmation": {"deadlineMarginS": 1801}}, "PaybridgeSessionsNearDeadline", "< 900.5"),
    ({"shutdown": {"drainDelayMs": 5000, "graceMs": 20000}}, "PaybridgeReplicaNotReady", "10m"),
    ({"shutdown": {"drainDelayMs": 300000, "graceMs": 300000}}, "PaybridgeReplicaNotReady", "15m"),
]


@pytest.mark.parametrize("change, name, expected", THRESHOLDS, ids=lambda value: None if isinstance(value, dict) else str(value).strip())
def test_thresholds_follow_the_values(change, name, expected, tmp_path):
    documents = render(tmp_path, change)
    alert = alerts_of(documents)[name]
    assert expected in f"{alert['expr']}\n" or expected == alert["for"], alert
    # a number that Prometheus does not read is found here
    promtool("check", "rules", *write_groups(tmp_path / "alerts", groups_of(documents)))


# --- runbook ---------------------------------------------------------------------------------------------------------


def chapters():
    """The chart's README by its chapters."""
    parts = re.split(r"^## (.+)$", (CHART / "README.md").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def runbook():
    """The sections about alerts, by the alert's name."""
    parts = re.split(r"^### (.+)$", chapters()["What each alert means"], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def runbook_queries():
    """Every PromQL expression of the runbook."""
    blocks = re.findall(r"```promql\n(.*?)```", (CHART / "README.md").read_text(), flags=re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def test_every_alert_has_a_section_and_every_section_an_alert(alerts):
    assert list(runbook()) == list(alerts), "the same alerts, in the same order"


def test_every_section_tells_what_to_do(alerts):
    for name, section in runbook().items():
        assert re.findall(r"^- \*\*(.+?)\*\*:\s+\S", section, flags=re.MULTILINE) == RUNBOOK_PARTS, name
        assert f"\nSeverity: {alerts[name]['labels']['severity']}.\n" in section, name


def test_the_readme_names_only_alerts_that_there_are(alerts):
    readme = (CHART / "README.md").read_text()
    assert set(re.findall(r"\bPaybridge[A-Z]\w+", readme)) == set(alerts)


def test_the_readme_points_only_at_headings_that_there_are():
    readme = (CHART / "README.md").read_text()
    headings = re.findall(r"^#+ (.+)$", readme, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    links = set(re.findall(r"\]\(#([^)]+)\)", readme))
    assert len(links) > 10
    assert links <= anchors


def test_commands_that_look_into_logs_see_all_of_them():
    commands = re.findall(r"^ *kubectl .* logs .*$", (CHART / "README.md").read_text(), flags=re.MULTILINE)
    selecting = [command for command in commands if " -l " in command]
    assert len(selecting) > 10
    # with a selector kubectl shows ten lines of each pod, whatever --since says
    assert [command for command in selecting if " --tail -1 " not in command] == []


# --- a plain Prometheus ----------------------------------------------------------------------------------------------


def operations_block(marker):
    """The block of code behind a marker of the daemon's page about operations."""
    page = (CHECKOUT / "docs" / "operations.md").read_text()
    return re.search(rf"<!-- {re.escape(marker)} -->\n```\w+\n(.*?)```", page, flags=re.DOTALL)[1]


def test_the_commands_of_the_page_make_rules_for_a_plain_prometheus(tmp_path, everything):
    (tmp_path / "helm").symlink_to(CHECKOUT / "helm")
    for file in ("rules-values.yaml", "prometheus.yml"):
        (tmp_path / file).write_text(operations_block(f"file: {file}"))
    script = f"set -euo pipefail\n{operations_block('run: rules')}"
    command = ["bash", "-c", script]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PROMTOOL_TIMEOUT_S, check=False)
    succeed(result)
    promtool("check", "config", tmp_path / "prometheus.yml")
    [rule] = of_kind(everything, "PrometheusRule")
    assert yaml.safe_load((tmp_path / "paybridge.rules.yaml").read_text()) == rule["spec"]


# --- what is asked for is there --------------------------------------------------------------------------------------


def complaints(expression, exported):
    """What an expression asks for that the daemon does not have, a sentence each."""
    expression = promql.without_variables(expression)
    for selector in promql.selectors(expression):
        labels = exported.get(selector.metric)
        if labels is None:
            yield f"there is no {selector.metric}"
            continue
        yield from unknown_labels(selector, labels)
    for grouped, metrics in promql.groupings(expression):
        there = TARGET_LABELS.union(*(exported.get(metric, {}) for metric in metrics))
        yield from (f"none of {metrics} has a label {label}" for label in grouped if label not in there)


def unknown_labels(selector, labels):
    """Labels, and values of closed sets, that a choice of series names and the metric does not have."""
    for label, _ in selector.matchers:
        if label not in TARGET_LABELS and label not in labels:
            yield f"{selector.metric} has no label {label}"
    for label, values in selector.values:
        if label not in OPEN_LABELS:
            missing = set(values) - labels.get(label, set())
            yield from (f"{selector.metric} never has {label}={value}" for value in sorted(missing))


def unscoped(expression):
    """Metrics in an expression that are chosen without the release's namespace and job."""
    found = promql.selectors(promql.without_variables(expression))
    return [selector.metric for selector in found if not {"namespace", "job"} <= dict(selector.matchers).keys()]


def queries(dashboard):
    """Every expression of a dashboard with the panel that it is in."""
    for panel in dashboard["panels"]:
        yield from ((panel, target["expr"]) for target in panel.get("targets", []))


def test_a_misspelt_metric_label_or_value_is_found(exported):
    wrong = {
        "sum(paybridge_ingress_request_total)": "there is no paybridge_ingress_request_total",
        'paybridge_ready{source="x"}': "paybridge_ready has no label source",
        'paybridge_ingress_requests_total{outcome=~"accepted|denied"}': "paybridge_ingress_requests_total never has outcome=denied",
        "sum by (stage) (paybridge_ingress_requests_total)": "none of ['paybridge_ingress_requests_total'] has a label stage",
        "up and on (source) paybridge_ready": "none of ['up'] has a label source",
    }
    for expression, complaint in wrong.items():
        assert complaint in list(complaints(expression, exported))
    assert unscoped('paybridge_ready{namespace="$namespace"} and paybridge_ready{namespace="a",job="b"}') == ["paybridge_ready"]


def test_alerts_ask_for_series_that_there_are(alerts, exported):
    for name, alert in alerts.items():
        assert list(complaints(alert["expr"], exported)) == [], name
        assert unscoped(alert["expr"]) == [], name
        metrics = {selector.metric for selector in promql.selectors(alert["expr"])}
        there = TARGET_LABELS.union(*(exported[metric] for metric in metrics))
        assert set(re.findall(r"\$labels\.(\w+)", str(alert["annotations"]))) <= there, name


# Values of counters that no alert is about, with the reason. All others have one.
GOOD = "it is how things should go"
ORDINARY = "it happens in good times too"
BY_OTHERS = "strangers and scanners cause it as often as a fault"
NOT_ALERTED = {
    "paybridge_ingress_requests_total": {
        "accepted": GOOD,
        "duplicate": GOOD,
        "unrecognized": "PaybridgeUnrecognizedGrowing watches the records of these webhooks",
        "quarantined": "PaybridgeQuarantineGrowing watches the records of these webhooks",
        "kept": "PaybridgeWebhooksUnverified watches the webhooks that are kept so",
        "unauthentic": "PaybridgeWebhooksUnverified watches these webhooks by their reason",
        "unknown_source": BY_OTHERS,
        "body_broken": "the client broke off and sends the webhook again",
        "shutting_down": ORDINARY,
        "internal_error": "PaybridgeHandlerPanicked watches the panics behind these answers",
    },
    "paybridge_ingress_connection_events_total": {
        "accepted": GOOD,
        "made_room": ORDINARY,
        "tls_failed": BY_OTHERS,
        "head_timed_out": BY_OTHERS,
        "idle_timed_out": ORDINARY,
        "malformed": BY_OTHERS,
    },
    "paybridge_release_records_total": "whoever asked for the release reads the verdicts in its result",
    "paybridge_release_requests_total": "whoever asked for the release waits for its result; a failed try is repeated",
    "paybridge_kafka_publish_failures_total": {
        "purged": "PaybridgeProducerRestarts watches the restart that purges records",
        "too_large": "PaybridgeQuarantineGrowing watches the webhook, which goes to quarantine",
    },
    "paybridge_spool_records_refused_total": {"full": "PaybridgeSpoolNearlyFull comes before it, and PaybridgeAnswersUnavailable with it"},
    "paybridge_key_reloads_total": {"used": GOOD},
    "paybridge_dedup_hits_total": {"local": GOOD, "shared": GOOD},
    "paybridge_dedup_entries_total": {"written": GOOD},
    "paybridge_dedup_entries_ignored_total": {
        "other_cluster": "after a failover to a copy of the topic it is ordinary, for as long as the window",
        "unreadable": "an entry of a version that comes later is one; webhooks go on",
    },
    "paybridge_rejected_total": "PaybridgeWebhooksUnverified watches the webhooks that these samples are of",
    "paybridge_confirmation_calls_total": {
        "ok": GOOD,
        "refused": "PaybridgeSessionsRefused watches the sessions that end so",
        "not_sent": "PaybridgeBreakerOpen watches the breaker that holds these calls back",
    },
    "paybridge_confirmation_decisions_total": "each kind is as configured, and PaybridgeDeadlineNear comes before the clock decides",
    "paybridge_confirmation_outcomes_total": {
        "accepted": GOOD,
        "already_done": GOOD,
        "superseded": "the provider ended the session by itself",
        "dry_run": GOOD,
    },
    "paybridge_confirmation_held_total": "a held session waits for a decision; PaybridgeSessionsNearDeadline watches the time that is left",
    "paybridge_confirmation_alerts_total": {"clock_untrusted": "PaybridgeClockUntrusted watches the clock itself"},
    "paybridge_confirmation_rejected_total": {"already_decided": "deciding on what a rule has decided first is ordinary"},
    "paybridge_confirmation_transactions_total": {"committed": GOOD},
}


def alerted_values(alerts, metric, label):
    """Tells for a value of a label whether some alert is about a metric's series with it."""
    by_alert = []
    for alert in alerts.values():
        chosen = [selector for selector in promql.selectors(alert["expr"]) if selector.metric == metric]
        # beside one that names the label, one that does not is the denominator of a ratio
        named = [selector for selector in chosen if any(name == label for name, _ in selector.matchers)]
        by_alert += named or chosen
    return lambda value: any(selector.takes(label, value) for selector in by_alert)


def test_every_failure_that_is_counted_has_an_alert_or_a_reason_for_none(alerts, exported):
    unexplained, needless = [], []
    for metric, labels in exported.items():
        if not metric.endswith("_total"):
            continue
        excused = NOT_ALERTED.get(metric, {})
        for label in labels.keys() - OPEN_LABELS:
            is_alerted = alerted_values(alerts, metric, label)
            for value in sorted(labels[label]):
                if isinstance(excused, str) or value in excused:
                    continue
                if not is_alerted(value):
                    unexplained.append(f'{metric}{{{label}="{value}"}}')
        if isinstance(excused, dict):
            needless += [f"{metric} {value}" for value in excused if not any(value in values for values in labels.values())]
    assert unexplained == [], "an alert, or a reason in NOT_ALERTED"
    assert needless == [], "NOT_ALERTED names values that no series has"
    texts = str(NOT_ALERTED)
    assert set(re.findall(r"Paybridge[A-Z]\w+", texts)) <= set(alerts)


def test_cases_are_made_of_series_that_there_are(exported):
    for case in cases():
        for series in case["input_series"]:
            assert list(complaints(series["series"], exported)) == [], case["name"]


def test_dashboards_ask_for_series_that_there_are(dashboards, exported):
    for dashboard in dashboards.values():
        for panel, expression in queries(dashboard):
            assert list(complaints(expression, exported)) == [], panel["title"]
            assert unscoped(expression) == [], panel["title"]


def test_the_runbook_asks_for_series_that_there_are(exported):
    assert len(runbook_queries()) > 30
    for expression in runbook_queries():
        assert list(complaints(expression, exported)) == [], expression
        assert unscoped(expression) == [], expression


def test_every_metric_is_on_a_dashboard(dashboards, exported):
    shown = set()
    for dashboard in dashboards.values():
        for _, expression in queries(dashboard):
            shown |= {selector.metric for selector in promql.selectors(promql.without_variables(expression))}
    parts = {name for name in exported if re.search(r"_(sum|count)$", name) and re.sub("_(sum|count)$", "_bucket", name) in exported}
    assert set(exported) - shown - parts - set(SCRAPED) == set()


# --- dashboards ------------------------------------------------------------------------------------------------------

BUILT_IN_PANELS = {"row", "stat", "timeseries"}


def test_dashboards_keep_their_addresses(dashboards):
    assert {name: board["uid"] for name, board in dashboards.items()} == {
        "paybridge-dashboard-ingress": "paybridge-ingress",
        "paybridge-dashboard-spool": "paybridge-spool",
        "paybridge-dashboard-confirmation": "paybridge-confirmation",
    }


def test_a_dashboard_is_rendered_as_it_is_kept(dashboards):
    for name, dashboard in dashboards.items():
        part = name.removeprefix("paybridge-dashboard-")
        assert dashboard == json.loads((CHART / "files" / "dashboards" / f"{part}.json").read_text())


def test_dashboards_are_for_any_datasource_and_release(dashboards):
    for dashboard in dashboards.values():
        names = [variable["name"] for variable in dashboard["templating"]["list"]]
        assert names[:4] == ["datasource", "namespace", "job", "pod"]
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard["panels"])))
        assert used - {"__rate_interval"} == set(names), "variables that are used, and no other"
        assert "id" not in dashboard, "Grafana gives the number"
        assert dashboard["schemaVersion"] >= 36


def test_panels_say_what_they_show(dashboards):
    for dashboard in dashboards.values():
        panels = dashboard["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        for panel in panels:
            assert panel["type"] in BUILT_IN_PANELS
            if panel["type"] == "row":
                continue
            assert panel["description"].endswith("."), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["targets"], panel["title"]


def test_legends_name_labels_that_the_series_have(dashboards, exported):
    for dashboard in dashboards.values():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                metrics = {found.metric for found in promql.selectors(promql.without_variables(target["expr"]))}
                there = TARGET_LABELS.union(*(exported[metric] for metric in metrics))
                assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= there, panel["title"]


def cells(panel):
    """The cells of Grafana's grid that a panel covers."""
    at = panel["gridPos"]
    return set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))


def test_panels_do_not_overlap_and_leave_no_hole(dashboards):
    for dashboard in dashboards.values():
        covered = [cell for panel in dashboard["panels"] for cell in cells(panel)]
        assert len(covered) == len(set(covered))
        assert max(x for x, _ in covered) == 23
        assert len(covered) == 24 * (1 + max(y for _, y in covered)), "a row of panels is not full"


def test_prometheus_can_evaluate_every_panel(dashboards, tmp_path):
    expressions = [query for board in dashboards.values() for _, query in queries(board)] + runbook_queries()
    rules = [
        {"record": f"panel:{number}", "expr": promql.without_variables(expression)}
        for number, expression in enumerate(expressions)
    ]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", file)


# --- monitors --------------------------------------------------------------------------------------------------------


def selected(selector, labels):
    """Whether a label selector takes what has these labels."""
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    return all(labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", []))


def daemons_and_others(documents):
    """Labels of the daemon's pods, and of the pods of hooks and tests."""
    templates = pod_templates(documents)
    daemons = {name_of(deployment) for deployment in of_kind(documents, *WORKLOADS)}
    labels = {name: template["metadata"]["labels"] for name, template in templates.items()}
    return [labels[name] for name in daemons], [labels[name] for name in labels.keys() - daemons]


MODES = pytest.mark.parametrize("mode", ["combined", "split"])


@MODES
def test_the_pod_monitor_takes_every_replica_and_nobody_else(mode, tmp_path):
    documents = render(tmp_path, {"mode": mode})
    [monitor] = of_kind(documents, "PodMonitor")
    daemons, others = daemons_and_others(documents)
    assert len(daemons) == (2 if mode == "split" else 1) and others
    assert all(selected(monitor["spec"]["selector"], labels) for labels in daemons)
    assert not any(selected(monitor["spec"]["selector"], labels) for labels in others)
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    for deployment in of_kind(documents, *WORKLOADS):
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        assert endpoint["port"] in {port["name"] for port in container["ports"]}
    assert_job_is_the_release(monitor, daemons)


@MODES
def test_the_service_monitor_takes_every_replica_by_one_service(mode, tmp_path):
    monitors = {"podMonitor": {"enabled": False}, "serviceMonitor": {"enabled": True}}
    documents = render(tmp_path, {"mode": mode, "monitoring": monitors})
    [monitor] = of_kind(documents, "ServiceMonitor")
    services = of_kind(documents, "Service")
    [service] = [one for one in services if selected(monitor["spec"]["selector"], one["metadata"]["labels"])]
    daemons, _ = daemons_and_others(documents)
    assert all(service["spec"]["selector"].items() <= labels.items() for labels in daemons)
    assert service["spec"]["publishNotReadyAddresses"] is True, "those that are not ready have to be seen"
    [endpoint] = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert_job_is_the_release(monitor, [service["metadata"]["labels"]])


def assert_job_is_the_release(monitor, labelled):
    """Alerts and dashboards choose series by it."""
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["payments"]}
    assert {labels[monitor["spec"]["jobLabel"]] for labels in labelled} == {"paybridge"}
