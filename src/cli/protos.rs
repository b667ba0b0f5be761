//! `paybridge protos`: the protobuf messages of this version, for people who have the program and not the repository.
//! Must not know any message.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use super::{WrongUsage, print};
use crate::message::{DESCRIPTOR_SET, FILES};

/// Shown below `--help`.
pub const EXAMPLE: &str = "Examples:\n  paybridge protos --out protos\n  \
                           paybridge protos --format descriptor-set --out paybridge.binpb\n  \
                           kubectl exec deploy/paybridge -- /paybridge protos --format descriptor-set --out - > paybridge.binpb";

/// What the user wants.
#[derive(Args)]
pub struct ProtosOptions {
    /// The folder for the `.proto` files, or the file for the descriptor set (`-`: standard output).
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// What is written.
    #[arg(long, value_enum, default_value_t = ProtosFormat::Proto)]
    format: ProtosFormat,
    /// Replace existing files that have other content. Without it, such a file is an error, and nothing is written.
    #[arg(long)]
    force: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProtosFormat {
    /// The `.proto` files with their comments, in their folders, and a `buf.yaml`.
    Proto,
    /// One binary `FileDescriptorSet` with imports and comments, for `buf` and `protoc --descriptor_set_in`.
    DescriptorSet,
}

/// Writes the messages.
///
/// # Errors
/// A file exists with other content, or cannot be written.
pub fn run(options: &ProtosOptions) -> anyhow::Result<ExitCode> {
    let to_standard_output = options.out == Path::new("-");
    match options.format {
        ProtosFormat::Proto if to_standard_output => {
            let problem = "--out -: standard output takes one file only; name a folder, or use --format descriptor-set";
            return Err(WrongUsage(problem.to_owned()).into());
        }
        ProtosFormat::Proto => {
            let files: Vec<(PathBuf, &[u8])> =
                FILES.iter().map(|(path, text)| (options.out.join(path), text.as_bytes())).collect();
            write(&files, options.force)?;
        }
        ProtosFormat::DescriptorSet if to_standard_output => {
            let mut out = io::stdout().lock();
            // A reader that has gone has seen enough, as for `print`.
            match out.write_all(DESCRIPTOR_SET).and_then(|()| out.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                written => written.context("standard output")?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        ProtosFormat::DescriptorSet => write(&[(options.out.clone(), DESCRIPTOR_SET)], options.force)?,
    }
    print(&format!("the messages of paybridge {} are in {}\n", env!("CARGO_PKG_VERSION"), options.out.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes all files, or none if one exists with other content.
fn write(files: &[(PathBuf, &[u8])], force: bool) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for (path, content) in files {
        match fs::read(path) {
            Ok(existing) if existing == *content => {}
            Ok(_) if !force => bail!(
                "{} exists with other content; nothing was written. Give another --out, or --force to replace such files",
                path.display()
            ),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context(path.display().to_string());
            }
            Ok(_) | Err(_) => missing.push((path, content)),
        }
    }
    for (path, content) in missing {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::write(path, content).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
