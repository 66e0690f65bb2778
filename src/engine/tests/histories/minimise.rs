//! Makes a history that fails shorter, as long as it fails in the same way.

use super::run::{Hook, run};
use super::steps::*;
use super::try_run;

/// A history that fails, with how.
pub struct Failing {
    pub history: History,
    pub message: String,
    tries_left: u32,
    hook: Option<Hook>,
}

/// Seeds that a shorter history is tried with: when steps are taken away, the times of the others change.
const SEEDS: u64 = 5;

/// The way in which a history fails: its message without what is particular.
fn way(message: &str) -> String {
    let end = message.find([':', '{', '[', '(']).unwrap_or(message.len());
    message[..end].chars().filter(|it| !it.is_ascii_digit()).collect()
}

/// The shortest history found with so many tries.
pub fn minimise(history: History, message: String, tries: u32, hook: Option<Hook>) -> Failing {
    let mut failing = Failing { history, message, tries_left: tries, hook };
    let mut before = None;
    while before.as_ref() != Some(&failing.history) && failing.tries_left > 0 {
        before = Some(failing.history.clone());
        failing.drop_lives();
        failing.drop_parts_of_lives();
        failing.drop_ops();
        failing.simplify();
    }
    failing
}

impl Failing {
    /// Keeps a shorter history if it fails in the same way.
    fn try_history(&mut self, history: History) -> bool {
        let first = history.seed;
        for seed in first..first + SEEDS {
            if self.tries_left == 0 {
                return false;
            }
            self.tries_left -= 1;
            let history = History { seed, ..history.clone() };
            let failed = try_run(|| drop(run(&history, self.hook)));
            if let Err(message) = failed
                && way(&message) == way(&self.message)
            {
                (self.history, self.message) = (history, message);
                return true;
            }
        }
        false
    }

    fn try_change(&mut self, change: impl FnOnce(&mut History)) -> bool {
        let mut history = self.history.clone();
        change(&mut history);
        history != self.history && self.try_history(history)
    }

    fn drop_lives(&mut self) {
        let mut place = self.history.lives.len();
        while place > 0 {
            place -= 1;
            self.try_change(|history| drop(history.lives.remove(place)));
        }
    }

    fn drop_parts_of_lives(&mut self) {
        for place in 0..self.history.lives.len() {
            self.try_change(|history| history.lives[place].rounds.clear());
            self.try_change(|history| history.lives[place].false_start = None);
            self.try_change(|history| history.lives[place].drive_more = false);
            self.try_change(|history| history.lives[place].end.limping = None);
            self.try_change(|history| history.lives[place].end.failing = None);
            self.try_change(|history| history.lives[place].end.ops.clear());
            let states = self.history.lives[place].end.states.clone();
            for state in states {
                if self.try_change(|history| history.lives[place].end.states = vec![state]) {
                    break;
                }
            }
            let mut round = self.history.lives[place].rounds.len();
            while round > 0 {
                round -= 1;
                self.try_change(|history| drop(history.lives[place].rounds.remove(round)));
            }
        }
    }

    /// Takes operations away, half of a list at once, then fewer.
    fn drop_ops(&mut self) {
        let mut list = 0;
        while let Some(length) = lists(&mut self.history).get(list).map(|ops| ops.len()) {
            let mut count = length.max(1);
            while count > 0 {
                let mut start = 0;
                while start < lists(&mut self.history)[list].len() {
                    let dropped = self.try_change(|history| {
                        let ops = &mut *lists(history)[list];
                        let end = (start + count).min(ops.len());
                        drop(ops.drain(start..end));
                    });
                    start += if dropped { 0 } else { count };
                }
                count /= 2;
            }
            list += 1;
        }
    }

    fn simplify(&mut self) {
        for place in 0..self.history.lives.len() {
            self.try_change(|history| history.lives[place].end.work = Work::Nothing);
            self.try_change(|history| history.lives[place].cores = 1);
            for round in 0..self.history.lives[place].rounds.len() {
                self.try_change(|history| history.lives[place].rounds[round].work = Work::Nothing);
                self.try_change(|history| history.lives[place].rounds[round].weather = Weather::Fair);
                self.try_change(|history| history.lives[place].rounds[round].together = false);
            }
        }
        self.try_change(|history| history.setup.drives = 1);
    }
}

/// All lists of operations of a history.
fn lists(history: &mut History) -> Vec<&mut Vec<Op>> {
    let mut lists = Vec::new();
    for life in &mut history.lives {
        lists.extend(life.rounds.iter_mut().map(|round| &mut round.ops));
        lists.push(&mut life.end.ops);
        lists.extend(life.end.limping.as_mut());
    }
    lists
}
