//! A program that is measured: started, watched by the kernel's figures, and never outliving this process.
//! Must not know which program it is.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::cache::CHECKOUT;
use crate::support::ports::free_port;
use crate::support::system;

/// The program's output, in its folder.
const LOG_FILE: &str = "log";

/// A running program. It is killed when this value is dropped, or when this process ends however.
pub struct Process {
    /// Sees to its end.
    keeper: Child,
    pid: u32,
    folder: TempDir,
}

impl Process {
    /// Starts a program that has `folder` for its own.
    pub fn start(command: &Command, folder: TempDir) -> Self {
        let log = File::create(folder.path().join(LOG_FILE)).unwrap();
        let mut keeper = Command::new("sh");
        keeper.arg(Path::new(CHECKOUT).join("tests/load/keep.sh")).arg(command.get_program()).args(command.get_args());
        without_settings(&mut keeper);
        let mut keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        Self { keeper, pid: pid.trim_end().parse().unwrap(), folder }
    }

    /// Processor seconds that it has used, those of all its threads.
    pub fn processor_seconds(&self) -> f64 {
        system::processor_seconds(self.pid)
    }

    /// MiB that it has at the moment.
    pub fn memory_mib(&self) -> f64 {
        system::memory_mib(self.pid, "VmRSS")
    }

    /// The most MiB that it ever had.
    pub fn peak_memory_mib(&self) -> f64 {
        system::memory_mib(self.pid, "VmHWM")
    }

    /// Sends it a signal by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid.to_string()]).status().unwrap();
        assert!(status.success(), "kill -s {name}: {status}");
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG_FILE)).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ended = self.keeper.wait();
    }
}

/// Takes the environment's own settings of the daemon away from a command.
pub fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("PAYBRIDGE_")) {
        command.env_remove(name);
    }
    command
}

/// Two addresses of loopback that nobody listens on at the moment.
pub fn free_addresses() -> [SocketAddr; 2] {
    [(); 2].map(|()| (Ipv4Addr::LOCALHOST, free_port()).into())
}
