//! What a webhook costs at different rates, sizes, and numbers of sources.
//! Must not judge.

use super::in_turn;
use crate::measured::Measured;
use crate::pace::Pace;
use crate::report::{Bound, Report};
use crate::setup::{Case, LoadSetup};
use crate::subject::Subject;
use crate::webhooks::{Kind, Size};

/// The dearest of the rates over the cheapest.
const RATES: Bound = Bound::AtMost(1.5);
/// The growth of the cost over the growth of the body.
const BODIES: Bound = Bound::AtMost(1.0);
/// With many sources over with one: the same, but for what two measurements of the same differ by.
const SOURCES: Bound = Bound::AtMost(1.1);

/// From a trickle to a stream.
pub fn with_rate(setup: &mut LoadSetup) -> Report {
    const NAME: &str = "scaling-rate";
    let mut report = Report::default();
    let case = |rate| Case { pace: Pace::Open(rate), ..usual() };
    let rates = setup.sizes.rates.clone();
    let entries: Vec<(Subject, Case)> =
        rates.iter().flat_map(|rate| [(Subject::Floor, case(*rate)), (Subject::Daemon, case(*rate))]).collect();
    let medians = in_turn(setup, &mut report, NAME, &entries);
    for (subject, bound) in [(Subject::Floor, Bound::None), (Subject::Daemon, RATES)] {
        let costs: Vec<f64> = costs(&medians, subject).collect();
        let (least, most) =
            costs.iter().fold((f64::MAX, 0.0_f64), |(least, most), cost| (least.min(*cost), most.max(*cost)));
        let what = format!("{}: µs a webhook, dearest of {rates:?}/s over cheapest", subject.name());
        report.tell(NAME, what, most / least, "", bound);
    }
    let (floors, daemons) = (costs(&medians, Subject::Floor), costs(&medians, Subject::Daemon));
    for (rate, (floor, daemon)) in rates.iter().zip(floors.zip(daemons)) {
        report.tell(NAME, format!("{rate}/s: µs a webhook, daemon over floor"), daemon / floor, "", Bound::None);
    }
    report
}

/// From small bodies to large ones.
pub fn with_size(setup: &mut LoadSetup) -> Report {
    const NAME: &str = "scaling-size";
    let mut report = Report::default();
    let (bodies, rate) = setup.sizes.bodies.clone();
    let case = |bytes| Case { size: Size::Bytes(bytes), pace: Pace::Open(rate), ..usual() };
    let entries: Vec<(Subject, Case)> =
        bodies.iter().flat_map(|bytes| [(Subject::Floor, case(*bytes)), (Subject::Daemon, case(*bytes))]).collect();
    let medians = in_turn(setup, &mut report, NAME, &entries);
    for (subject, bound) in [(Subject::Floor, Bound::None), (Subject::Daemon, BODIES)] {
        let costs: Vec<f64> = costs(&medians, subject).collect();
        for (bodies, costs) in bodies.windows(2).zip(costs.windows(2)) {
            let bytes = |place: usize| f64::from(u32::try_from(bodies[place]).unwrap());
            let growth = (costs[1] / costs[0]) / (bytes(1) / bytes(0));
            let name = subject.name();
            let what = format!("{name}: growth of µs over growth of bytes, {} to {}", bodies[0], bodies[1]);
            report.tell(NAME, what, growth, "", bound);
        }
    }
    report
}

/// From one source to many, each in turn.
pub fn with_sources(setup: &mut LoadSetup) -> Report {
    const NAME: &str = "scaling-sources";
    let mut report = Report::default();
    let (sources, rate) = setup.sizes.sources.clone();
    let case = |sources| Case { sources, pace: Pace::Open(rate), ..usual() };
    let entries: Vec<(Subject, Case)> = sources.iter().map(|sources| (Subject::Daemon, case(*sources))).collect();
    let medians = in_turn(setup, &mut report, NAME, &entries);
    for (many, daemon) in sources.iter().zip(&medians).skip(1) {
        let what = format!("µs a webhook, {many} sources over {}", sources[0]);
        report.tell(NAME, what, daemon.processor_us / medians[0].processor_us, "", SOURCES);
    }
    report
}

/// What the cases of a scenario have in common.
fn usual() -> Case {
    Case { kind: Kind::of("unipaas"), size: Size::Bytes(1024), sources: 1, linger_ms: 5, pace: Pace::Closed }
}

/// What a webhook cost one of the programs, case after case.
fn costs(medians: &[Measured], subject: Subject) -> impl Iterator<Item = f64> {
    medians.iter().filter(move |one| one.measurement.subject == subject).map(|one| one.processor_us)
}
