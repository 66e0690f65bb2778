//! Data directories: file systems, their options, and the drives below.

use std::collections::BTreeSet;
use std::path::Path;

use super::host::chosen;
use super::mounts::{Drive, Mount};
use super::{Area, Host, Plan, Point, Probes, Status, quoted};
use crate::base::limits::{BUFFER_BYTES, RING_ENTRIES};
use crate::engine;

const GIB: u64 = 1 << 30;

pub fn examine(host: &Host, probes: &impl Probes, plan: &Plan, cores: usize) -> Vec<Point> {
    let cores_of_drive = cores.div_ceil(plan.data.len().max(1));
    let mut points = vec![spread(plan, cores)];
    let mut seen = BTreeSet::new();
    for directory in &plan.data {
        let path = host.resolve(directory);
        let Some(mount) = Mount::of(host, &path) else {
            points.push(
                Point::new(
                    Area::Drives,
                    "file_system",
                    "XFS or ext4",
                    "It holds everything that a node stores.",
                )
                .about(path.display().to_string()),
            );
            continue;
        };
        points.push(kind(&mount, &path));
        points.push(options(&mount, &path));
        points.push(files(probes, &path));
        points.push(space(probes, &path, cores_of_drive));
        for drive in mount.drives(host) {
            if !seen.insert(drive.name.clone()) {
                continue;
            }
            points.push(medium(host, &drive));
            points.push(scheduler(host, &drive));
            points.push(write_cache(host, &drive));
            points.push(queue_depth(host, &drive, cores_of_drive));
            points.push(request_size(host, &drive));
            points.push(discard(host, &drive, &mount));
        }
    }
    points
}

fn spread(plan: &Plan, cores: usize) -> Point {
    let point = Point::new(
        Area::Drives,
        "spread",
        "at least as many cores as data directories",
        "A core writes to one directory. Those beyond the number of cores get nothing new.",
    );
    let count = plan.data.len();
    let found =
        format!("{count} director{} for {cores} core{}", plural(count, "y", "ies"), plural(cores, "", "s"));
    match count > cores {
        true => {
            point.found(Status::Warning, found).advice(format_args!("start it with --cores {count} or more"))
        }
        false => point.found(Status::Ok, found),
    }
}

fn plural(count: usize, one: &'static str, several: &'static str) -> &'static str {
    if count == 1 { one } else { several }
}

fn kind(mount: &Mount, path: &Path) -> Point {
    let point = Point::new(
        Area::Drives,
        "file_system",
        "XFS or ext4 of its own, on a drive of its own",
        "A node writes with O_DIRECT, reserves space ahead and frees parts of files. These two do all of that in \
         place; the others are not tested.",
    )
    .about(path.display().to_string());
    let found = format!("{} from {} on {}", mount.kind, mount.source, mount.point.display());
    let advice = "a drive with XFS, or ext4 (tuning/README.md says how to make it)";
    match mount.kind.as_str() {
        "xfs" | "ext4" if mount.point == Path::new("/") && path != mount.point => point
            .found(Status::Note, format!("{found}, which the system uses too"))
            .advice("give the data a file system of its own: logs that fill this one stop writes"),
        "xfs" | "ext4" => point.found(Status::Ok, found),
        "tmpfs" | "ramfs" => {
            point.found(Status::Error, format!("{found}: memory, gone with the next boot")).advice(advice)
        }
        "overlay" => point
            .found(Status::Warning, format!("{found}: a container's layer, gone with the container"))
            .advice("mount a volume of XFS or ext4 there"),
        "btrfs" | "zfs" | "bcachefs" | "f2fs" => {
            point.found(Status::Warning, format!("{found}: copies on write, fragments")).advice(advice)
        }
        _ => point.found(Status::Warning, found).advice(advice),
    }
}

fn options(mount: &Mount, path: &Path) -> Point {
    let point = Point::new(
        Area::Drives,
        "mount_options",
        "rw, noatime, barriers, no 'sync', no 'discard' on ext4, no 'data=journal'",
        "Without barriers a power cut loses what was acknowledged. 'sync', 'discard' and 'data=journal' put work into \
         the way of every commit. Without noatime reads write inodes now and then.",
    )
    .about(path.display().to_string());
    let found = mount.options.join(",");
    let lost: Vec<&str> = ["nobarrier", "barrier=0"].into_iter().filter(|option| mount.has(option)).collect();
    let remount = |point: Point, wanted: &str, before: &str| {
        let at = quoted(&mount.point.display().to_string());
        point.fix(format!("mount -o remount,{wanted} {at}"), format!("mount -o remount,{before} {at}"))
    };
    if mount.has("ro") {
        let point = point.found(Status::Error, format!("{found}: read-only"));
        return point.advice(
            "errors may have made it so: look into dmesg first, then remount it or run fsck (xfs_repair)",
        );
    }
    if let Some(option) = lost.first() {
        let point = point.found(Status::Error, format!("{found}: {option} makes no write durable"));
        return remount(point, "barrier", option);
    }
    let slow = ["sync", "dirsync", "data=journal", "discard"].into_iter();
    let slow: Vec<&str> =
        slow.filter(|option| mount.has(option) && (*option != "discard" || mount.kind == "ext4")).collect();
    match slow.first() {
        Some(option @ &"data=journal") => point
            .found(Status::Warning, format!("{found}: {option} takes O_DIRECT away"))
            .advice("take data=journal out of /etc/fstab (and of tune2fs -o), unmount and mount"),
        Some(option) => {
            let wanted = match *option {
                "sync" => "async",
                "dirsync" => "nodirsync",
                _ => "nodiscard",
            };
            let point = point.found(Status::Warning, format!("{found}: {option}"));
            match wanted {
                "nodirsync" => point.advice("take dirsync out of /etc/fstab, unmount and mount"),
                _ => remount(point, wanted, option),
            }
        }
        None if mount.has("noatime") => point.found(Status::Ok, found),
        None => remount(point.found(Status::Note, format!("{found}: not noatime")), "noatime", "relatime"),
    }
}

fn files(probes: &impl Probes, path: &Path) -> Point {
    let point = Point::new(
        Area::Drives,
        "files",
        "O_DIRECT and preallocation (fallocate) work",
        "Direct I/O spares a copy and the page cache. Reserved space keeps files in one piece, and a full drive from \
         being noticed in the midst of a write. Tried with a file without a name, of which nothing is left.",
    )
    .about(path.display().to_string());
    let advice = "use XFS or ext4 for data";
    match probes.files(path) {
        Some(files) if !files.is_reserved => {
            point.found(Status::Error, "the file system reserves no space").advice(advice)
        }
        Some(files) if !files.is_direct => {
            point.found(Status::Warning, "preallocation works, O_DIRECT does not").advice(advice)
        }
        Some(_) => point.found(Status::Ok, "both work"),
        None => point.found(Status::Unknown, "no file can be made here to try it with"),
    }
}

fn space(probes: &impl Probes, path: &Path, cores: usize) -> Point {
    let point = Point::new(
        Area::Drives,
        "free_space",
        "a fifth of the drive or more",
        "Below what cleaning needs to move things, new objects are refused; reads and deletions go on. Drives that \
         are nearly full write slower and wear out faster.",
    )
    .about(path.display().to_string());
    let Some(space) = probes.space(path) else { return point };
    let least = engine::bytes_free_min(space.bytes_total, cores);
    let gib = |bytes: u64| format!("{:.1}", bytes as f64 / GIB as f64);
    let percent = space.bytes_free.saturating_mul(100) / space.bytes_total.max(1);
    let found = format!("{} of {} GiB, {percent}%", gib(space.bytes_free), gib(space.bytes_total));
    let advice = "delete objects or let lifecycle rules do so; give the file system a larger drive";
    match space.bytes_free {
        free if free < least => point
            .found(Status::Error, format!("{found}: large objects are refused below {} GiB", gib(least)))
            .advice(advice),
        _ if percent < 20 => point.found(Status::Warning, found).advice(advice),
        _ => point.found(Status::Ok, found),
    }
}

fn medium(host: &Host, drive: &Drive) -> Point {
    let point = Point::new(
        Area::Drives,
        "medium",
        "a solid-state drive",
        "Small objects wait for the log to be durable, which takes a rotating disk some milliseconds each time.",
    )
    .about(&drive.name);
    match host.read(&format!("{}/rotational", drive.queue)).as_deref() {
        Some("0") => point.found(Status::Ok, "solid state"),
        Some("1") if drive.name.starts_with("vd") || drive.name.starts_with("xvd") => point
            .found(Status::Note, "called rotating, as virtual drives often are")
            .advice("if a solid-state drive is behind it, its host can say so"),
        Some("1") => {
            point.found(Status::Warning, "rotating").advice("nothing to set: the drive is what it is")
        }
        Some(other) => point.found(Status::Unknown, format!("'{other}'")),
        None => point,
    }
}

fn scheduler(host: &Host, drive: &Drive) -> Point {
    let is_rotating = host.read(&format!("{}/rotational", drive.queue)).as_deref() == Some("1");
    let file = format!("{}/scheduler", drive.queue);
    let point = Point::new(
        Area::Drives,
        "scheduler",
        if is_rotating { "mq-deadline" } else { "none" },
        "A scheduler sorts and holds commands back, which helps heads that move. A solid-state drive has queues of its \
         own; there it costs CPU time and a lock.",
    )
    .about(&drive.name);
    let Some(text) = host.read(&file).filter(|text| !text.is_empty()) else { return point };
    let found = chosen(&text);
    let good: &[&str] = if is_rotating { &["mq-deadline", "bfq"] } else { &["none"] };
    match good.contains(&found) {
        true => point.found(Status::Ok, found),
        false => {
            let wanted = point.expected.clone();
            let path = shown(drive, "scheduler");
            point.found(Status::Warning, found).write(&path, &wanted, found)
        }
    }
}

fn write_cache(host: &Host, drive: &Drive) -> Point {
    let point = Point::new(
        Area::Drives,
        "write_cache",
        "write through (power-loss protection), or write back with FUA",
        "A commit to a volatile cache without FUA is a write and a flush of the whole cache. That is the drive's \
         nature: never write 'write through' into this file to be rid of it, the kernel then stops to flush and a \
         power cut loses acknowledged objects.",
    )
    .measured("on such a drive a node takes 0.2 to 0.4 ms a commit, with RWF_DSYNC 1.7 to 6.1 ms (decision 0004)")
    .about(&drive.name);
    let cache = host.read(&format!("{}/write_cache", drive.queue));
    let fua = host.read(&format!("{}/fua", drive.queue));
    match (cache.as_deref(), fua.as_deref()) {
        (Some("write through"), _) => point.found(Status::Ok, "write through"),
        (Some("write back"), Some("1")) => point.found(Status::Ok, "write back, with FUA"),
        (Some("write back"), _) => point
            .found(Status::Note, "write back, without FUA")
            .advice("nothing to set: drives with power-loss protection commit faster"),
        (Some(other), _) => point.found(Status::Unknown, format!("'{other}'")),
        (None, _) => point,
    }
}

fn queue_depth(host: &Host, drive: &Drive, cores: usize) -> Point {
    const ENOUGH: u64 = 256;
    let point = Point::new(
        Area::Drives,
        "queue_depth",
        format!("{ENOUGH} or more (nr_requests)"),
        "Commands of a queue of the drive. What goes beyond waits in the kernel, outside of the drive's sight.",
    )
    .about(&drive.name);
    let bound = format!("{cores} cores have up to {RING_ENTRIES} operations under way each");
    match host.number::<u64>(&format!("{}/nr_requests", drive.queue)) {
        Some(depth) if depth >= ENOUGH => point.found(Status::Ok, format!("{depth}; {bound}")),
        Some(depth) => point.found(Status::Note, format!("{depth}; {bound}")).write(
            &shown(drive, "nr_requests"),
            &ENOUGH.to_string(),
            &depth.to_string(),
        ),
        None => point,
    }
}

fn request_size(host: &Host, drive: &Drive) -> Point {
    const BUFFER_KIB: u64 = BUFFER_BYTES as u64 / 1024;
    let point = Point::new(
        Area::Drives,
        "request_size",
        format!("{BUFFER_KIB} KiB or more (max_sectors_kb), if the drive takes so much"),
        "Payload is read and written in buffers of that size. Where one command takes less, the kernel makes several.",
    )
    .about(&drive.name);
    let most = host.number::<u64>(&format!("{}/max_hw_sectors_kb", drive.queue));
    match (host.number::<u64>(&format!("{}/max_sectors_kb", drive.queue)), most) {
        (Some(size), _) if size >= BUFFER_KIB => point.found(Status::Ok, format!("{size} KiB")),
        (Some(size), Some(most)) if size >= most => {
            point.found(Status::Ok, format!("{size} KiB, all that the drive takes"))
        }
        (Some(size), Some(most)) => {
            let wanted = most.min(BUFFER_KIB).to_string();
            let point = point.found(Status::Note, format!("{size} KiB"));
            point.write(&shown(drive, "max_sectors_kb"), &wanted, &size.to_string())
        }
        _ => point,
    }
}

fn discard(host: &Host, drive: &Drive, mount: &Mount) -> Point {
    let point = Point::new(
        Area::Drives,
        "discard",
        "the drive can, and fstrim tells it once a week what is free",
        "A node frees space all the time. A drive that is not told moves dead data about. Told at once (the mount \
         option 'discard') it is disturbed in its work, told in bulk it is not.",
    )
    .about(&drive.name);
    let timer = ["/etc/systemd/system/timers.target.wants/fstrim.timer", "/etc/cron.weekly/fstrim"];
    let is_timed = timer.iter().any(|path| host.has_entry(path));
    match host.number::<u64>(&format!("{}/discard_max_bytes", drive.queue)) {
        Some(0) => point.found(Status::Ok, "the drive knows no discard"),
        Some(_) if mount.has("discard") => point
            .found(Status::Note, "at once, by the mount option")
            .advice("take 'discard' out of /etc/fstab; and:")
            .fix("systemctl enable --now fstrim.timer", "systemctl disable --now fstrim.timer"),
        Some(_) if is_timed => point.found(Status::Ok, "the drive can, fstrim is timed"),
        Some(_) => point
            .found(Status::Note, "the drive can, nothing tells it")
            .fix("systemctl enable --now fstrim.timer", "systemctl disable --now fstrim.timer"),
        None => point,
    }
}

/// An attribute of a drive where people look for it.
fn shown(drive: &Drive, attribute: &str) -> String {
    format!("/sys/block/{}/queue/{attribute}", drive.name)
}
