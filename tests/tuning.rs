//! `tuning/`: what its scripts change on a made-up host and take back, and that its files are sound.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A host of four CPUs, a card with two queues and an NVMe drive, as distributions leave it.
struct Host {
    root: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { root: tempfile::tempdir().unwrap() };
        let files = [
            ("proc/sys/net/core/somaxconn", "128"),
            ("proc/sys/net/ipv4/tcp_max_syn_backlog", "9000"),
            ("proc/sys/net/core/rps_sock_flow_entries", "0"),
            ("proc/sys/vm/swappiness", "60"),
            ("proc/sys/kernel/numa_balancing", "1"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "never"),
            ("sys/devices/system/cpu/online", "0-3"),
            ("sys/block/nvme0n1/queue/rotational", "0"),
            ("sys/block/nvme0n1/queue/scheduler", "mq-deadline"),
            ("sys/block/nvme0n1/queue/nr_requests", "64"),
            ("sys/block/nvme0n1/queue/max_sectors_kb", "128"),
            ("sys/block/nvme0n1/queue/max_hw_sectors_kb", "2048"),
            ("sys/block/sda/queue/rotational", "1"),
            ("sys/block/sda/queue/scheduler", "bfq"),
            ("sys/class/net/eth0/operstate", "up"),
            ("sys/class/net/eth0/device/msi_irqs/40", "msix"),
            ("sys/class/net/eth0/device/msi_irqs/41", "msix"),
            ("proc/irq/40/smp_affinity_list", "3"),
            ("proc/irq/41/smp_affinity_list", "3"),
            ("etc/sysctl.d/90-ringcask.conf", "# the operator's own"),
        ];
        files.iter().for_each(|(path, text)| host.write(path, text));
        for cpu in 0..4 {
            host.write(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"), "powersave");
        }
        for queue in 0..2 {
            host.write(&format!("sys/class/net/eth0/queues/rx-{queue}/rps_cpus"), "00000000,00000000");
            host.write(&format!("sys/class/net/eth0/queues/rx-{queue}/rps_flow_cnt"), "0");
            host.write(&format!("sys/class/net/eth0/queues/tx-{queue}/xps_cpus"), "00000000,00000000");
        }
        host
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.path().join(path)).unwrap().trim().to_owned()
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("sh");
        command.arg(folder().join(script)).arg("--root").arg(self.root.path());
        command.args(arguments).output().unwrap()
    }

    #[track_caller]
    fn succeed(&self, script: &str, arguments: &[&str]) -> String {
        let output = self.run(script, arguments);
        let text = text(&output);
        assert!(output.status.success(), "{text}");
        text
    }

    /// All files with what they hold.
    fn files(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => drop(found.insert(path.clone(), fs::read_to_string(path).unwrap())),
                }
            }
        }
        found
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Whether a command is there; says so if a test has to do without.
fn has(command: &str) -> bool {
    let is_there =
        Command::new(command).arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_there {
        eprintln!("left out: there is no {command} here");
    }
    is_there
}

const GROUPS: [&str; 6] = ["sysctl", "memory", "cpu", "drives", "network", "boot"];

#[test]
fn each_group_that_is_applied_and_undone_leaves_the_host_as_it_was() {
    let host = Host::new();
    let before = host.files();
    for group in GROUPS.into_iter().chain(["all"]) {
        let text = host.succeed("apply.sh", &[group]);
        assert!(text.contains("  set ") || text.contains("  made "), "{group}: {text}");
        assert_ne!(host.files(), before, "{group}");
        host.succeed("undo.sh", &[group]);
        assert_eq!(host.files(), before, "{group}");
    }
}

#[test]
fn applying_again_changes_nothing_and_undoing_still_restores_the_first_state() {
    let host = Host::new();
    let before = host.files();
    host.succeed("apply.sh", &["all"]);
    let applied = host.files();
    let again = host.succeed("apply.sh", &["all"]);
    assert!(!again.contains("  set ") && !again.contains("  made "), "{again}");
    assert_eq!(host.files(), applied);
    // Somebody else changes a value meanwhile.
    host.write("proc/sys/vm/swappiness", "100");
    host.succeed("apply.sh", &["sysctl"]);
    host.succeed("undo.sh", &["all"]);
    assert_eq!(host.files(), before);
    let nothing = host.succeed("undo.sh", &["all"]);
    assert_eq!(nothing.matches("nothing of this group was changed").count(), GROUPS.len(), "{nothing}");
}

#[test]
fn values_are_those_that_are_wanted_and_better_ones_stay() {
    let host = Host::new();
    host.succeed("apply.sh", &["all"]);
    let values = [
        ("proc/sys/net/core/somaxconn", "4096"),
        ("proc/sys/net/ipv4/tcp_max_syn_backlog", "9000"),
        ("proc/sys/vm/swappiness", "1"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "madvise"),
        ("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance"),
        ("sys/block/nvme0n1/queue/scheduler", "none"),
        ("sys/block/nvme0n1/queue/nr_requests", "256"),
        ("sys/block/nvme0n1/queue/max_sectors_kb", "256"),
        ("sys/block/sda/queue/scheduler", "bfq"),
        ("sys/class/net/eth0/queues/rx-1/rps_cpus", "f"),
        ("sys/class/net/eth0/queues/rx-1/rps_flow_cnt", "16384"),
        ("sys/class/net/eth0/queues/tx-0/xps_cpus", "5"),
        ("sys/class/net/eth0/queues/tx-1/xps_cpus", "a"),
        ("proc/irq/40/smp_affinity_list", "0"),
        ("proc/irq/41/smp_affinity_list", "1"),
    ];
    for (path, value) in values {
        assert_eq!(host.read(path), value, "{path}");
    }
}

#[test]
fn what_doctor_finds_on_that_host_is_gone_after_apply() {
    let host = Host::new();
    // Doctor finds drives by the mounts of data directories.
    host.write("proc/self/mountinfo", "36 21 259:1 / /srv rw,noatime - xfs /dev/nvme0n1 rw");
    fs::create_dir_all(host.root.path().join("sys/dev/block")).unwrap();
    symlink("../../block/nvme0n1", host.root.path().join("sys/dev/block/259:1")).unwrap();
    let findings = || {
        let output = Command::new(env!("CARGO_BIN_EXE_ringcask"))
            .args(["doctor", "--json", "--cores", "4", "--data", "/srv/x", "--root"])
            .arg(host.root.path())
            .env_clear()
            .output()
            .unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let points = report["points"].as_array().unwrap().clone();
        let is_found = |point: &&serde_json::Value| point["status"] == "warning" || point["status"] == "note";
        let names = points.iter().filter(is_found).map(|point| point["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    // The CPUs of a node that is to run there.
    host.write("proc/self/status", "Cpus_allowed_list:\t0-3");
    let before = findings();
    for name in ["huge_pages", "governor", "scheduler", "queue_depth", "request_size", "somaxconn", "rfs"] {
        assert!(before.iter().any(|found| found == name), "{name}: {before:?}");
    }
    for name in ["receive_queues", "transmit_queues", "interrupts"] {
        assert!(before.iter().any(|found| found == name), "{name}: {before:?}");
    }
    host.succeed("apply.sh", &["all"]);
    assert_eq!(findings(), Vec::<String>::new());
}

#[test]
fn drives_and_cards_can_be_named_and_misspelt_ones_are_refused() {
    let host = Host::new();
    let output = host.run("apply.sh", &["drives", "nvme9n9"]);
    assert!(!output.status.success() && text(&output).contains("no such drive"), "{}", text(&output));
    host.write("sys/block/sdb/queue/scheduler", "bfq");
    host.succeed("apply.sh", &["drives", "sdb"]);
    assert_eq!(host.read("sys/block/sdb/queue/scheduler"), "none");
    assert_eq!(host.read("sys/block/nvme0n1/queue/scheduler"), "mq-deadline");
    let output = host.run("apply.sh", &["network", "eth7"]);
    assert!(!output.status.success() && text(&output).contains("no such card"), "{}", text(&output));
    for script in ["apply.sh", "undo.sh"] {
        assert_eq!(host.run(script, &["everything"]).status.code(), Some(2));
    }
}

#[test]
fn a_virtual_machine_without_most_of_it_is_no_error() {
    let root = tempfile::tempdir().unwrap();
    let host = Host { root };
    host.write("sys/devices/system/cpu/online", "0");
    let text = host.succeed("apply.sh", &["all"]);
    assert!(text.contains("not on this host"), "{text}");
    host.succeed("undo.sh", &["all"]);
}

#[test]
fn the_scripts_are_clean() {
    if !has("shellcheck") {
        return;
    }
    let output = Command::new("shellcheck")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["-x", "tuning/apply.sh", "tuning/undo.sh", "tuning/check.sh", "tuning/lib.sh"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn systemd_accepts_the_unit() {
    if !has("systemd-analyze") {
        return;
    }
    // It looks whether the programs are there, which this one need not be.
    let unit = fs::read_to_string(folder().join("systemd/ringcask.service")).unwrap();
    let unit = unit.replace("/usr/bin/ringcask", env!("CARGO_BIN_EXE_ringcask"));
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("ringcask.service");
    fs::write(&path, unit).unwrap();
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap();
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("ringcask.service"), "{text}");
}

#[test]
fn the_readme_explains_every_knob() {
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let sysctls = fs::read_to_string(folder().join("sysctl.d/90-ringcask.conf")).unwrap();
    let names =
        sysctls.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    let unit = fs::read_to_string(folder().join("systemd/ringcask.service")).unwrap();
    let limits =
        unit.lines().filter_map(|line| line.split_once('=')).filter(|(name, _)| name.starts_with("Limit"));
    let files = ["transparent_hugepage/enabled", "scaling_governor", "rps_cpus", "rps_flow_cnt", "xps_cpus"];
    let more = ["queue/scheduler", "queue/nr_requests", "queue/max_sectors_kb", "smp_affinity_list"];
    let knobs: Vec<&str> = names.chain(limits).map(|(name, _)| name).chain(files).chain(more).collect();
    assert!(knobs.len() >= 15);
    for knob in knobs {
        let row = readme.lines().find(|line| line.starts_with('|') && line.contains(knob));
        let row = row.unwrap_or_else(|| panic!("tuning/README.md has no row for {knob}"));
        let cells = row.trim_matches('|').split('|').filter(|cell| !cell.trim().is_empty()).count();
        assert_eq!(cells, 5, "knob, value, why, measured, undo: {row}");
    }
}
