//! The programs below `tests/senders`, which know the libraries: fetches what they need, once, and asks them in bulk.
//! Must not know what is asked.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::cache::{CHECKOUT, kept, python_environment, run};
use crate::support::eventually::{LIMIT, try_eventually};

/// Which libraries a program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// Those for Python.
    Python,
    /// Those for Node.js.
    Node,
}

/// The answers to all questions, in their order: each program is started at most once.
pub fn ask(questions: &[(Program, Value)]) -> Vec<Value> {
    let mut answers = vec![Value::Null; questions.len()];
    for program in [Program::Python, Program::Node] {
        let places: Vec<usize> = (0..questions.len()).filter(|place| questions[*place].0 == program).collect();
        let lines: Vec<String> = places.iter().map(|place| questions[*place].1.to_string()).collect();
        for (place, answer) in places.iter().zip(program.run(&lines)) {
            answers[*place] = answer;
        }
    }
    answers
}

impl Program {
    fn run(self, lines: &[String]) -> Vec<Value> {
        if lines.is_empty() {
            return Vec::new();
        }
        // Files and not pipes: neither side waits for the other to read.
        let folder = tempfile::tempdir().unwrap();
        let [input, output, errors] = ["input", "output", "errors"].map(|name| folder.path().join(name));
        fs::write(&input, lines.join("\n") + "\n").unwrap();
        let mut process = self
            .command(folder.path())
            .stdin(File::open(&input).unwrap())
            .stdout(File::create(&output).unwrap())
            .stderr(File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let ended = try_eventually(LIMIT, || process.try_wait().unwrap().ok_or_else(|| "it does not end".to_owned()));
        let _ = process.kill(); // it is gone, or has had its time
        process.wait().unwrap();
        let errors = fs::read_to_string(errors).unwrap();
        let status = ended.unwrap_or_else(|complaint| panic!("{self:?}: {complaint}: {errors}"));
        assert!(status.success(), "{self:?}: {status}: {errors}");
        let answers = fs::read_to_string(output).unwrap();
        let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), lines.len(), "{self:?}: one answer a line: {errors}");
        answers
    }

    /// The program; `folder` is its own to use.
    fn command(self, folder: &Path) -> Command {
        let sources = Path::new(CHECKOUT).join("tests/senders");
        match self {
            Self::Python => {
                let environment = python_environment("senders", &sources.join("python/requirements.txt")).unwrap();
                let mut command = Command::new(environment.join("bin/python"));
                command.arg(sources.join("python/senders.py"));
                command
            }
            Self::Node => {
                // Node.js looks for packages beside the program, whose own folder must stay as it is.
                symlink(node_packages(&sources.join("node")), folder.join("node_modules")).unwrap();
                let program = folder.join("senders.mjs");
                fs::copy(sources.join("node/senders.mjs"), &program).unwrap();
                let mut command = Command::new("node");
                command.arg(program);
                command
            }
        }
    }
}

/// The folder of the packages that the lock file in `folder` names.
fn node_packages(folder: &Path) -> PathBuf {
    let inputs = ["package.json", "package-lock.json"].map(|name| folder.join(name));
    let kept = kept("senders-node", &inputs, |kept| {
        for path in &inputs {
            let copied = fs::copy(path, kept.join(path.file_name().unwrap_or_default()));
            copied.map_err(|error| format!("copying {}: {error}", path.display()))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        run(npm.current_dir(kept)).map(drop)
    });
    kept.unwrap().join("node_modules")
}
