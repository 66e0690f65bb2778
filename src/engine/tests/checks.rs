//! The offline check, on directories that a node left: clean ones are clean, and whatever happens to one is
//! found, or is nothing that anybody could miss.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::histories::Draw;
use super::*;
use crate::io::directory::{ReadOnlyDirectory, wait};
use crate::io::{Buffer, Durability, FileEntry};
use offline::{Area, Report, Severity, Unable};

/// What a node left on its drives, in memory: files by drive and name.
#[derive(Clone)]
struct Left {
    drives: Vec<BTreeMap<String, Vec<u8>>>,
}

impl Left {
    fn of(simulation: &Simulation, drives: usize) -> Self {
        let mut left = Self { drives: vec![BTreeMap::new(); drives] };
        for (drive, files) in left.drives.iter_mut().enumerate() {
            let disk = simulation.disk(drive);
            for FileEntry { name, bytes, .. } in disk.list().unwrap() {
                let length = (bytes as usize).next_multiple_of(4096).max(4096);
                let read = simulation.block_on(async {
                    let file = disk.open(&name, OpenMode::Read).await.unwrap();
                    disk.read(&file, 0, Buffer::heap(length), 0..length).await
                });
                assert_eq!(read.0.unwrap() as u64, bytes);
                files.insert(name, read.1[..bytes as usize].to_vec());
            }
        }
        left
    }

    /// Writes the files to folders.
    fn lay_out(&self) -> Folders {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (drive, files) in self.drives.iter().enumerate() {
            let path = folder.path().join(drive.to_string());
            fs::create_dir(&path).unwrap();
            for (name, bytes) in files {
                let file = fs::File::options().create_new(true).write(true).open(path.join(name)).unwrap();
                file.set_len(bytes.len() as u64).unwrap();
                for (number, block) in bytes.chunks(4096).enumerate() {
                    if block.iter().any(|byte| *byte != 0) {
                        file.write_all_at(block, number as u64 * 4096).unwrap();
                    }
                }
            }
            paths.push(path);
        }
        Folders { _folder: folder, paths }
    }

    fn names(&self, prefix: &str) -> Vec<(usize, String)> {
        let all = self.drives.iter().enumerate();
        let all = all.flat_map(|(drive, files)| files.keys().map(move |name| (drive, name.clone())));
        all.filter(|(_, name)| name.starts_with(prefix)).collect()
    }
}

struct Folders {
    _folder: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

impl Folders {
    fn check(&self) -> Result<Report, Unable> {
        check(&self.paths)
    }
}

fn check(paths: &[PathBuf]) -> Result<Report, Unable> {
    let disks: Vec<_> = paths.iter().map(|path| ReadOnlyDirectory::new(path)).collect();
    wait(offline::check(&disks, &offline::Options::default(), &mut |_| {}))
}

/// Everything that a node can hold, with a checkpoint in the middle and an orderly end.
fn filled(cores: usize, drives: usize) -> Left {
    let simulation = Simulation::new(7);
    simulation.block_on(async {
        let node = Node::start_with(&simulation, cores, drives, tiny()).await.unwrap();
        fill(&node).await;
        // What was replaced is freed in the background.
        node.core(0).host().sleep(std::time::Duration::from_secs(5)).await;
        node.shutdown().await;
    });
    Left::of(&simulation, drives)
}

async fn fill(node: &Node) {
    let engine = node.core(0);
    let plain = engine.create_bucket("plain", Versioning::Unversioned, BTreeMap::new()).await.unwrap().id;
    let kept = engine.create_bucket("kept", Versioning::Enabled, BTreeMap::new()).await.unwrap().id;
    for round in 0..3u64 {
        for number in 0..12u64 {
            let key = format!("key-{number:02}").into_bytes();
            let large = if number % 3 == 0 { 200_000 } else { 300 };
            let bytes = content(round * 100 + number, large + number as usize);
            put(node.core(number as usize), plain, &key, &bytes).await.unwrap();
            put(node.core(number as usize + 1), kept, &key, &bytes).await.unwrap();
        }
        let source = engine.get(plain, b"key-03", None).await.unwrap().found().unwrap();
        let shared = source.share(1000..150_000).await.unwrap();
        let copy = attributes(&content(round * 100 + 3, 200_003)[1000..150_000]);
        engine.put(kept, b"copy", shared, copy, Condition::default()).await.unwrap();
        engine.delete(kept, b"key-01", Deletion::default()).await.unwrap();
        engine.delete(plain, b"key-02", Deletion::default()).await.unwrap();
        let upload = engine.create_upload(plain, b"upload", Vec::new()).await.unwrap().id;
        for part in 1..3 {
            let bytes = content(u64::from(part), 90_000);
            let (body, etag) = (payload(engine, &bytes).await.unwrap(), attributes(&bytes).etag);
            engine.put_part(plain, b"upload", upload, part, body, etag, None).await.unwrap();
        }
        if round == 1 {
            for engine in &node.engines {
                checkpoint::write(engine).await.unwrap();
            }
        }
    }
}

/// Everything that clients could read, as text: versions with their bytes, or how reading them fails.
fn read_everything(left: &Left, cores: usize) -> Result<BTreeMap<String, String>, String> {
    let simulation = Simulation::new(8);
    let drives = left.drives.len();
    simulation.block_on(async {
        for (drive, files) in left.drives.iter().enumerate() {
            let disk = simulation.disk(drive);
            for (name, bytes) in files {
                let file = disk.open(name, OpenMode::Create).await.unwrap();
                let length = bytes.len().next_multiple_of(4096);
                if length == 0 {
                    continue;
                }
                let mut buffer = Buffer::heap(length);
                buffer.append(bytes);
                let durably = Durability::Durable;
                disk.write(&file, 0, buffer, 0..length, durably).await.0.unwrap();
            }
            disk.sync_directory().await.unwrap();
        }
        let node = Node::start_with(&simulation, cores, drives, tiny()).await;
        let node = node.map_err(|error| error.to_string())?;
        let mut found = BTreeMap::new();
        for bucket in node.core(0).buckets() {
            let query = VersionQuery { count_max: 1000, ..VersionQuery::default() };
            let page = node.core(0).list_versions(bucket.id, query).await.unwrap();
            for listed in page.versions {
                let name = format!("{}/{:?}/{:?}", bucket.name, listed.key, listed.version);
                let text = match node.core(0).get(bucket.id, &listed.key, Some(listed.version)).await {
                    Ok(Lookup::Found(object)) => match read(&object, 0..object.bytes).await {
                        Ok(bytes) => format!("{} {:08x}", bytes.len(), crc32c::crc32c(&bytes)),
                        Err(error) => error.to_string(),
                    },
                    Ok(Lookup::DeleteMarker { .. }) => "marker".to_owned(),
                    Ok(Lookup::Missing) => "missing".to_owned(),
                    Err(error) => error.to_string(),
                };
                found.insert(name, text);
            }
        }
        Ok(found)
    })
}

/// A whole scan of the drives by the offline check, which shares no code with recovery: what is stored, the
/// references to it and the space it takes fit together, and nothing is damaged. Nobody may write meanwhile.
pub fn judge_drives(simulation: &Simulation, drives: usize) {
    let disks: Vec<_> = (0..drives).map(|drive| simulation.disk(drive)).collect();
    let options = offline::Options::default();
    let report = simulation.block_on(offline::check(&disks, &options, &mut |_| {}));
    let report = report.unwrap_or_else(|error| panic!("seed {}: {error}", simulation.seed()));
    assert!(report.is_clean(), "seed {}: {report:#?}", simulation.seed());
}

/// What a power cut leaves, at any moment, is no damage.
#[test]
fn a_power_cut_leaves_nothing_that_is_called_damage() {
    for seed in 0..12 {
        let simulation = Simulation::new(seed);
        let (cores, drives) = (1 + seed as usize % 3, 1 + seed as usize % 2);
        let filling = async {
            let node = Node::start_with(&simulation, cores, drives, tiny()).await.unwrap();
            fill(&node).await;
        };
        simulation.block_on_for(filling, 2000 + seed * 1500);
        simulation.crash();
        judge_drives(&simulation, drives);
        let cores = 1 + (cores + 1) % 3;
        let start = Node::start_with(&simulation, cores, drives, tiny());
        simulation.block_on_for(start, seed * 100);
        simulation.crash();
        judge_drives(&simulation, drives);
    }
}

fn damages(report: &Report, area: Area) -> Vec<&offline::Finding> {
    let is_it = |it: &&offline::Finding| it.severity == Severity::Damage && it.area == area;
    report.findings.iter().filter(is_it).collect()
}

#[test]
fn what_a_node_left_in_order_is_clean_and_counted() {
    for (cores, drives) in [(1, 1), (2, 1), (3, 2)] {
        let report = filled(cores, drives).lay_out().check().unwrap();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        assert!(report.is_clean());
        let summary = &report.summary;
        assert_eq!((summary.cores as usize, summary.drives as usize), (cores, drives));
        // 12 keys of which one is deleted in the end, and 13 of which one hides behind a marker.
        assert_eq!((summary.buckets, summary.objects), (2, 11 + 12));
        // Three rounds of 13 keys and 3 markers, but for those that are current.
        assert_eq!(summary.versions, 3 * 13 + 3 - 12);
        assert_eq!((summary.uploads, summary.parts), (3, 6));
        assert!(summary.extents > 0 && summary.references > summary.extents);
        assert!(summary.log_bytes_live > 0 && summary.log_bytes_live < summary.log_bytes);
        assert_eq!(report.buckets[0].0, "kept");
        assert_eq!(report.buckets[1].1.objects, 11);
    }
}

/// The story: a bit of any byte of any file flips at rest. Either the check names damage, or the node reads
/// everything as before.
#[test]
fn no_flipped_bit_that_matters_goes_unnoticed() {
    let left = filled(2, 1);
    let before = read_everything(&left, 2).unwrap();
    let folders = left.lay_out();
    let names: Vec<(usize, String)> = left.names("");
    let mut draw = Draw::new(11);
    let (mut noticed, mut harmless) = (0, 0);
    for _ in 0..200 {
        let (drive, name) = &names[draw.below(names.len() as u64) as usize];
        let bytes = &left.drives[*drive][name];
        // Half of them where something stands, which is a small part of most files.
        let mut at = draw.below(bytes.len() as u64) as usize;
        if draw.below(4) > 0 {
            at = (0..bytes.len()).map(|step| (at + step) % bytes.len()).find(|at| bytes[*at] != 0).unwrap();
        }
        let bit = 1u8 << draw.below(8);
        let file = fs::File::options().write(true).open(folders.paths[*drive].join(name)).unwrap();
        file.write_all_at(&[bytes[at] ^ bit], at as u64).unwrap();
        let report = folders.check();
        file.write_all_at(&[bytes[at]], at as u64).unwrap();
        match report {
            Ok(report) if report.is_clean() => {
                harmless += 1;
                let mut damaged = left.clone();
                damaged.drives[*drive].get_mut(name).unwrap()[at] ^= bit;
                assert_eq!(read_everything(&damaged, 2).as_ref(), Ok(&before), "{name} at {at}");
            }
            Ok(report) => {
                noticed += 1;
                let about = report.findings.iter().find(|it| it.spot.file == *name);
                assert!(about.is_some(), "{name} at {at}: {:#?}", report.findings);
            }
            Err(unable) => panic!("{name} at {at}: {unable}"),
        }
    }
    assert!(noticed > 80 && harmless > 20, "{noticed} noticed, {harmless} harmless");
}

#[test]
fn a_file_that_is_gone_or_cut_or_swapped_is_noticed_unless_nobody_needs_it() {
    let left = filled(2, 2);
    let before = read_everything(&left, 2).unwrap();
    let mut noticed = 0;
    let mut judge = |what: &str, damaged: &Left| {
        let report = damaged.lay_out().check();
        if report.as_ref().is_ok_and(Report::is_clean) {
            assert_eq!(read_everything(damaged, 2).as_ref(), Ok(&before), "{what}: {report:#?}");
        } else {
            noticed += 1;
        }
    };
    for (drive, name) in left.names("") {
        let mut gone = left.clone();
        let bytes = gone.drives[drive].remove(&name).unwrap();
        judge(&format!("{name} is gone"), &gone);
        for cut in [0, 100, bytes.len() / 2, bytes.len() - 4096] {
            let mut shorter = left.clone();
            shorter.drives[drive].get_mut(&name).unwrap().truncate(cut);
            judge(&format!("{name} is cut to {cut} bytes"), &shorter);
        }
        let kind = name.split(['-', '.']).next().unwrap();
        for (_, other) in left.names(kind).iter().filter(|(there, it)| *it != name && *there == drive).take(2)
        {
            let mut swapped = left.clone();
            swapped.drives[drive].insert(name.clone(), left.drives[drive][other].clone());
            judge(&format!("{name} is a copy of {other}"), &swapped);
        }
        let mut twice = left.clone();
        twice.drives[1 - drive].insert(name.clone(), bytes);
        assert!(!twice.lay_out().check().is_ok_and(|it| it.is_clean()), "{name} is there twice");
    }
    assert!(noticed > 60, "{noticed}");
}

/// Blocks end up where others belong: the drive wrote, or read, at the wrong address.
#[test]
fn misdirected_blocks_are_noticed_or_harmless() {
    let left = filled(2, 1);
    let before = read_everything(&left, 2).unwrap();
    let names = left.names("");
    let folders = left.lay_out();
    let mut draw = Draw::new(5);
    let mut noticed = 0;
    for _ in 0..100 {
        let (_, from) = &names[draw.below(names.len() as u64) as usize];
        let (_, to) = &names[draw.below(names.len() as u64) as usize];
        let block_of = |draw: &mut Draw, name: &str| {
            let bytes = &left.drives[0][name];
            let blocks: Vec<usize> = (0..bytes.len() / 4096).filter(|at| bytes[at * 4096] != 0).collect();
            blocks[draw.below(blocks.len() as u64) as usize] * 4096
        };
        let (from_at, to_at) = (block_of(&mut draw, from), block_of(&mut draw, to));
        let block = left.drives[0][from][from_at..from_at + 4096].to_vec();
        let old = left.drives[0][to][to_at..to_at + 4096].to_vec();
        let file = fs::File::options().write(true).open(folders.paths[0].join(to)).unwrap();
        file.write_all_at(&block, to_at as u64).unwrap();
        let report = folders.check().unwrap();
        file.write_all_at(&old, to_at as u64).unwrap();
        if !report.is_clean() {
            noticed += 1;
            continue;
        }
        let mut damaged = left.clone();
        damaged.drives[0].get_mut(to).unwrap()[to_at..to_at + 4096].copy_from_slice(&block);
        let after = read_everything(&damaged, 2);
        assert_eq!(after.as_ref(), Ok(&before), "{from} at {from_at} over {to} at {to_at}");
    }
    assert!(noticed > 70, "{noticed}");
}

#[test]
fn damage_names_the_objects_that_it_touches() {
    let left = filled(1, 1);
    let (_, data) = &left.names("data-")[0];
    let folders = left.lay_out();
    let file = fs::File::options().write(true).open(folders.paths[0].join(data)).unwrap();
    let bytes = &left.drives[0][data];
    let extent = (1..).find(|block| bytes[block * 4096..][..4096].iter().any(|byte| *byte != 0)).unwrap();
    let at = extent as u64 * 4096;
    file.write_all_at(&[0x5a; 100], at + 70_000).unwrap();
    let report = folders.check().unwrap();
    let found = damages(&report, Area::Data);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].spot.file.as_str(), found[0].spot.offset), (data.as_str(), Some(at + 65536)));
    let objects = &found[0].objects;
    assert!(!objects.is_empty() && objects.iter().all(|object| object.bucket_name.is_some()), "{found:#?}");
}

#[test]
fn a_record_that_is_lost_is_named_by_the_checkpoint_that_knows_it() {
    let left = filled(1, 1);
    let (_, log) = &left.names("log-")[0];
    let folders = left.lay_out();
    let file = fs::File::options().write(true).open(folders.paths[0].join(log)).unwrap();
    let bytes = &left.drives[0][log];
    // Everything but the segment's header.
    file.write_all_at(&vec![0xee; bytes.len() - 4096], 4096).unwrap();
    let report = folders.check().unwrap();
    let found = damages(&report, Area::Log);
    assert!(!found.is_empty(), "{report:#?}");
    assert!(found.iter().any(|it| !it.objects.is_empty()), "{found:#?}");
}

#[test]
fn what_is_no_directory_of_a_node_is_not_checked() {
    let folder = tempfile::tempdir().unwrap();
    let paths = vec![folder.path().to_owned()];
    assert!(check(&paths).is_err(), "it is empty");
    fs::write(folder.path().join("thesis.tex"), "x").unwrap();
    assert!(check(&paths).is_err(), "it is somebody else's");
    assert!(check(&[folder.path().join("missing")]).is_err());
    let left = filled(1, 2);
    let folders = left.lay_out();
    assert!(check(&folders.paths[..1]).unwrap_err().0.contains("2 drives"));
    let turned = [folders.paths[1].clone(), folders.paths[0].clone()];
    assert!(check(&turned).unwrap_err().0.contains("order"));
}

/// Files of the right names, and anything in them.
#[test]
fn garbage_never_makes_a_check_panic() {
    let mut draw = Draw::new(3);
    let left = filled(1, 1);
    for _ in 0..40 {
        let mut garbage = left.clone();
        for bytes in garbage.drives[0].values_mut() {
            match draw.below(5) {
                0 => *bytes = content(draw.below(1 << 40), draw.below(50_000) as usize),
                1 => {
                    for _ in 0..draw.below(300) {
                        let at = draw.below(bytes.len().max(1) as u64) as usize;
                        bytes[at] = draw.below(256) as u8;
                    }
                }
                2 => bytes.truncate(draw.below(bytes.len() as u64 + 1) as usize),
                3 => {
                    let at = draw.below(bytes.len() as u64 / 4096) as usize * 4096;
                    let noise = content(draw.below(1 << 40), (bytes.len() - at).min(40_000));
                    bytes[at..at + noise.len()].copy_from_slice(&noise);
                }
                _ => {}
            }
        }
        let _ = garbage.lay_out().check();
    }
}

/// A plain directory that somebody may not read: not clean, and not damaged either.
#[test]
fn what_may_not_be_read_is_not_called_clean() {
    if rustix::process::geteuid().is_root() {
        // The permissions of files are nothing to the superuser.
        return;
    }
    let left = filled(1, 1);
    let folders = left.lay_out();
    let (_, name) = &left.names("data-")[0];
    let path = folders.paths[0].join(name);
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let report = folders.check().unwrap();
    assert!(!report.is_clean() && !report.unchecked.is_empty());
}
