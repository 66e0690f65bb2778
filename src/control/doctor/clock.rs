//! The clock.

use super::{Area, Host, Point, Probes, Status};

pub fn examine(host: &Host, probes: &impl Probes) -> Vec<Point> {
    vec![synchronised(probes), source(host)]
}

fn synchronised(probes: &impl Probes) -> Point {
    let point = Point::new(
        Area::Clock,
        "synchronised",
        "the kernel says that it is synchronised",
        "Requests whose signed time is 15 minutes off are refused. Names of versions, Last-Modified, retention and \
         lifecycle rules go by this clock.",
    );
    match probes.is_clock_synchronised() {
        Some(true) => point.found(Status::Ok, "yes"),
        Some(false) => point
            .found(Status::Warning, "no")
            .advice("install chrony instead, or have the network's own service set the clock; or:")
            .fix("timedatectl set-ntp true", "timedatectl set-ntp false"),
        None => point,
    }
}

fn source(host: &Host) -> Point {
    const FOLDER: &str = "/sys/devices/system/clocksource/clocksource0";
    let point = Point::new(
        Area::Clock,
        "clocksource",
        "tsc, kvm-clock, hyperv_clocksource_tsc_page or arch_sys_counter",
        "A core asks for the time with every request. These sources are read without a system call; others cost one, \
         and the registers of hpet and acpi_pm a microsecond besides.",
    );
    let fast = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];
    let current = format!("{FOLDER}/current_clocksource");
    let available = host.read(&format!("{FOLDER}/available_clocksource")).unwrap_or_default();
    match host.read(&current) {
        Some(found) if fast.contains(&found.as_str()) => point.found(Status::Ok, found),
        Some(found) if found.is_empty() => point,
        Some(found) => {
            let better =
                fast.into_iter().find(|source| available.split_whitespace().any(|word| word == *source));
            let point = point.found(Status::Warning, found.clone());
            match better {
                Some(better) => point.write(&current, better, &found),
                None => {
                    point.advice("the kernel found no better source; dmesg | grep -i clocksource says why")
                }
            }
        }
        None => point,
    }
}
