//! Descriptors of the process, shared out before any connection takes one: a node whose clients have them all
//! could not open its own files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::base::limits::{
    CONNECTIONS_PER_CORE_MAX, DESCRIPTORS_OF_NODE, DESCRIPTORS_PER_CORE, OPEN_FILES_MAX,
    REFUSALS_PER_CORE_MAX,
};

/// What each core may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    pub connections: usize,
    /// Connections beyond those that are told so.
    pub refusals: usize,
    /// Segment files kept open for reading.
    pub files: usize,
}

/// Least connections of a core that make a node worth starting.
const CONNECTIONS_MIN: usize = 8;

impl Descriptors {
    /// Raises the soft limit of open files to the hard one, because shells give 1,024, and shares it out among
    /// so many cores.
    ///
    /// # Errors
    ///
    /// One sentence for the person at the prompt, if the limit is too low.
    pub fn obtain(cores: usize) -> Result<Self, String> {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let limit = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.maximum,
            Err(error) => {
                tracing::warn!("cannot raise the limit of open files to its maximum: {error}");
                limit.current
            }
        };
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let descriptors = Self::of(limit, cores).ok_or_else(|| {
            format!(
                "{limit} open files are too few for {cores} cores (RLIMIT_NOFILE); allow more with LimitNOFILE= in a \
                 systemd unit, --ulimit nofile= for a container, or `ulimit -n` in a shell"
            )
        })?;
        if descriptors.connections < CONNECTIONS_PER_CORE_MAX {
            tracing::warn!(
                "the limit of open files (RLIMIT_NOFILE, {limit}) allows {} connections on each core instead of \
                 {CONNECTIONS_PER_CORE_MAX}",
                descriptors.connections
            );
        }
        Ok(descriptors)
    }

    /// A quarter of what is left for files, and the rest for connections.
    fn of(limit: usize, cores: usize) -> Option<Self> {
        let own = DESCRIPTORS_OF_NODE + cores * DESCRIPTORS_PER_CORE;
        let share = limit.checked_sub(own)? / cores;
        let files = (share / 4).min(OPEN_FILES_MAX);
        let refusals = (share / 16).min(REFUSALS_PER_CORE_MAX);
        let connections = (share - files - refusals).min(CONNECTIONS_PER_CORE_MAX);
        (connections >= CONNECTIONS_MIN).then_some(Self { connections, refusals, files })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plenty_of_descriptors_allow_what_the_limits_do() {
        let (connections, refusals) = (CONNECTIONS_PER_CORE_MAX, REFUSALS_PER_CORE_MAX);
        let all = Descriptors { connections, refusals, files: OPEN_FILES_MAX };
        assert_eq!(Descriptors::of(usize::MAX, 2), Some(all));
    }

    #[test]
    fn few_descriptors_are_shared_out_within_the_limit() {
        for cores in [1, 2, 8] {
            for limit in (0..5_000).step_by(7) {
                let Some(descriptors) = Descriptors::of(limit, cores) else { continue };
                let each = descriptors.connections + descriptors.refusals + descriptors.files;
                assert!(DESCRIPTORS_OF_NODE + cores * (DESCRIPTORS_PER_CORE + each) <= limit);
            }
        }
        assert!(Descriptors::of(1024, 2).is_some_and(|few| few.connections > 200 && few.files > 50));
        assert_eq!(Descriptors::of(180, 2), None);
    }
}
