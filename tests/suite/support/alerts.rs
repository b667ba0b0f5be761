//! The chart's alerts, judged by promtool over what a daemon with a fault really shows.
//!
//! One look at `/metrics` stands for an hour of the fault: the process started when it began, gauges stay as they are, and
//! counters have what they show from the first minute on. Where a fault goes on, they grow by so much each minute: tests see
//! some seconds of it. So an alert that asks for a series or a value that its fault does not leave behind does not fire.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;

use super::bridge::Bridge;
use super::cache::CHECKOUT;
use super::exposition::{Exposition, Series};

/// The rendered chart with all alerts; a test of the chart keeps it up to date.
const RENDERED: &str = "tests/helm/golden/production.yaml";
/// How the rendered chart names its release.
const TARGET: [(&str, &str); 3] = [("namespace", "payments"), ("job", "pay"), ("pod", "pay-paybridge-0")];
/// The minute in which the fault begins, and how many minutes it lasts.
const BEGINS_AT_MIN: u64 = 60;
const LASTS_MIN: u64 = 60;

/// The rules of the rendered chart, as Prometheus reads them.
pub fn rules() -> &'static str {
    static RULES: OnceLock<String> = OnceLock::new();
    RULES.get_or_init(|| {
        let text = fs::read_to_string(Path::new(CHECKOUT).join(RENDERED)).unwrap();
        let (_, rule) = text.split_once("\nkind: PrometheusRule\n").unwrap();
        let (_, spec) = rule.split_once("\nspec:\n").unwrap();
        let spec = spec.split("\n---\n").next().unwrap();
        let lines: Vec<&str> = spec.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
        lines.join("\n") + "\n"
    })
}

impl Bridge {
    /// Whoever is on call would hear of the fault that this daemon has: this alert of the chart fires.
    #[track_caller]
    pub fn assert_fires(&self, alert: &str) {
        assert_fires(alert, &self.admin("/metrics").text);
    }

    /// The same if what the counters show happens again each minute.
    #[track_caller]
    pub fn assert_fires_while_it_goes_on(&self, alert: &str) {
        assert_fires_while_it_goes_on(alert, &self.admin("/metrics").text);
    }
}

/// Whether what the counters show happens again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Once,
    GoesOn,
}

/// This alert fires while a daemon shows this, at the latest after an hour.
#[track_caller]
pub fn assert_fires(alert: &str, exposition: &str) {
    fires(alert, exposition, Fault::Once);
}

/// The same if what the counters show happens again each minute.
#[track_caller]
pub fn assert_fires_while_it_goes_on(alert: &str, exposition: &str) {
    fires(alert, exposition, Fault::GoesOn);
}

#[track_caller]
fn fires(alert: &str, exposition: &str, fault: Fault) {
    // Some alerts need time, and some are about what has just happened: any minute of the fault is enough.
    let fired =
        format!(r#"clamp_max(count(max_over_time(ALERTS{{alertname="{alert}",alertstate="firing"}}[59m])), 1)"#);
    judge(&rule(alert), exposition, fault, &fired, &[("{}", 1)]);
}

/// The rule of one alert alone: promtool takes seconds for all of them.
#[track_caller]
fn rule(alert: &str) -> String {
    let begins = format!("      - alert: {alert}");
    let is_next = |line: &&str| line.starts_with("      - alert: ") || line.starts_with("  - name: ");
    let mut lines = rules().lines().skip_while(|line| **line != *begins);
    assert!(lines.next().is_some(), "there is no alert {alert}");
    let rest: Vec<&str> = lines.take_while(|line| !is_next(line)).collect();
    format!("groups:\n  - name: {alert}\n    rules:\n{begins}\n{}\n", rest.join("\n"))
}

/// No alert fires while a daemon shows this, but for these.
#[track_caller]
pub fn assert_none_fires_but(exposition: &str, but: &[&str]) {
    let others = format!(r#"max_over_time(ALERTS{{alertname!~"{}",alertstate="firing"}}[59m])"#, but.join("|"));
    judge(rules(), exposition, Fault::GoesOn, &others, &[]);
}

#[track_caller]
fn judge(rules: &str, exposition: &str, fault: Fault, expression: &str, expected: &[(&str, u8)]) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    let samples: Vec<_> = expected.iter().map(|(labels, value)| json!({"labels": labels, "value": value})).collect();
    let case = json!({
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": input_series(exposition, fault),
            "promql_expr_test": [{"expr": expression, "eval_time": format!("{}m", BEGINS_AT_MIN + LASTS_MIN - 1), "exp_samples": samples}],
        }],
    });
    // JSON is YAML.
    fs::write(folder.path().join("case.yaml"), case.to_string()).unwrap();
    let run = Command::new(Path::new(CHECKOUT).join("tests/helm/run"))
        .args(["promtool", "test", "rules", "case.yaml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{told}\n{exposition}");
}

fn input_series(exposition: &str, fault: Fault) -> Vec<serde_json::Value> {
    let shown = Exposition::read(exposition);
    let up = Series {
        name: "up".to_owned(),
        labels: [("container".to_owned(), "paybridge".to_owned())].into(),
        le: None,
        value: 1.0,
    };
    shown
        .series
        .iter()
        .chain([&up])
        .map(|series| json!({"series": selector(series), "values": values(series, &shown, fault)}))
        .collect()
}

fn selector(series: &Series) -> String {
    let own = series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let le = series.le.map(|bound| if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() });
    let labels = own.chain(TARGET).chain(le.as_deref().map(|bound| ("le", bound)));
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{}{{{}}}", series.name, labels.join(","))
}

/// Absent before the fault, and then a value each minute.
fn values(series: &Series, shown: &Exposition, fault: Fault) -> String {
    let (before, lasts, value) = (BEGINS_AT_MIN - 1, LASTS_MIN, series.value);
    if counts(series, shown) {
        return match fault {
            Fault::Once => format!("_x{before} 0 {value}+0x{lasts}"),
            Fault::GoesOn => format!("_x{before} 0+{value}x{lasts}"),
        };
    }
    let value = if series.name.ends_with("_timestamp_seconds") && value > 0.0 { since_fault(value) } else { value };
    let value = if value.is_infinite() { "Inf".to_owned() } else { value.to_string() };
    format!("_x{before} {value}+0x{lasts}")
}

/// Whether it is a counter, or a part of a histogram.
fn counts(series: &Series, shown: &Exposition) -> bool {
    let kind = |name: &str| shown.kind.get(name).map(String::as_str);
    let histogram = ["_bucket", "_count", "_sum"].iter().find_map(|part| series.name.strip_suffix(part));
    kind(&series.name) == Some("counter") || histogram.is_some_and(|name| kind(name) == Some("histogram"))
}

/// A time of the wall clock as promtool counts it, from 1970 on: now is when the fault begins.
fn since_fault(at: f64) -> f64 {
    let now = jiff::Timestamp::now().as_duration().as_secs_f64();
    (at - now + std::time::Duration::from_secs(BEGINS_AT_MIN * 60).as_secs_f64()).max(1.0)
}
