//! A disk that fails, given to a process from outside: `tests/disk/fail.c` is preloaded into it. Only calls on one folder fail.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::cache::preloaded;
use super::daemon::Variables;

/// What the disk says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// Input/output error.
    Eio,
    /// No space left.
    Enospc,
    /// Reads and writes take half of the bytes.
    Short,
}

impl DiskError {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Eio, Self::Enospc, Self::Short];

    fn name(self) -> &'static str {
        match self {
            Self::Eio => "EIO",
            Self::Enospc => "ENOSPC",
            Self::Short => "SHORT",
        }
    }
}

/// What lets the `at`th call on `folder` fail in a process that is started with these variables. It says so on standard error.
pub fn fail_at(folder: &Path, error: DiskError, at: usize) -> Variables {
    [of_folder(folder, error), vec![("DISK_FAIL_AT", at.to_string().into())]].concat()
}

/// Whether a call failed in a process that wrote this to standard error.
pub fn has_failed(errors: &str) -> bool {
    errors.contains("disk fails: call")
}

/// A disk that fails with an input/output error while it is told to.
#[derive(Debug)]
pub struct DiskSwitch(TempDir);

impl DiskSwitch {
    /// One that works. Its file lies in a folder of its own, whose calls do not fail.
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// What lets calls on `folder` fail in a process that is started with these variables.
    pub fn variables(&self, folder: &Path) -> Variables {
        [of_folder(folder, DiskError::Eio), vec![("DISK_FAIL_SWITCH", self.file().into())]].concat()
    }

    /// From now on each call of this name fails, such as `fsync`.
    pub fn fail(&self, call: &str) {
        // In one step: a half written name is another one.
        let aside = self.0.path().join("aside");
        fs::write(&aside, call).unwrap();
        fs::rename(aside, self.file()).unwrap();
    }

    /// The disk works again.
    pub fn mend(&self) {
        fs::remove_file(self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("switch")
    }
}

fn of_folder(folder: &Path, error: DiskError) -> Variables {
    let library = preloaded("disk", "tests/disk/fail.c");
    vec![("LD_PRELOAD", library.into()), ("DISK_FAIL_FOLDER", folder.into()), ("DISK_FAIL_ERROR", error.name().into())]
}
