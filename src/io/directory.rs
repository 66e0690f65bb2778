//! A drive's directory as plain files: what tools see of a node that is not running.
//!
//! Every operation is finished when its future is polled first, so [`wait`] is all the runtime there is. On a
//! [`ReadOnlyDirectory`], whatever would change something fails with EROFS before it reaches the kernel. A
//! [`WritableDirectory`] is for the few tools that mend something.

use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::{Buffer, Disk, Durability, FileEntry, OpenMode, Space};

/// A directory, opened for reading.
#[derive(Clone, Debug)]
pub struct ReadOnlyDirectory {
    path: Rc<PathBuf>,
}

impl ReadOnlyDirectory {
    pub fn new(path: &Path) -> Self {
        Self { path: Rc::new(path.to_owned()) }
    }
}

/// A directory, opened for reading and writing.
#[derive(Clone, Debug)]
pub struct WritableDirectory {
    directory: ReadOnlyDirectory,
}

impl WritableDirectory {
    pub fn new(path: &Path) -> Self {
        Self { directory: ReadOnlyDirectory::new(path) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path.join(name)
    }
}

/// Runs a future that waits for nothing but a [`ReadOnlyDirectory`] or a [`WritableDirectory`].
pub fn wait<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nothing here waits for anything"),
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::Error::from_raw_os_error(libc::EROFS))
}

impl Disk for ReadOnlyDirectory {
    type File = Rc<File>;

    /// The number tells drives apart that may fail to keep names; this one never makes any.
    fn number(&self) -> usize {
        0
    }

    async fn open(&self, name: &str, mode: OpenMode) -> io::Result<Rc<File>> {
        if mode != OpenMode::Read {
            return read_only();
        }
        // What should be a file may be a pipe, which would wait for a writer.
        let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.path.join(name))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        // Only advice: what the kernel remembers is dropped, so that the drive itself answers.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(Rc::new(file))
    }

    async fn read(
        &self,
        file: &Rc<File>,
        offset: u64,
        mut buffer: Buffer,
        range: Range<usize>,
    ) -> (io::Result<usize>, Buffer) {
        let start = range.start;
        let result = read_full(file, offset, &mut buffer.whole_mut()[range]);
        if let Ok(count) = result
            && count > 0
            && buffer.len() < start + count
        {
            buffer.set_len(start + count);
        }
        (result, buffer)
    }

    async fn write(
        &self,
        _: &Rc<File>,
        _: u64,
        buffer: Buffer,
        _: Range<usize>,
        _: Durability,
    ) -> (io::Result<()>, Buffer) {
        (read_only(), buffer)
    }

    async fn sync(&self, _: &Rc<File>) -> io::Result<()> {
        read_only()
    }

    async fn allocate(&self, _: &Rc<File>, _: Range<u64>) -> io::Result<()> {
        read_only()
    }

    async fn punch(&self, _: &Rc<File>, _: Range<u64>) -> io::Result<()> {
        read_only()
    }

    async fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        read_only()
    }

    async fn remove(&self, _: &str) -> io::Result<()> {
        read_only()
    }

    async fn sync_directory(&self) -> io::Result<()> {
        read_only()
    }

    /// Everything of the directory, whether or not it is a file: opening what is none fails.
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&*self.path)? {
            let entry = entry?;
            // A link that leads nowhere is listed all the same.
            let metadata = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file);
            entries.push(FileEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                bytes: metadata.as_ref().map_or(0, fs::Metadata::len),
                // stat(2): st_blocks counts units of 512 bytes, whatever the block size.
                bytes_allocated: metadata.map_or(0, |metadata| metadata.blocks() * 512),
            });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    fn space(&self) -> io::Result<Space> {
        let space = rustix::fs::statvfs(&*self.path)?;
        Ok(Space {
            bytes_total: space.f_blocks.saturating_mul(space.f_frsize),
            bytes_free: space.f_bavail.saturating_mul(space.f_frsize),
        })
    }
}

impl Disk for WritableDirectory {
    type File = Rc<File>;

    /// Tools keep no account of drives that may fail to keep names: they end with the first failure.
    fn number(&self) -> usize {
        0
    }

    async fn open(&self, name: &str, mode: OpenMode) -> io::Result<Rc<File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
        match mode {
            OpenMode::Read => return self.directory.open(name, mode).await,
            OpenMode::Write => {}
            OpenMode::Create => drop(options.create_new(true)),
        }
        let file = options.open(self.path(name))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        Ok(Rc::new(file))
    }

    async fn read(
        &self,
        file: &Rc<File>,
        offset: u64,
        buffer: Buffer,
        range: Range<usize>,
    ) -> (io::Result<usize>, Buffer) {
        self.directory.read(file, offset, buffer, range).await
    }

    async fn write(
        &self,
        file: &Rc<File>,
        offset: u64,
        buffer: Buffer,
        range: Range<usize>,
        durability: Durability,
    ) -> (io::Result<()>, Buffer) {
        let mut result = file.write_all_at(&buffer.whole()[range], offset);
        if result.is_ok() && durability == Durability::Durable {
            result = file.sync_data();
        }
        (result, buffer)
    }

    async fn sync(&self, file: &Rc<File>) -> io::Result<()> {
        file.sync_data()
    }

    async fn allocate(&self, file: &Rc<File>, range: Range<u64>) -> io::Result<()> {
        let flags = rustix::fs::FallocateFlags::empty();
        Ok(rustix::fs::fallocate(file, flags, range.start, range.end - range.start)?)
    }

    async fn punch(&self, file: &Rc<File>, range: Range<u64>) -> io::Result<()> {
        let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(file, flags, range.start, range.end - range.start)?)
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    async fn sync_directory(&self) -> io::Result<()> {
        OpenOptions::new().read(true).open(&*self.directory.path)?.sync_all()
    }

    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.directory.list()
    }

    fn space(&self) -> io::Result<Space> {
        self.directory.space()
    }
}

/// Reads until `bytes` are full or the file ends.
fn read_full(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_to_their_end_and_nothing_else_is_possible() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), b"0123456789").unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        let disk = ReadOnlyDirectory::new(folder.path());
        let names: Vec<_> = disk.list().unwrap().into_iter().map(|file| (file.name, file.bytes)).collect();
        assert_eq!(names, [("file".to_owned(), 10), ("folder".to_owned(), 0)]);
        let file = wait(disk.open("file", OpenMode::Read)).unwrap();
        let (count, buffer) = wait(disk.read(&file, 4, Buffer::heap(4096), 0..4096));
        assert_eq!((count.unwrap(), &buffer[..]), (6, &b"456789"[..]));
        assert!(wait(disk.open("folder", OpenMode::Read)).is_err());
        assert!(wait(disk.open("file", OpenMode::Write)).is_err());
        assert!(wait(disk.open("new", OpenMode::Create)).is_err());
        assert!(wait(disk.remove("file")).is_err() && wait(disk.rename("file", "other")).is_err());
        assert!(wait(disk.write(&file, 0, buffer, 0..4096, Durability::Durable)).0.is_err());
        assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"0123456789");
    }

    #[test]
    fn what_is_written_to_a_directory_is_there_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let disk = WritableDirectory::new(folder.path());
        let file = wait(disk.open("draft", OpenMode::Create)).unwrap();
        assert_eq!(
            wait(disk.open("draft", OpenMode::Create)).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        let mut block = Buffer::heap(4096);
        block.append(&[7; 4096]);
        wait(disk.write(&file, 4096, block, 0..4096, Durability::Durable)).0.unwrap();
        wait(disk.allocate(&file, 0..16384)).unwrap();
        wait(disk.sync(&file)).unwrap();
        wait(disk.rename("draft", "file")).unwrap();
        wait(disk.sync_directory()).unwrap();
        let bytes = fs::read(folder.path().join("file")).unwrap();
        assert!(bytes.len() == 16384 && bytes[..4096] == [0; 4096] && bytes[4096..8192] == [7; 4096]);
        assert_eq!(fs::metadata(folder.path().join("file")).unwrap().mode() & 0o777, 0o600);
        wait(disk.remove("file")).unwrap();
        assert_eq!(disk.list().unwrap(), []);
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.path().join("log-00000001"),
            rustix::fs::FileType::Fifo,
            mode,
            0,
        )
        .unwrap();
        assert!(wait(ReadOnlyDirectory::new(folder.path()).open("log-00000001", OpenMode::Read)).is_err());
    }
}
