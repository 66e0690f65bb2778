//! Many histories, on every core; what fails is made short and printed.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use super::draw::draw;
use super::minimise::minimise;
use super::run::{Tally, run};

/// Runs of shorter histories that are tried to make a failure short.
const MINIMISE_TRIES: u32 = 1500;

/// Longer than any history takes, on whatever machine: most take some tens of milliseconds.
const HISTORY_TIME_MAX: Duration = Duration::from_secs(300);

/// Pause between reports of a long run.
const REPORT_PAUSE: Duration = Duration::from_secs(60);

thread_local! {
    /// Whether a panic of this thread is kept instead of printed.
    static KEEPS: Cell<bool> = const { Cell::new(false) };
    static KEPT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `attempt`; if it panics, the error says where and why, and nothing is printed.
pub fn try_run(attempt: impl FnOnce()) -> Result<(), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !KEEPS.get() {
                return usual(panic);
            }
            let payload = panic.payload();
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| text.to_string()));
            let place = panic.location().map(|it| format!("{}:{}", it.file(), it.line()));
            KEPT.set(format!("{}\n  at {}", text.unwrap_or_default(), place.unwrap_or_default()));
        }));
    });
    let before = KEEPS.replace(true);
    let result = catch_unwind(AssertUnwindSafe(attempt));
    KEEPS.set(before);
    result.map_err(|_| KEPT.take())
}

/// Tries one history of another kind; if it fails, says how to replay it alone.
pub fn try_history(seed: u64, test: &str, history: fn(u64)) {
    if let Err(panic) = catch_unwind(|| history(seed)) {
        eprintln!("replay with: RINGCASK_CRASH_SEEDS={seed}..{} cargo test --lib {test}", seed + 1);
        std::panic::resume_unwind(panic);
    }
}

/// The seeds that are asked for, or the usual ones.
pub fn seeds(usual: Range<u64>) -> Range<u64> {
    match std::env::var("RINGCASK_CRASH_SEEDS") {
        Ok(text) => {
            let (first, last) = text.split_once("..").expect("RINGCASK_CRASH_SEEDS=FIRST..LAST");
            first.parse().expect("a number")..last.parse().expect("a number")
        }
        Err(_) => usual,
    }
}

fn threads() -> usize {
    match std::env::var("RINGCASK_CRASH_THREADS") {
        Ok(text) => text.parse().expect("RINGCASK_CRASH_THREADS is a number"),
        Err(_) => std::thread::available_parallelism().map_or(1, |count| count.get()),
    }
}

/// Tries the histories of all seeds, on several threads. The first that fails ends it.
#[allow(clippy::disallowed_methods)] // It tells how long it really took.
pub fn run_seeds(usual: Range<u64>) {
    let (seeds, began) = (seeds(usual), Instant::now());
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let total = Mutex::new(Tally::default());
    let failure = Mutex::new(None);
    let threads = threads();
    let under_way: Vec<Mutex<Option<(u64, Instant)>>> = (0..threads).map(|_| Mutex::new(None)).collect();
    let running = AtomicU64::new(threads as u64);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&under_way, &running)).thread().clone();
        for of_thread in &under_way {
            let (next, failed, failure, total) = (&next, &failed, &failure, &total);
            let (seeds, running, watching) = (&seeds, &running, watching.clone());
            scope.spawn(move || {
                let _end = Ending { running, watching };
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    *of_thread.lock().expect("no panic while locked") = Some((seed, Instant::now()));
                    let mut tally = Tally::default();
                    match try_run(|| tally = run(&draw(seed), None)) {
                        Ok(()) => {
                            let mut total = total.lock().expect("no panic while locked");
                            let before = began.elapsed();
                            total.add(&tally);
                            report_now_and_then(&total, before);
                        }
                        // A survey goes on, and prints what fails as it is.
                        Err(message) if std::env::var_os("RINGCASK_CRASH_SURVEY").is_some() => {
                            eprintln!("seed {seed}: {}", message.chars().take(500).collect::<String>());
                        }
                        Err(message) => {
                            failed.store(true, Ordering::Relaxed);
                            failure.lock().expect("no panic while locked").get_or_insert((seed, message));
                        }
                    }
                }
            });
        }
    });
    let failure = failure.into_inner().expect("all threads are done");
    if let Some((seed, message)) = failure {
        explain(seed, message);
    }
    println!("{}", report(&total.into_inner().expect("all threads are done"), began.elapsed()));
}

/// A thread that ends, whatever the way, lets the watch end.
struct Ending<'a> {
    running: &'a AtomicU64,
    watching: std::thread::Thread,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.watching.unpark();
    }
}

/// Ends the process if a history does not: something goes round without ever waiting.
fn watch(under_way: &[Mutex<Option<(u64, Instant)>>], running: &AtomicU64) {
    while running.load(Ordering::SeqCst) > 0 {
        std::thread::park_timeout(Duration::from_secs(10));
        for of_thread in under_way {
            if let Some((seed, began)) = *of_thread.lock().expect("no panic while locked")
                && began.elapsed() > HISTORY_TIME_MAX
            {
                eprintln!("seed {seed}: it does not end");
                eprintln!("{}", replay(seed));
                std::process::abort();
            }
        }
    }
}

fn replay(seed: u64) -> String {
    let test = "engine::tests::histories::what";
    format!("replay with: RINGCASK_CRASH_SEEDS={seed}..{} cargo test --lib {test}", seed + 1)
}

/// Says what failed and how to see it again, with as few steps as can be found; panics.
fn explain(seed: u64, message: String) -> ! {
    eprintln!("seed {seed}: {message}");
    eprintln!("{}", replay(seed));
    let short = minimise(draw(seed), message, MINIMISE_TRIES, None);
    eprintln!("the shortest history that fails so:\n{:?}{}", short.history, short.message);
    panic!("the history of seed {seed} failed");
}

fn report_now_and_then(total: &Tally, elapsed: Duration) {
    static LAST: Mutex<Option<Duration>> = Mutex::new(None);
    let mut last = LAST.lock().expect("no panic while locked");
    if elapsed > last.unwrap_or_default() + REPORT_PAUSE {
        *last = Some(elapsed);
        println!("{}", report(total, elapsed));
    }
}

fn report(total: &Tally, elapsed: Duration) -> String {
    let Tally { histories, sequences, states_alike, false_starts, operations, bytes_read, machine } = total;
    let seconds = elapsed.as_secs_f64();
    let per_second = *sequences as f64 / seconds;
    let mut text = format!(
        "{sequences} sequences of {histories} histories in {seconds:.1} s, {per_second:.0} a second: \
         {operations} operations, {bytes_read} bytes verified, {false_starts} starts cut off, \
         {states_alike} crash states left out as alike"
    );
    for (kind, count) in machine {
        text += &format!(", {count} {kind}");
    }
    text
}
