//! The configuration as a whole: what is refused, in which words, and what the environment can say.

mod shipped_files;

use std::fs;

use super::*;

fn problems_of(toml: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    match Config::from_toml(toml, pairs) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.problems().iter().map(ToString::to_string).collect(),
    }
}

#[track_caller]
fn check(toml: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|line| format!("configuration: {line}")).collect();
    assert_eq!(problems_of(toml, &[]), expected, "{toml}");
}

#[track_caller]
fn check_source(toml: &str, expected: &[&str]) {
    check(&format!("[sources.sg]\nprovider = 'smart-glocal'\n{toml}"), expected);
}

fn load(environment: &[(&str, &str)]) -> Config {
    let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_toml("", pairs).unwrap()
}

#[test]
fn names_unknown_keys_and_the_nearest_known() {
    check("[ingress]\nlistn = 'x'", &["unknown key `ingress.listn`: did you mean `listen`?"]);
    check("[ingres]\nlisten = 'x'", &["unknown key `ingres`: did you mean `ingress`?"]);
    check(
        "[ingress.tls]\ncert_file = 'a'\nkey_file = 'b'\nclient_ca = 'c'",
        &["unknown key `ingress.tls.client_ca`: did you mean `client_ca_file`?"],
    );
    check("[kafka.engine]\nproperty = 1", &["unknown key `kafka.engine.property`: did you mean `properties`?"]);
}

#[test]
fn tells_every_problem_at_once() {
    check(
        "bridge_instance = 'a b'\nadmin = 3\n[ingress]\nack_timeout_ms = 1999\nlisten = 'x'\n[kafka]\ntopic_prefix = 'A'\n\
         [kafka.properties]\nacks = 1\ngroup.id = 'x'\n[sources.A]\n[sources.b]\n[sources.c]\nprovider = 'smart-global'\n\
         [dedup]\nmode = 'all'\n[log]\nlevel = 'loud'",
        &[
            "`bridge_instance` must be text of 1 to 253 printable ASCII characters without spaces: \
             set it to the pod's name, or remove it",
            "`ingress.ack_timeout_ms` must be a whole number from 2000 to 60000: correct the value",
            "`ingress.listen` must be an address and port: write it as \"0.0.0.0:8080\"",
            "`admin` must be a table: write it as [admin]",
            "`kafka.properties.acks` is not yours to set, because 200 means that all in-sync replicas have the record: \
             remove it",
            "`kafka.properties.group.id` is not yours to set, because a session gets one decision: remove it",
            "`kafka.topic_prefix` must be lower-case letters, digits and hyphens in parts joined by dots, 128 in all: \
             write it as \"payments\" or \"shop.payments\"",
            "`sources.A` has a wrong name: use 1 to 63 lower-case letters, digits, and hyphens between them",
            "`sources.b.provider` is missing: set it",
            "`sources.c.provider` names no provider that this version knows: did you mean `smart-glocal`? A sender that is no preset has provider = \"custom\"",
            "`dedup.mode` must be one of \"shared\", \"local\", \"off\": write one of them",
            "`log.level` must be one of \"error\", \"warn\", \"info\", \"debug\", \"trace\": write one of them",
        ],
    );
}

#[test]
fn refuses_keys_that_contradict_each_other() {
    check(
        "[ingress]\nbody_bytes_max = 2000000\nin_flight_bytes_max = 10036863",
        &[
            "`ingress.in_flight_bytes_max` must have room for one webhook with its record: five times `ingress.body_bytes_max` and more: set it to 10036864 or more",
        ],
    );
    check("[ingress]\nbody_bytes_max = 2000000\nin_flight_bytes_max = 10036864", &[]);
    check(
        "[admin]\nlisten = '127.0.0.1:8080'",
        &["`admin.listen` is the address of `ingress.listen`: give each a port of its own"],
    );
    check("[admin]\nlisten = '127.0.0.1:8080'\n[ingress]\nlisten = '127.0.0.2:8080'", &[]);
    check("[admin]\nlisten = '127.0.0.1:0'\n[ingress]\nlisten = '127.0.0.1:0'", &[]);
}

#[test]
fn keeps_unverified_webhooks_only_where_strangers_are_kept_out() {
    let refused = "`sources.sg.on_unverified` = \"keep\" would keep what strangers send: \
                   set allow_from, a path with a secret part, or client_cert_names too";
    let tls = "[ingress.tls]\ncert_file = 'a'\nkey_file = 'b'";
    for (rest, kept) in [
        ("", false),
        ("path = '/webhooks/sg'", false),
        ("allow_from = []", false),
        ("allow_from = ['0.0.0.0/0', '10.0.0.0/8']", false),
        (tls, false),
        ("path = '/webhooks/s3cret'", true),
        ("allow_from = ['10.0.0.0/8', '2001:db8::/32']", true),
        (&format!("{tls}\nclient_ca_file = 'c'"), false),
        (&format!("client_cert_names = ['a.example']\n{tls}\nclient_ca_file = 'c'"), true),
    ] {
        let expected: &[&str] = if kept { &[] } else { &[refused] };
        check_source(
            &format!(
                "on_unverified = 'keep'
{rest}"
            ),
            expected,
        );
    }
}

#[test]
fn names_of_certificates_need_certificates() {
    check_source(
        "client_cert_names = ['a.example', '192.0.2.1']",
        &["`sources.sg.client_cert_names` names client certificates, and no client has to show one: \
           set ingress.tls.client_ca_file too"],
    );
    check_source(
        "client_cert_names = ['a b']",
        &["`sources.sg.client_cert_names` must be DNS names or IP addresses: write them as [\"sender.example.com\"]"],
    );
}

#[test]
fn refuses_sources_that_cannot_be_reached_or_told_apart() {
    check_source("path = 'x'", &["`sources.sg.path` must begin with a slash: write it as \"/webhooks/a-secret/sg\""]);
    check_source(
        "path = '/webhooks/other'\n[sources.other]\nprovider = 'smart-glocal'",
        &["`sources.sg.path` is the path of `sources.other` too: give each source its own path"],
    );
    check_source(
        "allow_from = ['10.0.0.1/33']\non_unverified = 'maybe'",
        &[
            "`sources.sg.allow_from` must be CIDRs: write them as [\"10.0.0.0/8\", \"2001:db8::/32\"]",
            "`sources.sg.on_unverified` must be one of \"reject\", \"keep\": write one of them",
        ],
    );
}

#[test]
fn hands_each_source_to_its_provider() {
    let config = Config::from_toml(
        "[sources.sg]\nprovider = 'smart-glocal'\npath = '/s3cret'\nallow_form = []\npublic_key_files = []\n\
         [sources.sg-2]\nprovider = 'smart-glocal'",
        [],
    )
    .unwrap();
    let paths: Vec<String> = config.sources.iter().map(|(name, source)| source.path(name)).collect();
    assert_eq!(paths, ["/s3cret", "/webhooks/sg-2"]);
    let source = &config.sources["sg"];
    assert_eq!((source.provider.as_str(), source.on_unverified), ("smart-glocal", OnUnverified::Reject));
    let provider = crate::provider::find(&source.provider).unwrap();
    let refused = provider.configure(&source.section, &files::FileReader::new()).err().unwrap();
    let told = "configuration: unknown key `sources.sg.allow_form`: did you mean `allow_from`?";
    assert_eq!(refused.to_string(), told);
}

#[test]
fn environment_values_take_the_keys_type() {
    let config = load(&[
        ("PAYBRIDGE__BRIDGE_INSTANCE", "1234"),
        ("PAYBRIDGE_CONFIG", "/ignored"),
        ("PAYBRIDGE_SERVICE_HOST", "ignored"),
        ("PAYBRIDGE_INGRESS__ENABLED", "false"),
        ("PAYBRIDGE_INGRESS__ACK_TIMEOUT_MS", "9000"),
        ("PAYBRIDGE_INGRESS__TRUSTED_PROXIES", "10.0.0.0/8, 192.168.0.0/16"),
        ("PAYBRIDGE_INGRESS__TLS__CERT_FILE", "/c"),
        ("PAYBRIDGE_INGRESS__TLS__KEY_FILE", "/k"),
        ("PAYBRIDGE_KAFKA__TOPIC_PREFIX", "1234"),
        ("PAYBRIDGE_KAFKA__PROPERTIES__SASL__PASSWORD", "0123"),
        ("PAYBRIDGE_EVIDENCE__KEEP", "hash-only"),
        ("PAYBRIDGE_SOURCES__SG-MAIN__PROVIDER", "smart-glocal"),
        ("PAYBRIDGE_SOURCES__SG-MAIN__ALLOW_FROM", r#"["10.0.0.0/8"]"#),
        ("PAYBRIDGE_SOURCES__SG-MAIN__PUBLIC_KEY_FILES", r#"["/a.pem"]"#),
    ]);
    assert_eq!(config.bridge_instance, "1234");
    assert!(!config.ingress.enabled);
    assert_eq!(config.ingress.ack_timeout().as_secs(), 9);
    assert_eq!(config.ingress.trusted_proxies.len(), 2);
    assert!(config.ingress.tls.is_some());
    assert_eq!(config.kafka.topic_prefix.as_ref(), "1234");
    assert_eq!(config.kafka.client_properties(ClientSide::Common).unwrap()["sasl.password"], "0123");
    assert_eq!(config.evidence.keep, EvidenceKeep::HashOnly);
    let source = &config.sources["sg-main"];
    assert_eq!(source.allow_from.len(), 1);
    let provider = crate::provider::find(&source.provider).unwrap();
    let refused = provider.configure(&source.section, &files::FileReader::new()).err().unwrap();
    assert!(refused.to_string().starts_with("/a.pem cannot be read"), "{refused}");
}

#[test]
fn names_the_variable_that_is_wrong() {
    for (variable, value, expected) in [
        ("PAYBRIDGE_INGRESS__LISTN", "x", "unknown key `ingress.listn`: did you mean `listen`?"),
        ("PAYBRIDGE_INGRES__LISTEN", "x", "unknown key `ingres`: did you mean `ingress`?"),
        (
            "PAYBRIDGE_DEDUP__WINDOW_S",
            "long",
            "`dedup.window_s` must be a whole number from 1 to 604800: correct the value",
        ),
        ("PAYBRIDGE_INGRESS__TLS", "x", "`ingress.tls` must be a table: correct the value"),
        ("PAYBRIDGE__INGRESS", "x", "`ingress` must be a table: write it as [ingress]"),
        (
            "PAYBRIDGE_KAFKA__PROPERTIES__ACKS",
            "1",
            "`kafka.properties.acks` is not yours to set, because 200 means that all in-sync replicas have the record: \
             remove it",
        ),
        ("PAYBRIDGE_SPOOL__ENABLED", "often", "`spool.enabled` must be true or false: correct the value"),
    ] {
        let expected = format!("environment variable {variable}: {expected}");
        assert_eq!(problems_of("[ingress]\n[kafka]\n[dedup]\n[spool]", &[(variable, value)]), [expected]);
    }
}

#[test]
fn names_the_file_and_the_line_it_cannot_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("paybridge.toml");
    let name = path.display().to_string();
    for (text, expected) in [
        ("[ingress]\nlistn = 1", format!("{name}: unknown key `ingress.listn`: did you mean `listen`?")),
        ("[ingress]\n\nlisten = ", format!("{name}:3: this is not TOML: ")),
    ] {
        fs::write(&path, text).unwrap();
        let told = Config::load(Some(&path), []).unwrap_err().to_string();
        assert!(told.starts_with(&expected), "{told}");
    }
    let told = Config::load(Some(directory.path()), []).unwrap_err().to_string();
    assert!(told.contains("this cannot be read: it is not a regular file"), "{told}");
    assert!(Config::load(None, []).is_ok());
}
