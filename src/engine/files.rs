//! Segment files that a core has open for reading.

use std::collections::{HashMap, VecDeque};

use super::Engine;
use super::damage::is_unreadable;
use super::format::FileName;
use super::log::error_of;
use super::types::EngineError;
use crate::base::limits::OPEN_FILES_MAX;
use crate::io::{Disk, Host, OpenMode};

/// Open segment files, oldest first out.
pub(super) struct Files<H: Host> {
    open: HashMap<FileName, OpenFile<H>>,
    order: VecDeque<FileName>,
}

impl<H: Host> Default for Files<H> {
    fn default() -> Self {
        Self { open: HashMap::new(), order: VecDeque::new() }
    }
}

type OpenFile<H> = (<H as Host>::Disk, <<H as Host>::Disk as Disk>::File);

impl<H: Host> Engine<H> {
    /// A segment's file, opened for reading on whichever drive has it. [`EngineError::Corrupt`] if none has.
    pub(super) async fn file(&self, name: FileName) -> Result<OpenFile<H>, EngineError> {
        if let Some((disk, file)) = self.inner.files.borrow().open.get(&name) {
            return Ok((disk.clone(), file.clone()));
        }
        let mut last = None;
        let disks = self.inner.host.disks();
        for step in 0..disks.len() {
            let disk = &disks[(self.inner.drive + step) % disks.len()];
            match disk.open(&name.to_string(), OpenMode::Read).await {
                Ok(file) => {
                    let mut files = self.inner.files.borrow_mut();
                    if files.open.insert(name, (disk.clone(), file.clone())).is_none() {
                        files.order.push_back(name);
                    }
                    while files.order.len() > OPEN_FILES_MAX {
                        let oldest = files.order.pop_front().expect("longer than the limit");
                        files.open.remove(&oldest);
                    }
                    return Ok((disk.clone(), file));
                }
                // The file may be on another drive, after a change of the number of cores.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) if !is_unreadable(&error) => Err(error_of(&format!("opening {name}"), &error)),
            Some(error) => Err(EngineError::Corrupt(format!("{name} cannot be opened ({error})"))),
            None => Err(EngineError::Corrupt(format!("{name} is missing"))),
        }
    }

    /// Closes a file that is gone.
    pub(super) fn forget_file(&self, name: FileName) {
        let mut files = self.inner.files.borrow_mut();
        if files.open.remove(&name).is_some() {
            files.order.retain(|other| *other != name);
        }
    }
}
