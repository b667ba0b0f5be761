//! The name of this process when none is configured.
//! Must not be used for anything that has to outlive the process.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use super::files;

/// Where Linux tells the host's name; the second also in containers without an `/etc`.
const HOST_NAME_FILES: [&str; 2] = ["/etc/hostname", "/proc/sys/kernel/hostname"];

/// The longest name, in bytes, as for names in the domain name system.
const INSTANCE_BYTES_MAX: usize = 253;

/// The host's name, a hyphen, and eight random hexadecimal digits: two processes on one host are told apart.
pub(super) fn generate() -> String {
    // The standard library seeds each process's hashers from the system's random numbers.
    let random = RandomState::new().hash_one(std::process::id()) & 0xffff_ffff;
    let host = HOST_NAME_FILES.iter().find_map(|path| host_name(Path::new(path)));
    format!("{}-{random:08x}", host.as_deref().unwrap_or("paybridge"))
}

fn host_name(path: &Path) -> Option<String> {
    let bytes = files::read_bounded(path).ok()?;
    let name = std::str::from_utf8(&bytes).ok()?.trim();
    is_valid(name).then(|| name.to_owned())
}

/// Printable ASCII without spaces: it stands in every message's metadata.
pub(super) fn is_valid(name: &str) -> bool {
    (1..=INSTANCE_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generates_a_valid_name_that_differs_each_time() {
        let (first, second) = (generate(), generate());
        assert!(is_valid(&first), "{first}");
        assert_ne!(first, second);
    }
}
