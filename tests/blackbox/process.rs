//! What the kernel knows of a running node, and limits that are set on it while it runs.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::http::Connection;
use crate::node::Node;

/// A process looked at from outside.
#[derive(Clone, Copy, Debug)]
pub struct Process(u32);

impl Process {
    pub fn new(id: u32) -> Self {
        Self(id)
    }

    fn read(self, what: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{what}", self.0))
            .unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Bytes of memory that are its own and in use: without the pages of files that it maps.
    pub fn resident_bytes(self) -> u64 {
        self.status("RssAnon:")
    }

    fn status(self, name: &str) -> u64 {
        let status = self.read("status");
        let line = status.lines().find(|line| line.starts_with(name)).expect("Linux knows it");
        let kibibytes = line.split_whitespace().nth(1).expect("a number");
        kibibytes.parse::<u64>().expect("a number") * 1024
    }

    /// Open descriptors.
    pub fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap().count()
    }

    /// CPU time so far of all its threads, in ticks of a hundredth of a second.
    pub fn cpu_ticks(self) -> u64 {
        let stat = self.read("stat");
        // The name, in brackets, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Sets the soft limit of open files; what it was.
    pub fn limit_descriptors(self, soft: Option<u64>) -> Option<u64> {
        let id = Pid::from_raw(self.0.cast_signed());
        let maximum = self.descriptors_maximum();
        prlimit(id, Resource::Nofile, Rlimit { current: soft, maximum }).unwrap().current
    }

    fn descriptors_maximum(self) -> Option<u64> {
        let limits = self.read("limits");
        let line =
            limits.lines().find(|line| line.starts_with("Max open files")).expect("a line for each limit");
        line.split_whitespace().nth(4).expect("soft and hard limit").parse().ok()
    }
}

/// What a node uses at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub descriptors: usize,
    pub resident_bytes: u64,
    /// Of data segments, over all cores.
    pub payload_bytes: u64,
    pub buffers_held: u64,
}

impl Usage {
    pub fn of(node: &Node) -> Self {
        // First: asking takes one more.
        let descriptors = node.process().descriptors();
        let mut admin = Connection::open(node.admin()).unwrap();
        admin.send(b"GET /health HTTP/1.1\r\nHost: ringcask\r\nConnection: close\r\n\r\n").unwrap();
        let health: Value = serde_json::from_slice(&admin.receive(false).unwrap().body).unwrap();
        let sum = |name: &str| {
            let cores = health["cores"].as_array().expect("a list of cores");
            cores.iter().map(|core| core[name].as_u64().unwrap_or_else(|| panic!("{name}: {core}"))).sum()
        };
        Self {
            descriptors,
            resident_bytes: node.process().resident_bytes(),
            payload_bytes: sum("payloadBytes"),
            buffers_held: sum("buffersHeld"),
        }
    }
}
