//! Stories of a drive that is lost for good, and of the empty one that takes its place.

use super::*;
use crate::io::sim::SimDisk;
use offline::{Loss, Severity, Unable};
use replacement::Vacancy;

/// Lengths of objects: in the log, and in extents.
const SMALL: usize = 3_000;
const LARGE: usize = 150_000;

/// The drive that is lost: of core 1, not the first.
const LOST: usize = 1;

/// What two cores with a drive each were given, so that key and payload lie on every pair of them.
struct Story {
    bucket: BucketId,
    /// Bytes by key, with the core that had the connection.
    stored: BTreeMap<Vec<u8>, (usize, Vec<u8>)>,
    /// Uploads by key, with the core that had the connection.
    uploads: BTreeMap<Vec<u8>, (usize, UploadId)>,
}

fn owner(bucket: BucketId, key: &[u8]) -> usize {
    owner_of(bucket, key, 2)
}

impl Story {
    async fn tell(node: &Node) -> Self {
        let engine = node.core(0);
        let bucket = engine.create_bucket("b", Versioning::Unversioned, BTreeMap::new()).await.unwrap().id;
        let mut story = Self { bucket, stored: BTreeMap::new(), uploads: BTreeMap::new() };
        for number in 0..24u64 {
            let from = (number % 2) as usize;
            let bytes = content(number, if number % 4 < 2 { SMALL } else { LARGE });
            let key = format!("key/{number:02}").into_bytes();
            put(node.core(from), bucket, &key, &bytes).await.unwrap();
            story.stored.insert(key, (from, bytes));
        }
        for number in 0..8 {
            let (from, key) = (number % 2, format!("upload/{number}").into_bytes());
            let upload = engine.create_upload(bucket, &key, Vec::new()).await.unwrap().id;
            let body = payload(node.core(from), &content(9, LARGE)).await.unwrap();
            let etag = attributes(&content(9, LARGE)).etag;
            node.core(from).put_part(bucket, &key, upload, 1, body, etag, None).await.unwrap();
            story.uploads.insert(key, (from, upload));
        }
        story
    }

    /// Whether an object's payload lay on the lost drive.
    fn is_damaged(&self, key: &[u8]) -> bool {
        let (from, bytes) = &self.stored[key];
        *from == LOST && bytes.len() > INLINE_BYTES_MAX
    }

    /// Keys that are left, damaged or not.
    fn left(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.stored.keys().filter(|key| owner(self.bucket, key) != LOST)
    }

    /// Each key is there as it was, or is an error and known to be, or is gone.
    async fn read(&self, node: &Node) {
        for (key, (_, bytes)) in &self.stored {
            let name = String::from_utf8_lossy(key);
            match get(node.core(1), self.bucket, key).await {
                Ok(None) => assert_eq!(owner(self.bucket, key), LOST, "{name} is gone"),
                Ok(Some(found)) => {
                    assert!(owner(self.bucket, key) != LOST && !self.is_damaged(key), "{name} came back");
                    assert!(found == *bytes, "{name} is another");
                }
                Err(EngineError::Corrupt(_)) => {
                    assert!(owner(self.bucket, key) != LOST && self.is_damaged(key), "{name} is damaged");
                }
                Err(other) => panic!("{name}: {other}"),
            }
        }
        let listed = list_all(node.core(0), self.bucket, 5).await;
        assert!(listed.iter().eq(self.left()), "{listed:?}");
    }
}

fn disks(simulation: &Simulation) -> Vec<SimDisk> {
    vec![simulation.disk(0), simulation.disk(1)]
}

/// The drive is gone, and a new one is there.
async fn empty(disk: &SimDisk) {
    for file in disk.list().unwrap() {
        disk.remove(&file.name).await.unwrap();
    }
    disk.sync_directory().await.unwrap();
}

async fn loss(simulation: &Simulation) -> Result<Loss, Unable> {
    offline::loss(&disks(simulation), LOST, &mut |_| {}).await
}

async fn replace(simulation: &Simulation) -> Loss {
    let loss = loss(simulation).await.unwrap();
    replacement::replace(&disks(simulation), &loss).await.unwrap();
    loss
}

async fn damages(simulation: &Simulation) -> Vec<String> {
    let checked = offline::check(&disks(simulation), &offline::Options::default(), &mut |_| {}).await;
    let findings = checked.unwrap().findings.into_iter();
    let damages = findings.filter(|finding| finding.severity == Severity::Damage);
    damages.map(|it| format!("{:?}: {}, expected {}", it.spot, it.found, it.expected)).collect()
}

#[test]
fn a_node_goes_on_with_what_is_left_after_a_drive_is_replaced() {
    for seed in 0..8 {
        let simulation = Simulation::new(seed);
        let story = simulation.block_on(async {
            let node = Node::start(&simulation, 2, 2).await.unwrap();
            let story = Story::tell(&node).await;
            if seed % 2 == 0 {
                node.shutdown().await;
            }
            story
        });
        simulation.crash();
        simulation.block_on(async {
            empty(&simulation.disk(LOST)).await;
            assert!(Node::start(&simulation, 2, 2).await.is_err(), "a lost drive looks like an empty one");
            let loss = replace(&simulation).await;
            assert_eq!(
                (loss.cores_lost.as_slice(), loss.objects_left),
                (&[LOST][..], story.left().count() as u64)
            );
            let named: Vec<&Vec<u8>> = loss.damaged.iter().map(|it| &it.key).collect();
            let damaged = story.left().filter(|key| story.is_damaged(key));
            let uploads = story
                .uploads
                .iter()
                .filter(|(key, (from, _))| *from == LOST && owner(story.bucket, key) != LOST);
            let expected: Vec<&Vec<u8>> = damaged.chain(uploads.map(|(key, _)| key)).collect();
            assert_eq!(named, expected);
            assert!(named.len() >= 3 && story.left().count() >= 6, "the story is too short");
            assert!(loss.damaged.iter().all(|it| it.bucket_name.as_deref() == Some("b")));

            let node = Node::start(&simulation, 2, 2).await.unwrap();
            story.read(&node).await;
            node.shutdown().await;
            drop(node);
            // Whatever the number of cores: the records of before do not come back.
            for cores in [1, 3, 2] {
                let node = Node::start(&simulation, cores, 2).await.unwrap();
                story.read(&node).await;
                node.core(0).host().sleep(std::time::Duration::from_secs(3)).await;
                drop(node);
            }
        });
    }
}

#[test]
fn what_is_damaged_can_be_put_again_deleted_and_not_be_copied() {
    let simulation = Simulation::new(3);
    simulation.block_on(async {
        let node = Node::start_with(&simulation, 2, 2, tiny()).await.unwrap();
        let mut story = Story::tell(&node).await;
        node.shutdown().await;
        drop(node);
        empty(&simulation.disk(LOST)).await;
        replace(&simulation).await;
        let node = Node::start_with(&simulation, 2, 2, tiny()).await.unwrap();
        let (engine, bucket) = (node.core(1), story.bucket);

        // Whose they are is told before anybody asks for them.
        for engine in &node.engines {
            engine.scrub().await.unwrap();
        }
        let told = node.engines.iter().flat_map(|engine| engine.damages().list);
        let mut told: Vec<Vec<u8>> = told.flat_map(|it| it.objects).map(|object| object.key).collect();
        told.sort();
        let damaged: Vec<Vec<u8>> = story.left().filter(|key| story.is_damaged(key)).cloned().collect();
        assert!(damaged.iter().all(|key| told.contains(key)), "{told:?}");

        for (number, key) in damaged.iter().enumerate() {
            let object = engine.get(bucket, key, None).await.unwrap().found().unwrap();
            let copied = object.share(0..object.bytes).await.map(drop);
            assert!(matches!(copied, Err(EngineError::Corrupt(_))), "{copied:?}");
            drop(object);
            if number % 2 == 0 {
                let bytes = content(77, LARGE);
                put(engine, bucket, key, &bytes).await.unwrap();
                story.stored.insert(key.clone(), (0, bytes));
            } else {
                assert!(engine.delete(bucket, key, Deletion::default()).await.unwrap().existed);
                story.stored.remove(key);
            }
        }
        // Keys of the core that lost its drive are free for new objects, and so is the drive.
        for number in 0..6u64 {
            let key = format!("new/{number}").into_bytes();
            let bytes = content(number, LARGE);
            put(node.core(LOST), bucket, &key, &bytes).await.unwrap();
            assert!(get(node.core(0), bucket, &key).await.unwrap() == Some(bytes));
            node.core(0).delete(bucket, &key, Deletion::default()).await.unwrap();
        }
        for (key, (from, upload)) in &story.uploads {
            let etag = attributes(&content(9, LARGE)).etag;
            let completion = Completion {
                parts: vec![(1, etag)],
                attributes: attributes(&content(9, LARGE)),
                condition: Condition::default(),
                events: Vec::new(),
            };
            let completed = engine.complete_upload(bucket, key, *upload, completion.clone()).await;
            match (owner(bucket, key) == LOST, *from == LOST) {
                (true, _) => assert_eq!(completed.map(drop), Err(EngineError::NoSuchUpload)),
                (false, false) => {
                    completed.unwrap();
                    story.stored.insert(key.clone(), (0, content(9, LARGE)));
                }
                (false, true) => {
                    assert_eq!(completed.map(drop), Err(EngineError::InvalidPart));
                    let body = payload(engine, &content(9, LARGE)).await.unwrap();
                    engine.put_part(bucket, key, *upload, 1, body, etag, None).await.unwrap();
                    engine.complete_upload(bucket, key, *upload, completion).await.unwrap();
                    story.stored.insert(key.clone(), (0, content(9, LARGE)));
                }
            }
        }
        // The keys that are gone stay gone; what was written since is right.
        story.stored.retain(|key, _| owner(bucket, key) != LOST);
        story.read_whole(&node).await;
        node.core(0).host().sleep(std::time::Duration::from_secs(30)).await;
        for engine in &node.engines {
            engine.scrub().await.unwrap();
            assert_eq!(engine.damages().list, []);
            let live: u64 = engine.extents().references().iter().map(|(_, count)| u64::from(*count)).sum();
            assert_eq!(live, engine.extents().count() as u64, "an extent is held by nobody, or twice");
        }
        let held: u64 = story.stored.values().map(|(_, bytes)| bytes.len() as u64).sum();
        assert_eq!(node.core(0).usage(bucket).await.unwrap().bytes, held);
        node.shutdown().await;
        drop(node);
        assert_eq!(damages(&simulation).await, [""; 0]);
        let node = Node::start_with(&simulation, 2, 2, tiny()).await.unwrap();
        story.read_whole(&node).await;
    });
}

impl Story {
    /// Every key is there and whole, and no other.
    async fn read_whole(&self, node: &Node) {
        for (key, (_, bytes)) in &self.stored {
            let found = get(node.core(0), self.bucket, key).await.unwrap();
            assert!(found.as_ref() == Some(bytes), "{}", String::from_utf8_lossy(key));
        }
        let listed = list_all(node.core(1), self.bucket, 7).await;
        assert!(listed.iter().eq(self.stored.keys()), "{listed:?}");
    }
}

#[test]
fn a_replacement_that_is_cut_off_anywhere_can_be_repeated() {
    for seed in 0..3 {
        let simulation = Simulation::new(seed);
        let story = simulation.block_on(async {
            let node = Node::start(&simulation, 2, 2).await.unwrap();
            let story = Story::tell(&node).await;
            node.shutdown().await;
            drop(node);
            empty(&simulation.disk(LOST)).await;
            story
        });
        let cut = simulation.power_cut();
        let mut ends = BTreeMap::new();
        for steps in 0.. {
            simulation.power_on(&cut, seed * 1000 + steps);
            let found = simulation.block_on(loss(&simulation)).unwrap();
            let over = disks(&simulation);
            let ended = simulation.block_on_for(replacement::replace(&over, &found), steps);
            simulation.crash();
            simulation.block_on(async {
                let vacancy = replacement::vacancy(&simulation.disk(LOST)).await;
                *ends.entry(format!("{vacancy:?}")).or_insert(0) += 1;
                match vacancy {
                    Ok(Vacancy::Empty | Vacancy::Begun) => {
                        assert!(ended.is_none(), "what was done is undone");
                        let refused = Node::start(&simulation, 2, 2).await.err();
                        assert!(matches!(refused, Some(OpenError::Foreign(_))), "{refused:?}");
                        replace(&simulation).await;
                    }
                    // As found by another attempt, or not looked at again.
                    Ok(Vacancy::Done) if steps % 2 == 0 => {
                        replacement::end(&simulation.disk(LOST)).await.unwrap();
                    }
                    _ => {}
                }
                let node = Node::start(&simulation, 2, 2).await.unwrap();
                story.read(&node).await;
            });
            if ended.is_some() {
                break;
            }
        }
        assert!(ends.len() >= 3 && ends.values().sum::<i32>() > 20, "{ends:?}");
    }
}

#[test]
fn only_an_empty_drive_among_whole_ones_of_the_node_takes_the_place_of_another() {
    let simulation = Simulation::new(1);
    simulation.block_on(async {
        let node = Node::start(&simulation, 2, 2).await.unwrap();
        Story::tell(&node).await;
        node.shutdown().await;
        drop(node);
        // It is there.
        let there = replacement::vacancy(&simulation.disk(LOST)).await.unwrap_err().0;
        assert!(there.contains("not lost"), "{there}");
        // Its superblocks are gone, the rest is not.
        for name in SUPERBLOCK_NAMES {
            simulation.disk(LOST).remove(name).await.unwrap();
        }
        let used = replacement::vacancy(&simulation.disk(LOST)).await.unwrap_err().0;
        assert!(used.contains("holds 'checkpoint-"), "{used}");
        empty(&simulation.disk(LOST)).await;
        assert_eq!(replacement::vacancy(&simulation.disk(LOST)).await, Ok(Vacancy::Empty));

        // Another one is given for a drive of the node, or is damaged.
        let over = [simulation.disk(2), simulation.disk(LOST)];
        let refused = offline::loss(&over, LOST, &mut |_| {}).await.unwrap_err().0;
        assert!(refused.contains("belongs to a node"), "{refused}");
        let over = [simulation.disk(0), simulation.disk(LOST), simulation.disk(2)];
        let refused = offline::loss(&over, LOST, &mut |_| {}).await.unwrap_err().0;
        assert!(refused.contains("2 drives, and 3 are given"), "{refused}");
        let log =
            simulation.disk(0).list().unwrap().into_iter().find(|it| it.name.starts_with("log-")).unwrap();
        simulation.flip_bit(0, &log.name, 4100);
        let refused = loss(&simulation).await.unwrap_err().0;
        assert!(refused.contains("drive 0 is damaged, too") && refused.contains(&log.name), "{refused}");
        simulation.flip_bit(0, &log.name, 4100);
    });
}

#[test]
fn a_drive_that_is_found_again_after_it_was_replaced_is_an_older_copy() {
    let simulation = Simulation::new(1);
    let story = simulation.block_on(async {
        let node = Node::start(&simulation, 2, 2).await.unwrap();
        let story = Story::tell(&node).await;
        node.shutdown().await;
        story
    });
    simulation.block_on(async {
        let old = drives::superblocks(&simulation, LOST).await;
        empty(&simulation.disk(LOST)).await;
        replace(&simulation).await;
        let node = Node::start(&simulation, 2, 2).await.unwrap();
        story.read(&node).await;
        drop(node);
        drives::put_back(&simulation, LOST, old).await;
        let refused = Node::start(&simulation, 2, 2).await.err().map(|error| error.to_string());
        let refused = refused.unwrap_or_default();
        assert!(refused.contains("drive 1") && refused.contains("older copy"), "{refused}");
    });
}
