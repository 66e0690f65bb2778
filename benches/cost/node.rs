//! A node with one core on a CPU of its own, and what the kernel says that it used.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tempfile::TempDir;

use crate::options::Options;
use crate::requests::Target;
use crate::workloads::BUCKET;

pub const ACCESS_KEY_ID: &str = "benchmark";
pub const SECRET: &str = "benchmark-secret";
pub const REGION: &str = "us-east-1";

/// Given to every node: some start on data that this benchmark made without one, and a node makes no key beside data.
const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// How long a node may take to come to rest before its use is read.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(30);

/// A node is at rest when it used no CPU time (in the kernel's ticks) for this long.
const REST: Duration = Duration::from_millis(200);

/// The CPUs at hand: one for the server, another, if there is one, for the load.
pub struct Machine {
    pub server_cpu: usize,
    pub client_cpu: usize,
}

impl Machine {
    /// Chooses the CPUs, moves this process to its own, and allows nodes to lock their buffers in memory if
    /// this process may allow that.
    pub fn prepare() -> Result<Self, String> {
        let mask = sched_getaffinity(None).map_err(|error| format!("sched_getaffinity: {error}"))?;
        let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).collect();
        let (Some(first), Some(last)) = (cpus.first(), cpus.last()) else {
            return Err("there is no CPU to run on".to_owned());
        };
        let limit = getrlimit(Resource::Memlock);
        // Without the allowance the node works with buffers that are not registered, and says so.
        let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })
            .or_else(|_| setrlimit(Resource::Memlock, Rlimit { current: limit.maximum, ..limit }));
        let machine = Self { server_cpu: *first, client_cpu: *last };
        pin(&[machine.client_cpu])?;
        Ok(machine)
    }
}

/// Keeps this thread, and the threads and processes that it starts, on these CPUs.
pub fn pin(cpus: &[usize]) -> Result<(), String> {
    let mut mask = CpuSet::new();
    cpus.iter().for_each(|cpu| mask.set(*cpu));
    sched_setaffinity(None, &mask).map_err(|error| format!("sched_setaffinity to CPUs {cpus:?}: {error}"))
}

/// Makes a directory for data; it goes when it is dropped.
pub fn data_directory(options: &Options) -> Result<TempDir, String> {
    tempfile::Builder::new()
        .prefix("cost-")
        .tempdir_in(&options.directory)
        .map_err(|error| format!("a data directory in {}: {error}", options.directory.display()))
}

/// A node that listens; its data goes when it is dropped.
pub struct Node {
    child: Child,
    address: SocketAddr,
    server_cpu: usize,
    /// Its data directory, if that goes with it.
    data_own: Option<TempDir>,
}

impl Node {
    /// Starts a node with default settings but for the number of cores, all of whose threads are on the server's CPU;
    /// with small settings in the quick mode.
    pub fn start(machine: &Machine, options: &Options) -> Result<Self, String> {
        let data = data_directory(options)?;
        let cpus = [machine.server_cpu];
        let mut node = Self::start_pinned(data.path(), (options.cores, &cpus), &[], machine, options)?;
        node.data_own = Some(data);
        Ok(node)
    }

    /// Starts a node on a data directory that stays. With more than one core it has all CPUs of the benchmark,
    /// the load's among them.
    pub fn start_on(
        data: &Path,
        cores: usize,
        arguments: &[&str],
        machine: &Machine,
        options: &Options,
    ) -> Result<Self, String> {
        let cpus = [machine.server_cpu, machine.client_cpu];
        let cpus = if cores == 1 { &cpus[..1] } else { &cpus };
        Self::start_pinned(data, (cores, cpus), arguments, machine, options)
    }

    /// Starts a node of some cores on some CPUs.
    fn start_pinned(
        data: &Path,
        (cores, cpus): (usize, &[usize]),
        arguments: &[&str],
        machine: &Machine,
        options: &Options,
    ) -> Result<Self, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringcask"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RINGCASK_")) {
            command.env_remove(name);
        }
        command.arg("--data").arg(data).args(["--listen", "127.0.0.1:0", "--cores", &cores.to_string()]);
        command.args(["--region", REGION, "--admin-listen", "off"]).args(arguments);
        if options.quick {
            command.args(["--arena", "8MiB", "--cache", "1MiB", "--log-level", "error"]);
        } else {
            command.args(["--log-level", "warn"]);
        }
        command.env("RINGCASK_ROOT_USER", ACCESS_KEY_ID).env("RINGCASK_ROOT_PASSWORD", SECRET);
        command.env("RINGCASK_MASTER_KEY", MASTER_KEY);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // A process is born on its parent's CPUs: so all the node's threads stay on the server's, from the
        // first moment.
        pin(cpus)?;
        let spawned = command.spawn();
        pin(&[machine.client_cpu])?;
        let mut child = spawned.map_err(|error| format!("starting {:?}: {error}", command.get_program()))?;
        let out = child.stdout.take().expect("stdout is a pipe");
        let unknown = SocketAddr::from(([0; 4], 0));
        let mut node = Self { child, address: unknown, server_cpu: machine.server_cpu, data_own: None };
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if let Some(address) = line.trim().strip_prefix("listening on http://") {
                node.address = address.parse().map_err(|error| format!("{line}: {error}"))?;
                return Ok(node);
            }
        }
        Err("the node did not start".to_owned())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How requests reach it and say who sends them.
    pub fn target(&self) -> Target {
        Target {
            address: self.address,
            access_key_id: ACCESS_KEY_ID.to_owned(),
            secret: SECRET.to_owned(),
            region: REGION.to_owned(),
            bucket: BUCKET.to_owned(),
            is_file_server: false,
            etags_are_checked: true,
        }
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the node is at rest: what earlier requests left to do is done.
    pub fn settle(&self) -> Result<(), String> {
        let start = Instant::now();
        let mut before = self.usage()?;
        while start.elapsed() < SETTLE_TIME_MAX {
            std::thread::sleep(REST);
            let now = self.usage()?;
            let used = now.since(&before);
            if used.user.is_zero() && used.system.is_zero() {
                return Ok(());
            }
            before = now;
        }
        Err("the node does not come to rest".to_owned())
    }

    /// What the node has used since it started.
    pub fn usage(&self) -> Result<Usage, String> {
        usage_of(self.child.id(), self.server_cpu)
    }

    /// What memory the node holds, and held at most.
    pub fn memory(&self) -> Result<Memory, String> {
        memory_of(self.child.id())
    }

    /// Ends the node; it must do so in order.
    pub fn stop(mut self) -> Result<(), String> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .map_err(|error| format!("SIGTERM: {error}"))?;
        let status = self.child.wait().map_err(|error| format!("waiting for the node: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("the node ended with {status}")) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a process has used since it started; interrupts are those of `cpu`.
pub fn usage_of(process: u32, cpu: usize) -> Result<Usage, String> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    // The name before the last parenthesis may hold anything; after it the third field comes first.
    let fields = stat.rsplit_once(") ").map_or(Vec::new(), |(_, rest)| rest.split(' ').collect());
    let field = |number: usize| ticks(fields.get(number - 3).copied());
    let cpus = fs::read_to_string("/proc/stat").map_err(|error| format!("/proc/stat: {error}"))?;
    let name = format!("cpu{cpu} ");
    let cpu: Vec<&str> = cpus
        .lines()
        .find(|line| line.starts_with(&name))
        .map_or(Vec::new(), |line| line.split_ascii_whitespace().collect());
    Ok(Usage {
        at: Instant::now(),
        user: field(14),
        system: field(15),
        interrupts: ticks(cpu.get(6).copied()) + ticks(cpu.get(7).copied()),
    })
}

/// What memory a process holds, and held at most.
pub fn memory_of(process: u32) -> Result<Memory, String> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let kibibytes = line.trim().strip_suffix(" kB").and_then(|number| number.trim().parse().ok());
        kibibytes.unwrap_or(0u64) * 1024
    };
    Ok(Memory {
        resident_bytes: bytes("VmRSS:") + bytes("HugetlbPages:"),
        peak_bytes: bytes("VmHWM:") + bytes("HugetlbPages:"),
    })
}

/// Time in the kernel's ticks; none if the field is missing.
fn ticks(field: Option<&str>) -> Duration {
    let ticks = field.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_micros(ticks * 1_000_000 / clock_ticks_per_second().max(1))
}

/// CPU time at a moment, or between two of them.
#[derive(Clone, Copy)]
pub struct Usage {
    at: Instant,
    /// Of all threads of the process, those that the kernel made for io_uring included.
    pub user: Duration,
    pub system: Duration,
    /// Interrupts, hard and soft, on the server's CPU, whomever they served.
    pub interrupts: Duration,
}

/// What was used within a time.
#[derive(Clone, Copy)]
pub struct Used {
    pub elapsed: Duration,
    pub user: Duration,
    pub system: Duration,
    pub interrupts: Duration,
}

impl Used {
    /// CPU time of the process.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

impl Usage {
    /// CPU time of the process since it started.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }

    pub fn since(&self, start: &Self) -> Used {
        Used {
            elapsed: self.at - start.at,
            user: self.user.saturating_sub(start.user),
            system: self.system.saturating_sub(start.system),
            interrupts: self.interrupts.saturating_sub(start.interrupts),
        }
    }
}

/// Memory of the process, huge pages included.
pub struct Memory {
    pub resident_bytes: u64,
    pub peak_bytes: u64,
}
