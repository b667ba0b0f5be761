//! The spool's folder on disk: finished batches in `new/`, the one that is being written in `tmp/`, in `dead/` what cannot be
//! delivered, and in `retry/` what of that is to be tried again. A file is in `new/` whole or not at all, and stays there when the machine loses its power.
//! Must not know what is in a file.

pub mod filesystem;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

/// Bodies of webhooks are nobody else's business.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// How often and with which pauses the lock is tried.
const LOCK_TRIES: usize = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// The end of the names of files whose record is larger than its topic takes.
pub(super) const TOO_LARGE: &str = ".too-large";
/// The end of the name of a file that is being written.
const UNFINISHED: &str = ".unfinished";
/// Digits of a batch's number in its name, so that names sort as numbers do.
const DIGITS: usize = 20;

/// A spool's folder that is this process's own.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// Synced after each change of its names.
    new: File,
    /// Held as long as the process lives.
    _lock: File,
}

/// A file of `new/` or `dead/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its name.
    pub name: String,
    /// The batch's number; none where the name is none.
    pub number: Option<u64>,
    /// Its length.
    pub bytes: u64,
    /// When it was written.
    pub modified: SystemTime,
}

/// Why a folder cannot be a spool's.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something that every step needs does not work.
    #[error("{} cannot be {step}", .path.display())]
    Step {
        /// What was tried: "created", say.
        step: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What is there would not outlive the machine, or has no true fsync.
    #[error("{} is on {filesystem}, which does not keep a file safe: give a folder on a local disk", .path.display())]
    Filesystem {
        /// The folder.
        path: PathBuf,
        /// The kind of file system.
        filesystem: &'static str,
    },
    /// Another process has it.
    #[error("{} is the spool of another process that runs: give each process a folder of its own", .path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
}

/// Which step of storing a file failed.
#[derive(Debug, thiserror::Error)]
#[error("the spool's file cannot be {step}")]
pub struct StoreError {
    /// "written", say.
    pub step: &'static str,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl Folder {
    /// Takes a folder for this process, and makes it where only its parent is there. What was never finished is deleted: nobody was
    /// promised it.
    ///
    /// # Errors
    /// It cannot be a spool's.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let step = |step, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Step { step, path, source }
        };
        create(root).map_err(step("created", root))?;
        sync_folder(&root.join("..")).map_err(step("synced", root))?;
        if let Some(filesystem) = filesystem::unsafe_kind(root).map_err(step("looked at", root))? {
            return Err(OpenError::Filesystem { path: root.to_owned(), filesystem });
        }
        let lock_path = root.join("lock");
        let lock = open_new_or_old(&lock_path).map_err(step("opened", &lock_path))?;
        match take_lock(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Taken { path: root.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(step("locked", &lock_path)(source)),
        }
        for name in ["tmp", "new", "dead", "retry"] {
            let path = root.join(name);
            create(&path).map_err(step("created", &path))?;
        }
        sync_folder(root).map_err(step("synced", root))?;
        let unfinished = root.join("tmp");
        clear(&unfinished).map_err(step("cleared", &unfinished))?;
        let path = root.join("new");
        let new = File::open(&path).map_err(step("opened", &path))?;
        // A name that is there may not stay: who gave it was killed before it was synced.
        new.sync_all().map_err(step("synced", &path))?;
        Ok(Self { root: root.to_owned(), new, _lock: lock })
    }

    /// Stores a batch: once this returns, no crash takes it away.
    ///
    /// # Errors
    /// A step failed: it is not stored, or not for certain.
    pub fn store(&self, number: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.root.join("new").join(file_name(number));
        let stored = self.store_as(&path, &self.new, bytes);
        if stored.is_err() {
            // Else its records are delivered though nobody was promised it.
            let _gone = fs::remove_file(path).is_ok();
        }
        stored
    }

    /// Puts a file in the place of a batch that has the same records, and others that are delivered.
    ///
    /// # Errors
    /// A step failed, and the old file is there.
    pub fn replace(&self, number: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(&self.root.join("new").join(file_name(number)), bytes)?;
        // After a crash it may be the old one again, which has what is left as well.
        let _synced = self.new.sync_all().is_ok();
        Ok(())
    }

    /// Does with a small file what storing a batch does with its file, and deletes it.
    ///
    /// # Errors
    /// A step failed: storing a batch would fail as well.
    pub fn probe(&self) -> Result<(), StoreError> {
        let folder = self.root.join("tmp");
        let folder_handle = File::open(&folder).map_err(failed("opened"))?;
        let path = folder.join("probed");
        self.store_as(&path, &folder_handle, b"probe")?;
        fs::remove_file(path).map_err(failed("deleted"))
    }

    /// Stores what cannot be delivered.
    ///
    /// # Errors
    /// A step failed.
    pub fn store_dead(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let folder = self.root.join("dead");
        let folder_handle = File::open(&folder).map_err(failed("opened"))?;
        self.store_as(&folder.join(name), &folder_handle, bytes)
    }

    /// Puts a file into a folder such that no crash takes it away.
    fn store_as(&self, path: &Path, folder: &File, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(path, bytes)?;
        folder.sync_all().map_err(failed("made to stay: its folder cannot be synced"))
    }

    /// Writes a file aside, syncs it, and gives it its name. A file whose fsync failed is never synced again, because the kernel may have
    /// dropped what it could not write.
    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        // Of a name of its own: two threads store files.
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(UNFINISHED);
        let aside = self.root.join("tmp").join(name);
        let renamed = write(&aside, bytes).and_then(|()| fs::rename(&aside, path).map_err(failed("renamed")));
        if renamed.is_err() {
            // What cannot be deleted is unfinished, and deleted at the next start.
            let _gone = fs::remove_file(&aside).is_ok();
        }
        renamed
    }

    /// The batches that are stored, in order.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn stored(&self) -> io::Result<Vec<StoredFile>> {
        let mut files = files(&self.root.join("new"))?;
        // Another name is no batch's, whatever it begins with.
        for file in files.iter_mut().filter(|file| file.name.len() != DIGITS) {
            file.number = None;
        }
        Ok(files)
    }

    /// What cannot be delivered, in order.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn dead(&self) -> io::Result<Vec<StoredFile>> {
        files(&self.root.join("dead"))
    }

    /// The bytes of a batch.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        fs::read(self.root.join("new").join(file_name(number)))
    }

    /// The last bytes of a batch, at most so many.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_end(&self, number: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.root.join("new").join(file_name(number)))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        Ok(end)
    }

    /// Deletes a batch.
    ///
    /// # Errors
    /// The file cannot be deleted.
    pub fn delete(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.root.join("new").join(file_name(number)))
    }

    /// What is to be tried again: a command put it there.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn to_retry(&self) -> io::Result<Vec<StoredFile>> {
        files(&self.root.join("retry"))
    }

    /// Makes a file that is to be tried again the batch of this number.
    ///
    /// # Errors
    /// The file cannot be moved.
    pub fn retry(&self, name: &str, number: u64) -> io::Result<()> {
        fs::rename(self.root.join("retry").join(name), self.root.join("new").join(file_name(number)))
    }

    /// Moves a batch to `dead/`, whole.
    ///
    /// # Errors
    /// The file cannot be moved.
    pub fn bury(&self, number: u64) -> io::Result<()> {
        let name = file_name(number);
        fs::rename(self.root.join("new").join(&name), self.root.join("dead").join(format!("{name}.damaged")))
    }
}

/// What can be said of a folder without making or changing anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExaminedFolder {
    /// How much this process may still write there.
    pub free: filesystem::FreeRoom,
    /// Whether other users may read it; not said of one that is still to be made.
    pub is_open_to_others: bool,
}

/// Looks at a folder, or at the parent of one that is still to be made.
///
/// # Errors
/// It cannot be a spool's.
pub fn examine(root: &Path) -> Result<ExaminedFolder, OpenError> {
    let step = |step: &'static str| move |source| OpenError::Step { step, path: root.to_owned(), source };
    let (present, mode) = match fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => (root, metadata.permissions().mode()),
        Ok(_) => return Err(step("used: it is no folder")(io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (root.parent().unwrap_or(root), 0),
        Err(error) => return Err(step("looked at")(error)),
    };
    if let Some(filesystem) = filesystem::unsafe_kind(present).map_err(step("looked at"))? {
        return Err(OpenError::Filesystem { path: present.to_owned(), filesystem });
    }
    filesystem::may_be_written(present).map_err(step("written to"))?;
    let free = filesystem::free_room(present).map_err(step("looked at"))?;
    Ok(ExaminedFolder { free, is_open_to_others: mode & 0o077 != 0 })
}

/// The name of a batch's file.
pub fn file_name(number: u64) -> String {
    format!("{number:0DIGITS$}")
}

fn failed(step: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError { step, source }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(FILE_MODE);
    let mut file = options.open(path).map_err(failed("created"))?;
    file.write_all(bytes).map_err(failed("written"))?;
    file.sync_all().map_err(failed("synced"))
}

fn open_new_or_old(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path)
}

/// Tries for a moment: who looks at the folder holds the lock for as long.
fn take_lock(lock: &File) -> Result<(), TryLockError> {
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => sleep(LOCK_PAUSE),
            tried => return tried,
        }
    }
    lock.try_lock()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn create(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created,
    }
}

fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// The files of a folder, sorted by name; none where there is no such folder.
pub(super) fn files(folder: &Path) -> io::Result<Vec<StoredFile>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let metadata = match entry.metadata() {
            // The process that runs has just published it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        let digits = name.get(..DIGITS).unwrap_or_default();
        let number = digits.parse().ok();
        files.push(StoredFile { number, bytes: metadata.len(), modified: metadata.modified()?, name });
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

#[cfg(test)]
mod tests;
