//! Compiles `proto/` into Rust types, without `protoc`, and keeps the descriptors for decoding by name, and the texts for
//! `paybridge protos`. Must not know any message: every `.proto` file below `proto/` is taken.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let descriptors: FileDescriptorSet = protox::compile(&files, [root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    files.push(root.join("buf.yaml"));
    fs::write(out.join("files.rs"), texts(root, &files)?)?;
    prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .enable_type_names()
        .include_file("packages.rs")
        .compile_fds(descriptors)?;
    Ok(())
}

/// A Rust slice of the files: the path below `root`, and the text.
fn texts(root: &Path, files: &[PathBuf]) -> Result<String, Box<dyn Error>> {
    let mut entries = String::new();
    for file in files {
        let name = file.strip_prefix(root)?.to_str().ok_or("a path is not UTF-8")?;
        let place = format!("/{}", file.to_str().ok_or("a path is not UTF-8")?);
        // Not the whole path: another checkout may use the same build folder.
        write!(entries, "({name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {place:?}))),")?;
    }
    Ok(format!("&[{entries}]"))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
