//! Reading a file of any length through one window: memory stays bounded, whatever the file says of itself.

use std::io;

use crate::base::limits::BLOCK_BYTES;
use crate::io::{Buffer, Disk, OpenMode};

/// Bytes read at once, unless a caller needs more in one piece.
const WINDOW_BYTES: usize = 1024 * 1024;

/// A file opened for reading.
pub struct Reader<D: Disk> {
    disk: D,
    file: D::File,
    /// Length of the file as its directory says.
    pub length: u64,
    window: Option<Buffer>,
    window_start: u64,
    window_bytes: usize,
}

impl<D: Disk> Reader<D> {
    pub async fn open(disk: &D, name: &str, length: u64) -> io::Result<Self> {
        let file = disk.open(name, OpenMode::Read).await?;
        Ok(Self { disk: disk.clone(), file, length, window: None, window_start: 0, window_bytes: 0 })
    }

    /// Bytes of the file from `offset` on; fewer than `count` only where the file ends.
    pub async fn bytes(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let count = self.length.saturating_sub(offset).min(count as u64) as usize;
        if count == 0 {
            return Ok(&[]);
        }
        let end = offset + count as u64;
        let has = self.window_start <= offset && end <= self.window_start + self.window_bytes as u64;
        if !has {
            let start = offset - offset % BLOCK_BYTES as u64;
            let needed = ((end - start) as usize).next_multiple_of(BLOCK_BYTES);
            let rest = (self.length - start).min(WINDOW_BYTES as u64) as usize;
            let wanted = needed.max(rest.next_multiple_of(BLOCK_BYTES));
            if let Err(error) = self.fill(start, wanted).await {
                // Another sector than those asked for may be the bad one.
                if wanted == needed {
                    return Err(error);
                }
                self.fill(start, needed).await?;
            }
        }
        let available = self.window_bytes.saturating_sub((offset - self.window_start) as usize).min(count);
        let window = self.window.as_ref().map_or(&[][..], |window| window.whole());
        let at = (offset - self.window_start) as usize;
        Ok(window.get(at..at + available).unwrap_or_default())
    }

    async fn fill(&mut self, start: u64, wanted: usize) -> io::Result<()> {
        let window = self.window.take().filter(|window| window.capacity() >= wanted);
        let window = window.unwrap_or_else(|| Buffer::heap(wanted));
        self.window_bytes = 0;
        let (result, window) = self.disk.read(&self.file, start, window, 0..wanted).await;
        self.window = Some(window);
        self.window_start = start;
        self.window_bytes = result?;
        Ok(())
    }
}
