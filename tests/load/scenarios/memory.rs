//! How much memory the daemon takes at full load.
//! Must not judge.

use super::in_turn;
use crate::pace::Pace;
use crate::report::{Bound, Report};
use crate::setup::{Case, LoadSetup};
use crate::subject::Subject;
use crate::webhooks::{Kind, Size};

const NAME: &str = "memory";
/// MiB at most, without what the window of known events takes.
const MEMORY_MIB: f64 = 128.0;
/// Bytes at most of each event that is remembered.
const BYTES_AN_ID: f64 = 64.0;
const BYTES_A_MIB: f64 = 1_048_576.0;

/// The peak of a load in a closed loop, for webhooks that are cheap to verify and for those that are not.
pub fn measure(setup: &mut LoadSetup) -> Report {
    let mut report = Report::default();
    for provider in ["unipaas", "smart-glocal"] {
        let kind = Kind::of(provider);
        let case = Case { kind, size: Size::Bytes(1024), sources: 1, linger_ms: 5, pace: Pace::Closed };
        let rounds = u64::try_from(setup.sizes.rounds).unwrap();
        for daemon in in_turn(setup, &mut report, NAME, &[(Subject::Daemon, case)]) {
            let ids = f64::from(u32::try_from(daemon.answered / rounds).unwrap());
            let most = MEMORY_MIB + ids * BYTES_AN_ID / BYTES_A_MIB;
            let what = format!("{provider}: peak with {} connections and {ids} ids", setup.sizes.connections);
            report.tell(NAME, what, daemon.peak_mib, "MiB", Bound::AtMost(most));
        }
    }
    report
}
