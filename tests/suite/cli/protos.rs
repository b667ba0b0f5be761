//! `paybridge protos` as a person runs it: the messages that it writes are those of `proto/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use paybridge::message::DESCRIPTORS;
use prost_reflect::DescriptorPool;

use crate::support::cache::CHECKOUT;
use crate::support::daemon::program;

fn protos(arguments: &[&str], out: &Path) -> Output {
    program().arg("protos").args(arguments).arg("--out").arg(out).output().unwrap()
}

/// The files below a folder, by their paths in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn writes_the_files_of_this_version_and_no_other() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("new/folder");
    let expected = files(&Path::new(CHECKOUT).join("proto"));
    assert!(expected.contains_key(Path::new("buf.yaml")) && expected.len() > 30);
    for round in ["a new folder", "a folder that has them already"] {
        let output = protos(&[], &out);
        assert!(output.status.success(), "{round}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(env!("CARGO_PKG_VERSION")), "{round}: {output:?}");
        assert!(files(&out) == expected, "{round}: the files differ from those of proto/");
    }
}

#[test]
fn replaces_a_file_of_another_content_only_when_told() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path();
    let file = out.join("paybridge/event/v1/money.proto");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "mine").unwrap();
    fs::write(out.join("notes.txt"), "mine too").unwrap();
    let refused = protos(&[], out);
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(errors.contains(file.to_str().unwrap()) && errors.contains("--force"), "{errors}");
    assert_eq!(files(out).len(), 2, "something was written");
    assert!(protos(&["--force"], out).status.success());
    assert_ne!(fs::read(&file).unwrap(), b"mine");
    assert_eq!(fs::read(out.join("notes.txt")).unwrap(), b"mine too");
}

#[test]
fn the_descriptor_set_has_every_message_with_its_comments() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("paybridge.binpb");
    let written = protos(&["--format", "descriptor-set"], &file);
    assert!(written.status.success(), "{written:?}");
    let bytes = fs::read(&file).unwrap();
    let printed = protos(&["--format", "descriptor-set"], Path::new("-"));
    assert!(printed.status.success() && printed.stdout == bytes, "--out - differs from a file: {:?}", printed.status);
    let pool = DescriptorPool::decode(bytes.as_slice()).unwrap();
    let names = |pool: &DescriptorPool| -> Vec<String> {
        pool.all_messages().map(|message| message.full_name().to_owned()).collect()
    };
    let files = protos(&[], Path::new("-"));
    assert_eq!(files.status.code(), Some(2), "many files on standard output: {files:?}");
    assert!(names(&pool).contains(&"paybridge.smart_glocal.v1.ReadyToConfirm".to_owned()));
    assert_eq!(names(&pool), names(&DESCRIPTORS));
    for file in pool.files().filter(|file| file.name().starts_with("paybridge/")) {
        let source = file.file_descriptor_proto().source_code_info.clone().unwrap_or_default();
        assert!(source.location.iter().any(|location| location.leading_comments.is_some()), "{}", file.name());
    }
}
