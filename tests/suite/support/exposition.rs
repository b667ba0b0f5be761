//! Prometheus's text format, read strictly: what `/metrics` says, a series a line.

use std::collections::{BTreeMap, BTreeSet};

/// All that one look at `/metrics` gave.
pub struct Exposition {
    /// Each metric's `# HELP`.
    pub help: BTreeMap<String, String>,
    /// Each metric's `# TYPE`.
    pub kind: BTreeMap<String, String>,
    /// Every series, in the order of its line.
    pub series: Vec<Series>,
}

/// One series and its value.
#[derive(Debug)]
pub struct Series {
    /// Its name, with `_bucket`, `_sum` or `_count` where it is one of a histogram's.
    pub name: String,
    /// Its labels, without a bucket's `le`.
    pub labels: BTreeMap<String, String>,
    /// A bucket's upper bound.
    pub le: Option<f64>,
    /// Its value.
    pub value: f64,
}

impl Exposition {
    /// Reads the text; what is not of the format, or stands twice, panics.
    pub fn read(text: &str) -> Self {
        let mut read = Self { help: BTreeMap::new(), kind: BTreeMap::new(), series: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            let twice = if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').unwrap();
                read.help.insert(name.to_owned(), text.to_owned()).is_some()
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                read.kind.insert(name.to_owned(), kind.to_owned()).is_some()
            } else {
                read.series.push(Series::read(line));
                false
            };
            assert!(!twice, "twice: {line}");
        }
        let distinct: BTreeSet<String> =
            read.series.iter().map(|one| format!("{} {:?} {:?}", one.name, one.labels, one.le)).collect();
        assert_eq!(distinct.len(), read.series.len(), "a series stands twice");
        read
    }

    /// The values of all series of this name, by their labels' values in the labels' order.
    pub fn values(&self, name: &str) -> BTreeMap<Vec<&str>, f64> {
        let of_name = self.series.iter().filter(|series| series.name == name && series.le.is_none());
        of_name.map(|series| (series.labels.values().map(String::as_str).collect(), series.value)).collect()
    }

    /// A histogram's buckets by their bounds, for each set of labels.
    pub fn buckets(&self, name: &str) -> BTreeMap<Vec<&str>, Vec<(f64, f64)>> {
        let bucket = format!("{name}_bucket");
        let mut buckets: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for series in self.series.iter().filter(|series| series.name == bucket) {
            let labels = series.labels.values().map(String::as_str).collect();
            buckets.entry(labels).or_default().push((series.le.unwrap(), series.value));
        }
        buckets
    }
}

impl Series {
    fn read(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = match series.strip_suffix('}') {
            Some(labelled) => labelled.split_once('{').unwrap(),
            None => (series, ""),
        };
        assert!(!labels.contains('\\'), "no label value needs escaping: {line}");
        let pair = |label: &str| {
            let (name, value) = label.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('"').to_owned())
        };
        let mut labels: BTreeMap<String, String> =
            labels.split(',').filter(|label| !label.is_empty()).map(pair).collect();
        let le = labels.remove("le").map(|bound| bound.parse().unwrap());
        Self { name: name.to_owned(), labels, le, value: value.parse().unwrap() }
    }
}
