//! What there is to know of a node since its start: for `ringcask status` and `ringcask config`.

use std::path::PathBuf;
use std::sync::Arc;

use super::origin::Setting;
use super::tls::Tls;

/// Facts that do not change while the node runs.
#[derive(Default)]
pub struct About {
    pub settings: Vec<Setting>,
    /// What each listening socket is for, and the URL by which a client on this machine reaches it.
    pub listeners: Vec<(&'static str, String)>,
    pub tls: Option<Arc<Tls>>,
    /// What the operator should know of the settings, in sentences.
    pub notes: Vec<String>,
}

/// What is to be said if there are more drives, in these directories, than cores: each core writes to one.
pub fn note_of_idle_drives(directories: &[PathBuf], cores: usize) -> Option<String> {
    let idle = directories.get(cores..).filter(|idle| !idle.is_empty())?;
    let idle: Vec<String> = idle.iter().map(|directory| directory.display().to_string()).collect();
    let (idle, drives) = (idle.join(", "), directories.len());
    Some(format!(
        "a core writes to one drive, and there are {drives} drives for {cores} of them: nothing new goes to {idle}; \
         give at least as many --cores as --data directories"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_beyond_the_number_of_cores_are_named() {
        let directories = ["/srv/a", "/srv/b", "/srv/c"].map(PathBuf::from);
        for cores in [3, 4] {
            assert_eq!(note_of_idle_drives(&directories, cores), None);
        }
        let note = note_of_idle_drives(&directories, 1).unwrap();
        assert!(note.contains("3 drives for 1 of them") && note.contains("to /srv/b, /srv/c;"), "{note}");
    }
}
