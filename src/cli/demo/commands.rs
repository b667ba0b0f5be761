//! Command lines for a POSIX shell, which people copy: this program's own, and `curl`.
//! Must not know what they do.

use std::ffi::OsStr;
use std::path::{self, Path};

use crate::provider::SignedWebhook;

/// This program with a configuration file, as somebody calls it from any folder.
pub struct Commands {
    program: String,
    config_file: String,
}

impl Commands {
    /// `called_as` is how this process was called, its first argument. A bare name was found on the `PATH`, and will be found
    /// again. A path may be relative, and the next command is often typed in another terminal, in another folder. So it is
    /// made absolute, also for `cargo run`, which calls the program by its path and works in the checkout only.
    pub fn new(called_as: &OsStr, config_file: &Path) -> Self {
        let is_bare_name =
            Path::new(called_as).components().count() == 1 && !called_as.as_encoded_bytes().contains(&b'/');
        let program =
            if is_bare_name { called_as.into() } else { path::absolute(called_as).unwrap_or(called_as.into()) };
        Self { program: word(&program.to_string_lossy()), config_file: word(&config_file.to_string_lossy()) }
    }

    /// The command with these arguments, each a word as a shell takes it.
    pub fn line(&self, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|argument| word(argument)).collect();
        format!("{} {} --config {}", self.program, arguments.join(" "), self.config_file)
    }
}

/// A command line that sends this webhook.
pub fn curl(url: &str, webhook: &SignedWebhook) -> String {
    let mut command = "curl".to_owned();
    for (name, value) in &webhook.headers {
        command = format!("{command} -H {}", quoted(&format!("{name}: {value}")));
    }
    format!("{command} --data-raw {} {}", quoted(&String::from_utf8_lossy(&webhook.body)), word(url))
}

/// `text` as one word, quoted where it must be.
fn word(text: &str) -> String {
    let is_safe = |letter: char| letter.is_ascii_alphanumeric() || "/._-:=+,@%".contains(letter);
    if !text.is_empty() && text.chars().all(is_safe) { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_works_from_any_folder_and_in_any_shell() {
        let here = path::absolute(".").unwrap();
        let here = here.display();
        for (called_as, program) in [
            ("paybridge", "paybridge".to_owned()),
            ("/opt/paybridge", "/opt/paybridge".to_owned()),
            ("target/release/paybridge", format!("{here}/target/release/paybridge")),
            ("./paybridge", format!("{here}/paybridge")),
            ("/my tools/paybridge", "'/my tools/paybridge'".to_owned()),
        ] {
            let commands = Commands::new(OsStr::new(called_as), Path::new("/tmp/a b/demo.toml"));
            let expected = format!("{program} decide --reason 'it'\\''s good' --config '/tmp/a b/demo.toml'");
            assert_eq!(commands.line(&["decide", "--reason", "it's good"]), expected);
        }
    }
}
