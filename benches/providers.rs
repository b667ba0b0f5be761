//! What one webhook costs in each step that is ours, for each provider: authenticate, normalize, encode.
//! `cargo bench --bench providers`; a step that got slower has a name then. Must not know HTTP or Kafka.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot begin has no caller to tell")]

mod subject;

use std::hint::black_box;

use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use paybridge::encode::RecordForm;
use paybridge::provider::AuthenticWebhook;
use subject::{SOURCES, Subject};

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, subject: &Subject) {
    let Subject { source, raw, .. } = subject;
    let authentic = || AuthenticWebhook::authenticate(&**source, raw.clone()).unwrap_or_else(|_| panic!("{name}"));
    let webhook = authentic();
    let event = source.normalize("measured", &webhook).event().unwrap();
    let encoder = subject.encoder();

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
            encoder.authentic(
                black_box(&webhook),
                black_box(&event),
                event.identity.of_webhook(),
                RecordForm::AsConfigured,
            )
        });
    });
}

fn webhooks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("webhook");
    for row in SOURCES {
        measure(&mut group, row.0, &Subject::of(row));
    }
    group.finish();
}

criterion_group!(benches, webhooks);
criterion_main!(benches);
