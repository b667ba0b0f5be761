//! The `paybridge` command: parses the arguments, runs the command, and makes an exit code of its end.

use std::process::ExitCode;

fn main() -> ExitCode {
    paybridge::cli::main(std::env::args_os(), std::env::vars_os())
}
