//! Stories of a core on the real kernel, in scratch directories.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use super::queue::setup_error_text;
use super::runtime::{Config, run};
use super::*;
use crate::base::limits::{BLOCK_BYTES, BUFFER_BYTES, RING_ENTRIES};
use crate::base::local::Signal;
use crate::io::{Buffer, Disk, Durability, Host, OpenMode};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Runs a story on a core with one empty drive.
fn on_core<T>(ring_entries: u32, story: impl AsyncFnOnce(RingHost) -> T) -> T {
    let directory = tempfile::tempdir().unwrap();
    let directories = vec![directory.path().to_owned()];
    // Many, as tests run side by side.
    let config = Config { arena_bytes: 4 << 20, ring_entries, directories, cores: 64, cpu: None };
    run(config, story).unwrap()
}

fn fill(mut buffer: Buffer, byte: u8, bytes: usize) -> Buffer {
    buffer.set_len(bytes);
    buffer.fill(byte);
    buffer
}

async fn write(
    disk: &RingDisk,
    file: &RingFile,
    offset: u64,
    buffer: Buffer,
    durability: Durability,
) -> Buffer {
    let range = 0..buffer.len();
    let (result, buffer) = disk.write(file, offset, buffer, range, durability).await;
    result.unwrap();
    buffer
}

async fn read(disk: &RingDisk, file: &RingFile, offset: u64, range: Range<usize>) -> Vec<u8> {
    let buffer = Buffer::heap(range.end);
    let (count, buffer) = disk.read(file, offset, buffer, range.clone()).await;
    buffer.whole()[range.start..range.start + count.unwrap()].to_vec()
}

/// Polls a future once, which must not end it.
async fn start(mut future: Pin<&mut impl Future>) {
    let pending = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await;
    assert!(pending);
}

#[test]
fn a_task_that_yields_lets_those_behind_it_run() {
    on_core(RING_ENTRIES, async |host| {
        let turns = Rc::new(RefCell::new(Vec::new()));
        let (done, both) = crate::base::local::oneshot::<()>();
        let (here, log) = (host.clone(), turns.clone());
        host.spawn(async move {
            for turn in ["long: first turn", "long: second turn"] {
                log.borrow_mut().push(turn);
                here.yield_now().await;
            }
            drop(done);
        });
        let log = turns.clone();
        host.spawn(async move { log.borrow_mut().push("short") });
        both.await;
        assert_eq!(*turns.borrow(), ["long: first turn", "short", "long: second turn"]);
    });
}

#[test]
fn every_kind_of_buffer_reads_back_what_it_wrote() {
    on_core(RING_ENTRIES, async |host| {
        let disk = &host.disks()[0];
        let file = disk.open("a", OpenMode::Create).await.unwrap();
        let sizes = [BLOCK_BYTES, 3 * BLOCK_BYTES, BUFFER_BYTES, BUFFER_BYTES + BLOCK_BYTES, 5 << 20];
        let mut offset = 0;
        for (mark, bytes) in (1..).zip(sizes) {
            for durability in [Durability::Buffered, Durability::Durable] {
                let buffer = fill(host.pool().acquire(bytes).await, mark, bytes);
                assert_eq!(buffer.is_pooled(), bytes <= BUFFER_BYTES);
                write(disk, &file, offset, buffer, durability).await;
                // Into a buffer of the pool, and into one of the heap, not at its start.
                let (count, buffer) =
                    disk.read(&file, offset, host.pool().acquire(bytes).await, 0..bytes).await;
                assert_eq!((count.unwrap(), buffer.len()), (bytes, bytes));
                assert!(buffer.iter().all(|byte| *byte == mark));
                let apart = read(disk, &file, offset, BLOCK_BYTES..BLOCK_BYTES + bytes).await;
                assert!(apart.len() == bytes && apart.iter().all(|byte| *byte == mark));
                offset += bytes as u64;
            }
        }
        disk.sync(&file).await.unwrap();
        assert_eq!(disk.list().unwrap()[0].bytes, offset);
        assert!(read(disk, &file, offset, 0..BLOCK_BYTES).await.is_empty());
        assert_eq!(read(disk, &file, offset - BLOCK, 0..4 * BLOCK_BYTES).await, [5; BLOCK_BYTES]);
    });
}

#[test]
fn both_ways_of_durable_writes_write_through_a_small_ring() {
    use super::disk::DurableWrite;
    for way in [DurableWrite::Flag, DurableWrite::LinkedSync] {
        on_core(2, async move |host| {
            let disk = host.disks()[0].with_durable_write(way);
            let file = disk.open("a", OpenMode::Create).await.unwrap();
            let (left, done) = (Rc::new(Cell::new(16)), Signal::default());
            for mark in 0..16 {
                let (host, disk, file) = (host.clone(), disk.clone(), file.clone());
                let (left, done) = (left.clone(), done.clone());
                host.clone().spawn(async move {
                    let buffer = fill(host.pool().acquire(BLOCK_BYTES).await, mark, BLOCK_BYTES);
                    write(&disk, &file, u64::from(mark) * BLOCK, buffer, Durability::Durable).await;
                    left.set(left.get() - 1);
                    done.raise();
                });
            }
            while left.get() > 0 {
                done.wait().await;
            }
            for mark in 0..16 {
                let block = read(&disk, &file, u64::from(mark) * BLOCK, 0..BLOCK_BYTES).await;
                assert_eq!(block, [mark; BLOCK_BYTES]);
            }
            // A failed write is reported, and its sync's cancellation is not taken for the reason.
            let read_only = disk.open("a", OpenMode::Read).await.unwrap();
            let buffer = Buffer::heap(1);
            let (result, _) = disk.write(&read_only, 0, buffer, 0..BLOCK_BYTES, Durability::Durable).await;
            assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EBADF));
        });
    }
}

#[test]
fn durable_writes_are_asked_for_as_suits_the_drive() {
    use super::disk::{DurableWrite, durable_write_of};
    let ways = [
        (Some("write through\n"), Some("0\n"), DurableWrite::Flag),
        (Some("write back\n"), Some("1\n"), DurableWrite::Flag),
        (Some("write back\n"), Some("0\n"), DurableWrite::LinkedSync),
        (None, None, DurableWrite::LinkedSync),
    ];
    for (write_cache, fua, way) in ways {
        assert_eq!(durable_write_of(write_cache, fua), way, "{write_cache:?} {fua:?}");
    }
}

#[test]
fn a_file_that_ends_within_a_block_reads_to_its_end() {
    on_core(RING_ENTRIES, async |host| {
        let disk = &host.disks()[0];
        std::fs::write(disk.path().join("a"), [7; BLOCK_BYTES + 10]).unwrap();
        let file = disk.open("a", OpenMode::Read).await.unwrap();
        assert_eq!(read(disk, &file, 0, 0..4 * BLOCK_BYTES).await, [7; BLOCK_BYTES + 10]);
    });
}

#[test]
fn punching_gives_space_back_and_keeps_the_length() {
    on_core(RING_ENTRIES, async |host| {
        let disk = &host.disks()[0];
        let file = disk.open("a", OpenMode::Create).await.unwrap();
        let bytes = 4 << 20;
        disk.allocate(&file, 0..bytes).await.unwrap();
        let allocated = disk.list().unwrap()[0].clone();
        assert_eq!(allocated.bytes, bytes);
        assert!(allocated.bytes_allocated >= bytes);
        write(disk, &file, 0, fill(Buffer::heap(2 << 20), 9, 2 << 20), Durability::Buffered).await;
        disk.punch(&file, 0..1 << 20).await.unwrap();
        let punched = disk.list().unwrap()[0].clone();
        assert_eq!(punched.bytes, bytes);
        assert!(punched.bytes_allocated <= allocated.bytes_allocated - (1 << 20));
        assert_eq!(read(disk, &file, (1 << 20) - BLOCK, 0..BLOCK_BYTES).await, [0; BLOCK_BYTES]);
        assert_eq!(read(disk, &file, 1 << 20, 0..BLOCK_BYTES).await, [9; BLOCK_BYTES]);
        assert_eq!(read(disk, &file, 3 << 20, 0..BLOCK_BYTES).await, [0; BLOCK_BYTES]);
        let space = disk.space().unwrap();
        assert!(space.bytes_free > 0 && space.bytes_free < space.bytes_total);
    });
}

#[test]
fn names_are_made_once_renamed_over_and_removed() {
    on_core(RING_ENTRIES, async |host| {
        let disk = &host.disks()[0];
        let names = || disk.list().unwrap().into_iter().map(|entry| entry.name).collect::<Vec<_>>();
        for (name, byte) in [("a", 1), ("b", 2)] {
            let file = disk.open(name, OpenMode::Create).await.unwrap();
            write(disk, &file, 0, fill(Buffer::heap(1), byte, BLOCK_BYTES), Durability::Buffered).await;
        }
        let again = disk.open("a", OpenMode::Create).await.err().unwrap();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        disk.rename("b", "a").await.unwrap();
        disk.sync_directory().await.unwrap();
        assert_eq!(names(), ["a"]);
        let file = disk.open("a", OpenMode::Read).await.unwrap();
        disk.remove("a").await.unwrap();
        assert!(names().is_empty());
        assert_eq!(read(disk, &file, 0, 0..BLOCK_BYTES).await, [2; BLOCK_BYTES]);
        for missing in [disk.remove("a").await.err(), disk.open("a", OpenMode::Write).await.err()] {
            assert_eq!(missing.unwrap().kind(), io::ErrorKind::NotFound);
        }
        for name in ["", ".", "..", "a/b", "a\0b"] {
            let illegal = disk.open(name, OpenMode::Create).await.err().unwrap();
            assert_eq!(illegal.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    });
}

#[test]
fn what_direct_io_cannot_do_is_refused() {
    on_core(RING_ENTRIES, async |host| {
        let disk = &host.disks()[0];
        let file = disk.open("a", OpenMode::Create).await.unwrap();
        for (offset, range) in [(1, 0..BLOCK_BYTES), (0, 1..BLOCK_BYTES), (0, 0..1), (0, 0..2 * BLOCK_BYTES)]
        {
            let buffer = Buffer::heap(BLOCK_BYTES);
            let (result, buffer) =
                disk.write(&file, offset, buffer, range.clone(), Durability::Durable).await;
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
            let (result, _) = disk.read(&file, offset, buffer, range).await;
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        let read_only = disk.open("a", OpenMode::Read).await.unwrap();
        let write = disk.write(&read_only, 0, Buffer::heap(1), 0..BLOCK_BYTES, Durability::Buffered).await;
        assert!(write.0.is_err());
    });
}

#[test]
fn a_dropped_read_keeps_its_buffer_until_the_kernel_is_done() {
    // Were the buffer given back at once, the next holder would see the file's bytes appear in it.
    on_core(RING_ENTRIES, async |host| {
        let disk = &host.disks()[0];
        let file = disk.open("a", OpenMode::Create).await.unwrap();
        let bytes = BUFFER_BYTES as u64;
        let buffer = fill(host.pool().acquire(BUFFER_BYTES).await, 0xaa, BUFFER_BYTES);
        drop(write(disk, &file, 0, buffer, Durability::Durable).await);
        let free = host.pool().large_available();
        for round in 0..20 {
            let mut reads = Vec::new();
            while let Some(buffer) = host.pool().try_acquire(BUFFER_BYTES) {
                let file = &file;
                let mut read = Box::pin(disk.read(file, 0, buffer, 0..BUFFER_BYTES));
                start(read.as_mut()).await;
                reads.push(read);
            }
            if round % 2 == 1 {
                // On their way in the kernel, not only in the queue.
                host.yield_now().await;
            }
            drop(reads);
            let mut buffers = Vec::new();
            for _ in 0..free {
                buffers.push(fill(host.pool().acquire(BUFFER_BYTES).await, 0x55, BUFFER_BYTES));
            }
            assert_eq!(host.ring().under_way(), 0, "a buffer came back before its operation was done");
            assert!(buffers.iter().all(|buffer| buffer.iter().all(|byte| *byte == 0x55)));
        }
        assert_eq!(disk.list().unwrap()[0].bytes, bytes);
    });
}

#[test]
fn a_dropped_open_closes_what_was_opened() {
    on_core(RING_ENTRIES, async |host| {
        let disk = &host.disks()[0];
        drop(disk.open("a", OpenMode::Create).await.unwrap());
        let target = disk.path().join("a").canonicalize().unwrap();
        for _ in 0..10 {
            let mut open = Box::pin(disk.open("a", OpenMode::Read));
            start(open.as_mut()).await;
            host.yield_now().await;
            drop(open);
        }
        host.ring().drain().await;
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
        let open =
            descriptors.flatten().filter(|link| std::fs::read_link(link.path()).is_ok_and(|to| to == target));
        assert_eq!(open.count(), 0);
    });
}

#[test]
fn a_thousand_reads_pass_through_a_small_ring() {
    on_core(4, async |host| {
        let disk = host.disks()[0].clone();
        let file = disk.open("a", OpenMode::Create).await.unwrap();
        for block in 0..16 {
            let buffer = fill(Buffer::heap(1), block, BLOCK_BYTES);
            write(&disk, &file, u64::from(block) * BLOCK, buffer, Durability::Buffered).await;
        }
        let (left, done) = (Rc::new(Cell::new(1000)), Signal::default());
        for index in 0..1000 {
            let (host, disk, file, left, done) =
                (host.clone(), disk.clone(), file.clone(), left.clone(), done.clone());
            host.clone().spawn(async move {
                let block = index % 16;
                let buffer = host.pool().acquire(BLOCK_BYTES).await;
                let (count, buffer) = disk.read(&file, block * BLOCK, buffer, 0..BLOCK_BYTES).await;
                assert_eq!(count.unwrap(), BLOCK_BYTES);
                assert!(buffer.iter().all(|byte| u64::from(*byte) == block));
                left.set(left.get() - 1);
                if left.get() == 0 {
                    done.raise();
                }
            });
        }
        done.wait().await;
        assert_eq!(host.ring().under_way(), 0);
    });
}

#[test]
fn the_core_ends_while_tasks_wait_and_operations_are_under_way() {
    let dropped = Rc::new(());
    let held = dropped.clone();
    on_core(8, async move |host| {
        let disk = host.disks()[0].clone();
        let file = disk.open("a", OpenMode::Create).await.unwrap();
        for index in 0..100 {
            let (host, disk, file, held) = (host.clone(), disk.clone(), file.clone(), held.clone());
            host.clone().spawn(async move {
                let _held = held;
                loop {
                    let buffer = fill(host.pool().acquire(BUFFER_BYTES).await, 1, BUFFER_BYTES);
                    let offset = index * BUFFER_BYTES as u64;
                    write(&disk, &file, offset, buffer, Durability::Durable).await;
                }
            });
        }
        host.sleep(Duration::from_millis(20)).await;
    });
    assert_eq!(Rc::strong_count(&dropped), 1);
}

#[test]
fn every_call_from_another_thread_is_answered() {
    on_core(RING_ENTRIES, async |host| {
        let (sender, receiver) = mpsc::channel();
        let (seen, progress) = (Rc::new(RefCell::new(Vec::new())), Signal::default());
        let (seen_by_hook, raised) = (seen.clone(), progress.clone());
        host.on_wake(Rc::new(move || {
            seen_by_hook.borrow_mut().extend(receiver.try_iter());
            raised.raise();
        }));
        let wakeup = host.wakeup();
        let threads = std::thread::scope(|scope| {
            let spawned = [0, 1].map(|thread| {
                let (sender, wakeup) = (sender.clone(), wakeup.clone());
                scope.spawn(move || {
                    for number in 0..1000 {
                        sender.send((thread, number)).unwrap();
                        wakeup.wake();
                    }
                })
            });
            spawned.map(|thread| thread.join().is_ok())
        });
        assert_eq!(threads, [true, true]);
        while seen.borrow().len() < 2000 {
            progress.wait().await;
        }
    });
}

#[test]
fn a_sleeping_core_is_woken_and_answers_in_turn() {
    let (to_core, at_core) = mpsc::channel();
    let (to_thread, at_thread) = mpsc::channel();
    let (give_wakeup, take_wakeup) = mpsc::channel::<std::sync::Arc<Wakeup>>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let wakeup = take_wakeup.recv().unwrap();
            // Each call comes when the core has answered the last one and sleeps, or is about to.
            for number in 0..1000 {
                to_core.send(number).unwrap();
                wakeup.wake();
                assert_eq!(at_thread.recv().unwrap(), number);
            }
        });
        on_core(RING_ENTRIES, async move |host| {
            let (last, progress) = (Rc::new(Cell::new(0)), Signal::default());
            let (last_of_hook, raised) = (last.clone(), progress.clone());
            host.on_wake(Rc::new(move || {
                for number in at_core.try_iter() {
                    last_of_hook.set(number);
                    to_thread.send(number).unwrap();
                }
                raised.raise();
            }));
            give_wakeup.send(host.wakeup()).unwrap();
            while last.get() < 999 {
                progress.wait().await;
            }
        });
    });
}

#[test]
fn a_core_reads_its_clock_and_random_bytes() {
    on_core(RING_ENTRIES, async |host| {
        assert!(host.now() > 1_700_000_000_000);
        let mut bytes = [0; 32];
        host.random(&mut bytes);
        assert_ne!(bytes, [0; 32]);
        host.sleep(Duration::from_millis(1)).await;
    });
}

#[test]
fn a_missing_directory_and_a_missing_cpu_are_named() {
    let config = |directory: &str, cpu| Config {
        arena_bytes: 0,
        ring_entries: 8,
        directories: vec![directory.into()],
        cores: 64,
        cpu,
    };
    let missing = run(config("/nonexistent/data", None), async |_| ()).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    assert!(missing.to_string().contains("/nonexistent/data"), "{missing}");
    let cpu = run(config("/", Some(100_000)), async |_| ()).unwrap_err();
    assert!(cpu.to_string().contains("CPU 100000"), "{cpu}");
}

#[test]
fn a_refused_ring_says_what_to_change() {
    let says = |code, disabled: &str, words: &str| {
        let text = setup_error_text(Some(code), disabled);
        assert!(text.contains(words) && !text.contains('\n'), "{text}");
    };
    says(libc::EPERM, "2", "sysctl -w kernel.io_uring_disabled=0");
    says(libc::EPERM, "0", "seccomp");
    says(libc::EACCES, "", "seccomp");
    says(libc::ENOSYS, "", "Linux 6.0");
    says(libc::EINVAL, "", "Linux 6.0");
    says(libc::ENOMEM, "", "RLIMIT_MEMLOCK");
    says(libc::EMFILE, "", "RLIMIT_NOFILE");
}

/// Set for the process that [`without_locked_memory_a_core_goes_on_unregistered`] starts.
const CHILD: &str = "RINGCASK_TEST_WITHOUT_LOCKED_MEMORY";

#[test]
fn without_locked_memory_a_core_goes_on_unregistered() {
    // Limits hold for a whole process, so the story runs in one of its own.
    let name = "ring::tests::a_core_without_locked_memory";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(text.matches("RLIMIT_MEMLOCK").count(), 1, "{text}");
}

#[test]
fn a_core_without_locked_memory() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let maximum = getrlimit(Resource::Memlock).maximum.map_or(8 << 20, |limit| limit.min(8 << 20));
    setrlimit(Resource::Memlock, Rlimit { current: Some(0), maximum: Some(maximum) }).unwrap();
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, sets).unwrap();
    let lines = tracing_subscriber::fmt().with_ansi(false).finish();
    tracing::subscriber::with_default(lines, || {
        for _ in 0..2 {
            on_core(RING_ENTRIES, async |host| {
                let disk = &host.disks()[0];
                let file = disk.open("a", OpenMode::Create).await.unwrap();
                let buffer = fill(host.pool().acquire(BLOCK_BYTES).await, 3, BLOCK_BYTES);
                assert_eq!(host.ring().piece(&buffer), None);
                let buffer = write(disk, &file, 0, buffer, Durability::Durable).await;
                let (count, buffer) = disk.read(&file, 0, buffer, 0..BLOCK_BYTES).await;
                assert_eq!((count.unwrap(), &buffer[..]), (BLOCK_BYTES, &[3; BLOCK_BYTES][..]));
            });
        }
    });
}
