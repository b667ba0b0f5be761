//! What can be said of the disk spool before the daemon starts: the folder, its file system, its room.
//! Must not make or change anything.

use crate::config::Config;
use crate::error_chain;
use crate::finding::{Code, Finding};
use crate::spool::folder::{self, ExaminedFolder};

/// Of a configuration that has one.
pub(super) fn of_config(config: &Config) -> Vec<Finding> {
    let spool = &config.spool;
    if !(spool.enabled && config.ingress.enabled) {
        return Vec::new();
    }
    let subject = "spool.directory";
    let ExaminedFolder { free, is_open_to_others } = match folder::examine(&spool.directory) {
        Ok(examined) => examined,
        Err(error) => return vec![Finding::new(Code::SpoolUnusable, subject, error_chain::joined(&error))],
    };
    let mut findings = Vec::new();
    let path = spool.directory.display();
    if free.bytes < spool.bytes_max {
        let message = format!("{path} is on a disk with {} bytes free, and may take {}", free.bytes, spool.bytes_max);
        findings.push(Finding::new(Code::SpoolSpaceLow, subject, message));
    }
    let files_max = u64::try_from(spool.files_max).unwrap_or(u64::MAX);
    if let Some(files) = free.files.filter(|files| *files < files_max) {
        let message = format!("{path} is on a disk that takes {files} files more, and spool.files_max is {files_max}");
        let action = "lower spool.files_max, or give the folder a file system with more inodes";
        findings.push(Finding::new(Code::SpoolSpaceLow, subject, message).with_action(action));
    }
    if is_open_to_others {
        findings.push(Finding::new(Code::SpoolOpenToOthers, subject, format!("{path} can be read by other users")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    #[track_caller]
    fn check(directory: &Path, bytes_max: u64, expected: &[Code]) {
        let text = format!("[spool]\nenabled = true\nbytes_max = {bytes_max}\ndirectory = '{}'", directory.display());
        let codes: Vec<Code> =
            of_config(&Config::from_toml(&text, []).unwrap()).iter().map(|finding| finding.code).collect();
        assert_eq!(codes, expected, "{}", directory.display());
    }

    #[test]
    fn tells_what_is_wrong_with_the_folder() {
        let place = tempfile::tempdir().unwrap();
        let (new, file) = (place.path().join("new"), place.path().join("file"));
        fs::write(&file, "").unwrap();
        check(&new, 16_777_216, &[]);
        check(&new, 1_099_511_627_776, &[Code::SpoolSpaceLow]);
        check(&place.path().join("no/such"), 16_777_216, &[Code::SpoolUnusable]);
        check(&file, 16_777_216, &[Code::SpoolUnusable]);
        check(Path::new("/dev/shm/spool"), 16_777_216, &[Code::SpoolUnusable]);
        assert!(!new.exists(), "check makes nothing");
        fs::create_dir(&new).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o750)).unwrap();
        check(&new, 16_777_216, &[Code::SpoolOpenToOthers]);
    }
}
