//! The daemon beside the floor, with the same webhooks, the same keys and the same lingering: how much they can take, and how
//! fast they are at half of that. Must not judge.

use super::in_turn;
use crate::pace::Pace;
use crate::report::{Bound, Report};
use crate::setup::{Case, LoadSetup};
use crate::subject::Subject;
use crate::webhooks::{Kind, Size};

/// What the daemon's figures are held to.
struct Bars {
    /// Its processor time a webhook over the floor's.
    processor: Bound,
    /// Webhooks a second, on one node with a linger of 1 ms.
    per_second: Bound,
}

/// The daemon takes at least this share of what the floor takes.
const THROUGHPUT: Bound = Bound::AtLeast(0.75);
/// Milliseconds that its p99 may be above the floor's, at half of what it can take.
const P99_MS: Bound = Bound::AtMost(2.0);

/// RSA signatures, of 1 KB.
pub fn smart_glocal(setup: &mut LoadSetup) -> Report {
    let bars = Bars { processor: Bound::AtMost(1.45), per_second: Bound::AtLeast(20_000.0) };
    compare(setup, "smart-glocal", Size::Bytes(1024), &bars)
}

/// HMACs, of 1 KB.
pub fn unipaas(setup: &mut LoadSetup) -> Report {
    let bars = Bars { processor: Bound::AtMost(1.7), per_second: Bound::AtLeast(30_000.0) };
    compare(setup, "unipaas", Size::Bytes(1024), &bars)
}

/// Encrypted bodies, as large as they are.
pub fn undostres(setup: &mut LoadSetup) -> Report {
    compare(setup, "undostres", Size::Sample, &Bars { processor: Bound::None, per_second: Bound::None })
}

fn compare(setup: &mut LoadSetup, name: &'static str, size: Size, bars: &Bars) -> Report {
    let mut report = Report::default();
    for linger_ms in setup.sizes.lingers_ms.clone() {
        let case = Case { kind: Kind::of(name), size, sources: 1, linger_ms, pace: Pace::Closed };
        let entries = [(Subject::Echo, case), (Subject::Floor, case), (Subject::Daemon, case)];
        let medians = in_turn(setup, &mut report, name, &entries);
        let (floor, daemon) = (&medians[1], &medians[2]);
        let begin = format!("linger {linger_ms}");
        let per_second = match (setup.nodes(), linger_ms) {
            (1, 1) => bars.per_second,
            _ => Bound::None,
        };
        report.tell(name, format!("{begin}: acknowledged"), daemon.per_second, "/s", per_second);
        let throughput = daemon.per_second / floor.per_second;
        report.tell(name, format!("{begin}: acknowledged, daemon over floor"), throughput, "", THROUGHPUT);
        let processor = daemon.processor_us / floor.processor_us;
        report.tell(name, format!("{begin}: µs a webhook, daemon over floor"), processor, "", bars.processor);

        let half = floor.per_second.min(daemon.per_second) / 2.0;
        let case = Case { pace: Pace::Open(half), ..case };
        let medians = in_turn(setup, &mut report, name, &[(Subject::Floor, case), (Subject::Daemon, case)]);
        let (floor, daemon) = (&medians[0], &medians[1]);
        let begin = format!("linger {linger_ms}, {half:.0}/s");
        report.tell(name, format!("{begin}: p99, daemon less floor"), daemon.p99_ms - floor.p99_ms, "ms", P99_MS);
        let processor = daemon.processor_us / floor.processor_us;
        report.tell(name, format!("{begin}: µs a webhook, daemon over floor"), processor, "", bars.processor);
    }
    report
}
