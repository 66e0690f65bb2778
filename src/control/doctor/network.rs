//! Network cards, their queues and interrupts, and the limits of TCP.

use std::collections::BTreeSet;

use super::host::{as_list, as_mask, cpu_list, cpu_mask};
use super::{Area, Host, Point, Status};
use crate::base::limits::LISTEN_BACKLOG;

const MIB: u64 = 1 << 20;

/// Interfaces of cards that are up, without bridges, tunnels and such.
pub fn interfaces(host: &Host) -> Vec<String> {
    let names = host.list("/sys/class/net").into_iter();
    names
        .filter(|name| host.exists(&format!("/sys/class/net/{name}/device")))
        .filter(|name| {
            let state = host.read(&format!("/sys/class/net/{name}/operstate"));
            // Some drivers never tell.
            matches!(state.as_deref(), Some("up" | "unknown"))
        })
        .collect()
}

pub fn examine(host: &Host, cpus: &BTreeSet<usize>, cores: usize) -> Vec<Point> {
    let mut points = vec![backlog(host)];
    points.push(buffers(host, "tcp_rmem", 6 * MIB));
    points.push(buffers(host, "tcp_wmem", 4 * MIB));
    let interfaces = interfaces(host);
    let steers = cores > 1 && !interfaces.is_empty();
    for name in interfaces {
        let card = Card { host, name };
        points.push(card.link());
        points.push(card.receive_queues(cpus, cores));
        points.push(card.transmit_queues(cores));
        points.push(card.interrupts(cpus));
        points.push(card.offloads());
    }
    if steers {
        points.push(flows(host));
    }
    points
}

fn backlog(host: &Host) -> Point {
    let point = Point::new(
        Area::Network,
        "somaxconn",
        format!("{LISTEN_BACKLOG} or more"),
        "Connections that wait to be accepted. In a burst beyond it clients wait a second until they ask again.",
    );
    match host.number::<i64>("/proc/sys/net/core/somaxconn") {
        Some(found) if found >= i64::from(LISTEN_BACKLOG) => point.found(Status::Ok, found.to_string()),
        Some(found) => point.found(Status::Warning, found.to_string()).sysctl(
            "net.core.somaxconn",
            &LISTEN_BACKLOG.to_string(),
            &found.to_string(),
        ),
        None => point,
    }
}

fn buffers(host: &Host, name: &'static str, least: u64) -> Point {
    let point = Point::new(
        Area::Network,
        name,
        format!("{least} or more as the last number, the kernel's default"),
        "The kernel sizes the buffers of each connection up to it: speed of one connection times the way there and \
         back. A node sets no sizes of its own, so net.core.rmem_max and wmem_max do not matter to it.",
    );
    let Some(text) = host.read(&format!("/proc/sys/net/ipv4/{name}")) else { return point };
    let numbers: Option<Vec<u64>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
    let before = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match numbers.as_deref() {
        Some([.., most]) if *most >= least => point.found(Status::Ok, before),
        Some([first, second, _]) => point.found(Status::Warning, before.clone()).sysctl(
            &format!("net.ipv4.{name}"),
            &format!("{first} {second} {least}"),
            &before,
        ),
        _ => point.found(Status::Unknown, format!("'{before}'")),
    }
}

/// Receive flow steering of the machine.
fn flows(host: &Host) -> Point {
    let point = Point::new(
        Area::Network,
        "rfs",
        "32768 on machines with many clients (rps_sock_flow_entries), beside RPS",
        "Steers what arrives to the CPU whose core has the connection. Without it the packet is handled on one CPU \
         and its data read on another.",
    );
    match host.number::<u64>("/proc/sys/net/core/rps_sock_flow_entries") {
        Some(0) => point
            .found(Status::Note, "0: off")
            .sysctl("net.core.rps_sock_flow_entries", "32768", "0")
            .advice("and for each queue: echo 2048 > /sys/class/net/CARD/queues/rx-N/rps_flow_cnt"),
        Some(found) => point.found(Status::Ok, found.to_string()),
        None => point,
    }
}

/// A network card's interface.
struct Card<'a> {
    host: &'a Host,
    name: String,
}

impl Card<'_> {
    fn read(&self, path: &str) -> Option<String> {
        self.host.read(&format!("/sys/class/net/{}/{path}", self.name))
    }

    fn queues(&self, prefix: &str) -> Vec<String> {
        let names = self.host.list(&format!("/sys/class/net/{}/queues", self.name));
        names.into_iter().filter(|name| name.starts_with(prefix)).collect()
    }

    /// Whether any queue has a mask that is not zero; `None` if none has a mask.
    fn is_masked(&self, queues: &[String], attribute: &str) -> Option<bool> {
        let masks = queues.iter().filter_map(|queue| self.read(&format!("queues/{queue}/{attribute}")));
        let masks: Vec<bool> = masks.filter_map(|mask| Some(!cpu_mask(&mask)?.is_empty())).collect();
        (!masks.is_empty()).then(|| masks.contains(&true))
    }

    fn link(&self) -> Point {
        let point = Point::new(
            Area::Network,
            "link",
            "full duplex, at the speed of the card and the switch",
            "All payload goes through it: 10 Gbit/s are 1.25 GB/s at best. Larger frames (MTU 9000) spare packets, if \
             everything on the way takes them.",
        )
        .about(&self.name);
        let mtu = self.read("mtu").unwrap_or_else(|| "?".into());
        let speed = self.read("speed").and_then(|speed| speed.parse::<i64>().ok()).filter(|speed| *speed > 0);
        let duplex = self.read("duplex").unwrap_or_default();
        match (speed, duplex.as_str()) {
            (_, "half") => point.found(Status::Warning, format!("half duplex, MTU {mtu}")).fix(
                format!("ethtool -s {} autoneg on", self.name),
                format!("ethtool -s {} autoneg off", self.name),
            ),
            (Some(speed), _) => point.found(Status::Ok, format!("{speed} Mbit/s, MTU {mtu}")),
            (None, _) => {
                point.found(Status::Unknown, format!("speed not told, as in virtual machines; MTU {mtu}"))
            }
        }
    }

    fn receive_queues(&self, cpus: &BTreeSet<usize>, cores: usize) -> Point {
        let point = Point::new(
            Area::Network,
            "receive_queues",
            "as many as cores, or packets steered to other CPUs (RPS)",
            "A queue is emptied by one CPU. With one queue the core on that CPU does the work of all others, and is \
             the first to be busy.",
        )
        .about(&self.name);
        let queues = self.queues("rx-");
        let steered = self.is_masked(&queues, "rps_cpus");
        let found = |rps: &str| format!("{} for {cores} cores, {rps}", queues.len());
        match (queues.len(), steered) {
            (0, _) => point,
            (count, _) if count >= cores => point.found(Status::Ok, format!("{count} for {cores} cores")),
            (_, Some(true)) => point.found(Status::Ok, found("RPS on")),
            (_, None) => point.found(Status::Unknown, found("RPS not told")),
            (count, Some(false)) => {
                let status = if count == 1 { Status::Warning } else { Status::Note };
                let file = format!("/sys/class/net/{}/queues/rx-0/rps_cpus", self.name);
                let before = self.host.read(&file).unwrap_or_else(|| "0".into());
                point
                    .found(status, found("RPS off"))
                    .advice(format_args!(
                        "if the card can have more: ethtool -L {} combined {cores}; or RPS:",
                        self.name
                    ))
                    .write(&file, &as_mask(cpus), &before)
            }
        }
    }

    fn transmit_queues(&self, cores: usize) -> Point {
        let point = Point::new(
            Area::Network,
            "transmit_queues",
            "one for each core, or each queue given to some CPUs (XPS)",
            "Cores that send through the same queue wait for its lock.",
        )
        .about(&self.name);
        let queues = self.queues("tx-");
        let mapped = self.is_masked(&queues, "xps_cpus");
        match (queues.len(), mapped) {
            (0, _) => point,
            (count, _) if count >= cores => point.found(Status::Ok, format!("{count} for {cores} cores")),
            (1, _) => point
                .found(Status::Note, format!("1 for {cores} cores"))
                .advice(format_args!("if the card can have more: ethtool -L {} combined {cores}", self.name)),
            (count, Some(true)) => point.found(Status::Ok, format!("{count} for {cores} cores, XPS on")),
            (count, _) => point.found(Status::Note, format!("{count} for {cores} cores, XPS off")).advice(
                format_args!("tuning/apply.sh network spreads CPUs over the queues of {}", self.name),
            ),
        }
    }

    /// Numbers of the card's interrupts.
    fn interrupt_numbers(&self) -> Vec<String> {
        let device = format!("/sys/class/net/{}/device", self.name);
        // Of a virtio card the bus's device has them.
        for folder in [format!("{device}/msi_irqs"), format!("{device}/../msi_irqs")] {
            let numbers = self.host.list(&folder);
            if !numbers.is_empty() {
                return numbers;
            }
        }
        let interrupts = self.host.read("/proc/interrupts").unwrap_or_default();
        let ours = interrupts.lines().filter(|line| {
            let name = line.rsplit(char::is_whitespace).next().unwrap_or_default();
            name.split(['-', ':', '@', '.']).any(|word| word == self.name)
        });
        ours.filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
    }

    fn interrupts(&self, cpus: &BTreeSet<usize>) -> Point {
        let point = Point::new(
            Area::Network,
            "interrupts",
            "spread over the CPUs of the node",
            "The CPU that takes an interrupt handles what has arrived. If all are taken by one, that one is busy while \
             the others wait. irqbalance moves them as it sees fit: let it, or stop it before you place them.",
        )
        .about(&self.name);
        let numbers = self.interrupt_numbers();
        let mut taken = BTreeSet::new();
        let mut read = 0;
        for number in &numbers {
            let places = ["effective_affinity_list", "smp_affinity_list"];
            let mut lists = places.iter().filter_map(|place| {
                cpu_list(&self.host.read(&format!("/proc/irq/{number}/{place}"))?)
                    .filter(|cpus| !cpus.is_empty())
            });
            if let Some(list) = lists.next() {
                taken.extend(list);
                read += 1;
            }
        }
        let found = format!("{read} interrupts on CPUs {}", as_list(&taken));
        match read {
            0 => point,
            1 => point.found(Status::Ok, format!("1 interrupt, on CPUs {}", as_list(&taken))),
            _ if taken.len() == 1 && cpus.len() > 1 => point
                .found(Status::Warning, found)
                .advice("systemctl enable --now irqbalance; or:")
                .fix("tuning/apply.sh network", "tuning/undo.sh network"),
            _ => point.found(Status::Ok, found),
        }
    }

    fn offloads(&self) -> Point {
        Point::new(
            Area::Network,
            "offloads",
            "tso, gso, gro, rx and tx checksums: on",
            "The card cuts large sends into packets and joins received ones. Without, the CPU does it for each \
             packet.",
        )
        .about(&self.name)
        .found(Status::Unknown, "no file of the kernel tells")
        .advice(format_args!("to see them: ethtool -k {}; to set one: ethtool -K {} tso on", self.name, self.name))
    }
}
