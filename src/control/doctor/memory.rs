//! Memory and the limits of the process.

use std::path::Path;

use super::host::chosen;
use super::{Area, Host, Plan, Point, Status};
use crate::base::limits::{
    CONNECTIONS_PER_CORE_MAX, DESCRIPTORS_OF_NODE, DESCRIPTORS_PER_CORE, HOST_GROUPS_NESTED_MAX,
    OPEN_FILES_MAX, REFUSALS_PER_CORE_MAX,
};
use crate::ring::machine;

/// CAP_IPC_LOCK of capabilities(7): no limit of locked memory.
const CAPABILITY_LOCK: u64 = 14;

const MIB: u64 = 1 << 20;

pub fn examine(host: &Host, plan: &Plan, cores: usize) -> Vec<Point> {
    vec![
        locked(host, plan, cores),
        descriptors(host, plan, cores),
        memory(host, plan, cores),
        huge_pages(host),
        swap(host, plan),
    ]
}

/// Whose limits are looked at: those of the node that runs, or of this process.
fn process(plan: &Plan) -> (String, &'static str) {
    match plan.process {
        Some(process) => (format!("/proc/{process}"), "of the node that runs"),
        None => ("/proc/self".into(), "of this shell; a unit or container has its own"),
    }
}

/// Hard limit of a resource by its line in `limits`: `Some(None)` if there is none.
fn hard_limit(host: &Host, process: &str, line: &str) -> Option<Option<u64>> {
    let limits = host.read(&format!("{process}/limits"))?;
    let rest = limits.lines().find_map(|text| text.strip_prefix(line))?;
    match rest.split_whitespace().nth(1)? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

fn locked(host: &Host, plan: &Plan, cores: usize) -> Point {
    let needed = machine::locked_bytes(plan.arena_bytes, cores) as u64;
    let (process, whose) = process(plan);
    let point = Point::new(
        Area::Memory,
        "memlock",
        format!("{} MiB or more ({cores} cores, --arena {} MiB each)", needed / MIB, plan.arena_bytes >> 20),
        "Buffers that are registered with the kernel need not be pinned for every read and write. Registered memory \
         counts as locked; where the limit does not allow it for all cores, none registers.",
    )
    .measured("registered buffers save 19% of CPU on GET and 7% on PUT of 1 MiB (decision 0002)");
    let capabilities = host.read(&format!("{process}/status")).and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    if capabilities.is_some_and(|capabilities| capabilities >> CAPABILITY_LOCK & 1 == 1) {
        return point.found(Status::Ok, format!("no limit (CAP_IPC_LOCK), {whose}"));
    }
    match hard_limit(host, &process, "Max locked memory") {
        Some(None) => point.found(Status::Ok, format!("unlimited, {whose}")),
        Some(Some(bytes)) if bytes >= needed => {
            point.found(Status::Ok, format!("{} MiB, {whose}", bytes / MIB))
        }
        Some(Some(bytes)) => point
            .found(Status::Warning, format!("{} KiB, {whose}", bytes / 1024))
            .advice("systemd: LimitMEMLOCK=infinity; a container: --ulimit memlock=-1; a shell, as root:")
            .fix(
                "prlimit --memlock=unlimited:unlimited --pid $$",
                format!("prlimit --memlock={bytes}:{bytes} --pid $$"),
            ),
        None => point,
    }
}

fn descriptors(host: &Host, plan: &Plan, cores: usize) -> Point {
    let own = DESCRIPTORS_OF_NODE + cores * DESCRIPTORS_PER_CORE;
    let full = own + cores * (CONNECTIONS_PER_CORE_MAX + REFUSALS_PER_CORE_MAX + OPEN_FILES_MAX);
    let (process, whose) = process(plan);
    let point = Point::new(
        Area::Memory,
        "descriptors",
        format!("{full} or more, for {CONNECTIONS_PER_CORE_MAX} connections on each of {cores} cores"),
        "Each connection and each open segment takes a descriptor. With fewer a core takes fewer connections and \
         tells further clients to slow down.",
    );
    let fix = |point: Point, limit: u64| {
        point
            .advice("systemd: LimitNOFILE=1048576; a container: --ulimit nofile=1048576; a shell, as root:")
            .fix(
                "prlimit --nofile=1048576:1048576 --pid $$",
                format!("prlimit --nofile={limit}:{limit} --pid $$"),
            )
    };
    match hard_limit(host, &process, "Max open files") {
        Some(None) => point.found(Status::Ok, format!("unlimited, {whose}")),
        Some(Some(limit)) if limit >= full as u64 => point.found(Status::Ok, format!("{limit}, {whose}")),
        Some(Some(limit)) if limit < (own + 16 * cores) as u64 => {
            fix(point.found(Status::Error, format!("{limit}, {whose}: too few to start")), limit)
        }
        Some(Some(limit)) => fix(point.found(Status::Warning, format!("{limit}, {whose}")), limit),
        None => point,
    }
}

fn memory(host: &Host, plan: &Plan, cores: usize) -> Point {
    let needed = (plan.arena_bytes as u64).saturating_add(plan.cache_bytes).saturating_mul(cores as u64);
    let point = Point::new(
        Area::Memory,
        "memory",
        format!("twice {} MiB, which buffers and caches take; the rest is for the index", needed / MIB),
        "All keys are in memory: about 65 bytes an object beyond its key. A node that gets no more memory ends, and \
         does so again when it reads the index back.",
    );
    let total = host.read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    });
    let group = group_limit(host);
    let (bytes, whose) = match (total, group) {
        (Some(total), Some(group)) if group < total => (group, "of this control group"),
        (Some(total), _) => (total, "of the machine"),
        (None, _) => return point,
    };
    let found = format!("{} MiB, {whose}", bytes / MIB);
    let advice = "start fewer cores (--cores), or give them smaller --arena and --cache";
    match needed {
        needed if needed > bytes => point.found(Status::Error, found).advice(advice),
        needed if needed > bytes / 2 => point.found(Status::Warning, found).advice(advice),
        _ => point.found(Status::Ok, found),
    }
}

/// The least limit of the control groups (version 2) that this process is in.
fn group_limit(host: &Host) -> Option<u64> {
    groups(host).iter().filter_map(|group| host.number(&format!("{group}/memory.max"))).min()
}

/// Directories of the control groups (version 2) of this process, the innermost first.
pub fn groups(host: &Host) -> Vec<String> {
    let text = host.read("/proc/self/cgroup").unwrap_or_default();
    let Some(own) = text.lines().find_map(|line| line.strip_prefix("0::")) else { return Vec::new() };
    // Path::ancestors ends with "/", or with "" where the path has none at its beginning.
    let ancestors = Path::new(own).ancestors().take(HOST_GROUPS_NESTED_MAX);
    ancestors.map(|path| format!("/sys/fs/cgroup/{}", path.display()).replace("//", "/")).collect()
}

fn huge_pages(host: &Host) -> Point {
    const FILE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    let point = Point::new(
        Area::Memory,
        "huge_pages",
        "madvise or always",
        "A node asks for huge pages under its I/O buffers: fewer pages to register and fewer misses of the TLB. Other \
         memory of it does not ask, so 'madvise' is enough.",
    );
    match host.read(FILE).as_deref().map(chosen) {
        Some(found @ ("madvise" | "always")) => point.found(Status::Ok, found),
        Some("never") => point.found(Status::Warning, "never").write(FILE, "madvise", "never"),
        Some(other) => point.found(Status::Unknown, format!("'{other}'")),
        None => point,
    }
}

fn swap(host: &Host, plan: &Plan) -> Point {
    let point = Point::new(
        Area::Memory,
        "swap",
        "no swap, or vm.swappiness of 10 or less and nothing of the node in it",
        "The index and the caches are memory of the process. What is swapped out comes back by a blocking read, and \
         everybody on that core waits for it.",
    );
    let Some(swaps) = host.read("/proc/swaps") else { return point };
    let areas: Vec<&str> = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    if areas.is_empty() {
        return point.found(Status::Ok, "no swap");
    }
    let swapped = plan.process.and_then(|process| {
        let status = host.read(&format!("/proc/{process}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmSwap:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    let Some(swappiness) = host.number::<u32>("/proc/sys/vm/swappiness") else { return point };
    let areas = areas.join(", ");
    match swapped {
        Some(kibibytes @ 1..) => point
            .found(Status::Warning, format!("{kibibytes} KiB of the node are in swap ({areas})"))
            .fix("swapoff -a", "swapon -a"),
        _ if swappiness <= 10 => point.found(Status::Ok, format!("{areas}, vm.swappiness {swappiness}")),
        _ => point.found(Status::Warning, format!("{areas}, vm.swappiness {swappiness}")).sysctl(
            "vm.swappiness",
            "1",
            &swappiness.to_string(),
        ),
    }
}
