//! What is wrong with the description of a sender is told by its key, with what to do.

use super::KEYS;
use crate::provider::declared::CUSTOM;
use crate::provider::tests::fixtures::section;
use crate::provider::{Provider, SourceOutline};

const SIGNATURE: &str = "[signature]\nalgorithm = 'hmac-sha256'\nfrom = 'header:x-signature'\nsigned = '{body}'\n";

fn outline(toml: &str) -> Result<SourceOutline, String> {
    let toml = format!("secret_files = ['first.key']\n{toml}");
    CUSTOM.outline("shop", &section(&toml)).map_err(|error| error.to_string())
}

#[test]
fn tells_the_key_and_the_remedy() {
    let signed = |line: &str| format!("[signature]\nalgorithm = 'hmac-sha256'\nfrom = 'header:x'\n{line}");
    for (toml, expected) in [
        (String::new(), "`sources.test.signature` is missing"),
        (signed("signed = '{body}'\nkeys = 'hex'"), "unknown key `sources.test.signature.keys`: did you mean `key`?"),
        (signed(""), "signature.signed: is missing: write what is signed, such as \"{body}\""),
        (signed("signed = '{boby}'"), "signature.signed: has an unknown name in braces"),
        (signed("signed = '{t}.{body}'"), "signature.signed: names {t}, and there is no timestamp"),
        (signed("signed = '{url}{body}'"), "signature.url: must be the address that the sender has of this source"),
        (signed("signed = '{body}'\nurl = 'https://x'"), "signature.url: is not used"),
        (
            signed("signed = '{body}'\nlist = { separator = ',', assign = '', pick = 'v1' }"),
            "signature.list: needs texts",
        ),
        (
            signed("signed = '{body}'\nlist = { separator = ',', assign = '=', pick = [] }"),
            "signature.list.pick: names no entry",
        ),
        (
            signed("signed = '{body}'\nsplit = { separator = '/', take = -65 }"),
            "signature.split.take: names a piece that no signature has: use a number from -64 to 64",
        ),
        (signed("signed = '{body}'\nkey_id_from = 'pointer:/a'"), "signature.key_id_from: names no header"),
        (
            signed("signed = '{body}'").replace("header:x", "pointer:/x"),
            "signature.from: names no header and no parameter",
        ),
        (
            signed("signed = '{body}'").replace("hmac-sha256", "token"),
            "signature.signed: does not go with algorithm = \"token\"",
        ),
        (signed("signed = '{body}'").replace("hmac-sha256", "ed25519"), "public_key_files: is empty"),
        (signed("signed = '{body}'").replace("hmac-sha256", "md5"), "sources.test.signature.algorithm"),
        (format!("{SIGNATURE}[timestamp]\nfrom = 'header:x-time'\nformat = 'unix-s'"), "timestamp.from: is not signed"),
        (
            format!("{SIGNATURE}[timestamp]\nfrom = 'list:t'\nformat = 'unix-s'"),
            "timestamp.from: names an entry of a list",
        ),
        (
            format!("{SIGNATURE}[timestamp]\nfrom = 'pointer:/at'\nformat = 'unix-s'\ntolerance_s = 0"),
            "timestamp.tolerance_s: must be",
        ),
        (format!("{SIGNATURE}[event]\nidentity = 'id'"), "event.identity: = \"id\" needs an id that is signed"),
        (
            format!("{SIGNATURE}[event]\nid = 'header:x-id'\nidentity = 'id'"),
            "event.identity: = \"id\" needs an id that is signed",
        ),
        (
            format!("{SIGNATURE}[event]\neach = 'pointer:/a'\nidentity = 'latest'"),
            "event.identity: = \"latest\" does not go with event.each",
        ),
        (
            format!("{SIGNATURE}[event]\nid = 'pointer:/a + pointer:/b'\nidentity = 'id'"),
            "event.id: joins values, which two ids could share",
        ),
        (format!("{SIGNATURE}[event]\nkey = 'data.id'"), "event.key: names no place"),
        (format!("{SIGNATURE}[event]\neach = 'header:x'"), "event.each: must be a place in the body"),
        (format!("{SIGNATURE}[topics]\n'a' = 'B'"), "topics.a: must be a part of a topic's name"),
        (format!("{SIGNATURE}[answer]\nstatus = 500"), "answer.status: must be from 200 to 299"),
        (
            format!("{SIGNATURE}[answer]\nhandshake = {{ when = 'pointer:/a', echo = 'pointer:/b' }}"),
            "answer.handshake.when: has no value",
        ),
        ("[signature]\nalgorithm = 'token'\nfrom = 'query:x'".to_owned(), "signature.from: has the token in the query"),
        (format!("topic_part = 'A'\n{SIGNATURE}"), "topic_part: must be a part of a topic's name"),
    ] {
        let problem = outline(&toml).err().unwrap_or_else(|| panic!("{toml} is taken"));
        assert!(problem.starts_with(expected) || problem.contains(expected), "{toml}\n{problem}");
    }
}

#[test]
fn an_outline_tells_what_the_settings_give() {
    let plain = outline(SIGNATURE).unwrap();
    assert_eq!((plain.topic_group.as_str(), plain.body_unsigned, plain.partitions_max), ("shop", false, Some(3)));
    assert_eq!(plain.evidence_headers, ["x-signature"]);
    let toml =
        format!("topic_part = 'shared'\n{SIGNATURE}[event]\nid = 'header:x-id'\ntype = 'header:x-type + pointer:/a'");
    let other = outline(&toml).unwrap();
    assert_eq!(other.topic_group, "shared");
    assert_eq!(other.evidence_headers, ["x-signature", "x-id", "x-type"]);
    let token = "[signature]\nalgorithm = 'token'\nfrom = 'header:x-token'";
    let by_token = outline(token).unwrap();
    assert!(by_token.body_unsigned && by_token.evidence_headers.is_empty(), "a token is a secret");
    assert!(!by_token.keeps_query && !plain.keeps_query);
    let by_query = outline("[signature]\nalgorithm = 'hmac-sha256'\nfrom = 'query:sig'\nsigned = '{body}'").unwrap();
    assert!(by_query.keeps_query);
}

#[test]
fn a_key_file_is_read_as_its_encoding_says() {
    let problem = |file: &str, key: &str| {
        let toml =
            format!("secret_files = ['{file}']\n{}", SIGNATURE.replace("signed", &format!("key = '{key}'\nsigned")));
        CUSTOM.configure(&section(&toml), &KEYS).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(problem("hex.key", "hex"), "");
    assert_eq!(problem("first.key", "utf8"), "");
    assert!(
        problem("first.key", "hex").contains("needs a shared secret in hex digits"),
        "{}",
        problem("first.key", "hex")
    );
    assert!(problem("first.key", "whsec").contains("needs whsec_ and base64"));
    assert!(problem("none.key", "utf8").contains("cannot be read"));
}
