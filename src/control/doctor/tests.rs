//! Made-up hosts: one in good health, and that one with a single thing wrong at a time.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::probes::Files;
use super::*;
use crate::io::Space;

/// Answers of a kernel.
#[derive(Clone)]
struct Kernel {
    operations_missing: Option<Result<Vec<&'static str>, String>>,
    is_clock_synchronised: Option<bool>,
    space: Option<Space>,
    files: Option<Files>,
}

impl Probes for Kernel {
    fn operations_missing(&self) -> Option<Result<Vec<&'static str>, String>> {
        self.operations_missing.clone()
    }

    fn is_clock_synchronised(&self) -> Option<bool> {
        self.is_clock_synchronised
    }

    fn space(&self, _: &Path) -> Option<Space> {
        self.space
    }

    fn files(&self, _: &Path) -> Option<Files> {
        self.files
    }
}

/// A host that can be bent.
struct Fabric {
    root: tempfile::TempDir,
    kernel: Kernel,
    plan: Plan,
}

const CARD: &str = "/sys/class/net/eth0";
const NVME: &str = "/sys/devices/pci0/nvme/nvme0/nvme0n1";
const MOUNT: &str = "21 1 259:1 / / rw,noatime - ext4 /dev/nvme0n1p1 rw\n\
                     36 21 259:2 / /srv/a rw,noatime shared:1 - xfs /dev/nvme0n1p2 rw,attr2,inode64";

impl Fabric {
    /// Four CPUs, an NVMe drive with XFS, a card with four queues: nothing to complain about.
    fn healthy() -> Self {
        let kernel = Kernel {
            operations_missing: Some(Ok(Vec::new())),
            is_clock_synchronised: Some(true),
            space: Some(Space { bytes_total: 1 << 40, bytes_free: 1 << 39 }),
            files: Some(Files { is_direct: true, is_reserved: true }),
        };
        let plan = Plan {
            data: vec![PathBuf::from("/srv/a/ringcask")],
            cores: None,
            arena_bytes: 64 << 20,
            cache_bytes: 64 << 20,
            process: None,
        };
        let fabric = Self { root: tempfile::tempdir().unwrap(), kernel, plan };
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 1048576              files\n\
                      Max locked memory         8388608              unlimited            bytes";
        let files = [
            ("/proc/sys/kernel/osrelease", "6.12.38+deb13-amd64\n"),
            ("/proc/sys/kernel/io_uring_disabled", "0\n"),
            ("/proc/sys/kernel/io_uring_group", "-1\n"),
            ("/proc/self/limits", limits),
            ("/proc/self/status", "Name:\tringcask\nCapEff:\t0000000000000000\nCpus_allowed_list:\t0-3\n"),
            ("/proc/self/cgroup", "0::/user.slice/session-1.scope\n"),
            ("/proc/self/mountinfo", MOUNT),
            ("/proc/meminfo", "MemTotal:       65536000 kB\nMemFree: 1 kB\n"),
            ("/proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
            ("/proc/sys/vm/swappiness", "60\n"),
            ("/proc/sys/net/core/somaxconn", "4096\n"),
            ("/proc/sys/net/core/rps_sock_flow_entries", "32768\n"),
            ("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
            ("/proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n"),
            ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("/sys/devices/system/cpu/isolated", "\n"),
            ("/sys/devices/system/node/node0/cpulist", "0-3\n"),
            ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
            ("/sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm\n"),
            ("/etc/systemd/system/timers.target.wants/fstrim.timer", ""),
        ];
        files.iter().for_each(|(path, text)| fabric.write(path, text));
        for cpu in 0..4 {
            fabric.write(
                &format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"),
                "performance\n",
            );
        }
        fabric.make_card();
        fabric.make_drive();
        fabric
    }

    fn make_card(&self) {
        for (file, text) in [("operstate", "up"), ("mtu", "9000"), ("speed", "25000"), ("duplex", "full")] {
            self.write(&format!("{CARD}/{file}"), text);
        }
        for queue in 0..4 {
            self.write(&format!("{CARD}/queues/rx-{queue}/rps_cpus"), "0\n");
            self.write(&format!("{CARD}/queues/tx-{queue}/xps_cpus"), "0\n");
            self.write(&format!("{CARD}/device/msi_irqs/{}", 40 + queue), "msix");
            self.write(&format!("/proc/irq/{}/effective_affinity_list", 40 + queue), format!("{queue}\n"));
        }
        self.write(&format!("{CARD}/device/numa_node"), "0");
        // Not a card's.
        self.write("/sys/class/net/lo/operstate", "unknown");
    }

    fn make_drive(&self) {
        let attributes = [
            ("rotational", "0"),
            ("scheduler", "[none] mq-deadline kyber"),
            ("write_cache", "write through"),
            ("fua", "0"),
            ("nr_requests", "1023"),
            ("max_sectors_kb", "1280"),
            ("max_hw_sectors_kb", "2048"),
            ("discard_max_bytes", "2199023255040"),
        ];
        for (attribute, text) in attributes {
            self.write(&format!("{NVME}/queue/{attribute}"), text);
        }
        for partition in 1..=2 {
            self.write(&format!("{NVME}/nvme0n1p{partition}/partition"), partition.to_string());
            self.link(&format!("{NVME}/nvme0n1p{partition}"), &format!("/sys/dev/block/259:{partition}"));
        }
        self.write("/sys/class/nvme/nvme0/numa_node", "0");
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, target: &str, at: &str) {
        fs::create_dir_all(self.path(at).parent().unwrap()).unwrap();
        symlink(self.path(target), self.path(at)).unwrap();
    }

    fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }

    fn report(&self) -> Report {
        examine(&Host::new(self.root.path()), &self.kernel, &self.plan)
    }

    #[track_caller]
    fn point(&self, name: &str) -> Point {
        let points: Vec<Point> =
            self.report().points.into_iter().filter(|point| point.name == name).collect();
        assert_eq!(points.len(), 1, "{name}: {points:#?}");
        points.into_iter().next().unwrap()
    }

    /// The only point that is not as it should be.
    #[track_caller]
    fn finding(&self, name: &str, status: Status) -> Point {
        let points: Vec<Point> = self.report().points.into_iter().filter(is_finding).collect();
        assert!(
            matches!(&points[..], [point] if point.name == name && point.status == status),
            "{name}: {points:#?}"
        );
        points.into_iter().next().unwrap()
    }
}

/// Everything but what a host never tells.
fn is_finding(point: &Point) -> bool {
    point.status > Status::Ok && point.name != "offloads"
}

/// A healthy host with a file changed.
fn with(path: &str, text: &str) -> Fabric {
    let fabric = Fabric::healthy();
    fabric.write(path, text);
    fabric
}

#[test]
fn a_healthy_host_has_nothing_to_change() {
    let report = Fabric::healthy().report();
    let findings: Vec<&Point> = report.points.iter().filter(|point| is_finding(point)).collect();
    assert!(findings.is_empty(), "{findings:#?}");
    assert_eq!(report.count(Status::Unknown), 1);
    assert!(report.points.len() > 25, "{}", report.points.len());
}

#[test]
fn every_finding_says_why_and_what_to_do_about_it() {
    let fabric = Fabric::healthy();
    fabric.remove("/proc");
    for report in [Fabric::healthy().report(), fabric.report(), worst().report()] {
        for point in &report.points {
            assert!(
                !point.found.is_empty() && !point.expected.is_empty() && !point.why.is_empty(),
                "{point:?}"
            );
            match point.status {
                Status::Ok => assert!(point.fix.is_empty() && point.undo.is_empty(), "{point:?}"),
                Status::Unknown => {}
                _ => assert!(!point.fix.is_empty(), "{point:?}"),
            }
            let is_command = |fix: &&String| !fix.starts_with('#');
            assert_eq!(point.fix.iter().filter(is_command).count(), point.undo.len(), "{point:?}");
        }
    }
}

/// As much as possible wrong at once.
fn worst() -> Fabric {
    let mut fabric = Fabric::healthy();
    fabric.kernel = Kernel {
        operations_missing: Some(Err("io_uring is not permitted".into())),
        is_clock_synchronised: Some(false),
        space: Some(Space { bytes_total: 1 << 40, bytes_free: 0 }),
        files: Some(Files { is_direct: false, is_reserved: false }),
    };
    fabric.plan.cores = Some(64);
    let mount = "36 21 259:2 / /srv/a rw,relatime - ext4 /dev/nvme0n1p2 rw,nobarrier";
    let files = [
        ("/proc/sys/kernel/osrelease", "5.10.0-8-amd64"),
        ("/proc/sys/kernel/io_uring_disabled", "2"),
        ("/proc/self/limits", "Max open files 64 64 files\nMax locked memory 65536 65536 bytes"),
        ("/proc/self/mountinfo", mount),
        ("/proc/meminfo", "MemTotal: 1000000 kB"),
        ("/proc/swaps", "Filename\n/dev/sda2 partition 1 1 -2"),
        ("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]"),
        ("/proc/sys/net/core/somaxconn", "128"),
        ("/sys/devices/pci0/nvme/nvme0/nvme0n1/queue/scheduler", "none [bfq]"),
        ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"),
    ];
    files.iter().for_each(|(path, text)| fabric.write(path, text));
    fabric
}

#[test]
fn a_host_with_everything_wrong_is_an_error() {
    let report = worst().report();
    assert_eq!(report.status(), Status::Error);
    assert!(report.count(Status::Error) >= 7, "{report:#?}");
}

#[test]
fn an_old_kernel_and_one_without_io_uring_are_errors() {
    let point = with("/proc/sys/kernel/osrelease", "5.15.0-1\n").finding("kernel", Status::Error);
    assert_eq!(point.found, "5.15.0-1");
    let mut fabric = Fabric::healthy();
    fabric.kernel.operations_missing = Some(Ok(vec!["UNLINKAT"]));
    assert!(fabric.finding("io_uring", Status::Error).found.contains("UNLINKAT"));
    fabric.kernel.operations_missing = Some(Err("io_uring is not permitted: seccomp".into()));
    assert!(fabric.finding("io_uring", Status::Error).found.contains("seccomp"));
}

#[test]
fn the_switch_of_io_uring_is_told_with_whom_it_lets_in() {
    let file = "/proc/sys/kernel/io_uring_disabled";
    let point = with(file, "2").finding("io_uring_disabled", Status::Error);
    assert_eq!(point.fix, ["sysctl -w kernel.io_uring_disabled=0"]);
    assert_eq!(point.undo, ["sysctl -w kernel.io_uring_disabled=2"]);
    with(file, "1").finding("io_uring_disabled", Status::Error);
    let fabric = with(file, "1");
    fabric.write("/proc/sys/kernel/io_uring_group", "998");
    assert!(fabric.finding("io_uring_disabled", Status::Warning).found.contains("998"));
    // It came with 6.6.
    let fabric = with("/proc/sys/kernel/osrelease", "6.1.0");
    fabric.remove(file);
    assert_eq!(fabric.point("io_uring_disabled").status, Status::Ok);
    let fabric = Fabric::healthy();
    fabric.remove(file);
    assert_eq!(fabric.point("io_uring_disabled").status, Status::Unknown);
}

#[test]
fn locked_memory_must_suffice_for_the_arenas_of_all_cores() {
    let limits = |bytes: u64| format!("Max open files  9 1048576 files\nMax locked memory  1 {bytes} bytes");
    // Four cores of 64 MiB, and a little for the rings.
    with("/proc/self/limits", &limits(260 << 20)).report();
    assert_eq!(with("/proc/self/limits", &limits(260 << 20)).point("memlock").status, Status::Ok);
    let point = with("/proc/self/limits", &limits(8 << 20)).finding("memlock", Status::Warning);
    assert!(point.found.starts_with("8192 KiB") && point.measured.unwrap().contains("19%"), "{point:?}");
    // Root may lock what it pleases.
    let fabric = with("/proc/self/limits", &limits(0));
    fabric.write("/proc/self/status", "CapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-3");
    assert_eq!(fabric.point("memlock").status, Status::Ok);
}

#[test]
fn limits_are_those_of_the_node_if_one_runs() {
    let mut fabric = Fabric::healthy();
    fabric.write("/proc/77/limits", "Max open files 9 1024 files\nMax locked memory 1 unlimited bytes");
    fabric.write("/proc/77/status", "CapEff:\t0000000000000000\nCpus_allowed_list:\t0-3\nVmSwap:\t 0 kB");
    fabric.plan.process = Some(77);
    assert!(fabric.finding("descriptors", Status::Warning).found.contains("of the node that runs"));
}

#[test]
fn descriptors_are_counted_for_every_core() {
    let limits = |count: u32| format!("Max open files 9 {count} files\nMax locked memory 1 unlimited bytes");
    with("/proc/self/limits", &limits(1024)).finding("descriptors", Status::Warning);
    with("/proc/self/limits", &limits(128)).finding("descriptors", Status::Error);
    let mut fabric = with("/proc/self/limits", &limits(40_000));
    assert_eq!(fabric.point("descriptors").status, Status::Ok);
    fabric.plan.cores = Some(8);
    assert_eq!(fabric.point("descriptors").status, Status::Warning);
}

#[test]
fn memory_is_that_of_the_machine_or_of_the_control_group() {
    with("/proc/meminfo", "MemTotal:  600000 kB").finding("memory", Status::Warning);
    with("/proc/meminfo", "MemTotal:  100000 kB").finding("memory", Status::Error);
    let fabric = with("/sys/fs/cgroup/user.slice/memory.max", "268435456\n");
    fabric.write("/sys/fs/cgroup/user.slice/session-1.scope/memory.max", "max\n");
    assert!(fabric.finding("memory", Status::Error).found.contains("control group"));
    let mut fabric = Fabric::healthy();
    fabric.plan.arena_bytes = usize::MAX;
    fabric.plan.cache_bytes = u64::MAX;
    assert_eq!(fabric.point("memory").status, Status::Error);
}

#[test]
fn huge_pages_that_are_off_are_told() {
    let file = "/sys/kernel/mm/transparent_hugepage/enabled";
    let point = with(file, "always madvise [never]").finding("huge_pages", Status::Warning);
    assert_eq!(point.fix, [format!("echo madvise > {file}")]);
    assert_eq!(point.undo, [format!("echo never > {file}")]);
    assert_eq!(with(file, "[always] madvise never").point("huge_pages").status, Status::Ok);
}

#[test]
fn swap_is_a_finding_if_the_kernel_likes_to_use_it() {
    let swaps = "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n/swapfile file 1 0 -3";
    let fabric = with("/proc/swaps", swaps);
    let point = fabric.finding("swap", Status::Warning);
    assert!(point.found.contains("/dev/sda2, /swapfile"), "{point:?}");
    assert_eq!(point.fix, ["sysctl -w vm.swappiness=1"]);
    assert_eq!(point.undo, ["sysctl -w vm.swappiness=60"]);
    fabric.write("/proc/sys/vm/swappiness", "1");
    assert_eq!(fabric.point("swap").status, Status::Ok);
    let mut fabric = with("/proc/swaps", swaps);
    fabric.plan.process = Some(77);
    fabric.write("/proc/sys/vm/swappiness", "1");
    fabric.write("/proc/77/status", "VmSwap:\t    4096 kB");
    assert!(fabric.point("swap").found.contains("4096 KiB of the node"));
}

#[test]
fn more_cores_than_cpus_or_than_a_quota_allows_are_told() {
    let mut fabric = Fabric::healthy();
    fabric.plan.cores = Some(5);
    assert_eq!(fabric.point("cores").fix, ["# start it with --cores 4"]);
    let point =
        with("/sys/fs/cgroup/user.slice/cpu.max", "150000 100000\n").finding("quota", Status::Warning);
    assert_eq!(point.found, "time for 1.5 CPUs, for 4 cores");
    assert_eq!(point.undo, ["echo '150000 100000' > /sys/fs/cgroup/user.slice/cpu.max"]);
    assert_eq!(with("/sys/fs/cgroup/user.slice/cpu.max", "max 100000").point("quota").status, Status::Ok);
    assert_eq!(with("/sys/fs/cgroup/cpu.max", "400000 100000").point("quota").status, Status::Ok);
}

#[test]
fn a_governor_that_saves_power_is_told_with_its_cpus() {
    let fabric = with("/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "schedutil");
    let point = fabric.finding("governor", Status::Warning);
    assert_eq!(point.found, "performance on CPUs 0-1,3, schedutil on CPUs 2");
    assert!(point.undo[0].starts_with("echo schedutil |"), "{point:?}");
    // Not of this node's business.
    let fabric = with("/sys/devices/system/cpu/cpu9/cpufreq/scaling_governor", "powersave");
    assert_eq!(fabric.point("governor").status, Status::Ok);
    (0..4).for_each(|cpu| fabric.remove(&format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq")));
    assert_eq!(fabric.point("governor").status, Status::Unknown);
}

#[test]
fn isolated_cpus_are_worth_a_note_if_the_node_is_not_on_them() {
    let file = "/sys/devices/system/cpu/isolated";
    assert!(with(file, "4-7").finding("isolation", Status::Note).fix[0].contains("CPUAffinity=4-7"));
    with(file, "2-3").finding("isolation", Status::Note);
    assert_eq!(with(file, "0-3").point("isolation").status, Status::Ok);
    assert_eq!(with(file, "garbage").point("isolation").status, Status::Unknown);
}

/// Two sockets of two CPUs.
fn two_sockets() -> Fabric {
    let fabric = with("/sys/devices/system/node/node0/cpulist", "0-1");
    fabric.write("/sys/devices/system/node/node1/cpulist", "2-3");
    fabric.write("/proc/sys/kernel/numa_balancing", "0");
    fabric
}

#[test]
fn far_memory_and_devices_are_told() {
    let mut fabric = two_sockets();
    assert!(fabric.finding("numa", Status::Note).fix[0].contains("CPUAffinity=0-1"));
    fabric.plan.cores = Some(2);
    assert_eq!(fabric.point("numa").status, Status::Ok);
    fabric.write("/sys/class/nvme/nvme0/numa_node", "1");
    assert!(fabric.point("numa").found.contains("nvme0 (node 1)"));
    // Neither does the kernel of most virtual machines know.
    fabric.write("/sys/class/nvme/nvme0/numa_node", "-1");
    assert_eq!(fabric.point("numa").status, Status::Ok);
    fabric.write("/proc/sys/kernel/numa_balancing", "1");
    assert_eq!(fabric.finding("numa_balancing", Status::Note).undo, ["sysctl -w kernel.numa_balancing=1"]);
}

#[test]
fn file_systems_that_do_not_suit_are_told() {
    let mount = |kind: &str, source: &str| {
        with("/proc/self/mountinfo", &format!("36 21 259:2 / /srv/a rw,noatime - {kind} {source} rw"))
    };
    assert!(mount("tmpfs", "tmpfs").finding("file_system", Status::Error).found.contains("next boot"));
    mount("overlay", "overlay").finding("file_system", Status::Warning);
    mount("btrfs", "/dev/nvme0n1p2").finding("file_system", Status::Warning);
    mount("nfs4", "host:/x").finding("file_system", Status::Warning);
    let fabric = with("/proc/self/mountinfo", MOUNT.lines().next().unwrap());
    fabric.finding("file_system", Status::Note);
    let fabric = Fabric::healthy();
    fabric.write("/proc/self/mountinfo", "garbage");
    assert_eq!(fabric.point("file_system").status, Status::Unknown);
}

#[test]
fn mount_options_that_lose_or_slow_writes_are_told_with_their_remount() {
    let options = |kind: &str, options: &str| {
        with("/proc/self/mountinfo", &format!("36 21 259:2 / /srv/a {options} - {kind} /dev/nvme0n1p2 rw"))
    };
    let point = options("ext4", "rw,noatime,nobarrier").finding("mount_options", Status::Error);
    assert_eq!(point.fix, ["mount -o remount,barrier /srv/a"]);
    options("xfs", "ro,noatime").finding("mount_options", Status::Error);
    let point = options("ext4", "rw,noatime,sync").finding("mount_options", Status::Warning);
    assert_eq!(point.undo, ["mount -o remount,sync /srv/a"]);
    options("ext4", "rw,noatime,data=journal").finding("mount_options", Status::Warning);
    let point = options("xfs", "rw,relatime").finding("mount_options", Status::Note);
    assert_eq!(point.fix, ["mount -o remount,noatime /srv/a"]);
    let fabric = options("ext4", "rw,noatime,discard");
    assert_eq!(fabric.point("mount_options").status, Status::Warning);
    let fabric = options("xfs", "rw,noatime,discard");
    assert_eq!(fabric.point("mount_options").status, Status::Ok);
    assert_eq!(fabric.finding("discard", Status::Note).undo, ["systemctl disable --now fstrim.timer"]);
}

#[test]
fn a_mount_point_with_blanks_is_quoted_in_commands() {
    let mut fabric =
        with("/proc/self/mountinfo", r"1 0 259:2 / /srv/my\040data rw,relatime - xfs /dev/nvme0n1p2 rw");
    fabric.plan.data = vec![PathBuf::from("/srv/my data/it's")];
    assert_eq!(fabric.point("mount_options").fix, ["mount -o remount,noatime '/srv/my data'"]);
    assert_eq!(quoted("it's"), r"'it'\''s'");
}

#[test]
fn files_without_direct_io_or_preallocation_and_full_drives_are_told() {
    let mut fabric = Fabric::healthy();
    fabric.kernel.files = Some(Files { is_direct: false, is_reserved: true });
    fabric.finding("files", Status::Warning);
    fabric.kernel.files = Some(Files { is_direct: true, is_reserved: false });
    fabric.finding("files", Status::Error);
    let mut fabric = Fabric::healthy();
    fabric.kernel.space = Some(Space { bytes_total: 1 << 40, bytes_free: 1 << 37 });
    fabric.finding("free_space", Status::Warning);
    fabric.kernel.space = Some(Space { bytes_total: 1 << 40, bytes_free: 1 << 30 });
    assert!(fabric.finding("free_space", Status::Error).found.contains("large objects are refused"));
    fabric.kernel.space = Some(Space { bytes_total: 0, bytes_free: 0 });
    fabric.report();
}

#[test]
fn a_drive_is_looked_at_through_partitions_encryption_and_arrays() {
    let fabric = with("/proc/self/mountinfo", "36 21 253:0 / /srv/a rw,noatime - xfs /dev/mapper/data rw");
    fabric.write("/sys/devices/virtual/block/dm-0/queue/scheduler", "none");
    fabric.link("/sys/devices/virtual/block/dm-0", "/sys/dev/block/253:0");
    fabric.write("/sys/devices/virtual/block/md0/queue/scheduler", "none");
    fabric.link("/sys/devices/virtual/block/md0", "/sys/devices/virtual/block/dm-0/slaves/md0");
    fabric.link(&format!("{NVME}/nvme0n1p1"), "/sys/devices/virtual/block/md0/slaves/nvme0n1p1");
    fabric.link(&format!("{NVME}/nvme0n1p2"), "/sys/devices/virtual/block/md0/slaves/nvme0n1p2");
    let point = fabric.point("scheduler");
    assert_eq!((point.subject.as_str(), point.status), ("nvme0n1", Status::Ok));
    // A circle, which no kernel makes.
    fabric.remove("/sys/devices/virtual/block/md0/slaves/nvme0n1p1");
    fabric.link("/sys/devices/virtual/block/md0", "/sys/devices/virtual/block/md0/slaves/md0");
    fabric.report();
}

#[test]
fn file_systems_over_several_devices_are_found_by_the_one_they_name() {
    let fabric = with("/proc/self/mountinfo", "36 21 0:31 / /srv/a rw,noatime - btrfs /dev/nvme0n1p2 rw");
    fabric.link(&format!("{NVME}/nvme0n1p2"), "/sys/class/block/nvme0n1p2");
    assert_eq!(fabric.point("scheduler").subject, "nvme0n1");
}

#[test]
fn attributes_of_a_drive_are_judged_one_by_one() {
    let queue = |attribute: &str, text: &str| with(&format!("{NVME}/queue/{attribute}"), text);
    let point = queue("scheduler", "none [mq-deadline] bfq").finding("scheduler", Status::Warning);
    assert_eq!(point.fix, ["echo none > /sys/block/nvme0n1/queue/scheduler"]);
    assert_eq!(point.undo, ["echo mq-deadline > /sys/block/nvme0n1/queue/scheduler"]);
    let point = queue("write_cache", "write back").finding("write_cache", Status::Note);
    assert!(point.undo.is_empty() && point.why.contains("never write"), "{point:?}");
    let fabric = queue("write_cache", "write back");
    fabric.write(&format!("{NVME}/queue/fua"), "1");
    assert_eq!(fabric.point("write_cache").status, Status::Ok);
    let point = queue("nr_requests", "32").finding("queue_depth", Status::Note);
    assert_eq!(point.fix, ["echo 256 > /sys/block/nvme0n1/queue/nr_requests"]);
    let point = queue("max_sectors_kb", "128").finding("request_size", Status::Note);
    assert_eq!(point.fix, ["echo 256 > /sys/block/nvme0n1/queue/max_sectors_kb"]);
    let fabric = queue("max_sectors_kb", "128");
    fabric.write(&format!("{NVME}/queue/max_hw_sectors_kb"), "128");
    assert_eq!(fabric.point("request_size").status, Status::Ok);
    assert_eq!(queue("discard_max_bytes", "0").point("discard").status, Status::Ok);
    let fabric = Fabric::healthy();
    fabric.remove("/etc");
    assert_eq!(fabric.finding("discard", Status::Note).fix, ["systemctl enable --now fstrim.timer"]);
    // Virtual drives are called rotating whatever they are.
    let fabric = with("/proc/self/mountinfo", "36 21 254:0 / /srv/a rw,noatime - xfs /dev/vda rw");
    fabric.write("/sys/devices/virtio/vda/queue/rotational", "1");
    fabric.link("/sys/devices/virtio/vda", "/sys/dev/block/254:0");
    assert_eq!(fabric.point("medium").status, Status::Note);
    // A disk that turns wants its scheduler.
    let fabric = queue("rotational", "1");
    assert_eq!(fabric.point("medium").status, Status::Warning);
    assert_eq!(fabric.point("scheduler").fix, ["echo mq-deadline > /sys/block/nvme0n1/queue/scheduler"]);
}

#[test]
fn drives_that_no_core_writes_to_are_told() {
    let mut fabric = Fabric::healthy();
    fabric.plan.cores = Some(1);
    fabric.plan.data.push(PathBuf::from("/srv/a/other"));
    let point = fabric.finding("spread", Status::Warning);
    assert_eq!(point.found, "2 directories for 1 core");
}

#[test]
fn two_directories_of_one_drive_tell_of_it_once() {
    let mut fabric = Fabric::healthy();
    fabric.plan.data.push(PathBuf::from("/srv/a/other"));
    let report = fabric.report();
    let count = |name: &str| report.points.iter().filter(|point| point.name == name).count();
    assert_eq!((count("file_system"), count("scheduler")), (2, 1));
}

#[test]
fn queues_of_a_card_are_held_against_the_cores() {
    let fabric = Fabric::healthy();
    for queue in 1..4 {
        fabric.remove(&format!("{CARD}/queues/rx-{queue}"));
        fabric.remove(&format!("{CARD}/queues/tx-{queue}"));
    }
    let point = fabric.point("receive_queues");
    assert_eq!(point.status, Status::Warning);
    assert_eq!(point.fix[1], "echo f > /sys/class/net/eth0/queues/rx-0/rps_cpus");
    assert_eq!(point.undo, ["echo 0 > /sys/class/net/eth0/queues/rx-0/rps_cpus"]);
    assert_eq!(fabric.point("transmit_queues").status, Status::Note);
    fabric.write(&format!("{CARD}/queues/rx-0/rps_cpus"), "0000000f");
    assert_eq!(fabric.point("receive_queues").status, Status::Ok);
    let fabric = Fabric::healthy();
    fabric.remove(&format!("{CARD}/queues/rx-3"));
    fabric.remove(&format!("{CARD}/queues/tx-3"));
    assert_eq!(fabric.point("receive_queues").status, Status::Note);
    assert_eq!(fabric.point("transmit_queues").status, Status::Note);
    fabric.write(&format!("{CARD}/queues/tx-0/xps_cpus"), "1");
    assert_eq!(fabric.point("transmit_queues").status, Status::Ok);
}

#[test]
fn interrupts_that_all_go_to_one_cpu_are_told() {
    let fabric = Fabric::healthy();
    (40..44).for_each(|irq| fabric.write(&format!("/proc/irq/{irq}/effective_affinity_list"), "2\n"));
    assert_eq!(fabric.finding("interrupts", Status::Warning).found, "4 interrupts on CPUs 2");
    // Without the card's own list, by name.
    fabric.remove(&format!("{CARD}/device/msi_irqs"));
    assert_eq!(fabric.point("interrupts").status, Status::Unknown);
    let table = "           CPU0       CPU1\n 40:  1  2 PCI-MSI 1-edge eth0-TxRx-0\n\
                 41: 1 2 PCI-MSI 2-edge eth0-TxRx-1\n\
                 50:  1  2 PCI-MSI 1-edge eth01\nNMI: 0 0 Non-maskable interrupts";
    fabric.write("/proc/interrupts", table);
    assert_eq!(fabric.point("interrupts").found, "2 interrupts on CPUs 2");
}

#[test]
fn limits_of_tcp_are_held_against_what_a_node_wants() {
    let point = with("/proc/sys/net/core/somaxconn", "128").finding("somaxconn", Status::Warning);
    assert_eq!(point.fix, ["sysctl -w net.core.somaxconn=4096"]);
    assert_eq!(point.undo, ["sysctl -w net.core.somaxconn=128"]);
    let point =
        with("/proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t65536").finding("tcp_wmem", Status::Warning);
    assert_eq!(point.fix, ["sysctl -w net.ipv4.tcp_wmem='4096 16384 4194304'"]);
    with("/proc/sys/net/ipv4/tcp_rmem", "1 2 3").finding("tcp_rmem", Status::Warning);
    with("/proc/sys/net/core/rps_sock_flow_entries", "0").finding("rfs", Status::Note);
    with(&format!("{CARD}/duplex"), "half").finding("link", Status::Warning);
    assert_eq!(with(&format!("{CARD}/speed"), "-1").point("link").status, Status::Unknown);
    assert!(
        !with(&format!("{CARD}/operstate"), "down").report().points.iter().any(|point| point.name == "link")
    );
}

#[test]
fn a_clock_that_drifts_or_is_slow_to_read_is_told() {
    let mut fabric = Fabric::healthy();
    fabric.kernel.is_clock_synchronised = Some(false);
    assert_eq!(fabric.finding("synchronised", Status::Warning).undo, ["timedatectl set-ntp false"]);
    let folder = "/sys/devices/system/clocksource/clocksource0";
    let point =
        with(&format!("{folder}/current_clocksource"), "hpet").finding("clocksource", Status::Warning);
    assert_eq!(point.fix, [format!("echo tsc > {folder}/current_clocksource")]);
    let fabric = with(&format!("{folder}/current_clocksource"), "acpi_pm");
    fabric.write(&format!("{folder}/available_clocksource"), "acpi_pm");
    assert!(fabric.finding("clocksource", Status::Warning).undo.is_empty());
}

#[test]
fn a_host_that_tells_nothing_is_unknown_and_no_more() {
    let mut fabric = Fabric::healthy();
    ["/proc", "/sys", "/etc"].iter().for_each(|path| fabric.remove(path));
    fabric.kernel =
        Kernel { operations_missing: None, is_clock_synchronised: None, space: None, files: None };
    let report = fabric.report();
    assert_eq!(report.status(), Status::Unknown, "{report:#?}");
    // That there are as many cores as directories, the settings tell.
    let good: Vec<_> = report.points.iter().filter(|point| point.status == Status::Ok).collect();
    assert!(good.iter().all(|point| point.name == "spread"), "{good:#?}");
}

/// All files of a tree.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path(), found),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

#[test]
fn garbage_in_any_file_is_no_reason_to_panic_or_to_call_it_healthy() {
    let fabric = Fabric::healthy();
    let mut all = Vec::new();
    files(fabric.root.path(), &mut all);
    assert!(all.len() > 40);
    let garbage: [&[u8]; 9] = [
        b"",
        b"\xff\xfe\x00\x80",
        b"-1",
        b"99999999999999999999999999",
        b"\n\n : - , \n - - - -\n0::\n",
        b"0-4294967295,x",
        b"[] [ ] ][",
        b"max max",
        b"Max open files\nMax locked memory unlimited\nCapEff:\nCpus_allowed_list:\t-\nMemTotal: x\nVmSwap:",
    ];
    for file in &all {
        let before = fs::read(file).unwrap();
        for text in garbage {
            fs::write(file, text).unwrap();
            fabric.report();
        }
        // Nor are directories and what cannot be opened in their places.
        fs::remove_file(file).unwrap();
        fabric.report();
        fs::create_dir(file).unwrap();
        fabric.report();
        fs::remove_dir(file).unwrap();
        symlink("nowhere", file).unwrap();
        fabric.report();
        fs::remove_file(file).unwrap();
        fs::write(file, before).unwrap();
    }
    for text in garbage {
        all.iter().for_each(|file| fs::write(file, text).unwrap());
        fabric.report();
    }
}
