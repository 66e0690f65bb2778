//! SIGKILL again and again under load: what was acknowledged is there, byte for byte; what was not is there
//! wholly or not at all.
//!
//! Clients put (small, large, in parts, conditionally), copy, rename, delete and make versions, each under keys
//! of its own, and race for keys that only one may create. The node is killed at random moments: under load,
//! while it ends in order, while it recovers, and together with its file systems. It comes back with another
//! number of cores; then everything is read and compared with what each client knows (`kill/model.rs`).
//!
//! `RINGCASK_KILLS` is how often (4 unless given), `RINGCASK_KILL_SEED` what the choices follow from. With root
//! the data lies on two small file systems, so that segments are small and logs are cleaned all the time.

mod load;
mod model;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::client::Request;
use crate::content::Random;
use crate::node::{Node, Options};
use crate::volume::Volume;
use load::{BUCKET, BUCKET_VERSIONED};
use model::{Checked, Races, Writer};

const WRITERS: usize = 24;

/// Bytes of each file system: segments of the log are 8 MiB, of data 16 MiB.
const VOLUME_BYTES: u64 = 512 << 20;

/// What a run did.
#[derive(Default)]
struct Figures {
    kills_under_load: u64,
    kills_while_ending: u64,
    kills_while_starting: u64,
    file_systems_lost: u64,
    changes: u64,
    checked: Checked,
}

#[test]
fn acknowledged_changes_survive_being_killed_again_and_again() {
    let kills = number("RINGCASK_KILLS").unwrap_or(4);
    let seed = number("RINGCASK_KILL_SEED").unwrap_or(20_261_122);
    let mut random = Random::new(seed);
    let volumes: Vec<Volume> = (0..2).map_while(|_| Volume::ext4(VOLUME_BYTES)).collect();
    let folders = volumes.iter().map(|volume| volume.path().join("data")).collect();
    let mut node = Node::start_with(Options { cores: 2, drives: 2, folders, ..Options::default() });
    let mut client = node.client();
    client.put_bucket(BUCKET);
    client.put_bucket(BUCKET_VERSIONED);
    let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let target = format!("/{BUCKET_VERSIONED}?versioning");
    client.send(Request::new("PUT", &target).body(versioning)).expect(200);

    let writers: Vec<Mutex<Writer>> = (0..WRITERS).map(|number| Mutex::new(Writer::new(number))).collect();
    let races = Races::default();
    let mut figures = Figures::default();
    for round in 0..kills {
        let seed = random.next();
        let moment = Duration::from_millis(50 + random.below(1000) as u64);
        let end = End::draw(&mut random, !volumes.is_empty());
        figures.changes += work_until_killed(&mut node, &volumes, &writers, &races, seed, moment, end);
        match end {
            End::Killed => figures.kills_under_load += 1,
            End::KilledWhileEnding => figures.kills_while_ending += 1,
            End::FileSystemsLost => figures.file_systems_lost += 1,
        }
        let cores = 1 + random.below(4);
        while random.below(4) == 0 {
            // Recovery itself must not make anything worse, however often it is cut off.
            node.kill_while_starting(cores, Duration::from_millis(random.below(250) as u64));
            figures.kills_while_starting += 1;
        }
        node.restart(cores);
        let checked = check(&node, &writers, &races);
        eprintln!(
            "round {round}: {end:?} after {moment:?}, now {cores} cores; {} versions, {} bytes compared",
            checked.versions, checked.bytes
        );
        figures.checked.add(checked);
    }
    // A clean stop and start changes nothing either.
    assert!(node.terminate().success());
    node.restart(2);
    figures.checked.add(check(&node, &writers, &races));
    eprintln!(
        "seed {seed}: {} kills under load, {} while ending, {} while starting, {} with the file systems; {} \
         acknowledged changes; {} versions read and {} bytes compared",
        figures.kills_under_load,
        figures.kills_while_ending,
        figures.kills_while_starting,
        figures.file_systems_lost,
        figures.changes,
        figures.checked.versions,
        figures.checked.bytes
    );
    assert!(figures.changes > 20 * kills, "{} changes are no load", figures.changes);
}

/// How a round ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Killed,
    KilledWhileEnding,
    /// The file systems are shut down under the node and forget what they have not written of themselves, as in
    /// a power cut; a moment later the node is killed.
    FileSystemsLost,
}

impl End {
    fn draw(random: &mut Random, has_volumes: bool) -> Self {
        match random.below(8) {
            0 | 1 => Self::KilledWhileEnding,
            2..=4 if has_volumes => Self::FileSystemsLost,
            _ => Self::Killed,
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Lets all writers work, and kills the node `moment` after the first answer. Returns how many changes were
/// acknowledged.
fn work_until_killed(
    node: &mut Node,
    volumes: &[Volume],
    writers: &[Mutex<Writer>],
    races: &Races,
    seed: u64,
    moment: Duration,
    end: End,
) -> u64 {
    let acknowledged = AtomicU64::new(0);
    let ended = AtomicBool::new(false);
    let clients: Vec<_> = writers.iter().map(|_| node.client()).collect();
    std::thread::scope(|scope| {
        let (acknowledged, ended) = (&acknowledged, &ended);
        for (number, (writer, mut client)) in writers.iter().zip(clients).enumerate() {
            scope.spawn(move || {
                let mut random = Random::new(seed ^ (number as u64) << 32);
                let mut writer = writer.lock().unwrap();
                while load::change(&mut writer, races, &mut client, &mut random, ended) {
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while acknowledged.load(Ordering::Relaxed) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(moment);
        ended.store(true, Ordering::SeqCst);
        match end {
            End::Killed => node.kill(),
            End::KilledWhileEnding => node.kill_while_ending(moment / 4),
            End::FileSystemsLost => {
                volumes.iter().for_each(Volume::shut_down);
                std::thread::sleep(moment / 4);
                node.kill();
            }
        }
    });
    if let End::FileSystemsLost = end {
        // What their journals have comes back.
        volumes.iter().for_each(Volume::unmount);
        volumes.iter().for_each(Volume::mount);
    }
    acknowledged.into_inner()
}

/// Compares all that the node has with what the writers know.
fn check(node: &Node, writers: &[Mutex<Writer>], races: &Races) -> Checked {
    const CLIENTS: usize = 4;
    let total = Mutex::new(Checked::default());
    std::thread::scope(|scope| {
        for share in writers.chunks(WRITERS.div_ceil(CLIENTS)) {
            let total = &total;
            let mut client = node.client();
            scope.spawn(move || {
                for writer in share {
                    let checked = writer.lock().unwrap().settle(&mut client);
                    total.lock().unwrap().add(checked);
                }
            });
        }
    });
    let mut total = total.into_inner().unwrap();
    total.add(races.settle(&mut node.client()));
    model::compare_with_listing(writers, races, &mut node.client());
    total
}
