//! The text that Prometheus reads, put in order: the exporter keeps series in hash maps, and a reader compares two texts.
//! Must not know any metric.

/// Families by name, and the series of each by their labels; the lines of one histogram stay together, as they were.
pub fn in_order(text: &str) -> String {
    // A family begins with its name, after the same words, and ends with an empty line.
    let mut families: Vec<&str> = text.split("\n\n").filter(|family| !family.trim().is_empty()).collect();
    families.sort_unstable();
    let mut ordered = String::with_capacity(text.len());
    for family in families {
        let (mut series, comments): (Vec<&str>, Vec<&str>) = family.lines().partition(|line| !line.starts_with('#'));
        // Stable, so that buckets keep their order.
        series.sort_by_key(|line| labels(line));
        for line in comments.into_iter().chain(series) {
            ordered.push_str(line);
            ordered.push('\n');
        }
        ordered.push('\n');
    }
    ordered
}

/// The labels of one line but for a bucket's bound, which stands last.
fn labels(line: &str) -> &str {
    let labels = line.split_once('{').map_or("", |(_, labels)| labels);
    // Other labels' names may end so, too.
    let bound = if labels.starts_with("le=\"") { Some(0) } else { labels.find(",le=\"") };
    let end = bound.or_else(|| labels.rfind('}')).unwrap_or(labels.len());
    labels.get(..end).unwrap_or(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_series_are_ordered_and_a_histogram_stays_whole() {
        let text = concat!(
            "# HELP b Of b.\n# TYPE b counter\nb{kind=\"x\",rule=\"z\"} 1\nb{kind=\"x\",rule=\"a\"} 2\n\n",
            "# TYPE a histogram\n",
            "a_bucket{stage=\"y\",le=\"2.5\"} 0\na_bucket{stage=\"y\",le=\"10\"} 1\na_sum{stage=\"y\"} 5\n",
            "a_bucket{stage=\"x\",le=\"2.5\"} 0\na_bucket{stage=\"x\",le=\"10\"} 1\na_sum{stage=\"x\"} 5\n\n",
        );
        let ordered = concat!(
            "# HELP b Of b.\n# TYPE b counter\nb{kind=\"x\",rule=\"a\"} 2\nb{kind=\"x\",rule=\"z\"} 1\n\n",
            "# TYPE a histogram\n",
            "a_bucket{stage=\"x\",le=\"2.5\"} 0\na_bucket{stage=\"x\",le=\"10\"} 1\na_sum{stage=\"x\"} 5\n",
            "a_bucket{stage=\"y\",le=\"2.5\"} 0\na_bucket{stage=\"y\",le=\"10\"} 1\na_sum{stage=\"y\"} 5\n\n",
        );
        assert_eq!(in_order(text), ordered);
        assert_eq!(in_order(ordered), ordered);
    }
}
