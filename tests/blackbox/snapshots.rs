//! Copies of a running node's drives, as `docs/BACKUP.md` has them made: whole, and of one moment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::content::{Random, payload, seed_of};
use crate::node::{Node, Options};
use crate::offline::check;
use crate::volume::Volume;

const BUCKET: &str = "snapshots";
const VOLUME_BYTES: u64 = 320 << 20;

/// What became of a key, which is put once and deleted once at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fate {
    /// Acknowledged before the drives were frozen.
    is_put: bool,
    is_deleted: bool,
    /// Asked for at any time.
    may_be_deleted: bool,
}

/// What writers tell of the keys.
#[derive(Default)]
struct Told {
    fates: Mutex<BTreeMap<String, Fate>>,
    is_frozen: AtomicBool,
    is_over: AtomicBool,
}

impl Told {
    fn note(&self, key: &str, what: impl FnOnce(&mut Fate, bool)) {
        let mut fates = self.fates.lock().unwrap();
        let is_before = !self.is_frozen.load(Ordering::Relaxed);
        what(fates.entry(key.to_owned()).or_default(), is_before);
    }

    /// From now on, what is acknowledged may be missing in the copy.
    fn freeze(&self) {
        let _fates = self.fates.lock().unwrap();
        self.is_frozen.store(true, Ordering::Relaxed);
    }
}

fn write(node: &Node, told: &Told, writer: u64) {
    let mut client = node.client();
    let mut random = Random::new(writer);
    for number in 0.. {
        if told.is_over.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("{writer}/{number}");
        let bytes = if random.below(4) == 0 { 300_000 } else { 4_000 };
        client.put(BUCKET, &key, &payload(number, bytes)).expect(200);
        told.note(&key, |fate, is_before| fate.is_put = is_before);
        if number % 3 == 2 {
            let key = format!("{writer}/{}", random.below(number as usize));
            told.note(&key, |fate, _| fate.may_be_deleted = true);
            client.delete(BUCKET, &key).expect(204);
            told.note(&key, |fate, is_before| fate.is_deleted |= is_before);
        }
    }
}

/// Reads all keys of the copy.
fn compare(copy: &Node, fates: &BTreeMap<String, Fate>) {
    let mut client = copy.client();
    let (mut there, mut before) = (0, 0);
    for (key, fate) in fates {
        let response = client.get(BUCKET, key);
        let is_there = response.status != 404;
        if is_there {
            let seed = key.split('/').nth(1).unwrap().parse().ok();
            assert_eq!(seed_of(&response.expect(200).body).ok(), seed, "{key}");
        }
        assert!(is_there || !fate.is_put || fate.may_be_deleted, "{key} is missing: {fate:?}");
        assert!(!is_there || !fate.is_deleted, "{key} was deleted: {fate:?}");
        there += usize::from(is_there);
        before += usize::from(fate.is_put && !fate.may_be_deleted);
    }
    assert!(there >= before && before >= 40, "{there} there, {before} of before");
}

#[test]
fn drives_that_are_frozen_together_are_copied_whole_under_a_running_node() {
    for drives in [1, 2] {
        let Some(volumes) = (0..drives).map(|_| Volume::ext4(VOLUME_BYTES)).collect::<Option<Vec<_>>>()
        else {
            return;
        };
        let folders = |volumes: &[Volume]| -> Vec<PathBuf> {
            volumes.iter().map(|volume| volume.path().join("data")).collect()
        };
        let options = |volumes: &[Volume]| Options { folders: folders(volumes), ..Options::default() };
        let mut node = Node::start_with(options(&volumes));
        drop(node.client_with_bucket(BUCKET));
        let told = Told::default();
        let copies = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    scope.spawn({
                        let (node, told) = (&node, &told);
                        move || write(node, told, writer)
                    })
                })
                .collect();
            while told.fates.lock().unwrap().len() < 150 && !writers.iter().any(|writer| writer.is_finished())
            {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            told.freeze();
            let frozen: Vec<_> = volumes.iter().map(Volume::freeze).collect();
            // Reads go on, of what is in the log and of what is not.
            let mut client = node.client();
            for (key, _) in
                told.fates.lock().unwrap().iter().filter(|(_, it)| it.is_put && !it.may_be_deleted)
            {
                assert!(seed_of(&client.get(BUCKET, key).expect(200).body).is_ok(), "{key}");
            }
            let copies: Vec<Volume> = volumes.iter().map(Volume::copy).collect();
            drop(frozen);
            let written = told.fates.lock().unwrap().len();
            while told.fates.lock().unwrap().len() < written + 30
                && !writers.iter().any(|it| it.is_finished())
            {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            told.is_over.store(true, Ordering::Relaxed);
            copies
        });
        assert!(node.terminate().success());
        let (status, report) = check(&folders(&copies), false);
        assert_eq!(status, 0, "{report}");
        let copy = Node::start_with(options(&copies));
        compare(&copy, &told.fates.into_inner().unwrap());
    }
}
