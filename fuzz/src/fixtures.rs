//! The files of `tests/fixtures` as the checks need them: keys, sources and examples.
//! Must not know what is checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::{fs, io};

use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::provider::KeyFiles;
use zeroize::Zeroizing;

/// The time of every check: 2026-02-03T04:05:06Z.
pub const NOW: Timestamp = Timestamp::constant(1_770_091_506, 0);

/// The folder of all fixtures.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

/// The files of a folder whose names have this ending, by name, in the order of their names.
pub fn files(folder: &Path, ending: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        name.ends_with(ending).then(|| Some((name, fs::read(&path).ok()?)))?
    };
    entries.filter_map(|entry| read(entry.ok()?.path())).collect()
}

/// The key files of the fixtures, by their names alone; read once.
pub struct FixtureKeys;

static KEYS: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| files(&folder().join("keys"), ""));

impl KeyFiles for FixtureKeys {
    fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let bytes = path.to_str().and_then(|name| KEYS.get(name));
        bytes.map(|bytes| Zeroizing::new(bytes.clone())).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Where the private halves are of what a source may have as a public key; none first, for secrets are shared.
pub const SIGNING_KEYS: [Option<&str>; 4] =
    [None, Some("smart-glocal-private.pem"), Some("p256-private.pem"), Some("ed25519-private.pem")];

/// The configuration of one source of this provider, as its fixtures have it; of a path that nobody guesses.
pub fn configuration(provider: &str) -> Config {
    let path = folder().join(provider).join("source.toml");
    let settings = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let settings = settings.replace("\n[", "\n[sources.fuzz.");
    let toml = format!(
        "bridge_instance = \"fuzz\"\n[sources.fuzz]\nprovider = \"{provider}\"\npath = \"/webhooks/b7e0\"\n{settings}"
    );
    Config::from_toml(&toml, []).unwrap_or_else(|errors| panic!("{provider}: {errors}"))
}
