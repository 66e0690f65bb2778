//! What is mounted, and which devices lie below.

use std::path::{Path, PathBuf};

use super::Host;
use crate::base::limits::HOST_DEVICES_STACKED_MAX;

/// A mounted file system, as proc_pid_mountinfo(5) has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub point: PathBuf,
    /// `xfs`, `ext4`, …
    pub kind: String,
    /// What is mounted, `/dev/nvme0n1p1` for instance.
    pub source: String,
    /// Options of the mount and of the file system.
    pub options: Vec<String>,
    /// Major and minor number of its device.
    device: String,
}

/// A block device that commands end up at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// `nvme0n1`
    pub name: String,
    /// Its directory of attributes, in `/sys`.
    pub queue: String,
}

impl Mount {
    /// The file system that a path lies on.
    pub fn of(host: &Host, path: &Path) -> Option<Self> {
        let text = host.read("/proc/self/mountinfo")?;
        let mounts = text.lines().filter_map(Self::parse).filter(|mount| path.starts_with(&mount.point));
        // Of several at one point the last covers the others.
        mounts.max_by_key(|mount| mount.point.components().count())
    }

    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let (device, point, options) = (left.get(2)?, left.get(4)?, left.get(5)?);
        let (kind, source) = (right.first()?, right.get(1)?);
        let mut all: Vec<String> = Vec::new();
        for option in
            options.split(',').chain(right.get(2).into_iter().flat_map(|options| options.split(',')))
        {
            if !all.iter().any(|known| known == option) {
                all.push(option.to_owned());
            }
        }
        Some(Self {
            point: PathBuf::from(unescaped(point)),
            kind: (*kind).to_owned(),
            source: unescaped(source),
            options: all,
            device: (*device).to_owned(),
        })
    }

    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|one| one == option)
    }

    /// The drives below, through partitions, encryption and arrays.
    pub fn drives(&self, host: &Host) -> Vec<Drive> {
        let by_number = format!("/sys/dev/block/{}", self.device);
        // File systems over several devices have a number of their own, and name one of theirs.
        let by_name = format!("/sys/class/block/{}", self.source.trim_start_matches("/dev/"));
        let is_name = self.source.starts_with("/dev/") && !self.source.contains("..");
        let mut drives = Vec::new();
        match host.exists(&by_number) {
            true => descend(host, &by_number, 0, &mut drives),
            false if is_name => descend(host, &by_name, 0, &mut drives),
            false => {}
        }
        drives.sort_by(|one, other| one.name.cmp(&other.name));
        drives.dedup_by(|one, other| one.name == other.name);
        drives
    }
}

/// Adds the drives at and below a device.
fn descend(host: &Host, device: &str, depth: usize, drives: &mut Vec<Drive>) {
    // A partition's attributes are those of its drive, one level up.
    let Some(whole) = ["", "/.."]
        .iter()
        .map(|up| format!("{device}{up}"))
        .find(|whole| host.exists(&format!("{whole}/queue")))
    else {
        return;
    };
    let below = host.list(&format!("{whole}/slaves"));
    if below.is_empty() || depth >= HOST_DEVICES_STACKED_MAX {
        let name = host.name_of_device(&whole);
        drives.extend(name.map(|name| Drive { name, queue: format!("{whole}/queue") }));
        return;
    }
    for name in below {
        descend(host, &format!("{whole}/slaves/{name}"), depth + 1, drives);
    }
}

/// Text of mountinfo, in which blanks and such are written as `\040`.
fn unescaped(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        bytes = rest;
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..]) = (first, bytes) {
            out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            bytes = rest;
        } else {
            out.push(*first);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_taken_apart() {
        let line = r"36 35 259:1 / /srv/my\040data rw,noatime shared:1 master:2 - xfs /dev/nvme0n1p1 rw,attr2,discard";
        let mount = Mount::parse(line).unwrap();
        assert_eq!(mount.point, Path::new("/srv/my data"));
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("xfs", "/dev/nvme0n1p1"));
        assert!(mount.has("noatime") && mount.has("discard") && !mount.has("ro"));
        for garbage in ["", "a - b", "1 2 3 - ", "1 2 3 4 5 6", " - - -", r"1 2 3 4 \9 6 - \\\ \04"] {
            let _ = Mount::parse(garbage);
        }
        assert_eq!(unescaped(r"\134\011\999\04"), "\\\t\\999\\04");
    }
}
