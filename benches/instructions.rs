//! Counts what one webhook costs in each step that is ours, for each provider: instructions, as valgrind's callgrind sees them, and
//! allocations. Steadier than time. `cargo bench --bench instructions [-- NAME]`. Must not know HTTP or Kafka.
//!
//! Valgrind shows the program no instructions for SHA, so that hashes weigh more than on a machine that has them.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement: it tells its reader, and nobody else waits"
)]

mod subject;

use std::alloc::System;
use std::env;
use std::hint::black_box;
use std::process::Command;

use paybridge::encode::RecordForm;
use paybridge::provider::AuthenticWebhook;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use subject::{SOURCES, Subject};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const STEPS: [&str; 3] = ["authenticate", "normalize", "encode"];

const TIMES: usize = 500;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--repeat", name, step] => drop(repeat(name, step)),
        [] => table(""),
        [only, ..] => table(only),
    }
}

/// A row a provider: instructions and allocations of each step, and of all.
fn table(only: &str) {
    println!("{:<18} {:>6}  {:>20} {:>20} {:>20} {:>20}", "", "bytes", STEPS[0], STEPS[1], STEPS[2], "together");
    for row in SOURCES.into_iter().filter(|(name, ..)| name.contains(only)) {
        let steps = STEPS.map(|step| (instructions(row.0, step), repeat(row.0, step)));
        let together = steps.iter().fold((0, 0), |sum, step| (sum.0 + step.0, sum.1 + step.1));
        let cells = steps
            .iter()
            .chain([&together])
            .map(|(instructions, allocations)| format!(" {:>20}", format!("{instructions} / {allocations}")));
        println!("{:<18} {:>6} {}", row.0, Subject::of(row).raw.body.len(), cells.collect::<String>());
    }
}

/// The instructions of one step: those of all, as another process of this program takes it.
fn instructions(name: &str, step: &str) -> usize {
    let mut valgrind = Command::new("valgrind");
    // What comes before the steps is not counted.
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*all_of*"]);
    let output = valgrind.arg(env::current_exe().unwrap()).args(["--repeat", name, step]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    let count = told.lines().find_map(|line| line.split_once("Collected : ")).unwrap().1;
    count.trim().parse::<usize>().unwrap() / TIMES
}

/// Takes a step again and again; how many allocations one of them makes.
fn repeat(name: &str, step: &str) -> usize {
    let subject = Subject::of(SOURCES.into_iter().find(|row| row.0 == name).unwrap());
    let Subject { source, raw, .. } = &subject;
    let webhook = AuthenticWebhook::authenticate(&**source, raw.clone()).ok().unwrap();
    let event = source.normalize("measured", &webhook).event().unwrap();
    let (encoder, id) = (subject.encoder(), event.identity.of_webhook());
    let region = Region::new(ALLOCATOR);
    match step {
        "authenticate" => all_of(|| source.authenticate(black_box(raw))),
        "normalize" => all_of(|| source.normalize("measured", black_box(&webhook))),
        _ => all_of(|| encoder.authentic(black_box(&webhook), black_box(&event), id, RecordForm::AsConfigured)),
    }
    let stats = region.change();
    (stats.allocations + stats.reallocations) / TIMES
}

/// Takes one step so many times. Its name is what callgrind counts by.
#[inline(never)]
fn all_of<T>(step: impl Fn() -> T) {
    for _ in 0..TIMES {
        drop(black_box(step()));
    }
}
