//! At the log level that tells most, neither logs nor metrics tell a secret or a person's data.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::provider::{self, SignedWebhook};

use crate::support::bridge::{create_needed_topics, sender};
use crate::support::daemon::{Client, Daemon, Exchange, Settings, configuration};
use crate::support::kafka::{Kafka, User};

/// Keys that are recognized wherever they appear.
const UNDOSTRES_KEY: &str = "Planted-key-4711"; // 16 bytes
const UNIPAAS_SECRET: &str = "planted-unipaas-secret-0815";
const STANDARD_SECRET: &str = "cGxhbnRlZC1zdGFuZGFyZC13ZWJob29rcy1zZWNyZXQ="; // base64
const PATH_SEGMENT: &str = "planted-path-segment";
const E_MAIL: &str = "planted.person@example.com";

#[test]
fn tells_no_secret_and_no_personal_data_at_level_trace() {
    let kafka = Kafka::shared();
    let (user, password) = User::Admin.login();
    let folder = tempfile::tempdir().unwrap();
    let text = configuration_with_planted_secrets(kafka, folder.path(), user, password);
    let config = Config::from_toml(&text, []).unwrap();
    create_needed_topics(kafka, &config);
    let mut daemon = Daemon::run(&text);
    daemon.await_ready();
    let client = daemon.client();
    let mut told = String::new();
    for source in ["sg-main", "udt", "unipaas", "other"] {
        told += &post_all_kinds(&client, &config, source);
    }
    for path in ["/metrics", "/readyz", "/livez"] {
        write!(told, "{:?}", client.admin(path)).unwrap();
    }
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0));
    let log = daemon.log();
    assert!(log.contains(r#""level":"DEBUG""#), "the log tells too little to prove anything: {log}");
    for secret in [UNDOSTRES_KEY, UNIPAAS_SECRET, STANDARD_SECRET, PATH_SEGMENT, E_MAIL, "planted.person", password] {
        for text in [&log, &told] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "`{secret}` is told");
        }
    }
}

/// A webhook that is believed, one that is not, one that is not understood, and one of unknown type; all with personal data.
fn post_all_kinds(client: &Client, config: &Config, source: &str) -> String {
    let sender = sender(config, source);
    let bodies = [
        format!(r#"{{"type":"ready_to_confirm","session":{{"id":"{E_MAIL}","customer":{{"email":"{E_MAIL}"}}}}}}"#),
        format!(r#"{{"type":"{E_MAIL}","status":"{E_MAIL}","name":"{E_MAIL}"}}"#),
        format!(r#"{{"{E_MAIL}"#),
        format!(r#"{{"type":"ready_to_confirm","session":{{"id":["{E_MAIL}"],"payments":"{E_MAIL}"}}}}"#),
        E_MAIL.to_owned(),
    ];
    let provider = provider::find(&config.sources.get(source).unwrap().provider).unwrap();
    let samples = provider.event_types().iter().map(|kind| sender.sample(kind, Timestamp::now(), 1));
    let bodies = bodies.iter().map(|body| sender.sign("", body.clone().into(), Timestamp::now(), 0));
    let mut told = String::new();
    for signed in samples.chain(bodies) {
        let body = format!("{E_MAIL} {E_MAIL}");
        let mut forged = SignedWebhook { body: body.into(), ..signed.clone() };
        forged.headers.iter_mut().for_each(|(_, value)| value.insert_str(0, E_MAIL));
        for webhook in [signed, forged] {
            match client.post(source, &webhook) {
                Exchange::Answered(answered) => writeln!(told, "{} {}", answered.status, answered.text).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(told.contains("200 OK") && told.contains("401 Unauthorized"), "{source}: {told}");
    told
}

fn configuration_with_planted_secrets(kafka: &Kafka, folder: &Path, user: &str, password: &str) -> String {
    let file = |name: &str, content: &str| {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let undostres = file("undostres.key", &format!("ascii:{UNDOSTRES_KEY}"));
    let unipaas = file("unipaas.key", UNIPAAS_SECRET);
    let standard = file("standard.key", &format!("whsec_{STANDARD_SECRET}"));
    let password = file("password", password);
    let admin = kafka.client_as(User::Admin);
    let text = configuration(admin.get("bootstrap.servers").unwrap(), Settings::default());
    let (before, after) = text.split_once("[sources.udt]").unwrap();
    let (_, kafka) = after.split_once("[kafka]").unwrap();
    let secure = admin.get("security.protocol").unwrap();
    format!(
        r#"{before}
[sources.udt]
provider = "undostres"
key_files = ["{undostres}"]
account_ids = [321]
[sources.unipaas]
provider = "unipaas"
secret_files = ["{unipaas}"]
path = "/in/{PATH_SEGMENT}"
[sources.other]
provider = "standard-webhooks"
secret_files = ["{standard}"]
[log]
level = "trace"
[kafka]{kafka}
[kafka.properties]
"security.protocol" = "{secure}"
"sasl.mechanism" = "PLAIN"
"sasl.username" = "{user}"
"debug" = "all"
[kafka.property_files]
"sasl.password" = "{password}"
"#
    )
}
