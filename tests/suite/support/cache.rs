//! What the tests fetch or build once and keep outside the checkout: jars, a Python environment.
//! The folder is `$PAYBRIDGE_TEST_CACHE`, else `paybridge` below `$XDG_CACHE_HOME` or `~/.cache`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, io};

use sha2::{Digest, Sha256};

/// Root of the checkout.
pub const CHECKOUT: &str = env!("CARGO_MANIFEST_DIR");

/// What a library to preload is called in its folder.
const LIBRARY: &str = "library.so";

/// The folder `name` of the cache, made by `make` unless it is there.
/// Its name also carries a digest of `inputs`, the files that decide what is in it: when one changes, it is made anew.
/// `make` gets the folder, empty, and may lean on its path; parallel runs wait for each other, and a `make` that fails
/// or dies leaves nothing that a later run would take for whole.
pub fn kept(name: &str, inputs: &[PathBuf], make: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let name = format!("{name}-{}", digest(inputs)?);
    let (folder, whole) = (root().join(&name), root().join(format!("{name}.whole")));
    fs::create_dir_all(root()).map_err(|error| format!("making {}: {error}", root().display()))?;
    let lock_path = root().join(format!("{name}.lock"));
    let lock = File::create(&lock_path)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| format!("locking {}: {error}", lock_path.display()))?;
    if !whole.exists() {
        remake(&folder).map_err(|error| format!("making {}: {error}", folder.display()))?;
        make(&folder)?;
        File::create(&whole).map_err(|error| format!("making {}: {error}", whole.display()))?;
    }
    drop(lock); // the kernel lets go of it too when this process dies
    Ok(folder)
}

/// The folder of a Python environment with the packages that `requirements` pins.
pub fn python_environment(name: &str, requirements: &Path) -> Result<PathBuf, String> {
    // an environment works with the Python that made it
    let version = run(Command::new("python3").args(["-c", "import sys; print(*sys.version_info[:2], sep='.')"]))?;
    kept(&format!("{name}-python{}", version.trim()), &[requirements.to_owned()], |environment| {
        run(Command::new("python3").args(["-m", "venv"]).arg(environment))?;
        let mut pip = Command::new(environment.join("bin/pip"));
        run(pip.args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(requirements)).map(drop)
    })
}

/// A library to preload into a process, built of one C file of the checkout.
pub fn preloaded(name: &str, source: &str) -> PathBuf {
    let source = Path::new(CHECKOUT).join(source);
    let folder = kept(name, std::slice::from_ref(&source), |folder| {
        let mut compiler = Command::new("cc");
        compiler.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]);
        run(compiler.arg(folder.join(LIBRARY)).arg(&source)).map(drop)
    });
    folder.unwrap_or_else(|error| panic!("{} cannot be built: {error}", source.display())).join(LIBRARY)
}

/// Runs `command` without input; what it printed, or that and how it failed.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{stdout}\n{stderr}", output.status))
}

fn root() -> PathBuf {
    let folder = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("PAYBRIDGE_TEST_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("paybridge")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/paybridge")))
        .unwrap_or_else(|| env::temp_dir().join("paybridge-cache"))
}

fn digest(inputs: &[PathBuf]) -> Result<String, String> {
    let mut hasher = Sha256::new();
    for path in inputs {
        let content = fs::read(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        hasher.update(Sha256::digest(content));
    }
    Ok(hasher.finalize().iter().take(6).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

fn remake(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(folder),
    }
}
