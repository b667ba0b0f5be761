//! Runs every check over its corpus and over inputs made of the fixtures, without an engine. With `PAYBRIDGE_FUZZ_SEEDS=FOLDER` it
//! writes the latter there too, a folder for each target: `fuzz/run` lets the engine begin with them.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use paybridge::provider::{PROVIDERS, Provider};
use paybridge_fuzz::fixtures::{files, folder};
use paybridge_fuzz::{TARGETS, declared, decoders, providers, rules, spool};

/// Inputs of one target, by name.
type Inputs = BTreeMap<String, Vec<u8>>;

#[test]
fn every_check_holds_for_its_corpus_and_the_fixtures() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let written = env::var_os("PAYBRIDGE_FUZZ_SEEDS");
    for (target, check) in TARGETS {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target} begins with nothing");
        let corpus = files(&corpora.join(target), "");
        println!("{target}: {} of the corpus, {} of the fixtures", corpus.len(), seeds.len());
        if let Some(folder) = &written {
            let folder = Path::new(folder).join(target);
            fs::create_dir_all(&folder).unwrap();
            seeds.iter().for_each(|(name, input)| fs::write(folder.join(name), input).unwrap());
        }
        for (name, input) in corpus.into_iter().chain(seeds) {
            println!("{target} {name}");
            check(&input);
        }
    }
}

fn seeds(target: &str) -> Inputs {
    match target {
        "declared" => declared_seeds(),
        "decoders" => decoder_seeds(),
        "forwarded" => named(&FORWARDED),
        "providers" => provider_seeds(),
        "replies" => named(&REPLIES),
        "rules" => rule_seeds(),
        "spool" => spool_seeds(),
        _ => panic!("{target}: say what it begins with"),
    }
}

/// A file of two records, and the same as lines that are damaged.
fn spool_seeds() -> Inputs {
    let lines = b"first record of the file\nsecond record of the file".to_vec();
    let damaged = [lines.as_slice(), b"\n\n", &[60, 0, 1]].concat();
    let records = lines.split(|byte| *byte == b'\n').map(spool::record).collect::<Vec<_>>();
    let file = paybridge::spool::batch::encode(1, &records);
    [("damaged".to_owned(), damaged), ("file".to_owned(), file)].into()
}

fn named(inputs: &[&str]) -> Inputs {
    (0..).zip(inputs).map(|(number, input): (u32, _)| (format!("seed-{number}"), input.as_bytes().to_vec())).collect()
}

const FORWARDED: [&str; 5] = [
    "10.0.0.1\n10.0.0.0/8\n\nx-forwarded-for: 198.51.100.1, 10.0.0.2",
    "10.0.0.1\n10.0.0.0/8\n\nx-forwarded-for: [2001:db8::1]:80\nx-forwarded-for: 10.0.0.2",
    "2001:db8:ffff::1\n2001:db8:ffff::/48\n10.0.0.0/8\n\nforwarded: for=\"[2001:db8::1]:_p\";by=10.0.0.2, For=10.0.0.2:80",
    "10.0.0.1\n10.0.0.0/8\n\nforwarded: for=unknown;secret=\"a,b;\\\"\", for=10.0.0.2\nx-forwarded-for: 198.51.100.1",
    "::ffff:10.0.0.1\n10.0.0.0/8\n\nx-forwarded-for: 198.51.100.1, ::ffff:10.0.0.2",
];

const REPLIES: [&str; 7] = [
    "c0200date: Mon, 27 May 2024 02:03:00 GMT\nretry-after: 30\n\n{\"status\":\"ok\"}",
    "e1200\n\n{\"status\":\"ok\",\"session\":{\"id\":\"ps_1\",\"status\":\"in_progress\",\"next_action\":\"confirm\",\"payments\":[{\"id\":\"po_1\",\"amount_details\":{\"amount\":10000,\"currency\":\"usd\"}}]}}",
    "c2400\n\n{\"status\":\"error\",\"error\":{\"code\":\"bank_card_expired\",\"description\":\"The card expired\"}}",
    "d0409\n\n{\"error\":{\"code\":\"idempotency_key_already_exists\"}}",
    "c0500retry-after: Mon, 27 May 2024 02:03:00 GMT\n\n{\"error\":[{\"code\":\"internal_error\",\"description\":7}]}",
    "c0429content-encoding: deflate\n\nslow down",
    "c0403\n\n{\"error\":{\"code\":\"authentication_error\",\"description\":\"\\ud800\"}}",
];

/// Each body of each provider, as it is and signed.
fn provider_seeds() -> Inputs {
    let mut inputs = Inputs::new();
    for (letter, provider) in (providers::FIRST_LETTER..).zip(PROVIDERS.iter()) {
        for (name, request) in requests(*provider) {
            for digit in *b"01" {
                let name = format!("{}-{}-{name}", provider.name(), char::from(digit));
                inputs.insert(name, [&[letter, digit][..], &request].concat());
            }
        }
    }
    inputs
}

/// The bodies of a provider's fixtures, as a webhook without a signature.
fn requests(provider: &dyn Provider) -> Inputs {
    let bodies = files(&folder().join(provider.name()), ".json").into_iter();
    let bodies = bodies.filter(|(name, _)| !name.ends_with(".expected.json") && name != "vectors.json");
    bodies
        .map(|(name, body)| (name, [&b"event/name?a=b\ncontent-type: application/json\n\n"[..], &body].concat()))
        .collect()
}

/// Each preset, told in full by a configuration, with a webhook of it.
fn declared_seeds() -> Inputs {
    let mut inputs = Inputs::new();
    let presets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/provider/presets");
    for (name, text) in files(&presets, ".toml") {
        let name = name.trim_end_matches(".toml");
        let Some(provider) = PROVIDERS.iter().find(|provider| provider.name() == name) else { continue };
        let settings = told_in_full(&String::from_utf8_lossy(&text));
        let bare =
            String::from_utf8(files(&folder().join(name), "source.toml").remove("source.toml").unwrap()).unwrap();
        let bare = bare.replace("\n[", "\n[sources.a.");
        let preset = format!("[sources.a]\nprovider = \"{name}\"\npath = \"/x/b7e0\"\n{bare}");
        let custom = format!(
            "[sources.a]\nprovider = \"custom\"\npath = \"/x/b7e0\"\nsecret_files = [\"github.key\"]\n{settings}"
        );
        let (_, request) = requests(*provider).pop_first().unwrap();
        for (form, config) in [("preset", preset), ("custom", custom)] {
            for digit in [b"0", b"1", b"2"] {
                let input = [config.as_bytes(), declared::SEPARATOR, digit, &request].concat();
                inputs.insert(format!("{form}-{}-{name}", char::from(digit[0])), input);
            }
        }
    }
    inputs
}

/// The tables of a preset that describe webhooks, as those of a source.
fn told_in_full(preset: &str) -> String {
    let tables = preset.split("\n[").skip(1).filter(|table| !table.starts_with("retries"));
    tables.map(|table| format!("\n[sources.a.{table}")).collect()
}

/// Each golden message and each ledger entry of the fixtures, for each decoder.
fn decoder_seeds() -> Inputs {
    let values = files(&folder().join("golden"), ".bin").into_iter().chain(files(&folder().join("ledger"), ".bin"));
    let mut inputs = Inputs::new();
    for (name, value) in values {
        for letter in *b"abcdefghi" {
            // What is shown has a byte before it that says as what.
            let which = if letter == b'i' { &b"\x07"[..] } else { b"" };
            let input = [&[letter][..], which, &value].concat();
            inputs.insert(format!("{}-{name}", char::from(letter)), input);
        }
    }
    assert!(inputs.values().any(|input| input.first() == Some(&decoders::FIRST_LETTER)));
    inputs
}

/// Rules that look at everything, on a session with everything.
fn rule_seeds() -> Inputs {
    let whens = [
        "session.operations.all(o, o.amount.minor_units <= 50000 && o.amount.currency == 'USD')",
        "has(session.status) && session.status in ['created', 'in_progress']",
        "session.operations.exists(o, has(o.customer) && has(o.customer.reference) && o.customer.reference.startsWith('u'))",
        "session.operations[0].metadata.tier == 'gold' ? session.id.size() > 3 : session.source.matches('^sg')",
        "session.operations.filter(o, o.kind == 'payout').size() > 1 || session.operations.map(o, o.id).exists_one(i, i == 'po_1')",
        "has(session.updated_at) && session.updated_at - session.created_at > duration('1h')",
        "!session.operations.exists(o, -o.amount.minor_units % 1000 < 0 || double(o.amount.minor_units) * 1.5 > 1e3)",
        "session.operations.all(o, has(o.instrument) && has(o.instrument.card) && o.instrument.card.bin.contains(\"42\"))",
        "timestamp('2024-05-27T02:03:00Z') < session.created_at && {'a': 1}.a == 1 && [1, 2u, b'x'] != []",
    ];
    let session = "{\"status\":\"ok\",\"session\":{\"id\":\"ps_1\",\"status\":\"in_progress\",\"next_action\":\"confirm\",\
        \"created_at\":\"2024-05-27T02:03:00.000000Z\",\"updated_at\":\"2024-05-27T04:04:00.000000Z\",\"payout_list\":[{\"id\":\"po_1\",\
        \"status\":\"pending\",\"created_at\":\"2024-05-27T02:03:00.000000Z\",\"customer\":{\"reference\":\"user-1\"},\"payout_details\":\
        {\"type\":\"card\",\"card\":{\"brand\":\"visa\",\"bin\":\"424242\",\"last4\":\"4242\"}},\"amount_details\":{\"amount\":10000,\
        \"currency\":\"usd\"},\"metadata\":{\"tier\":\"gold\",\"tries\":3}}]}}";
    let input = |when: &str| [when.as_bytes(), rules::SEPARATOR, session.as_bytes()].concat();
    let mut inputs: Inputs =
        (0..).zip(whens).map(|(number, when): (u32, _)| (format!("seed-{number}"), input(when))).collect();
    let separator = String::from_utf8(rules::SEPARATOR.to_vec()).unwrap();
    inputs.insert("all".to_owned(), input(&whens[..4].join(separator.as_str())));
    inputs
}
