//! What many objects cost: memory, checkpoints, starts, and pages of listings from every place of a large bucket.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ringcask::engine::Versioning;
use ringcask::s3::version;

use crate::fill;
use crate::load::Client;
use crate::memory::mib;
use crate::node::{Machine, Node, data_directory, memory_of, usage_of};
use crate::options::Options;
use crate::requests::{COMMON_PREFIX, KEY, Maker, Request};

const FLAT: &str = "flat";
const HISTORY: &str = "history";
const HIDDEN: &str = "hidden";

/// Length of each key of the large bucket.
const KEY_BYTES: usize = 38;

/// Keys under one of the innermost prefixes.
const GROUP_KEYS: usize = 10;

/// Of the keys of the bucket of delete markers, one in this many still has an object.
const HIDDEN_PER_SHOWN: usize = 1000;

/// A prime: multiples of it visit all keys in no order.
const STRIDE: usize = 7_368_787;

/// No clients but ours, and no work of its own while pages are measured.
const ARGUMENTS: &[&str] = &["--scrub-bytes-per-second", "0"];

/// Kind of page, and the requests of a round.
type Pages = (&'static str, Vec<Request>);

/// How many of everything.
struct Sizes {
    objects: usize,
    /// Versions of one key.
    versions: usize,
    /// Keys of which nearly all are hidden.
    hidden: usize,
    page: usize,
    /// Pages of a kind and round.
    pages: usize,
}

impl Sizes {
    fn of(options: &Options) -> Self {
        // Whole groups, and as many in each of the ten large prefixes.
        let objects = options.objects.next_multiple_of(100 * GROUP_KEYS);
        Self {
            objects,
            versions: (objects / 100).max(20),
            hidden: objects / 10,
            page: (objects / 200).min(1000),
            pages: if options.quick { 3 } else { (500.0 * options.scale).max(1.0) as usize },
        }
    }

    fn key(&self, number: usize) -> String {
        let group = number / GROUP_KEYS;
        format!("{}photograph-{number:010}.jpeg", self.prefix(group))
    }

    fn prefix(&self, group: usize) -> String {
        format!("d{:02}/{group:07}/", group * GROUP_KEYS * 10 / self.objects)
    }
}

fn hidden_key(number: usize) -> String {
    format!("invoices/{number:010}.pdf")
}

/// Measures with nodes of their own and prints; returns the digest of what was done.
pub fn measure(machine: &Machine, options: &Options) -> Result<u64, String> {
    let sizes = Sizes::of(options);
    println!("\nindex of {} objects with keys of {KEY_BYTES} bytes", sizes.objects);
    let data = data_directory(options)?;
    let idle = start(data.path(), 1, "start of an empty node", machine, options)?;
    let idle_bytes = idle.memory()?.resident_bytes;
    idle.stop()?;
    fill_flat(data.path(), &sizes, machine)?;
    let mut work = 0;
    for cores in [1, 2] {
        let node = start(data.path(), cores, "start with a checkpoint", machine, options)?;
        if cores == 1 {
            print_memory(node.memory()?.resident_bytes, idle_bytes, &sizes);
        }
        let pages = |maker: &Maker| flat_pages(maker, &sizes);
        work = list(&node, cores, pages, options)?.wrapping_add(work);
        node.stop()?;
    }
    remove_checkpoints(data.path())?;
    let node = start(data.path(), 1, "start from the log alone", machine, options)?;
    print_memory(node.memory()?.resident_bytes, idle_bytes, &sizes);
    node.stop()?;
    drop(data);

    let data = data_directory(options)?;
    let ids = fill_versions(data.path(), &sizes, machine)?;
    for cores in [1, 2] {
        let node = start(data.path(), cores, "start with versions", machine, options)?;
        let pages = |maker: &Maker| version_pages(maker, &sizes, &ids);
        work = list(&node, cores, pages, options)?.wrapping_add(work);
        node.stop()?;
    }
    Ok(work)
}

/// Starts a node and prints what that took.
fn start(
    data: &Path,
    cores: usize,
    what: &str,
    machine: &Machine,
    options: &Options,
) -> Result<Node, String> {
    let begin = std::time::Instant::now();
    let node = Node::start_on(data, cores, ARGUMENTS, machine, options)?;
    let (cpu, wall) = (node.usage()?.cpu(), begin.elapsed());
    node.settle()?;
    println!("  {what}, {cores} core(s): {:.2} CPU-s ({:.2} s)", cpu.as_secs_f64(), wall.as_secs_f64());
    Ok(node)
}

fn print_memory(bytes: u64, before: u64, sizes: &Sizes) {
    let each = (bytes as f64 - before as f64) / sizes.objects as f64;
    let (mib, beyond) = (mib(bytes), each - KEY_BYTES as f64);
    println!("  resident: {mib:.0} MiB; {beyond:.1} bytes an object beyond its key");
}

/// Puts all objects in no order of keys, then writes a checkpoint.
fn fill_flat(data: &Path, sizes: &Sizes, machine: &Machine) -> Result<(), String> {
    let (objects, cpu) = (sizes.objects, machine.server_cpu);
    let sizes = Sizes { ..*sizes };
    let process = std::process::id();
    let before = memory_of(process)?.resident_bytes;
    let seconds = |duration: Duration| duration.as_secs_f64();
    fill::with_core(data, cpu, async move |core| {
        let bucket = fill::make_bucket(core, FLAT, Versioning::Unversioned).await?;
        let start = usage_of(process, cpu)?;
        let key = {
            let sizes = Sizes { ..sizes };
            move |number: usize| sizes.key(number * STRIDE % objects)
        };
        fill::put_each(core, bucket, objects, key).await?;
        let used = usage_of(process, cpu)?.since(&start);
        let each = seconds(used.cpu()) * 1e6 / objects as f64;
        println!("  put: {each:.1} CPU-µs an object with all checkpoints ({:.1} s)", seconds(used.elapsed));
        print_memory(memory_of(process)?.resident_bytes, before, &sizes);
        let start = usage_of(process, cpu)?;
        core.shutdown().await.map_err(|error| error.to_string())?;
        let used = usage_of(process, cpu)?.since(&start);
        println!("  checkpoint: {:.2} CPU-s ({:.2} s)", seconds(used.cpu()), seconds(used.elapsed));
        Ok(())
    })?;
    let bytes = |name: &str| -> Result<u64, String> {
        let files = files(data, name)?;
        Ok(files.last().map_or(0, |(_, bytes)| *bytes))
    };
    println!("  newest checkpoint: {:.1} bytes an object", bytes("checkpoint-")? as f64 / objects as f64);
    let log: u64 = files(data, "log-")?.iter().map(|(_, bytes)| bytes).sum();
    println!("  log: {:.1} bytes an object", log as f64 / objects as f64);
    Ok(())
}

/// Makes one key of many versions, and a bucket in which nearly all is hidden. Returns the ids of the versions,
/// newest first.
fn fill_versions(data: &Path, sizes: &Sizes, machine: &Machine) -> Result<Vec<String>, String> {
    let (versions, hidden) = (sizes.versions, sizes.hidden);
    fill::with_core(data, machine.server_cpu, async move |core| {
        let history = fill::make_bucket(core, HISTORY, Versioning::Enabled).await?;
        fill::put_each(core, history, versions - 1, |_| "one".to_owned()).await?;
        fill::put(core, history, b"one").await?;
        let query = ringcask::engine::VersionQuery { count_max: versions, ..Default::default() };
        let page = core.list_versions(history, query).await.map_err(|error| error.to_string())?;
        let ids = page.versions.iter().map(|listed| version::text(listed.version)).collect();
        let bucket = fill::make_bucket(core, HIDDEN, Versioning::Enabled).await?;
        fill::put_each(core, bucket, hidden, hidden_key).await?;
        let key = |number| (number % HIDDEN_PER_SHOWN != 0).then(|| hidden_key(number));
        fill::hide_each(core, bucket, hidden, key).await?;
        core.shutdown().await.map_err(|error| error.to_string())?;
        Ok(ids)
    })
}

/// Pages of the large bucket.
fn flat_pages(maker: &Maker, sizes: &Sizes) -> Vec<Pages> {
    let page = sizes.page;
    let keys = |first: usize| (first..first + page).map(|number| sizes.key(number)).collect::<Vec<_>>();
    let turns = |request: &dyn Fn(usize) -> Request| (0..sizes.pages).map(request).collect::<Vec<_>>();
    let escaped = |text: &str| text.replace('/', "%2F");
    let query = |rest: &str| format!("list-type=2&max-keys={page}{rest}");
    let first = turns(&|_| maker.list_by(FLAT, query(""), KEY, keys(0)));
    let deep = turns(&|turn| {
        let after = (turn + 1) * STRIDE % (sizes.objects - page - 1);
        let rest = format!("&start-after={}", escaped(&sizes.key(after)));
        maker.list_by(FLAT, query(&rest), KEY, keys(after + 1))
    });
    let large = turns(&|_| {
        let names = (0..10).map(|number| format!("d{number:02}/")).collect();
        maker.list_by(FLAT, query("&delimiter=%2F"), COMMON_PREFIX, names)
    });
    let groups = sizes.objects / GROUP_KEYS / 10;
    let small = turns(&|turn| {
        let after = turn % 10 * groups + (turn + 1) * STRIDE % (groups - page);
        let names = (after + 1..after + 1 + page).map(|group| sizes.prefix(group)).collect::<Vec<_>>();
        let names = names.into_iter().filter(|name| name[..4] == sizes.prefix(after)[..4]).collect();
        let after = escaped(&sizes.prefix(after));
        let rest = format!("&delimiter=%2F&prefix={}&start-after={after}", &after[..6]);
        maker.list_by(FLAT, query(&rest), COMMON_PREFIX, names)
    });
    let nothing = turns(&|turn| {
        let prefix = sizes.key((turn + 1) * STRIDE % sizes.objects).replace("photograph", "painting");
        maker.list_by(FLAT, query(&format!("&prefix={}", escaped(&prefix))), KEY, Vec::new())
    });
    vec![
        ("keys, from the beginning", first),
        ("keys, after any key", deep),
        ("common prefixes, 10 of millions", large),
        ("common prefixes, of 10 keys each", small),
        ("a prefix that nothing has", nothing),
    ]
}

/// Pages of the buckets with versions.
fn version_pages(maker: &Maker, sizes: &Sizes, ids: &[String]) -> Vec<Pages> {
    let page = sizes.page.min(ids.len() / 2);
    let turns = |request: &dyn Fn(usize) -> Request| (0..sizes.pages).map(request).collect::<Vec<_>>();
    let history = turns(&|turn| {
        let marker = &ids[(turn + 1) * STRIDE % (ids.len() - page)];
        let query = format!("versions=&max-keys={page}&key-marker=one&version-id-marker={marker}");
        let same = |name: &str| vec![name.to_owned(); page];
        maker.list_by(HISTORY, query, KEY, same("one"))
    });
    let newest = turns(&|_| {
        let query = "list-type=2&max-keys=1000".to_owned();
        maker.list_by(HISTORY, query, KEY, vec!["one".to_owned()])
    });
    let shown: Vec<usize> = (0..sizes.hidden).step_by(HIDDEN_PER_SHOWN).collect();
    let few = turns(&|_| {
        let names = shown.iter().take(1000).map(|number| hidden_key(*number)).collect();
        maker.list_by(HIDDEN, "list-type=2&max-keys=1000".to_owned(), KEY, names)
    });
    let markers = turns(&|turn| {
        let after = (turn + 1) * STRIDE % (sizes.hidden - page - 1);
        let names = (after + 1..).flat_map(|number| {
            let versions = if number % HIDDEN_PER_SHOWN == 0 { 1 } else { 2 };
            std::iter::repeat_n(hidden_key(number), versions)
        });
        let query = format!("versions=&max-keys={page}&key-marker={}", hidden_key(after).replace('/', "%2F"));
        maker.list_by(HIDDEN, query, KEY, names.take(page).collect())
    });
    vec![
        ("versions of one key", history),
        ("keys, one with all these versions", newest),
        ("keys, all others deleted", few),
        ("versions and delete markers", markers),
    ]
}

/// Asks for pages of each kind in turns, over one connection, and prints what one costs.
fn list(
    node: &Node,
    cores: usize,
    pages: impl Fn(&Maker) -> Vec<Pages>,
    options: &Options,
) -> Result<u64, String> {
    let (maker, client) = (Maker::new(node.target()), Client::new(node.address()));
    let kinds = pages(&maker);
    let mut work: u64 = 0;
    let mut costs = vec![Vec::new(); kinds.len()];
    for _ in 0..options.rounds {
        for ((name, requests), costs) in kinds.iter().zip(&mut costs) {
            let connections = client.connect(1)?;
            let start = node.usage()?;
            let done = client.run_on(connections, requests).map_err(|error| format!("{name}: {error}"))?;
            work = work.wrapping_add(done.work);
            let used = node.usage()?.since(&start);
            costs.push(used.cpu().as_secs_f64() * 1e6 / requests.len() as f64);
        }
    }
    for ((name, _), mut costs) in kinds.iter().zip(costs) {
        costs.sort_by(f64::total_cmp);
        let (least, most) = (costs.first().unwrap_or(&0.0), costs.last().unwrap_or(&0.0));
        let median = crate::report::median(&costs);
        println!("  page, {name}, {cores} core(s): {median:.0} CPU-µs ({least:.0}..{most:.0})");
    }
    Ok(work)
}

/// Files of the data directory whose names begin so, in order of name, with their lengths.
fn files(data: &Path, prefix: &str) -> Result<Vec<(String, u64)>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", data.display());
    let mut files = Vec::new();
    for file in fs::read_dir(data).map_err(failed)? {
        let file = file.map_err(failed)?;
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with(prefix) {
            files.push((name, file.metadata().map_err(failed)?.len()));
        }
    }
    files.sort();
    Ok(files)
}

fn remove_checkpoints(data: &Path) -> Result<(), String> {
    for (name, _) in files(data, "checkpoint-")? {
        fs::remove_file(data.join(&name)).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}
