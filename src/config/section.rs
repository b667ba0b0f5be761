//! One table of the configuration, parsed later by whoever knows its keys.
//! Must not know which keys there are.

use figment::Figment;
use figment::providers::Serialized;
use figment::value::Dict;
use serde::de::DeserializeOwned;

/// A table of the configuration: `[sources.sg-main]` without the keys that every source has.
#[derive(Clone)]
pub struct Section {
    name: String,
    table: Dict,
}

/// A key of a section that is unknown, missing, or of the wrong type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SectionError(String);

impl Section {
    /// A section named as in the file.
    pub fn new(name: impl Into<String>, table: Dict) -> Self {
        Self { name: name.into(), table }
    }

    /// The section's name in the file: `sources.sg-main`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Parses the section. Text is taken as a number or boolean where one is wanted, as environment values are text.
    ///
    /// # Errors
    /// A key is unknown, missing, or of the wrong type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, SectionError> {
        Figment::from(Serialized::defaults(&self.table))
            .extract_lossy()
            .map_err(|error| SectionError(format!("{}: {error}", self.name)))
    }
}
