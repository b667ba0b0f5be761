//! Keys while they are being changed: two at once, new files taken into use without a restart, unusable ones not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use paybridge::config::files::FileReader;
use paybridge::provider::keys::generate_pem_pair;
use paybridge::provider::{self, SignedWebhook};
use sha2::{Digest, Sha256};

use crate::support::bridge::{Bridge, event_type, key_file};
use crate::support::eventually::eventually;
use crate::support::kafka::Kafka;
use crate::support::wire::{short_hex, told};

/// In force within 10 s is promised; a machine that builds beside the tests may stop for a while too.
const IN_FORCE: Duration = Duration::from_secs(20);

/// One source whose key files are the test's own. Absolute paths stand in single quotes: those are left as they are.
fn source(name: &str, provider: &str, files: &str, paths: &[&Path]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| format!("'{}'", path.display())).collect();
    format!("[sources.{name}]\nprovider = \"{provider}\"\n{files} = [{}]\n", paths.join(", "))
}

/// A `UNIPaaS` payout signed with the secret in a file.
fn payout(bridge: &Bridge, secret: &Path, number: u64) -> SignedWebhook {
    let settings = &bridge.config.sources.get("unipaas").unwrap().section;
    let unipaas = provider::find("unipaas").unwrap();
    let sender = unipaas.sender(settings, &FileReader::new(), Some(secret)).unwrap();
    sender.sample(event_type("unipaas", "payout-update"), Timestamp::now(), number)
}

/// A Smart Glocal webhook signed with the private key in a file.
fn confirm(bridge: &Bridge, private: &Path, number: u64) -> SignedWebhook {
    let settings = &bridge.config.sources.get("sg-main").unwrap().section;
    let smart_glocal = provider::find("smart-glocal").unwrap();
    let sender = smart_glocal.sender(settings, &FileReader::new(), Some(private)).unwrap();
    sender.sample(event_type("smart-glocal", "ready-to-confirm"), Timestamp::now(), number)
}

/// How metrics show a secret of the source `unipaas`: its id, salted with the source's name, and cut.
fn label_of(secret: &str) -> String {
    let id = short_hex(&Sha256::digest(secret.as_bytes()), 8);
    let mut salted = Sha256::new();
    for part in ["unipaas", id.as_str()] {
        salted.update(u64::try_from(part.len()).unwrap().to_be_bytes());
        salted.update(part);
    }
    short_hex(&salted.finalize(), 4)
}

/// The value of a counter as it is shown; nothing where it is not.
fn counted(bridge: &Bridge, series: &str) -> Option<String> {
    let metrics = bridge.admin("/metrics").text;
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).map(str::to_owned)
}

fn verified(bridge: &Bridge, source: &str, key_id: &str) -> Option<String> {
    counted(bridge, &format!(r#"paybridge_ingress_verified_total{{source="{source}",key_id="{key_id}"}}"#))
}

fn reloads(bridge: &Bridge, source: &str, result: &str) -> Option<String> {
    counted(bridge, &format!(r#"paybridge_key_reloads_total{{source="{source}",result="{result}"}}"#))
}

#[track_caller]
fn await_reloads(bridge: &Bridge, source: &str, result: &str, count: &str) {
    eventually(IN_FORCE, || match reloads(bridge, source, result) {
        Some(shown) if shown == count => Ok(()),
        other => Err(format!("{result} reloads of {source}: {other:?}, not {count}")),
    });
}

const ACCEPTED: (u16, &str) = (200, "accepted");
const UNAUTHENTIC: (u16, &str) = (401, "unauthentic");

#[track_caller]
fn check(bridge: &Bridge, source: &str, webhook: &SignedWebhook, expect: (u16, &str)) {
    let (code, status) = told(&bridge.post(source, webhook));
    assert_eq!((code, status.as_str()), expect);
}

#[test]
fn two_keys_verify_at_once_and_each_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
    fs::write(&old, "the old secret\n").unwrap();
    fs::write(&new, "  the new secret").unwrap();
    let bridge = Bridge::start_with(Kafka::shared(), &source("unipaas", "unipaas", "secret_files", &[&old, &new]), &[]);
    check(&bridge, "unipaas", &payout(&bridge, &old, 1), ACCEPTED);
    check(&bridge, "unipaas", &payout(&bridge, &new, 2), ACCEPTED);
    check(&bridge, "unipaas", &payout(&bridge, &new, 3), ACCEPTED);
    check(&bridge, "unipaas", &payout(&bridge, &key_file("unipaas.key"), 4), UNAUTHENTIC);
    assert_eq!(verified(&bridge, "unipaas", &label_of("the old secret")).as_deref(), Some("1"));
    assert_eq!(verified(&bridge, "unipaas", &label_of("the new secret")).as_deref(), Some("2"));
}

#[test]
fn a_replaced_key_file_is_in_force_without_a_restart_and_an_unusable_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let public = folder.path().join("sg.pem");
    fs::copy(key_file("smart-glocal-public.pem"), &public).unwrap();
    let old_private = key_file("smart-glocal-private.pem");
    let (private_text, public_text) = generate_pem_pair().unwrap();
    let new_private = folder.path().join("new-private.pem");
    fs::write(&new_private, private_text.as_bytes()).unwrap();
    let sources = source("sg-main", "smart-glocal", "public_key_files", &[&public]);
    let bridge = Bridge::start_with(Kafka::shared(), &sources, &[]);
    check(&bridge, "sg-main", &confirm(&bridge, &old_private, 1), ACCEPTED);
    check(&bridge, "sg-main", &confirm(&bridge, &new_private, 2), UNAUTHENTIC);

    // Half a file, a private key where a public one belongs, no file: the old key stays.
    let unusable = [Some(public_text[..public_text.len() / 2].to_owned()), Some(private_text.to_string()), None];
    for (count, content) in ["1", "2", "3"].into_iter().zip(unusable) {
        match content {
            Some(content) => fs::write(&public, content).unwrap(),
            None => fs::remove_file(&public).unwrap(),
        }
        await_reloads(&bridge, "sg-main", "unusable", count);
        check(&bridge, "sg-main", &confirm(&bridge, &old_private, 2 + count.parse::<u64>().unwrap()), ACCEPTED);
    }
    assert_eq!(reloads(&bridge, "sg-main", "used").as_deref(), Some("0"));
    bridge.assert_fires("PaybridgeKeyUnusable");

    fs::write(&public, &public_text).unwrap();
    await_reloads(&bridge, "sg-main", "used", "1");
    check(&bridge, "sg-main", &confirm(&bridge, &new_private, 10), ACCEPTED);
    check(&bridge, "sg-main", &confirm(&bridge, &old_private, 11), UNAUTHENTIC);
    let series = bridge.admin("/metrics").text;
    let ones =
        series.lines().filter(|line| line.starts_with("paybridge_ingress_verified_total") && line.ends_with(" 1"));
    assert_eq!(ones.count(), 1, "the new key's counter: {series}");
}

#[test]
fn a_secret_mounted_by_kubernetes_is_in_force_when_its_link_is_swapped() {
    let volume = tempfile::tempdir().unwrap();
    for (directory, secret) in [("..first", "the old secret"), ("..second", "the new secret")] {
        fs::create_dir(volume.path().join(directory)).unwrap();
        fs::write(volume.path().join(directory).join("secret"), secret).unwrap();
    }
    symlink("..first", volume.path().join("..data")).unwrap();
    symlink("..data/secret", volume.path().join("secret")).unwrap();
    let mounted = volume.path().join("secret");
    let bridge = Bridge::start_with(Kafka::shared(), &source("unipaas", "unipaas", "secret_files", &[&mounted]), &[]);
    let [old, new] = ["..first", "..second"].map(|directory| volume.path().join(directory).join("secret"));
    check(&bridge, "unipaas", &payout(&bridge, &old, 1), ACCEPTED);
    symlink("..second", volume.path().join("..next")).unwrap();
    fs::rename(volume.path().join("..next"), volume.path().join("..data")).unwrap();
    let mut number = 1;
    eventually(IN_FORCE, || {
        number += 1;
        let answered = bridge.post("unipaas", &payout(&bridge, &new, number));
        if answered.status == 200 { Ok(()) } else { Err(format!("the new secret: {answered:?}")) }
    });
    check(&bridge, "unipaas", &payout(&bridge, &old, 0), UNAUTHENTIC);
    assert_eq!(verified(&bridge, "unipaas", &label_of("the new secret")).as_deref(), Some("1"));
    assert_eq!(reloads(&bridge, "unipaas", "used").as_deref(), Some("1"));
    assert_eq!(reloads(&bridge, "unipaas", "unusable").as_deref(), Some("0"));
}
