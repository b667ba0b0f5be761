//! What one webhook costs in each step that is ours, for each provider: authenticate, normalize, encode.
//! `cargo bench --bench providers`; a step that got slower has a name then. Must not know HTTP or Kafka.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot begin has no caller to tell")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use jiff::Timestamp;
use paybridge::config::files::FileReader;
use paybridge::config::{Config, EvidenceKeep};
use paybridge::ingress::encode::{Bridge, Carry, Encoder};
use paybridge::provider::{self, AuthenticWebhook, Provider, RawWebhook, Source};

/// A source of each provider, with the fixtures' keys, and the event whose sample is measured.
const SOURCES: [(&str, &str, &str); 4] = [
    ("smart-glocal", "payment-finished", "public_key_files = [\"KEYS/smart-glocal-public.pem\"]"),
    ("undostres", "payment-request-card", "key_files = [\"KEYS/undostres.key\"]\naccount_ids = [321]"),
    ("unipaas", "authorization-update", "secret_files = [\"KEYS/unipaas.key\"]"),
    ("standard-webhooks", "received", "secret_files = [\"KEYS/standard-webhooks.key\"]"),
];

/// One source, and a webhook that it takes.
struct Subject {
    provider: &'static dyn Provider,
    source: Box<dyn Source>,
    raw: RawWebhook,
}

fn subject(name: &str, event: &str, settings: &str) -> Subject {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys");
    let settings = settings.replace("KEYS", &keys.display().to_string());
    let toml = format!("[sources.measured]\nprovider = \"{name}\"\n{settings}\n");
    let config = Config::from_toml(&toml, []).unwrap_or_else(|errors| panic!("{errors}"));
    let (_, settings) = config.sources.first_key_value().unwrap();
    let provider = provider::find(name).unwrap();
    let signing_key = keys.join("smart-glocal-private.pem");
    let signing_key = (name == "smart-glocal").then_some(signing_key.as_path());
    let sender = provider.sender(&settings.section, &FileReader::new(), signing_key).unwrap();
    let event_type = provider.event_types().iter().find(|event_type| event_type.topic_part == event).unwrap();
    let now = Timestamp::now();
    let signed = sender.sample(event_type, now, 100_000_000_000);
    let headers = signed
        .headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    let raw = RawWebhook {
        path_suffix: signed.path_suffix,
        headers: headers.collect::<HeaderMap>(),
        body: signed.body,
        remote_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received_at: now,
    };
    Subject { provider, source: provider.configure(&settings.section, &FileReader::new()).unwrap(), raw }
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, subject: &Subject) {
    let Subject { provider, source, raw } = subject;
    let authentic = || AuthenticWebhook::authenticate(&**source, raw.clone()).unwrap_or_else(|_| panic!("{name}"));
    let webhook = authentic();
    let event = source.normalize("measured", &webhook);
    let bridge = Arc::new(Bridge { instance: "paybridge-0".to_owned(), keep: EvidenceKeep::Inline });
    let encoder = Encoder::new(bridge, "measured", *provider, "payments");

    group.throughput(Throughput::Bytes(u64::try_from(raw.body.len()).unwrap()));
    group.bench_function(format!("{name}/authenticate"), |bencher| {
        bencher.iter_batched(
            || raw.clone(),
            |raw| AuthenticWebhook::authenticate(&**source, black_box(raw)).is_ok(),
            BatchSize::SmallInput,
        );
    });
    group.bench_function(format!("{name}/normalize"), |bencher| {
        bencher.iter(|| source.normalize("measured", black_box(&webhook)));
    });
    group.bench_function(format!("{name}/encode"), |bencher| {
        bencher.iter(|| {
            encoder.authentic(black_box(&webhook), black_box(&event), event.identity.of_webhook(), Carry::AsConfigured)
        });
    });
}

fn webhooks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("webhook");
    for (name, event, settings) in SOURCES {
        measure(&mut group, name, &subject(name, event, settings));
    }
    group.finish();
}

criterion_group!(benches, webhooks);
criterion_main!(benches);
