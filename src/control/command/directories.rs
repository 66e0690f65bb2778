//! The data directories of a node that is not running, opened for reading.

use std::fs::File;
use std::path::PathBuf;

use clap::Args;

use super::Environment;
use crate::control::data_directory::lock_for_reading;
use crate::io::directory::ReadOnlyDirectory;

/// Which directories.
#[derive(Args, Debug)]
pub struct DataOptions {
    /// Data directory of the node; once for each, in the node's order [env: RINGCASK_DATA] [default: ./data]
    #[arg(long, value_name = "DIR", global = true)]
    data: Vec<PathBuf>,
}

/// Data directories; no node starts on them as long as they are held.
pub struct Directories {
    pub paths: Vec<PathBuf>,
    pub disks: Vec<ReadOnlyDirectory>,
    _locks: Vec<File>,
}

impl DataOptions {
    /// The directories, in the node's order.
    pub fn paths(self, environment: Environment<'_>) -> Vec<PathBuf> {
        if !self.data.is_empty() {
            return self.data;
        }
        let named = environment("RINGCASK_DATA").unwrap_or_else(|| "./data".to_owned());
        named.split(':').map(PathBuf::from).collect()
    }

    /// Opens the directories. With `is_live` a node may run on them.
    pub fn open(self, environment: Environment<'_>, is_live: bool) -> Result<Directories, String> {
        let paths = self.paths(environment);
        let mut locks = Vec::new();
        for path in &paths {
            let shown = path.display();
            match std::fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Err(format!("{shown} is not a directory")),
                Err(error) => return Err(format!("cannot read the data directory {shown}: {error}")),
            }
            match lock_for_reading(path) {
                Ok(lock) => locks.extend(lock),
                Err(_) if is_live => {}
                Err(why) => return Err(why),
            }
        }
        let disks = paths.iter().map(|path| ReadOnlyDirectory::new(path)).collect();
        Ok(Directories { paths, disks, _locks: locks })
    }
}

impl Directories {
    /// A file on one of the drives, as a person would name it.
    pub fn path_of(&self, drive: usize, file: &str) -> String {
        match self.paths.get(drive) {
            Some(path) if file.is_empty() => path.display().to_string(),
            Some(path) => path.join(file).display().to_string(),
            None => file.to_owned(),
        }
    }
}
