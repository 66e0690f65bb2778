//! What no file tells, asked of the kernel.

use std::path::Path;

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::io::Space;
use crate::ring::machine;

/// Bytes that are reserved on trial, in a file without a name.
const TRIAL_BYTES: u64 = 1 << 20;

/// What can be asked; `None` where nobody can answer.
pub trait Probes {
    /// Operations of io_uring that a core uses and the kernel does not know, or why there is no io_uring.
    fn operations_missing(&self) -> Option<Result<Vec<&'static str>, String>>;
    /// Whether the kernel holds its clock to be synchronised.
    fn is_clock_synchronised(&self) -> Option<bool>;
    /// Space of the drive under a directory.
    fn space(&self, directory: &Path) -> Option<Space>;
    /// What files in a directory can do.
    fn files(&self, directory: &Path) -> Option<Files>;
}

/// What files in a directory can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// They can be opened with O_DIRECT.
    pub is_direct: bool,
    /// Space can be reserved for them (fallocate).
    pub is_reserved: bool,
}

/// Asks the kernel that runs us.
#[derive(Clone, Copy, Debug)]
pub struct Live;

/// Nobody to ask: the host is a copy of its files.
#[derive(Clone, Copy, Debug)]
pub struct Unasked;

impl Probes for Live {
    fn operations_missing(&self) -> Option<Result<Vec<&'static str>, String>> {
        Some(machine::io_uring_operations_missing())
    }

    fn is_clock_synchronised(&self) -> Option<bool> {
        machine::is_clock_synchronised()
    }

    fn space(&self, directory: &Path) -> Option<Space> {
        let space = rustix::fs::statvfs(existing(directory)?).ok()?;
        Some(Space {
            bytes_total: space.f_blocks.saturating_mul(space.f_frsize),
            bytes_free: space.f_bavail.saturating_mul(space.f_frsize),
        })
    }

    /// Tries with a file that has no name and is gone when it is closed: nothing of it is left.
    fn files(&self, directory: &Path) -> Option<Files> {
        let directory = existing(directory)?;
        let open = |extra: OFlags| {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | extra;
            rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR)
        };
        let file = open(OFlags::empty()).ok()?;
        let is_direct = !matches!(open(OFlags::DIRECT), Err(Errno::INVAL));
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, TRIAL_BYTES) {
            Ok(()) => Some(Files { is_direct, is_reserved: true }),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Some(Files { is_direct, is_reserved: false }),
            // Full, or over a quota: another point's affair.
            Err(_) => None,
        }
    }
}

/// A directory, or the one that it will be made in.
fn existing(directory: &Path) -> Option<&Path> {
    directory.ancestors().find(|path| path.is_dir())
}

impl Probes for Unasked {
    fn operations_missing(&self) -> Option<Result<Vec<&'static str>, String>> {
        None
    }

    fn is_clock_synchronised(&self) -> Option<bool> {
        None
    }

    fn space(&self, _: &Path) -> Option<Space> {
        None
    }

    fn files(&self, _: &Path) -> Option<Files> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let files = Live.files(directory.path());
        assert!(files.is_none_or(|files| files.is_reserved), "{files:?}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(Live.space(&directory.path().join("not/yet")).unwrap().bytes_total > 0);
        assert_eq!(Live.files(&directory.path().join("not/yet")), files);
        assert_eq!(Live.files(Path::new("/proc/no such directory")), None);
        assert!(Live.operations_missing().is_some());
    }
}
