//! How the benchmark is called: to measure, to be tested, or by itself as one of the programs that it measures.
//! Must not know what is measured.

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use libtest_mimic::{Failed, Trial};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::chart;
use crate::report::Report;
use crate::roles;
use crate::scenarios::{SCENARIOS, Scenario};
use crate::setup::LoadSetup;
use crate::sizes::Sizes;
use crate::subject::Subject;
use crate::truth;

/// Measures the ingress beside a bare floor, on a real Kafka.
#[derive(Parser)]
#[command(name = "cargo bench --bench load --")]
struct Options {
    /// Only this scenario; again and again.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How long one measurement takes.
    #[arg(long, value_name = "N", default_value_t = 5)]
    seconds: u64,
    /// How often each program is measured, in turn with the others.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Only with records that wait so many milliseconds for others; again and again.
    #[arg(long, value_name = "MS")]
    linger: Vec<u32>,
    /// Kafka's nodes: 1, or 3 with as many replicas.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = nodes)]
    nodes: usize,
    /// Writes every figure there.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws floor and daemon there, as SVG.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn nodes(text: &str) -> Result<usize, &'static str> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("1 or 3"),
    }
}

/// Does what the arguments ask for.
pub fn main() {
    let is_there = |name: &str| env::args().any(|argument| argument == name);
    if is_there("--role") {
        roles::run(&roles::Arguments::parse());
    } else if is_there("--bench") {
        open_more_files();
        measure(&Options::parse());
    } else {
        test();
    }
}

/// Lets this process, and so those that it starts, have as many connections as it may allow itself.
fn open_more_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

fn measure(options: &Options) {
    let mut sizes = Sizes::full();
    (sizes.rounds, sizes.measure) = (options.rounds.max(1), Duration::from_secs(options.seconds.max(1)));
    if !options.linger.is_empty() {
        sizes.lingers_ms.clone_from(&options.linger);
    }
    let unknown = options.only.iter().find(|name| SCENARIOS.iter().all(|(known, _)| known != name));
    if let Some(unknown) = unknown {
        let names: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        panic!("{unknown}? There are {}", names.join(", "));
    }
    let mut setup = LoadSetup::new(sizes, options.nodes);
    let (mut report, mut failed) = (Report::default(), Vec::new());
    for (name, scenario) in SCENARIOS {
        if options.only.is_empty() || options.only.iter().any(|only| only == name) {
            println!("{name} …");
            // The others' figures are not lost with one's. It has said why.
            match catch_unwind(AssertUnwindSafe(|| scenario(&mut setup))) {
                Ok(its) => report.merge(its),
                Err(_panic) => failed.push(name),
            }
        }
    }
    drop(setup);
    println!("\n{}", report.table());
    if let Some(path) = &options.json {
        fs::write(path, format!("{:#}\n", report.json(options.nodes))).unwrap();
    }
    if let Some(path) = &options.chart {
        chart::draw(path, &report.medians).unwrap();
    }
    assert!(failed.is_empty(), "not measured: {}", failed.join(", "));
}

/// Every scenario as a test: that it runs, is answered as it should be, and tells its figures. Nothing of how fast.
fn test() {
    let mut arguments = libtest_mimic::Arguments::from_args();
    arguments.test_threads = Some(1); // they share one Kafka, and two cores
    let setup = Arc::new(Mutex::new(None));
    let scenarios = SCENARIOS.map(|(name, scenario)| {
        let setup = Arc::clone(&setup);
        Trial::test(name, move || check(&mut setup.lock().unwrap_or_else(PoisonError::into_inner), name, scenario))
    });
    let trials = truth::trials().into_iter().chain(scenarios).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(setup); // before the process ends without it
    conclusion.exit();
}

fn check(setup: &mut Option<LoadSetup>, name: &str, scenario: Scenario) -> Result<(), Failed> {
    let report = scenario(setup.get_or_insert_with(|| LoadSetup::new(Sizes::smoke(), 1)));
    if report.verdicts.is_empty() {
        return Err(format!("{name} tells nothing").into());
    }
    for run in &report.runs {
        if !run.complaints.is_empty() || run.per_second <= 0.0 || !run.figures().iter().all(|one| one.is_finite()) {
            return Err(run.line().into());
        }
    }
    if let Some(verdict) = report.verdicts.iter().find(|verdict| !verdict.value.is_finite()) {
        return Err(format!("{}: {}", verdict.what, verdict.value).into());
    }
    told(&report)
}

/// What is told has every median and every figure, as text, as JSON, and as a picture that shows each pair.
fn told(report: &Report) -> Result<(), Failed> {
    let told = report.json(1);
    let count = |name: &str| told[name].as_array().map_or(0, Vec::len);
    assert_eq!(
        (count("medians"), count("verdicts"), count("runs")),
        (report.medians.len(), report.verdicts.len(), report.runs.len())
    );
    assert_eq!(report.table().lines().count(), report.medians.len() + report.verdicts.len() + 5);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("chart.svg");
    chart::draw(&file, &report.medians).map_err(|error| error.to_string())?;
    let drawn = fs::read_to_string(file)?;
    for median in report.medians.iter().filter(|one| one.measurement.subject == Subject::Floor) {
        assert!(
            drawn.contains(&median.measurement.full_title()),
            "{} is not in {drawn}",
            median.measurement.full_title()
        );
    }
    Ok(())
}
