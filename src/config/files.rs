//! Files read for keys, bounded and remembered, so that a changed one is noticed.
//! Must not know what is in them, nor keep it: it remembers hashes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::provider::KeyFiles;

/// No configuration and no bundle of keys is larger; a larger file is a wrong path.
const FILE_BYTES_MAX: u64 = 1_048_576;

/// What a file held: its hash; none when it could not be read.
type Remembered = Option<[u8; 32]>;

/// Reads key files, and tells later whether any of them has changed.
#[derive(Debug, Default)]
pub struct FileReader {
    remembered: Mutex<BTreeMap<PathBuf, Remembered>>,
}

impl FileReader {
    /// A reader that has read nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a file that was read holds something else since it was last read, or can or cannot be read since.
    /// Reads all of them again by their paths, so that a swapped symbolic link is seen. Blocks on the disk.
    pub fn changed(&self) -> bool {
        // A copy, because the lock must not be held over disk reads.
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        remembered.iter().any(|(path, before)| read_bounded(path).ok().map(|bytes| digest(&bytes)) != *before)
    }
}

impl KeyFiles for FileReader {
    fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let read = read_bounded(path);
        let remembered = read.as_ref().ok().map(|bytes| digest(bytes));
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), remembered);
        read
    }
}

/// The bytes of a regular file of at most 1 MiB.
pub(super) fn read_bounded(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    read_up_to(path, FILE_BYTES_MAX)
}

/// The bytes of a regular file that a user names on the command line.
///
/// # Errors
/// It cannot be read, or has more than `bytes_max`.
pub fn read_up_to(path: &Path, bytes_max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    // Opening a pipe would wait for its writer.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    // Room for all of it at once, because growing would leave copies of secrets behind.
    let room = usize::try_from(metadata.len().min(bytes_max)).unwrap_or_default().saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let read = File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    match u64::try_from(read) {
        Ok(read) if read <= bytes_max => Ok(bytes),
        _ => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {} MiB", bytes_max >> 20))),
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Reads `key` through Kubernetes' layout (`key` -> `..data/key`, `..data` -> a directory), then changes something.
    fn check(change: impl Fn(&Path), expected: bool) {
        let volume = tempfile::tempdir().unwrap();
        for (directory, content) in [("first", "one"), ("second", "two"), ("same", "one")] {
            fs::create_dir(volume.path().join(directory)).unwrap();
            fs::write(volume.path().join(directory).join("key"), content).unwrap();
        }
        symlink("first", volume.path().join("..data")).unwrap();
        symlink("..data/key", volume.path().join("key")).unwrap();
        let reader = FileReader::new();
        assert!(!reader.changed());
        assert_eq!(reader.read(&volume.path().join("key")).unwrap().as_slice(), b"one");
        assert!(reader.read(&volume.path().join("late")).is_err());
        change(volume.path());
        assert_eq!(reader.changed(), expected);
        let _ = (reader.read(&volume.path().join("key")), reader.read(&volume.path().join("late")));
        assert!(!reader.changed(), "what is read again is remembered");
    }

    fn swap(volume: &Path, directory: &str) {
        symlink(directory, volume.join("..next")).unwrap();
        fs::rename(volume.join("..next"), volume.join("..data")).unwrap();
    }

    #[test]
    fn notices_changed_content_only() {
        check(|_| {}, false);
        check(|volume| swap(volume, "same"), false);
        check(|volume| swap(volume, "second"), true);
        check(|volume| fs::write(volume.join("first/key"), "three").unwrap(), true);
        check(|volume| fs::remove_file(volume.join("first/key")).unwrap(), true);
        check(|volume| fs::write(volume.join("late"), "").unwrap(), true);
    }

    #[test]
    fn refuses_large_and_irregular_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        for (bytes, readable) in [(0, true), (1_048_576, true), (1_048_577, false)] {
            fs::write(&path, vec![b'x'; bytes]).unwrap();
            assert_eq!(read_bounded(&path).is_ok(), readable, "{bytes}");
        }
        for path in [directory.path(), Path::new("/dev/zero")] {
            assert!(read_bounded(path).is_err(), "{}", path.display());
        }
    }
}
