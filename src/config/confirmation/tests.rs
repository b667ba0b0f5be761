//! What the section refuses, in which words, and what it needs of the sources.

use crate::config::Config;

const API: &str = "[sources.sg.api]\nbase_url = 'https://x'\nversion = 2\nproject = 'p'\nprivate_key_file = '/k'";

#[track_caller]
fn check(toml: &str, expected: &[&str]) {
    let told: Vec<String> = match Config::from_toml(toml, []) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.problems().iter().map(|problem| problem.message.clone()).collect(),
    };
    assert_eq!(told, expected, "{toml}");
}

fn section(keys: &str) -> String {
    format!("[confirmation]\n{keys}")
}

fn rule(name: &str) -> String {
    format!("[[confirmation.rules]]\nname = '{name}'\nwhen = 'true'\nthen = 'hold'\n")
}

#[test]
fn refuses_values_out_of_bounds() {
    for (key, bounds) in [
        ("window_s = 9", "10 to 604800"),
        ("deadline_margin_s = 0", "1 to 604799"),
        ("calls_in_flight_max = 4097", "1 to 4096"),
        ("call_timeout_ms = 99", "100 to 60000"),
        ("key_reuse_wait_s = 0", "1 to 86400"),
        ("unknown_session_ttl_s = 0", "1 to 2592000"),
        ("early_decisions_max = 0", "1 to 1000000"),
        ("early_decisions_max = 1000001", "1 to 1000000"),
        ("ledger_retention_s = 59", "60 to 2592000"),
    ] {
        let name = key.split(' ').next().unwrap();
        check(&section(key), &[&format!("`confirmation.{name}` must be a whole number from {bounds}")]);
    }
    let legal = "`confirmation.group_id` must be 1 to 249 ASCII letters, digits, dots, hyphens and underscores";
    for group in [String::new(), "a b".to_owned(), "ä".to_owned(), "a".repeat(250)] {
        check(&section(&format!("group_id = '{group}'")), &[legal]);
    }
    check(
        &section("default = 'wait'\nat_deadline = 'hold'"),
        &[
            "`confirmation.at_deadline` must be one of \"confirm\", \"cancel\", \"nothing\"",
            "`confirmation.default` must be one of \"confirm\", \"cancel\", \"hold\"",
        ],
    );
}

#[test]
fn refuses_keys_that_contradict_each_other() {
    check(
        &section("window_s = 100\ndeadline_margin_s = 100\nledger_retention_s = 999"),
        &[
            "`confirmation.deadline_margin_s` leaves no time to decide: it must be less than `confirmation.window_s`",
            "`confirmation.ledger_retention_s` would forget sessions while a late redelivery could open them anew: \
             it must be at least `confirmation.window_s` plus 900",
        ],
    );
    check(&section("window_s = 100\ndeadline_margin_s = 99\nledger_retention_s = 1000"), &[]);
    let too_soon = "`confirmation.key_reuse_wait_s` would repeat a call under another key while it may still be answered: \
                    it must be `confirmation.call_timeout_ms` or more";
    check(&section("key_reuse_wait_s = 9"), &[too_soon]);
    check(&section("call_timeout_ms = 2001\nkey_reuse_wait_s = 2"), &[too_soon]);
    check(&section("call_timeout_ms = 2000\nkey_reuse_wait_s = 2"), &[]);
}

#[test]
fn refuses_rules_that_no_metric_could_tell_apart() {
    let wrong = |place: usize| {
        format!(
            "`confirmation.rules.name` of rule {place} must be 1 to 64 ASCII letters, digits, spaces, dots, hyphens and \
             underscores, and no space at an end"
        )
    };
    for name in ["", " a", "a ", "ä", "a,b", &"a".repeat(65)] {
        check(&rule(name), &[&wrong(1)]);
    }
    check(
        &format!("{}{}{}", rule("a b"), rule("a b"), rule("?")),
        &["`confirmation.rules.name` \"a b\" is the name of two rules", &wrong(3)],
    );
    let many: String = (0..257).map(|number| rule(&format!("rule {number}"))).collect();
    let message = "`confirmation.rules` are more than 256: each is tried for each session, and is a label of a metric";
    check(&many, &[message]);
}

#[test]
fn refuses_what_is_no_rule() {
    check(
        "[[confirmation.rules]]\nname = 'a'\nwhen = 'true'\nthen = 'refuse'",
        &["`confirmation.rules.\"a\".then` must be one of \"confirm\", \"cancel\", \"hold\""],
    );
    check(
        "[[confirmation.rules]]\nname = 'a'\nwhn = 'true'\nthen = 'hold'",
        &["unknown key `confirmation.rules.\"a\".whn`"],
    );
    let only_file =
        "`confirmation.rules` must be [[confirmation.rules]] tables in the file; the environment cannot set rules";
    check("[confirmation]\nrules = 'true'", &[only_file]);
    check("[confirmation.rules]\nname = 'a'", &[only_file]);
}

#[test]
fn the_environment_sets_keys_and_no_rules() {
    let load = |name: &str, value: &str| Config::from_toml(&rule("a"), [(name.to_owned(), value.to_owned())]);
    assert_eq!(load("PAYBRIDGE_CONFIRMATION__WINDOW_S", "3600").unwrap().confirmation.window().as_secs(), 3600);
    for name in ["PAYBRIDGE_CONFIRMATION__RULES", "PAYBRIDGE_CONFIRMATION__RULES__0__WHEN"] {
        let told = load(name, "true").unwrap_err().to_string();
        assert!(told.contains("the environment cannot set rules"), "{told}");
    }
}

#[test]
fn an_engine_needs_sources_that_ask_and_a_way_to_answer_each() {
    let source = "[sources.sg]\nprovider = 'smart-glocal'\npublic_key_files = []\n";
    let other = "[sources.other]\nprovider = 'standard-webhooks'\n";
    let on = "[confirmation]\nenabled = true\n";
    let none =
        "`confirmation.enabled` = true has nothing to decide: no source is of a provider that asks for confirmations";
    let no_api =
        "`sources.sg.api` is missing: with `confirmation.enabled` its sessions are confirmed and cancelled there";
    check(on, &[none]);
    check(&format!("{on}{other}"), &[none]);
    check(&format!("{on}{other}{source}"), &[no_api]);
    check(&format!("{on}dry_run = true\n{source}"), &[]);
    check(&format!("{on}{source}{API}"), &[]);
    check(source, &[]);
}

#[test]
fn the_group_and_the_transactional_ids_begin_with_the_topics_prefix() {
    for (toml, group, transactional_id) in [
        ("", "payments.paybridge-confirmation", "payments.paybridge-confirmation.pod-0"),
        ("[kafka]\ntopic_prefix = 'a.b'", "a.b.paybridge-confirmation", "a.b.paybridge-confirmation.pod-0"),
        ("[confirmation]\ngroup_id = 'mine'", "mine", "payments.mine.pod-0"),
        ("[confirmation]\ngroup_id = 'payments'", "payments", "payments.pod-0"),
        ("[confirmation]\ngroup_id = 'payments-2'", "payments-2", "payments.payments-2.pod-0"),
        ("[confirmation]\ngroup_id = 'payments.mine'", "payments.mine", "payments.mine.pod-0"),
    ] {
        let Config { confirmation, kafka, .. } = Config::from_toml(toml, []).unwrap();
        assert_eq!(confirmation.group(&kafka.topic_prefix), group, "{toml}");
        assert_eq!(confirmation.transactional_id(&kafka.topic_prefix, "pod-0"), transactional_id, "{toml}");
    }
}
