//! A folder of files as Kubernetes mounts a secret: links to links, and all files change at once, by the swap of one link.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// The folder. It goes with this value.
pub struct Volume {
    folder: TempDir,
    versions: AtomicU32,
}

impl Volume {
    /// A volume with these files, by name.
    pub fn mount(files: &[(&str, &str)]) -> Self {
        let volume = Self { folder: tempfile::tempdir().unwrap(), versions: AtomicU32::new(0) };
        volume.replace(files);
        for (name, _) in files {
            symlink(format!("..data/{name}"), volume.path(name)).unwrap();
        }
        volume
    }

    /// Gives the same files another content, all at the same moment.
    pub fn replace(&self, files: &[(&str, &str)]) {
        let version = format!("..version-{}", self.versions.fetch_add(1, Ordering::Relaxed));
        fs::create_dir(self.path(&version)).unwrap();
        for (name, content) in files {
            fs::write(self.path(&version).join(name), content).unwrap();
        }
        symlink(&version, self.path("..next")).unwrap();
        fs::rename(self.path("..next"), self.path("..data")).unwrap();
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
