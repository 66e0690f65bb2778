//! The access log as a file: appended, rotated by size, opened again when it was renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Sink;
use super::lane::Bell;
use crate::base::limits::AUDIT_RETRY_MS;

/// Where the access log is kept, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    pub path: PathBuf,
    /// Bytes after which the file is renamed; `None`: the node never does.
    pub bytes_max: Option<u64>,
    /// Renamed files that are kept.
    pub files_max: usize,
}

/// The open file.
pub struct LogFile {
    settings: AccessLog,
    file: File,
    bytes: u64,
    /// Bytes at which it is to be renamed next; later than the setting says after a failure.
    rotate_at: u64,
}

impl LogFile {
    /// # Errors
    ///
    /// One sentence for the person at the prompt.
    pub fn open(settings: AccessLog) -> Result<Self, String> {
        let (file, bytes) = open(&settings.path)
            .map_err(|error| format!("--access-log: cannot write {}: {error}", settings.path.display()))?;
        let mut this = Self { settings, file, bytes: 0, rotate_at: u64::MAX };
        this.begin(bytes);
        Ok(this)
    }

    /// Begins to count: the file holds so many bytes, or is a pipe or a terminal, which nobody renames.
    fn begin(&mut self, bytes: Option<u64>) {
        self.bytes = bytes.unwrap_or(0);
        self.rotate_at = bytes.and(self.settings.bytes_max).unwrap_or(u64::MAX);
    }

    /// Opens the file of the configured name; on failure the one at hand stays.
    fn open_again(&mut self) -> bool {
        match open(&self.settings.path) {
            Ok((file, bytes)) => {
                self.file = file;
                self.begin(bytes);
                true
            }
            Err(error) => {
                let path = self.settings.path.display();
                tracing::error!("cannot open the access log {path} again, and write on as before: {error}");
                false
            }
        }
    }

    fn rotate(&mut self) {
        let shifted = shift(&self.settings);
        if let Err(error) = &shifted {
            tracing::error!("cannot rename the access log {}: {error}", self.settings.path.display());
        }
        if shifted.is_err() || !self.open_again() {
            // Not at every line.
            self.rotate_at = self.bytes.saturating_add(self.settings.bytes_max.unwrap_or(u64::MAX));
        }
    }

    /// Bytes of the next lines that fit the file: one line at least.
    fn next_lines(&self, lines: &[u8]) -> usize {
        let room = usize::try_from(self.rotate_at.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        if lines.len() <= room {
            return lines.len();
        }
        let fitting = memchr::memrchr(b'\n', &lines[..room]).or_else(|| memchr::memchr(b'\n', lines));
        fitting.map_or(lines.len(), |end| end + 1)
    }

    /// Writes whole lines. Whatever part of them had been written when it failed is taken back.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let result = self.file.write_all(lines);
        match &result {
            Ok(()) => self.bytes += lines.len() as u64,
            // If that fails too, a torn line is left; the next begins on a line of its own.
            Err(_) => {
                if self.file.set_len(self.bytes).is_err() {
                    drop(self.file.write_all(b"\n"));
                }
            }
        }
        result
    }
}

impl Sink for LogFile {
    fn keep(&mut self, lines: &[u8], bell: &Bell) -> u64 {
        let mut kept = 0;
        while kept < lines.len() {
            let mut count = self.next_lines(&lines[kept..]);
            if self.bytes > 0 && self.bytes + count as u64 > self.rotate_at {
                self.rotate();
                count = self.next_lines(&lines[kept..]);
            }
            match self.append(&lines[kept..kept + count]) {
                Ok(()) => kept += count,
                Err(error) => {
                    let path = self.settings.path.display();
                    tracing::error!("cannot write the access log {path}, and try again: {error}");
                    if bell.is_ending() {
                        return super::count(&lines[kept..]);
                    }
                    bell.wait_to_retry(Duration::from_millis(AUDIT_RETRY_MS));
                    if bell.take_reopening() {
                        self.reopen();
                    }
                }
            }
        }
        0
    }

    fn reopen(&mut self) {
        // A failure is told.
        let _ = self.open_again();
    }
}

/// Opens a file to append to, which only its owner and group read, and its length; `None` if it is no plain file.
/// What a crash tore off gets its line's end.
fn open(path: &Path) -> io::Result<(File, Option<u64>)> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok((file, None));
    }
    let mut bytes = metadata.len();
    if bytes > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            bytes += 1;
        }
    }
    Ok((file, Some(bytes)))
}

/// Renames `FILE` to `FILE.1`, that to `FILE.2`, and so on; the last is overwritten.
fn shift(settings: &AccessLog) -> io::Result<()> {
    let numbered = |number: usize| {
        let mut name = settings.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in (1..settings.files_max).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match fs::rename(&settings.path, numbered(1)) {
        // Somebody else has renamed or removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}
