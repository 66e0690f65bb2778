//! Segment files that a core has open for reading.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;

use super::Engine;
use super::damage::is_unreadable;
use super::format::FileName;
use super::log::error_of_opening;
use super::types::EngineError;
use crate::io::{Disk, Host, OpenMode};

/// Open segment files, oldest first out.
pub(super) struct Files<H: Host> {
    open: HashMap<FileName, OpenFile<H>>,
    order: VecDeque<FileName>,
    open_max: usize,
}

type OpenFile<H> = (<H as Host>::Disk, <<H as Host>::Disk as Disk>::File);

impl<H: Host> Files<H> {
    pub(super) fn new(open_max: usize) -> Self {
        Self { open: HashMap::new(), order: VecDeque::new(), open_max }
    }

    fn keep(&mut self, name: FileName, file: OpenFile<H>) {
        if self.open.insert(name, file).is_none() {
            self.order.push_back(name);
        }
        self.close_beyond(self.open_max);
    }

    /// Closes the oldest of more than `count` files.
    fn close_beyond(&mut self, count: usize) {
        while self.order.len() > count {
            let oldest = self.order.pop_front().expect("longer than the count");
            self.open.remove(&oldest);
        }
    }
}

impl<H: Host> Engine<H> {
    /// A segment's file, opened for reading on whichever drive has it. Without a descriptor for it, files that
    /// were at hand are closed. [`EngineError::Corrupt`] if no drive has it.
    pub(super) async fn file(&self, name: FileName) -> Result<OpenFile<H>, EngineError> {
        if let Some((disk, file)) = self.inner.files.borrow().open.get(&name) {
            return Ok((disk.clone(), file.clone()));
        }
        let mut opened = self.open(name).await;
        if opened.as_ref().is_err_and(|error| error.kind() == ErrorKind::ResourceBusy) {
            self.inner.files.borrow_mut().close_beyond(0);
            opened = self.open(name).await;
        }
        let (disk, file) = opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => EngineError::Corrupt(format!("{name} is missing")),
            _ if is_unreadable(&error) => EngineError::Corrupt(format!("{name} cannot be opened ({error})")),
            _ => error_of_opening(&format!("opening {name}"), &error),
        })?;
        self.inner.files.borrow_mut().keep(name, (disk.clone(), file.clone()));
        Ok((disk, file))
    }

    /// An error that says more than that a drive does not have the file, if there is one.
    async fn open(&self, name: FileName) -> std::io::Result<OpenFile<H>> {
        let mut last = std::io::Error::from(ErrorKind::NotFound);
        let disks = self.inner.host.disks();
        for step in 0..disks.len() {
            let disk = &disks[(self.inner.drive + step) % disks.len()];
            match disk.open(&name.to_string(), OpenMode::Read).await {
                Ok(file) => return Ok((disk.clone(), file)),
                // The file may be on another drive, after a change of the number of cores.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Closes a file that is gone.
    pub(super) fn forget_file(&self, name: FileName) {
        let mut files = self.inner.files.borrow_mut();
        if files.open.remove(&name).is_some() {
            files.order.retain(|other| *other != name);
        }
    }
}
