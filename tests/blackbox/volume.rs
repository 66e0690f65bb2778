//! Small file systems in files, for drives that fill up and fail. They need root and loop devices.
//!
//! A volume is mounted in a mount namespace of the test's own thread. So whatever becomes of the test, the
//! kernel unmounts it and frees its loop device when thread and node are gone.

use std::cell::Cell;
use std::ffi::CString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted ext4 file system.
pub struct Volume {
    at: PathBuf,
    image: PathBuf,
    /// Where the image lies, if this volume made the folder.
    _folder: TempDir,
}

impl Volume {
    /// A file system of `bytes` in a sparse file. `None` where that is not allowed: says so, loudly.
    pub fn ext4(bytes: u64) -> Option<Self> {
        Self::ext4_in(Path::new(env!("CARGO_TARGET_TMPDIR")), bytes)
    }

    /// The same, its file in `folder`.
    pub fn ext4_in(folder: &Path, bytes: u64) -> Option<Self> {
        if !may_mount() {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("volume-").tempdir_in(folder).unwrap();
        let (image, at) = (folder.path().join("image"), folder.path().join("mounted"));
        File::create(&image).unwrap().set_len(bytes).unwrap();
        fs::create_dir(&at).unwrap();
        // Everything is made now, so that later writes touch what is written, and no room is root's alone.
        let options = "lazy_itable_init=0,lazy_journal_init=0";
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-E", options]).arg(&image));
        let volume = Self { at, image, _folder: folder };
        volume.mount();
        Some(volume)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// The file that holds it.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Mounts it again after [`Volume::unmount`].
    pub fn mount(&self) {
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&self.image));
        let device = device.trim();
        let mounted = Command::new("mount").args(["-t", "ext4"]).arg(device).arg(&self.at).output().unwrap();
        // In use, it goes when the file system is unmounted.
        run(Command::new("losetup").args(["--detach", device]));
        assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
    }

    /// Unmounts it. Nobody may use it any more.
    pub fn unmount(&self) {
        run(Command::new("umount").arg(&self.at));
    }

    /// Bytes that its file system has free.
    pub fn bytes_free(&self) -> u64 {
        let space = rustix::fs::statvfs(&self.at).unwrap();
        space.f_bavail * space.f_frsize
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // A node that a failed test left behind keeps it until it is gone itself.
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).output();
    }
}

/// Gives this thread, and the processes that it starts, mounts of their own; `false` if that is not allowed.
pub fn may_mount() -> bool {
    thread_local!(static IS_APART: Cell<bool> = const { Cell::new(false) });
    if IS_APART.get() {
        return true;
    }
    let apart = if rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists() {
        leave()
    } else {
        Err("it needs root and loop devices".to_owned())
    };
    match apart {
        Ok(()) => IS_APART.set(true),
        Err(why) => {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            eprintln!("\n*** SKIPPED, NOT PASSED: {test}: {why} ***\n");
        }
    }
    IS_APART.get()
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
