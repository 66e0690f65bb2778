//! The kernel: its version and its io_uring.

use super::{Area, Host, Point, Probes, Status};

/// Single-issuer rings came with 6.0 (io_uring_setup(2)).
const VERSION_MIN: (u32, u32) = (6, 0);

pub fn examine(host: &Host, probes: &impl Probes) -> Vec<Point> {
    let release = host.read("/proc/sys/kernel/osrelease");
    let version = release.as_deref().and_then(version_of);
    vec![kernel(release, version), switch(host, version), rings(probes)]
}

fn kernel(release: Option<String>, version: Option<(u32, u32)>) -> Point {
    let point = Point::new(
        Area::Kernel,
        "kernel",
        "Linux 6.0 or newer",
        "The rings of a core are single-issuer ones, which came with 6.0. On an older kernel a node does not start.",
    );
    let advice =
        "install a newer kernel of your distribution (Debian 12: apt install linux-image-amd64) and reboot";
    match (release, version) {
        (Some(release), Some(version)) if version >= VERSION_MIN => point.found(Status::Ok, release),
        (Some(release), Some(_)) => point.found(Status::Error, release).advice(advice),
        (Some(release), None) => point.found(Status::Unknown, format!("'{release}', which is no version")),
        (None, _) => point,
    }
}

fn switch(host: &Host, version: Option<(u32, u32)>) -> Point {
    let point = Point::new(
        Area::Kernel,
        "io_uring_disabled",
        "0",
        "Hardened systems turn io_uring off with this sysctl: 1 for users outside of a group, 2 for everybody. All \
         input and output of a node is io_uring; without it, a node does not start.",
    );
    let found = host.read("/proc/sys/kernel/io_uring_disabled");
    let group = host.number::<i64>("/proc/sys/kernel/io_uring_group");
    match found.as_deref() {
        Some("0") => point.found(Status::Ok, "0"),
        Some("1") if group.is_some_and(|group| group >= 0) => {
            let group = group.unwrap_or_default();
            point
                .found(Status::Warning, format!("1: only for root and members of group {group}"))
                .advice(format_args!("put the node's user into the group: usermod -aG {group} ringcask; or:"))
                .sysctl("kernel.io_uring_disabled", "0", "1")
        }
        Some("1") => {
            point.found(Status::Error, "1: only for root").sysctl("kernel.io_uring_disabled", "0", "1")
        }
        Some("2") => point.found(Status::Error, "2: for nobody").sysctl("kernel.io_uring_disabled", "0", "2"),
        Some(other) => point.found(Status::Unknown, format!("'{other}', which says nothing")),
        None if version.is_some_and(|version| version < (6, 6)) => {
            point.found(Status::Ok, "there is no such sysctl before Linux 6.6")
        }
        None => point,
    }
}

fn rings(probes: &impl Probes) -> Point {
    let point = Point::new(
        Area::Kernel,
        "io_uring",
        "rings can be made, and every operation of a core is known",
        "Sockets, files and timers of a core are operations of its two rings. A container's seccomp profile or a \
         security module may forbid them even where the kernel has them.",
    )
    .measured("cooperative task running saves 17 to 22% of CPU on small requests (decision 0001)");
    match probes.operations_missing() {
        Some(Ok(missing)) if missing.is_empty() => {
            point.found(Status::Ok, "rings work, no operation is missing")
        }
        Some(Ok(missing)) => point
            .found(Status::Error, format!("missing: {}", missing.join(", ")))
            .advice("install a newer kernel, one without patches that take operations out"),
        Some(Err(why)) => point.found(Status::Error, why).advice(
            "a node cannot start before this is changed; `ringcask` says the same when it is started",
        ),
        None => point,
    }
}

/// Major and minor number of a release.
fn version_of(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
