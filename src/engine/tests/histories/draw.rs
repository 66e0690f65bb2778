//! Draws histories from seeds.

use super::steps::*;
use crate::engine::Versioning;

/// A small generator of its own, so that the history is a function of the seed alone.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        let mut draw = Self(seed ^ 0x9e37_79b9_7f4a_7c15);
        draw.below(2);
        draw
    }

    /// SplitMix64.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn maybe<T>(&mut self, one_in: u64, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(one_in).then(|| draw(self))
    }
}

/// What operations of a history like to do, so that some histories do much of one thing.
#[derive(Clone, Copy, PartialEq)]
enum Taste {
    Anything,
    Renames,
    Uploads,
    Buckets,
    Versions,
    FewKeys,
}

struct Drawing {
    draw: Draw,
    taste: Taste,
    log_segment_bytes: u32,
    fresh: u32,
}

/// The history of a seed.
pub fn draw(seed: u64) -> History {
    let mut draw = Draw::new(seed);
    let log_segment_kib = draw.of(&[32, 32, 48, 64, 64, 128, 256]);
    let setup = Setup {
        drives: draw.of(&[1, 1, 2, 3]),
        log_segment_kib,
        checkpoint_kib: draw.of(&[log_segment_kib, 2 * log_segment_kib, 1024]),
        cache_kib: draw.of(&[1, 16, 64]),
        scrub_mib: draw.of(&[0, 0, 8]),
    };
    let tastes =
        [Taste::Anything, Taste::Anything, Taste::Renames, Taste::Uploads, Taste::Buckets, Taste::Versions];
    let taste = if draw.one_in(6) { Taste::FewKeys } else { draw.of(&tastes) };
    let log_segment_bytes = (log_segment_kib << 10) as u32;
    let mut drawing = Drawing { draw, taste, log_segment_bytes, fresh: (seed as u32) << 8 };
    let lives = 3 + drawing.draw.below(6);
    let lives = (0..lives).map(|_| drawing.life()).collect();
    History { seed, setup, lives }
}

impl Drawing {
    fn life(&mut self) -> Life {
        let false_start = self.draw.maybe(4, |draw| FalseStart {
            cores: 1 + draw.below(3) as u8,
            steps: draw.below(700),
            // No drive reads less than there is without an end: a start takes that for the file's end.
            failing: draw.maybe(3, failure).filter(|it| *it != Trouble::ShortReads && *it != Trouble::All),
            other_order: draw.one_in(8),
        });
        let cores = self.draw.of(&[1, 1, 2, 2, 3, 4]);
        let drive_more = self.draw.one_in(12);
        let rounds = self.draw.of(&[0, 0, 1, 1, 1, 2, 3, 5]);
        let rounds = (0..rounds).map(|_| self.round()).collect();
        Life { false_start, cores, drive_more, rounds, end: self.end() }
    }

    fn round(&mut self) -> Round {
        let count = 1 + self.draw.below(14);
        let ops = self.ops(count);
        let work = self.work();
        let weather = match self.draw.below(12) {
            0 => Weather::Full { kib: self.draw.of(&[0, 8, 40, 200, 1200]) },
            1 => Weather::Stalls,
            _ => Weather::Fair,
        };
        Round { ops, work, together: self.draw.one_in(2), weather }
    }

    fn work(&mut self) -> Work {
        match self.draw.below(12) {
            0 => Work::Checkpoint,
            1 => Work::CheckpointOf(self.draw.byte()),
            2 | 3 => Work::Clean,
            4 => Work::CleanBy(self.draw.byte()),
            5 => Work::Maintain,
            6 => Work::Wait,
            _ => Work::Nothing,
        }
    }

    fn end(&mut self) -> End {
        let count = self.draw.below(14);
        let ops = self.ops(count);
        let work = if self.draw.one_in(6) { Work::Stop } else { self.work() };
        let failing = self.draw.maybe(4, failure);
        let limping = if failing.is_some() && self.draw.one_in(2) {
            let count = self.draw.below(5);
            Some(self.ops(count))
        } else {
            None
        };
        let most = self.draw.of(&[60, 250, 250, 700, 2500]);
        let steps = self.draw.below(most);
        let states = (0..self.draw.of(&[1, 2, 3, 4])).map(|_| self.draw.below(1 << 20)).collect();
        End { ops, work, failing, limping, steps, states }
    }

    fn ops(&mut self, count: u64) -> Vec<Op> {
        (0..count).map(|_| self.op()).collect()
    }

    fn key(&mut self) -> Name {
        let slot = match (self.taste, self.draw.below(8)) {
            (Taste::Renames, 0..=4) => 0,
            (Taste::Versions, 0..=5) => 1,
            (Taste::Buckets, 0..=3) | (_, 7) => 2,
            (_, chance) => chance as usize % 2,
        };
        (slot, self.key_in(slot))
    }

    fn key_in(&mut self, slot: usize) -> u8 {
        let keys = if self.taste == Taste::FewKeys { 3 } else { KEYS[slot] };
        self.draw.below(keys.into()) as u8
    }

    fn draft(&mut self) -> Draft {
        self.fresh += 1;
        // Records of more than half a segment are refused.
        let inline_max = (self.log_segment_bytes / 2 - 3000).min(64 << 10);
        let bytes = match self.draw.below(20) {
            0 => 0,
            1..=10 => self.draw.below(300) as u32,
            11..=14 => self.draw.below(9000) as u32,
            15 | 16 => self.draw.below(inline_max.into()) as u32,
            17 | 18 => (64 << 10) + 1 + self.draw.below(6000) as u32,
            _ => (64 << 10) + 1 + self.draw.below(200_000) as u32,
        };
        let bytes = if bytes <= 64 << 10 { bytes.min(inline_max) } else { bytes };
        Draft { fresh: self.fresh, bytes }
    }

    /// Content of parts, which are in extents however small they are.
    fn part(&mut self) -> Draft {
        let Draft { fresh, bytes } = self.draft();
        Draft { fresh, bytes: bytes.max(1) }
    }

    /// A value of which several must fit one record.
    fn value(&mut self) -> Draft {
        self.fresh += 1;
        let most = if self.draw.one_in(4) { self.log_segment_bytes / 12 } else { 200 };
        Draft { fresh: self.fresh, bytes: self.draw.below(most.into()) as u32 }
    }

    fn asked(&mut self) -> Asked {
        use Asked::*;
        if self.draw.below(4) > 0 {
            return Nothing;
        }
        self.draw.of(&[Absent, Absent, Present, Same, Same, Other, Differs])
    }

    fn events(&mut self) -> u8 {
        self.draw.of(&[0, 0, 0, 1, 1, 2])
    }

    fn fraction(&mut self) -> Fraction {
        match self.draw.below(3) {
            0 => (self.draw.byte(), self.draw.byte()),
            _ => (0, 255),
        }
    }

    fn op(&mut self) -> Op {
        let favoured = self.draw.one_in(2);
        match self.taste {
            Taste::Renames if favoured => self.rename(),
            Taste::Uploads if favoured => self.upload(),
            Taste::Buckets if favoured => self.bucket(),
            Taste::Versions if favoured => self.version(),
            _ => match self.draw.below(20) {
                0..=5 => self.put(),
                6..=8 => self.deletion(),
                9 => self.rename(),
                10..=13 => self.upload(),
                14 => self.bucket(),
                15 | 16 => self.version(),
                17 => Op::Read {
                    key: self.key(),
                    place: self.draw.maybe(3, Draw::byte),
                    milliseconds: self.draw.of(&[0, 1, 5, 60]),
                },
                18 => Op::EventsDone { core: self.draw.byte(), which: self.draw.byte() },
                _ => self.pair(),
            },
        }
    }

    fn put(&mut self) -> Op {
        let (key, events) = (self.key(), self.events());
        match self.draw.below(10) {
            0..=5 => {
                let (body, asked) = (self.draft(), self.asked());
                Op::Put { key, body, asked, events, hold: self.draw.one_in(20) }
            }
            6..=8 => {
                let (from, place, range) = (self.key(), self.place(), self.fraction());
                Op::Copy { key, from, place, range, events }
            }
            _ => Op::Append { key, body: self.draft() },
        }
    }

    /// Mostly what is current.
    fn place(&mut self) -> u8 {
        if self.draw.one_in(3) { self.draw.byte() } else { 0 }
    }

    fn deletion(&mut self) -> Op {
        let (key, events, bypass) = (self.key(), self.events(), self.draw.one_in(4));
        match self.draw.below(12) {
            0..=5 => Op::Delete { key, asked: self.asked(), events, bypass },
            6 | 7 => {
                let only_replaced = self.draw.one_in(4);
                Op::DeleteVersion { key, place: self.draw.byte(), only_replaced, events, bypass }
            }
            8 | 9 => {
                let slot = key.0;
                let keys = (0..1 + self.draw.below(5))
                    .map(|_| (self.key_in(slot), self.draw.maybe(2, Draw::byte)))
                    .collect();
                Op::DeleteMany { slot, keys }
            }
            10 => Op::Empty { slot: if self.draw.one_in(2) { 2 } else { key.0 } },
            _ => Op::Expire { key, current: self.draw.one_in(2) },
        }
    }

    fn rename(&mut self) -> Op {
        let slot = if self.draw.one_in(4) { self.key().0 } else { 0 };
        let key = (slot, self.key_in(slot));
        Op::Rename { key, from: self.key_in(slot), asked: self.asked(), events: self.events() }
    }

    fn upload(&mut self) -> Op {
        let upload = self.draw.byte();
        match self.draw.below(12) {
            0..=2 => Op::UploadBegin { key: self.key() },
            3..=6 => Op::Part { upload, number: 1 + self.draw.below(5) as u8, body: self.part() },
            7 => {
                let number = 1 + self.draw.below(5) as u8;
                let (from, place, range) = (self.key(), self.place(), self.fraction());
                Op::PartCopy { upload, number, from, place, range }
            }
            8 | 9 => {
                let without = if self.draw.one_in(3) { self.draw.byte() } else { 0 };
                let (asked, events) = (self.asked(), self.events());
                Op::Complete { upload, without, asked, events, wrong: self.draw.one_in(12) }
            }
            10 => Op::CompleteAgain { upload },
            _ => Op::Abort { upload },
        }
    }

    fn bucket(&mut self) -> Op {
        let slot = if self.draw.one_in(3) { self.draw.below(3) as usize } else { 2 };
        match self.draw.below(8) {
            0..=2 => {
                let versioning = self.draw.of(&[
                    Versioning::Unversioned,
                    Versioning::Unversioned,
                    Versioning::Enabled,
                    Versioning::Suspended,
                ]);
                Op::BucketCreate { slot, versioning }
            }
            3 => Op::BucketDelete { slot },
            4 => Op::BucketVersioning { slot: self.draw.of(&[1, 1, 1, 1, 2, 2, 0]) },
            5 => Op::Empty { slot },
            _ => {
                let slot = self.draw.below(3) as usize;
                let body = if self.draw.one_in(4) { None } else { Some(self.value()) };
                Op::BucketSetting { slot, name: self.draw.below(3) as u8, body }
            }
        }
    }

    fn pair(&mut self) -> Op {
        let body = if self.draw.one_in(4) { None } else { Some(self.value()) };
        Op::Pair { number: self.draw.below(3) as u8, body }
    }

    fn version(&mut self) -> Op {
        let slot = if self.draw.one_in(6) { 0 } else { 1 };
        let key = (slot, self.key_in(slot));
        let events = self.events();
        match self.draw.below(10) {
            0 => Op::BucketVersioning { slot: 1 },
            1 | 2 => {
                let bypass = self.draw.one_in(3);
                Op::DeleteVersion { key, place: self.draw.byte(), only_replaced: false, events, bypass }
            }
            3 => Op::Expire { key, current: self.draw.one_in(3) },
            4 => Op::Delete { key, asked: self.asked(), events, bypass: false },
            _ => {
                let place = self.draw.maybe(2, Draw::byte);
                Op::Update { key, place, attribute: self.attribute(), events }
            }
        }
    }

    fn attribute(&mut self) -> Attribute {
        let bypass = self.draw.one_in(2);
        match self.draw.below(6) {
            0..=2 => Attribute::Tag(self.draw.below(1000) as u16),
            // Mostly let go, so that not everything ends up locked.
            3 => Attribute::Hold(self.draw.one_in(3)),
            4 => {
                let lasts = self.draw.one_in(3);
                Attribute::Retention { compliance: self.draw.one_in(4), lasts, bypass }
            }
            _ => Attribute::NoRetention { bypass },
        }
    }
}

fn failure(draw: &mut Draw) -> Trouble {
    use Trouble::*;
    draw.of(&[Writes, Writes, Syncs, Syncs, Reads, ShortReads, Opens, Names, Punches, Allocations, All])
}
