//! A history as a list of steps that were drawn from its seed. Steps name keys, versions and uploads by
//! number; what a number means is found when the step is taken, and a step that means nothing then is left
//! out. So any of them can be taken away, and what is left is a history.

use std::fmt;

use crate::engine::Versioning;

/// Buckets of a history.
pub const SLOTS: usize = 3;
pub const SLOT_NAMES: [&str; SLOTS] = ["plain", "versioned", "come-and-go"];

/// Keys that a history uses of each bucket.
pub const KEYS: [u8; SLOTS] = [9, 9, 3];

/// A bucket's place and the number of a key in it.
pub type Name = (usize, u8);

/// All that a run depends on.
#[derive(Clone, PartialEq)]
pub struct History {
    /// Decides the order of tasks, times, and what a crash leaves where no other seed is named.
    pub seed: u64,
    pub setup: Setup,
    pub lives: Vec<Life>,
}

/// What a node is made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setup {
    pub drives: u8,
    pub log_segment_kib: u64,
    pub checkpoint_kib: u64,
    pub cache_kib: u64,
    /// A second; 0 for none.
    pub scrub_mib: u64,
}

/// From a start to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    /// A start before, that came to nothing.
    pub false_start: Option<FalseStart>,
    pub cores: u8,
    /// Whether the node gets one more drive, if it has few.
    pub drive_more: bool,
    pub rounds: Vec<Round>,
    pub end: End,
}

/// A start that is cut off, or that finds failing drives.
#[derive(Clone, Debug, PartialEq)]
pub struct FalseStart {
    pub cores: u8,
    pub steps: u64,
    pub failing: Option<Trouble>,
    /// Before it, the drives are given in another order, which must be refused.
    pub other_order: bool,
}

/// Operations at the same time, all of which end.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    pub ops: Vec<Op>,
    pub work: Work,
    /// Whether the work is done while the operations are under way, or after them.
    pub together: bool,
    pub weather: Weather,
}

/// Background work that is done at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    Nothing,
    Checkpoint,
    /// A checkpoint of one core.
    CheckpointOf(u8),
    /// Every core cleans a segment, whether or not that pays.
    Clean,
    CleanBy(u8),
    /// What each core would do by itself.
    Maintain,
    /// Two seconds pass.
    Wait,
    /// Every core stops; only at an end.
    Stop,
}

/// What drives are like while all operations end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weather {
    Fair,
    /// Some operations take very long.
    Stalls,
    /// So much is free on each drive.
    Full {
        kib: u64,
    },
}

/// What fails, some of the time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trouble {
    Writes,
    Syncs,
    Reads,
    ShortReads,
    Opens,
    Names,
    Punches,
    Allocations,
    All,
}

/// How a life ends: in the midst of operations.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub ops: Vec<Op>,
    pub work: Work,
    pub failing: Option<Trouble>,
    /// After the failures, so many operations are tried on drives that work again, and everything is read.
    pub limping: Option<Vec<Op>>,
    /// Steps of the machine until the power goes.
    pub steps: u64,
    /// Each decides what the crash leaves; the history goes on from the last.
    pub states: Vec<u64>,
}

/// Content that is to be stored.
#[derive(Clone, Copy, PartialEq)]
pub struct Draft {
    pub fresh: u32,
    pub bytes: u32,
}

/// Part of a source, in fractions of 256.
pub type Fraction = (u8, u8);

/// What an operation asks to hold of what is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Asked {
    Nothing,
    Absent,
    /// Anything.
    Present,
    /// The ETag of what is there.
    Same,
    Other,
    /// None of the ETag of what is there.
    Differs,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attribute {
    Tag(u16),
    Hold(bool),
    /// Mode, whether it lasts (else it is over already), and whether governance is bypassed.
    Retention {
        compliance: bool,
        lasts: bool,
        bypass: bool,
    },
    NoRetention {
        bypass: bool,
    },
}

/// An operation. Its core, and numbers of versions, uploads and events, are taken modulo what there is.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Put {
        key: Name,
        body: Draft,
        asked: Asked,
        events: u8,
        hold: bool,
    },
    Delete {
        key: Name,
        asked: Asked,
        events: u8,
        bypass: bool,
    },
    DeleteVersion {
        key: Name,
        place: u8,
        only_replaced: bool,
        events: u8,
        bypass: bool,
    },
    /// Of many keys, each with a version or what is current.
    DeleteMany {
        slot: usize,
        keys: Vec<(u8, Option<u8>)>,
    },
    /// Every version of every key, if none is locked.
    Empty {
        slot: usize,
    },
    Update {
        key: Name,
        place: Option<u8>,
        attribute: Attribute,
        events: u8,
    },
    Copy {
        key: Name,
        from: Name,
        place: u8,
        range: Fraction,
        events: u8,
    },
    Append {
        key: Name,
        body: Draft,
    },
    /// To a key from another of the same bucket.
    Rename {
        key: Name,
        from: u8,
        asked: Asked,
        events: u8,
    },
    /// As lifecycle rules do it: found by a scan, deleted if nothing has changed.
    Expire {
        key: Name,
        current: bool,
    },
    /// Held for a while before its bytes are read.
    Read {
        key: Name,
        place: Option<u8>,
        milliseconds: u8,
    },
    UploadBegin {
        key: Name,
    },
    Part {
        upload: u8,
        number: u8,
        body: Draft,
    },
    PartCopy {
        upload: u8,
        number: u8,
        from: Name,
        place: u8,
        range: Fraction,
    },
    /// Of all parts but some, perhaps in a wrong order.
    Complete {
        upload: u8,
        without: u8,
        asked: Asked,
        events: u8,
        wrong: bool,
    },
    /// Of an upload that was completed.
    CompleteAgain {
        upload: u8,
    },
    Abort {
        upload: u8,
    },
    /// Takes events off the queue of a core.
    EventsDone {
        core: u8,
        which: u8,
    },
    BucketCreate {
        slot: usize,
        versioning: Versioning,
    },
    BucketDelete {
        slot: usize,
    },
    BucketVersioning {
        slot: usize,
    },
    BucketSetting {
        slot: usize,
        name: u8,
        body: Option<Draft>,
    },
    /// Two entries of the configuration that are always changed together.
    Pair {
        number: u8,
        body: Option<Draft>,
    },
}

impl fmt::Debug for Draft {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}#{}", self.bytes, self.fresh)
    }
}

/// One step a line.
impl fmt::Debug for History {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "seed {}, {:?}", self.seed, self.setup)?;
        for life in &self.lives {
            if let Some(start) = &life.false_start {
                writeln!(out, "{start:?}")?;
            }
            writeln!(out, "start with {} cores, drive_more {}", life.cores, life.drive_more)?;
            for Round { ops, work, together, weather } in &life.rounds {
                writeln!(out, "  round of {} in {weather:?}", ops.len())?;
                ops.iter().try_for_each(|op| writeln!(out, "    {op:?}"))?;
                writeln!(out, "    {work:?}{}", if *together { " meanwhile" } else { " after" })?;
            }
            let End { ops, work, failing, limping, steps, states } = &life.end;
            writeln!(out, "  end within {steps} steps, failing {failing:?}, {work:?} meanwhile")?;
            ops.iter().try_for_each(|op| writeln!(out, "    {op:?}"))?;
            for op in limping.iter().flatten() {
                writeln!(out, "    then {op:?}")?;
            }
            writeln!(out, "  crash states {states:?}")?;
        }
        Ok(())
    }
}

impl History {
    /// Operations of all lives.
    pub fn ops(&self) -> usize {
        let of_life = |life: &Life| {
            let rounds: usize = life.rounds.iter().map(|round| round.ops.len()).sum();
            rounds + life.end.ops.len() + life.end.limping.as_ref().map_or(0, Vec::len)
        };
        self.lives.iter().map(of_life).sum()
    }
}
