//! What a spool's folder holds, as whoever does not own it sees it: nothing is taken, nothing deleted, and a daemon may run meanwhile.
//! Must not know how it is shown.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::batch;
use super::folder::{self, StoredFile};
use crate::provider::EventId;

/// What it holds.
#[derive(Clone, Debug, Default)]
pub struct SpoolStatus {
    /// Whether a process has it.
    pub is_in_use: bool,
    /// Files that wait.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest was written.
    pub oldest: Option<SystemTime>,
    /// Their records by topic.
    pub records: BTreeMap<Arc<str>, usize>,
    /// Their records that cannot be read.
    pub damaged: u32,
    /// Files that the disk does not give, and why.
    pub unreadable: Vec<String>,
    /// What cannot be delivered.
    pub dead: Vec<DeadFile>,
}

/// A file of the folder `dead`.
#[derive(Clone, Debug)]
pub struct DeadFile {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// The topics and events of those records that can be read.
    pub records: Vec<(Arc<str>, Option<EventId>)>,
    /// What is damaged.
    pub damage: Vec<batch::Damage>,
}

/// Opens the file that each spool has, and nothing else.
///
/// # Errors
/// It is no spool's, or cannot be read.
pub fn lock_file(root: &Path) -> io::Result<File> {
    File::open(root.join("lock"))
}

/// Looks at a folder.
///
/// # Errors
/// It is no spool's, or its list of files cannot be read.
pub fn of_folder(root: &Path) -> io::Result<SpoolStatus> {
    let is_in_use = lock_file(root)?.try_lock_shared().is_err();
    let mut status = SpoolStatus { is_in_use, ..SpoolStatus::default() };
    for name in ["new", "retry"] {
        status.count_waiting(&root.join(name))?;
    }
    for file in folder::files(&root.join("dead"))? {
        let Some(decoded) = read(&root.join("dead"), &file) else { continue };
        let decoded = decoded.unwrap_or_else(|unreadable| {
            status.unreadable.push(unreadable);
            batch::DecodedBatch::default()
        });
        let records = decoded.records.into_iter().map(|(_, spooled)| (spooled.record.topic, spooled.event_id));
        status.dead.push(DeadFile {
            name: file.name,
            bytes: file.bytes,
            records: records.collect(),
            damage: decoded.damage,
        });
    }
    Ok(status)
}

impl SpoolStatus {
    fn count_waiting(&mut self, folder: &Path) -> io::Result<()> {
        for file in folder::files(folder)? {
            let Some(decoded) = read(folder, &file) else { continue };
            self.files += 1;
            self.bytes += file.bytes;
            self.oldest = Some(self.oldest.map_or(file.modified, |oldest| oldest.min(file.modified)));
            match decoded {
                Ok(decoded) => self.count(decoded),
                Err(unreadable) => self.unreadable.push(unreadable),
            }
        }
        Ok(())
    }

    fn count(&mut self, decoded: batch::DecodedBatch) {
        self.damaged += decoded.damage.iter().map(batch::Damage::records).sum::<u32>();
        for (_, spooled) in decoded.records {
            *self.records.entry(spooled.record.topic).or_default() += 1;
        }
    }
}

/// Puts back what was too large, to be tried again by the daemon whose spool it is, or by the next one that opens it; the names.
///
/// # Errors
/// A file cannot be moved.
pub fn retry_dead(root: &Path) -> io::Result<Vec<String>> {
    lock_file(root)?;
    let dead = folder::files(&root.join("dead"))?;
    let names = dead.into_iter().map(|file| file.name).filter(|name| name.ends_with(folder::TOO_LARGE));
    names.map(|name| fs::rename(root.join("dead").join(&name), root.join("retry").join(&name)).map(|()| name)).collect()
}

/// None of a file that is gone: a daemon may have published it meanwhile. One that the disk does not give is named.
fn read(folder: &Path, file: &StoredFile) -> Option<Result<batch::DecodedBatch, String>> {
    let path = folder.join(&file.name);
    match fs::read(&path) {
        Ok(bytes) => Some(Ok(batch::decode(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(format!("{}: {error}", path.display()))),
    }
}
