//! A folder as one process has it, and as it refuses another.

use super::*;

#[test]
fn a_batch_is_there_whole_after_it_was_stored_and_gone_after_it_was_deleted() {
    let place = tempfile::tempdir().unwrap();
    let folder = open(place.path());
    folder.store(12, b"twelve").unwrap();
    folder.store(3, b"three").unwrap();
    let numbers: Vec<_> = folder.stored().unwrap().into_iter().map(|file| (file.number, file.bytes)).collect();
    assert_eq!(numbers, [(Some(3), 5), (Some(12), 6)]);
    assert_eq!((folder.read(12).unwrap(), folder.read_end(12, 2).unwrap()), (b"twelve".to_vec(), b"ve".to_vec()));
    folder.delete(3).unwrap();
    folder.bury(12).unwrap();
    folder.store_dead(&format!("{}-4.refused", file_name(7)), b"seven").unwrap();
    let dead: Vec<_> = folder.dead().unwrap().into_iter().map(|file| file.number).collect();
    assert_eq!((folder.stored().unwrap(), dead), (vec![], vec![Some(7), Some(12)]));
    folder.probe().unwrap();
    assert_eq!(fs::read_dir(place.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn only_one_process_has_a_folder_and_what_was_not_finished_is_deleted() {
    let place = tempfile::tempdir().unwrap();
    let folder = open(place.path());
    assert!(matches!(Folder::open(place.path()), Err(OpenError::Taken { .. })));
    fs::write(place.path().join("tmp/being-written"), "torn").unwrap();
    drop(folder);
    open(place.path());
    assert_eq!(fs::read_dir(place.path().join("tmp")).unwrap().count(), 0);
}

/// The writer stores batches while records that cannot be delivered are put aside.
#[test]
fn two_threads_store_files_at_once_and_each_is_whole() {
    let place = tempfile::tempdir().unwrap();
    let folder = open(place.path());
    let bytes = |kind: u8, number: u64| vec![kind; usize::try_from(number).unwrap() * 1000];
    std::thread::scope(|scope| {
        scope.spawn(|| (1..50).for_each(|number| folder.store(number, &bytes(1, number)).unwrap()));
        scope.spawn(|| {
            for number in 1..50 {
                let name = format!("{}-0{TOO_LARGE}", file_name(number));
                folder.store_dead(&name, &bytes(2, number)).unwrap();
            }
        });
        scope.spawn(|| (1..50).for_each(|_| folder.probe().unwrap()));
    });
    for number in 1..50 {
        assert_eq!(folder.read(number).unwrap(), bytes(1, number));
        let name = format!("{}-0{TOO_LARGE}", file_name(number));
        assert_eq!(fs::read(place.path().join("dead").join(name)).unwrap(), bytes(2, number));
    }
}

#[test]
fn says_what_is_wrong_with_a_folder() {
    let place = tempfile::tempdir().unwrap();
    let missing = place.path().join("no/such");
    let error = Folder::open(&missing).unwrap_err();
    assert_eq!(error.to_string(), format!("{} cannot be created", missing.display()));
    let error = Folder::open(Path::new("/dev/shm/paybridge-spool-test")).unwrap_err();
    fs::remove_dir("/dev/shm/paybridge-spool-test").unwrap();
    assert!(error.to_string().contains("is on tmpfs"), "{error}");
}

#[track_caller]
fn open(path: &Path) -> Folder {
    Folder::open(path).unwrap()
}
