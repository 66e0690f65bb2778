//! The access log without a node: queues that are full, files that are renamed, drives that take nothing.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::file::{AccessLog, LogFile};
use super::lane::{Bell, with_room};
use super::{Sink, carry, count};

fn log(path: &Path, bytes_max: Option<u64>) -> LogFile {
    LogFile::open(AccessLog { path: path.to_owned(), bytes_max, files_max: 2 }).unwrap()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Keeps what it is given, and whether it came in whole lines.
#[derive(Clone, Default)]
struct Kept(Arc<std::sync::Mutex<Vec<u8>>>);

impl Sink for Kept {
    fn keep(&mut self, lines: &[u8], _: &Bell) -> u64 {
        assert!(lines.ends_with(b"\n"));
        self.0.lock().unwrap().extend_from_slice(lines);
        0
    }

    fn reopen(&mut self) {}
}

#[test]
fn what_finds_no_room_is_counted_and_its_gap_is_told() {
    let bell = Arc::<Bell>::default();
    let (mut writer, reader) = with_room(&bell, 64);
    for number in 0..10 {
        writer.push(format!("line {number} of twenty\n").as_bytes());
    }
    assert_eq!((writer.queued_bytes(), writer.lane().dropped.load(Ordering::Relaxed)), (51, 7));
    bell.ask_to_end();
    let kept = Kept::default();
    carry(Box::new(kept.clone()), vec![reader], &bell);
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["line 0 of twenty", "line 1 of twenty", "line 2 of twenty"]);
    let gap: serde_json::Value = serde_json::from_str(lines[3]).unwrap();
    assert_eq!((&gap["operation"], &gap["dropped"]), (&"EntriesDropped".into(), &7.into()));
    assert_eq!((lines.len(), writer.queued_bytes()), (4, 0));
    assert_eq!(writer.lane().written.load(Ordering::Relaxed), 3);
}

#[test]
fn every_line_of_every_core_arrives_once_while_the_thread_sleeps_and_wakes() {
    let bell = Arc::<Bell>::default();
    let kept = Kept::default();
    let (writers, readers): (Vec<_>, Vec<_>) = (0..3).map(|_| with_room(&bell, 1 << 16)).unzip();
    let thread = {
        let (bell, kept) = (bell.clone(), kept.clone());
        std::thread::Builder::new().spawn(move || {
            bell.answer_here();
            carry(Box::new(kept), readers, &bell);
        })
    };
    let cores: Vec<_> = (0..3)
        .zip(writers)
        .map(|(core, mut writer)| {
            let write = move || {
                for number in 0..2000 {
                    writer.push(format!("{core} {number}\n").as_bytes());
                    if number % 100 == 0 {
                        std::thread::yield_now();
                    }
                }
                assert_eq!(writer.lane().dropped.load(Ordering::Relaxed), 0);
            };
            std::thread::Builder::new().spawn(write).unwrap()
        })
        .collect();
    cores.into_iter().for_each(|core| core.join().unwrap());
    bell.ask_to_end();
    thread.unwrap().join().unwrap();
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    for core in 0..3 {
        let own = text.lines().filter_map(|line| line.strip_prefix(&format!("{core} ")));
        let numbers: Vec<usize> = own.map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers, (0..2000).collect::<Vec<_>>(), "in the order of the core");
    }
}

#[test]
fn a_file_is_renamed_between_lines_and_the_oldest_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mut file = log(&path, Some(40));
    let lines: Vec<String> = (0..9).map(|number| format!("line number {number}\n")).collect();
    assert_eq!(file.keep(lines.concat().as_bytes(), &Bell::default()), 0);
    // Two lines of fourteen bytes fit.
    assert_eq!(text(&path), lines[8]);
    assert_eq!(text(&folder.path().join("access.log.1")), lines[6..8].concat());
    assert_eq!(text(&folder.path().join("access.log.2")), lines[4..6].concat());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    // A line that is longer than a file gets one of its own.
    let long = format!("{}\n", "x".repeat(100));
    assert_eq!(file.keep(long.as_bytes(), &Bell::default()), 0);
    assert_eq!(text(&path), long);
}

#[test]
fn a_file_that_was_renamed_is_written_until_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("access.log"), folder.path().join("moved"));
    let mut file = log(&path, None);
    file.keep(b"one\n", &Bell::default());
    fs::rename(&path, &moved).unwrap();
    file.keep(b"two\n", &Bell::default());
    file.reopen();
    file.keep(b"three\n", &Bell::default());
    assert_eq!((text(&moved), text(&path)), ("one\ntwo\n".to_owned(), "three\n".to_owned()));
}

#[test]
fn what_a_crash_tore_off_does_not_run_into_the_next_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    fs::write(&path, "whole\nto").unwrap();
    log(&path, None).keep(b"next\n", &Bell::default());
    assert_eq!(text(&path), "whole\nto\nnext\n");
}

#[test]
fn lines_that_a_full_drive_never_took_are_counted_when_the_node_ends() {
    let bell = Bell::default();
    bell.ask_to_end();
    let lines = b"one\ntwo\n";
    assert_eq!(log(Path::new("/dev/full"), Some(1 << 20)).keep(lines, &bell), count(lines));
}
