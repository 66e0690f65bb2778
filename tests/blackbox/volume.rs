//! Small file systems for drives that fill up and fail. They need root, and loop devices or zram.
//!
//! A volume is mounted in a mount namespace of the test's own thread. So whatever becomes of the test, the
//! kernel unmounts it and frees its loop device when thread and node are gone.

use std::cell::Cell;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

/// A mounted ext4 file system.
pub struct Volume {
    at: PathBuf,
    drive: Drive,
    _folder: TempDir,
}

/// What it lies on.
enum Drive {
    /// A file, through a loop device.
    Image(PathBuf),
    /// A compressed memory drive (zram), by its number: it fails writes when its memory is limited.
    Memory(u32),
}

impl Volume {
    /// A file system of `bytes` in a sparse file. `None` where that is not allowed: says so, loudly.
    pub fn ext4(bytes: u64) -> Option<Self> {
        may_mount("/dev/loop-control", "loop devices").then(|| {
            let folder = folder();
            let image = folder.path().join("image");
            File::create(&image).unwrap().set_len(bytes).unwrap();
            Self::make(folder, Drive::Image(image.clone()), &image)
        })
    }

    /// A file system of `bytes` in memory, which can [`Volume::fail_writes`]. `None` as above.
    pub fn ext4_in_memory(bytes: u64) -> Option<Self> {
        may_mount("/sys/class/zram-control", "zram").then(|| {
            let number = fs::read_to_string("/sys/class/zram-control/hot_add").unwrap();
            let number = number.trim().parse().unwrap();
            let drive = Drive::Memory(number);
            fs::write(format!("/sys/block/zram{number}/disksize"), bytes.to_string()).unwrap();
            Self::make(folder(), drive, Path::new(&format!("/dev/zram{number}")))
        })
    }

    /// A copy of a file system, as it lies on its drive at this moment; it is mounted.
    pub fn copy(&self) -> Self {
        let Drive::Image(image) = &self.drive else { panic!("only images are copied") };
        let folder = folder();
        let copy = folder.path().join("image");
        run(Command::new("cp").arg("--sparse=always").args([image, &copy]));
        let at = folder.path().join("mounted");
        fs::create_dir(&at).unwrap();
        let volume = Self { at, drive: Drive::Image(copy), _folder: folder };
        volume.mount();
        volume
    }

    /// Has whoever writes to the file system wait until the result is dropped. What was written is on the drive.
    pub fn freeze(&self) -> Frozen<'_> {
        run(Command::new("fsfreeze").arg("--freeze").arg(&self.at));
        Frozen(self)
    }

    fn make(folder: TempDir, drive: Drive, device: &Path) -> Self {
        let at = folder.path().join("mounted");
        fs::create_dir(&at).unwrap();
        // Everything is made now, so that later writes touch what is written, and no room is root's alone.
        let options = "lazy_itable_init=0,lazy_journal_init=0";
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-E", options]).arg(device));
        let volume = Self { at, drive, _folder: folder };
        volume.mount();
        volume
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Has the drive fail every write from now on: the kernel answers EIO. What is there can be read.
    pub fn fail_writes(&self) {
        // One page; it has more already. Blocks of zeros take none, but nobody counts on writing those.
        self.limit_memory(4096);
    }

    /// Has the drive take writes again. Its file system has to be mounted again.
    pub fn repair(&self) {
        self.limit_memory(0);
    }

    fn limit_memory(&self, bytes: u64) {
        let Drive::Memory(number) = self.drive else { panic!("only drives in memory fail on command") };
        fs::write(format!("/sys/block/zram{number}/mem_limit"), bytes.to_string()).unwrap();
    }

    /// Mounts it again after [`Volume::unmount`].
    pub fn mount(&self) {
        let device = match &self.drive {
            Drive::Image(image) => run(Command::new("losetup").args(["--find", "--show"]).arg(image)),
            Drive::Memory(number) => format!("/dev/zram{number}"),
        };
        let device = device.trim();
        let mounted = Command::new("mount").args(["-t", "ext4"]).arg(device).arg(&self.at).output().unwrap();
        if matches!(self.drive, Drive::Image(_)) {
            // In use, it goes when the file system is unmounted.
            run(Command::new("losetup").args(["--detach", device]));
        }
        assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
    }

    /// Unmounts it. Nobody may use it any more.
    pub fn unmount(&self) {
        run(Command::new("umount").arg(&self.at));
    }

    /// Has the file system answer EIO to everything from now on, until it is mounted again, and forget what it
    /// has not written of itself: as if the drive were pulled out.
    pub fn shut_down(&self) {
        // linux/ext4.h: EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), with EXT4_GOING_FLAGS_NOLOGFLUSH.
        const SHUTDOWN: libc::Ioctl = 0x8004_587D;
        const WITHOUT_FLUSH: u32 = 2;
        let folder = File::open(&self.at).unwrap();
        // SAFETY: the call reads one u32, which lives until it returns.
        let done = unsafe { libc::ioctl(folder.as_raw_fd(), SHUTDOWN, &WITHOUT_FLUSH) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    /// Bytes that its file system has free.
    pub fn bytes_free(&self) -> u64 {
        let space = rustix::fs::statvfs(&self.at).unwrap();
        space.f_bavail * space.f_frsize
    }
}

/// A file system that takes no writes.
pub struct Frozen<'a>(&'a Volume);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // Without it, not even SIGKILL ends who waits to write.
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&self.0.at).output();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // A node that a failed test left behind keeps it until it is gone itself.
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).output();
        if let Drive::Memory(number) = self.drive {
            // Not before the kernel has let go of the file system.
            for _ in 0..100 {
                if fs::write("/sys/class/zram-control/hot_remove", number.to_string()).is_ok() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            eprintln!("/dev/zram{number} is left behind");
        }
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("volume-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Gives this thread, and the processes that it starts, mounts of their own; `false` if that is not allowed, or
/// the kernel has not what is `needed`.
fn may_mount(needed: &str, name: &str) -> bool {
    thread_local!(static IS_APART: Cell<bool> = const { Cell::new(false) });
    let is_there = rustix::process::geteuid().is_root() && Path::new(needed).exists();
    let apart = match is_there {
        true if IS_APART.get() => Ok(()),
        true => leave(),
        false => Err(format!("it needs root and {name}")),
    };
    IS_APART.set(IS_APART.get() || apart.is_ok());
    if let Err(why) = &apart {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        // Past the harness, which keeps what tests that pass have printed.
        let _ = writeln!(std::io::stderr(), "\n*** SKIPPED, NOT PASSED: {test}: {why} ***\n");
    }
    apart.is_ok()
}

fn leave() -> Result<(), String> {
    let failed = |what: &str| format!("{what}: {}", std::io::Error::last_os_error());
    // SAFETY: changes nothing but which mounts this thread sees, and gives it a working directory of its own.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(failed("unshare"));
    }
    let root = CString::new("/").expect("no zero in it");
    let (flags, none) = (libc::MS_REC | libc::MS_PRIVATE, std::ptr::null());
    // SAFETY: the strings live until the call returns; the others may be null.
    if unsafe { libc::mount(none, root.as_ptr(), none, flags, none.cast()) } != 0 {
        return Err(failed("making mounts private"));
    }
    Ok(())
}

/// Runs a command of the system to its end, and gives its output.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
