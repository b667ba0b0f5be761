//! An error with its causes on one line, for a log that has one line an event.
//! Must not know any error.

use std::iter::successors;

/// The error and then each cause, from the outermost to the first, joined by colons.
pub fn joined(error: &dyn std::error::Error) -> String {
    let causes = successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |chain, cause| format!("{chain}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Step(&'static str, #[source] Option<Box<Step>>);

    #[test]
    fn tells_every_cause_in_order() {
        let lone = Step("it failed", None);
        assert_eq!(joined(&lone), "it failed");
        let nested = Step("it failed", Some(Box::new(Step("the disk", Some(Box::new(Step("full", None)))))));
        assert_eq!(joined(&nested), "it failed: the disk: full");
    }
}
