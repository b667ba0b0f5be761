//! Which keys the files of a source hold: for people, who know files, and read ids in metrics and events.
//! Must not know what a key is.

use std::path::PathBuf;

use crate::config::files::FileReader;
use crate::config::{SourceConfig, SourceName};
use crate::provider;

/// The list of files whose passwords are asked for beside a signature: they verify none.
const PASSWORDS: &str = "basic_auth_files";

/// A key file of a source.
pub struct KeyFile {
    /// Its path.
    pub path: PathBuf,
    /// The ids of its keys, as metrics show them.
    pub key_ids: Vec<String>,
}

/// The key files that a source verifies with; without those that cannot be used, which [`super::keys::load`] names.
pub fn of_source(name: &SourceName, settings: &SourceConfig) -> Vec<KeyFile> {
    let Some(provider) = provider::find(&settings.provider) else { return Vec::new() };
    let with_one = settings.section.with_each_file().into_iter().filter(|(key, ..)| key != PASSWORDS);
    let key_file = |(_, path, section)| {
        let source = provider.configure(&section, &FileReader::new()).ok()?;
        Some(KeyFile { path, key_ids: source.key_ids().iter().map(|id| id.label(name.as_ref())).collect() })
    };
    with_one.filter_map(key_file).collect()
}
