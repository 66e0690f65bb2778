//! CPUs: how many, how fast, whose, and how far from memory and devices.

use std::collections::{BTreeMap, BTreeSet};

use super::host::{as_list, cpu_list};
use super::memory::groups;
use super::{Area, Host, Plan, Point, Status, network};

/// CPUs that a node may use, as far as the host tells.
pub fn allowed(host: &Host, plan: &Plan) -> BTreeSet<usize> {
    let process = plan.process.map_or("self".to_owned(), |process| process.to_string());
    let status = host.read(&format!("/proc/{process}/status")).unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).and_then(cpu_list);
    list.or_else(|| cpu_list(&host.read("/sys/devices/system/cpu/online")?)).unwrap_or_default()
}

pub fn examine(host: &Host, cpus: &BTreeSet<usize>, cores: usize) -> Vec<Point> {
    // Cores take the first CPUs.
    let used: BTreeSet<usize> = cpus.iter().take(cores).copied().collect();
    let mut points =
        vec![cores_and_cpus(cpus, cores), quota(host, cores), governor(host, &used), isolation(host, &used)];
    let nodes = nodes(host);
    points.push(placement(host, &nodes, &used));
    if nodes.len() > 1 {
        points.push(balancing(host));
    }
    points
}

fn cores_and_cpus(cpus: &BTreeSet<usize>, cores: usize) -> Point {
    let point = Point::new(
        Area::Cpu,
        "cores",
        "no more core threads than CPUs",
        "Each core thread stays on one CPU. Two on one take turns, and what waits for one of them waits for both.",
    );
    match cpus.len() {
        0 => point,
        count if cores > count => point
            .found(Status::Warning, format!("{cores} cores on {count} CPUs ({})", as_list(cpus)))
            .advice(format_args!("start it with --cores {count}")),
        count => point.found(Status::Ok, format!("{cores} cores, {count} CPUs ({})", as_list(cpus))),
    }
}

/// A quota of CPU time, as containers have.
fn quota(host: &Host, cores: usize) -> Point {
    let point = Point::new(
        Area::Cpu,
        "quota",
        format!("none, or time for {cores} CPUs"),
        "When the quota of a period is spent, all cores stand still until the next, up to 100 ms. A node counts the \
         CPUs that it may run on and knows of no quota.",
    );
    let groups = groups(host);
    if groups.is_empty() {
        return point.found(Status::Unknown, "control groups of version 2 are not used here");
    }
    let quotas = groups.iter().filter_map(|group| {
        let text = host.read(&format!("{group}/cpu.max"))?;
        let (quota, period) = text.split_once(' ')?;
        let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
        (quota >= 0.0 && period > 0.0).then_some((quota / period, group.clone(), text))
    });
    match quotas.min_by(|one, other| one.0.total_cmp(&other.0)) {
        Some((share, group, text)) if share < cores as f64 => point
            .found(Status::Warning, format!("time for {share:.1} CPUs, for {cores} cores"))
            .advice(format_args!(
                "start it with --cores {}; or take the quota away:",
                (share as usize).max(1)
            ))
            .write(&format!("{group}/cpu.max"), "max", &text),
        Some((share, ..)) => point.found(Status::Ok, format!("time for {share:.1} CPUs")),
        None => point.found(Status::Ok, "none"),
    }
}

fn governor(host: &Host, cpus: &BTreeSet<usize>) -> Point {
    let point = Point::new(
        Area::Cpu,
        "governor",
        "performance",
        "A core sleeps between requests, so a governor that follows the load keeps it slow, and the first requests \
         of a burst pay for it. In a virtual machine the host decides and there is nothing to read.",
    );
    let mut found: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for cpu in cpus {
        if let Some(name) = host.read(&format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor")) {
            found.entry(name).or_default().insert(*cpu);
        }
    }
    let described: Vec<String> =
        found.iter().map(|(name, cpus)| format!("{name} on CPUs {}", as_list(cpus))).collect();
    let others = found.keys().find(|name| *name != "performance");
    match others {
        None if found.is_empty() => point,
        None => point.found(Status::Ok, described.join(", ")),
        Some(other) => {
            let set = |name: &str| {
                format!("echo {name} | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")
            };
            point
                .found(Status::Warning, described.join(", "))
                .fix(set("performance"), set(&super::quoted(other)))
        }
    }
}

fn isolation(host: &Host, cpus: &BTreeSet<usize>) -> Point {
    let point = Point::new(
        Area::Cpu,
        "isolation",
        "CPUs of the node's own, if other programs run on the machine",
        "Other programs on the CPU of a core make its requests wait for a slice of the scheduler. Isolated CPUs \
         (isolcpus=, nohz_full=, or a cpuset) are for the node alone, if its affinity names them.",
    );
    let Some(text) = host.read("/sys/devices/system/cpu/isolated") else { return point };
    let Some(isolated) = cpu_list(&text) else { return point.found(Status::Unknown, format!("'{text}'")) };
    let list = as_list(&isolated);
    let unused: BTreeSet<usize> = isolated.difference(cpus).copied().collect();
    match (isolated.is_empty(), unused.is_empty()) {
        (true, _) => point.found(Status::Ok, "none is isolated; nothing to gain where a node is alone"),
        (false, true) if cpus.is_subset(&isolated) => {
            point.found(Status::Ok, format!("the node's CPUs are isolated ({list})"))
        }
        (false, true) => point
            .found(Status::Note, format!("the node may use isolated CPUs ({list}) and others"))
            .advice(format_args!("systemd: CPUAffinity={list}; a shell: taskset -c {list} ringcask …")),
        (false, false) => point
            .found(
                Status::Note,
                format!("CPUs {} are isolated, and the node may not use them", as_list(&unused)),
            )
            .advice(format_args!("systemd: CPUAffinity={list}; a shell: taskset -c {list} ringcask …")),
    }
}

/// NUMA nodes and their CPUs.
fn nodes(host: &Host) -> BTreeMap<usize, BTreeSet<usize>> {
    const FOLDER: &str = "/sys/devices/system/node";
    let names = host.list(FOLDER);
    let node = |name: &String| {
        let number = name.strip_prefix("node")?.parse().ok()?;
        Some((number, cpu_list(&host.read(&format!("{FOLDER}/{name}/cpulist"))?)?))
    };
    names.iter().filter_map(node).filter(|(_, cpus)| !cpus.is_empty()).collect()
}

fn placement(host: &Host, nodes: &BTreeMap<usize, BTreeSet<usize>>, cpus: &BTreeSet<usize>) -> Point {
    let point = Point::new(
        Area::Cpu,
        "numa",
        "one NUMA node; or CPUs, network card and drives of a node on the same one",
        "Memory and devices of another socket are farther away: every buffer that crosses between them costs \
         bandwidth of the link.",
    );
    if nodes.len() < 2 {
        return match nodes.len() {
            0 => point,
            _ => point.found(Status::Ok, "one node"),
        };
    }
    let used: Vec<usize> =
        nodes.iter().filter(|(_, of_node)| !of_node.is_disjoint(cpus)).map(|(node, _)| *node).collect();
    let devices: BTreeMap<String, usize> = devices(host);
    let far: Vec<String> = devices
        .iter()
        .filter(|(_, node)| !used.contains(node))
        .map(|(device, node)| format!("{device} (node {node})"))
        .collect();
    let listed: Vec<String> = used.iter().map(usize::to_string).collect();
    let listed = listed.join(", ");
    if !far.is_empty() {
        return point
            .found(
                Status::Warning,
                format!("the node's CPUs are on node {listed}; elsewhere: {}", far.join(", ")),
            )
            .advice("move the card or the drives, or name CPUs of their node in CPUAffinity=");
    }
    if used.len() < 2 {
        return point
            .found(Status::Ok, format!("of {} nodes, the CPUs and devices of node {listed}", nodes.len()));
    }
    let point = point.found(Status::Note, format!("the node's CPUs are on nodes {listed}"));
    match devices.values().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()[..] {
        [node] => {
            let list = nodes.get(node).map(as_list).unwrap_or_default();
            point.advice(format_args!("all devices are on node {node}: CPUAffinity={list} keeps to it"))
        }
        _ => point.advice("run one ringcask for each socket, with its drives and CPUs (CPUAffinity=)"),
    }
}

/// NUMA nodes of network cards and NVMe drives, where the kernel knows.
fn devices(host: &Host) -> BTreeMap<String, usize> {
    let cards = network::interfaces(host).into_iter().map(|name| {
        let path = format!("/sys/class/net/{name}/device/numa_node");
        (name, path)
    });
    let drives = host.list("/sys/class/nvme").into_iter().map(|name| {
        let path = format!("/sys/class/nvme/{name}/numa_node");
        (name, path)
    });
    // -1: the kernel does not know.
    cards.chain(drives).filter_map(|(name, path)| Some((name, host.number::<usize>(&path)?))).collect()
}

fn balancing(host: &Host) -> Point {
    const FILE: &str = "/proc/sys/kernel/numa_balancing";
    let point = Point::new(
        Area::Cpu,
        "numa_balancing",
        "0",
        "The kernel takes pages away for a moment to see who uses them, to move them nearer. Core threads stay where \
         they are and their buffers are locked: it costs faults and moves nothing.",
    );
    match host.read(FILE).as_deref() {
        Some("0") => point.found(Status::Ok, "0"),
        Some(found) if found.parse::<u32>().is_ok() => {
            point.found(Status::Note, found).sysctl("kernel.numa_balancing", "0", found)
        }
        Some(other) => point.found(Status::Unknown, format!("'{other}'")),
        None => point,
    }
}
