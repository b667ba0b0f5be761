//! Which kind of file system a folder is on, and whether a file that was synced there is safe.
//! Must not know what is in the folder.

use std::io;
use std::path::Path;

use rustix::fs::Access;

/// Kinds on which it is not: they live in memory, end with a container, or answer fsync before the server's disk has the file.
/// The numbers are those of Linux's `linux/magic.h`.
const UNSAFE: [(u64, &str); 8] = [
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x794c_7630, "overlayfs"),
    (0x0000_6969, "NFS"),
    (0x0000_517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB 2"),
    (0x0102_1997, "9P"),
];

/// The name of the kind, where it is not safe.
///
/// # Errors
/// The folder cannot be looked at.
pub fn unsafe_kind(folder: &Path) -> io::Result<Option<&'static str>> {
    let magic = u64::try_from(rustix::fs::statfs(folder)?.f_type).unwrap_or_default();
    Ok(UNSAFE.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name))
}

/// How much an ordinary user may still write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeRoom {
    /// Bytes.
    pub bytes: u64,
    /// Files; none where the file system has no bound of its own.
    pub files: Option<u64>,
}

/// How much an ordinary user may still write there.
///
/// # Errors
/// The folder cannot be looked at.
pub fn free_room(folder: &Path) -> io::Result<FreeRoom> {
    let status = rustix::fs::statvfs(folder)?;
    let files = (status.f_files > 0).then_some(status.f_favail);
    Ok(FreeRoom { bytes: status.f_bavail.saturating_mul(status.f_frsize), files })
}

/// Whether this process may make files there.
///
/// # Errors
/// It may not.
pub fn may_be_written(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}
