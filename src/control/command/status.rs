//! How a node is, as a person reads it.

use serde_json::Value;

use super::show::{rows, table, text};
use super::text::{self, number};

/// The node in some sentences, its drives and its cores in lines, and below them a sentence for each failure and
/// each place that is damaged.
pub fn show(answer: &Value) -> String {
    show_within(text::width(), answer)
}

fn show_within(width: usize, answer: &Value) -> String {
    let folded = |text: &str| folded(width, text);
    let up = duration(answer["uptimeSeconds"].as_u64().unwrap_or(0));
    let mut out = format!("ringcask {}: {}, up {up}\n", text(answer, "version"), text(answer, "status"));
    for listener in rows(answer, "listeners") {
        out += &folded(&format!("{} on {}", text(listener, "for"), text(listener, "url")));
    }
    for certificate in rows(answer, "certificates") {
        let names =
            rows(certificate, "names").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        let (file, expires) = (text(certificate, "file"), text(certificate, "expires"));
        out += &folded(&format!("certificate of {names} until {expires} in {file}"));
    }
    let buckets = &answer["buckets"];
    let count = |name: &str, noun: &str| counted(buckets[name].as_u64().unwrap_or(0), noun);
    let versions = match buckets["versions"].as_u64() {
        Some(0) | None => String::new(),
        Some(versions) => format!(" and {}", counted(versions, "other version")),
    };
    let held = bytes(buckets, "bytes");
    let (buckets, objects) = (count("count", "bucket"), count("objects", "object"));
    out += &folded(&format!("{buckets} with {objects}{versions}, {held}"));
    let drain = &answer["drain"];
    let refused = match drain["refusing"].as_str() {
        Some("changes") => "; changes are refused until 'ringcask resume'",
        Some("everything") => "; everything is refused until 'ringcask resume'",
        _ => "",
    };
    let under_way = counted(drain["requestsInFlight"].as_u64().unwrap_or(0), "request");
    out += &folded(&format!("{under_way} under way{refused}"));
    out.push('\n');
    let head = ["DRIVE", "STATE", "OBJECTS", "LOG", "FREE", "OF", "DIRECTORY"];
    out += &table(&head, rows(answer, "drives"), |drive| {
        let column = |name: &str| bytes(drive, name);
        let (payload, log) = (column("payloadBytes"), column("logBytes"));
        let (free, total) = (column("bytesFree"), column("bytesTotal"));
        vec![text(drive, "drive"), text(drive, "state"), payload, log, free, total, text(drive, "directory")]
    });
    out.push('\n');
    out += &table(&["CORE", "DRIVE", "STATE", "OBJECTS", "BUFFERS"], rows(answer, "cores"), |core| {
        let state = match core["full"] == true && core["state"] == "serving" {
            true => "serving, drive full".to_owned(),
            false => text(core, "state"),
        };
        let payload = bytes(core, "payloadBytes");
        vec![text(core, "core"), text(core, "drive"), state, payload, text(core, "buffersHeld")]
    });
    for note in rows(answer, "notes").iter().filter_map(Value::as_str) {
        out += &format!("\n{}", folded(note));
    }
    for core in rows(answer, "cores") {
        let number = text(core, "core");
        for failure in rows(core, "failures") {
            let line = format!("core {number}, {}: {}", text(failure, "part"), text(failure, "reason"));
            out += &format!("\n{}", folded(&line));
        }
        let damages = &core["damages"];
        for place in rows(damages, "places") {
            let objects = rows(place, "objects").iter().filter_map(Value::as_str);
            let objects: Vec<String> = objects.map(|object| object.replace(char::is_control, "?")).collect();
            let (file, offset, reason) = (text(place, "file"), text(place, "offset"), text(place, "reason"));
            let mut line = format!("damage in {file} at offset {offset}: {reason}");
            if !objects.is_empty() {
                line += &format!("; data of {}", objects.join(", "));
            }
            out += &format!("\n{}", folded(&line));
        }
        let hidden =
            damages["count"].as_u64().unwrap_or(0).saturating_sub(rows(damages, "places").len() as u64);
        if hidden > 0 {
            let line = format!("core {number}: {hidden} more damaged places stand in its log");
            out += &format!("\n{}", folded(&line));
        }
    }
    out
}

fn bytes(value: &Value, name: &str) -> String {
    value[name].as_u64().map(text::bytes).unwrap_or_default()
}

/// A number of things.
fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", number(count), if count == 1 { "" } else { "s" })
}

/// A time in its two largest units.
fn duration(seconds: u64) -> String {
    let units = [("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)];
    let mut left = seconds;
    let mut words = Vec::new();
    for (unit, length) in units {
        let count = left / length;
        left %= length;
        if count > 0 {
            words.push(counted(count, unit));
        } else if !words.is_empty() {
            break;
        }
        if words.len() == 2 {
            break;
        }
    }
    if words.is_empty() { "0 seconds".to_owned() } else { words.join(" ") }
}

/// A sentence in lines of at most `width` columns, those after the first indented. A longer word keeps its line.
pub(super) fn folded(width: usize, text: &str) -> String {
    const INDENT: &str = "  ";
    let (mut out, mut column) = (String::new(), 0);
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out += "\n";
            out += INDENT;
            column = INDENT.len();
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out += word;
        column += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::text::WIDTH;
    use super::*;

    #[test]
    fn each_core_has_a_line_and_each_failure_a_sentence() {
        let core = |core: u64, state: &str, failures: Value| {
            json!({ "core": core, "drive": 0, "directory": "/srv/a", "state": state, "failures": failures,
                "full": core == 0, "payloadBytes": 3 << 20, "buffersHeld": core })
        };
        let damages = json!({ "count": 12, "places": [{ "file": "data-00000002", "offset": 8192,
            "reason": "it rotted", "objects": ["b/k\u{1b}[2J"] }] });
        let failure = json!([{ "part": "log", "reason": "writing log-00000003: Input/output error \
            (os error 5), which is a sentence that no terminal has room for in one line" }]);
        let mut answer = json!({ "status": "read-only", "version": "0.1.0", "uptimeSeconds": 90_000,
            "listeners": [{ "for": "S3", "url": "https://127.0.0.1:9000" }],
            "certificates": [{ "file": "/etc/tls.crt", "names": ["a.example", "b.example"],
                "expires": "2027-01-01T00:00:00.000Z" }],
            "drain": { "refusing": "changes", "requestsInFlight": 2 },
            "buckets": { "count": 2, "objects": 12_345, "versions": 1, "bytes": 5_u64 << 30 },
            "drives": [{ "drive": 0, "state": "read-only", "payloadBytes": 5_u64 << 30, "logBytes": 1 << 20,
                "bytesFree": 3 << 20, "bytesTotal": 5_u64 << 40, "directory": "/srv/a" }],
            "cores": [core(0, "serving", json!([])), core(1, "read-only", failure)] });
        answer["cores"][1]["damages"] = damages;
        let expected = [
            "ringcask 0.1.0: read-only, up 1 day 1 hour",
            "S3 on https://127.0.0.1:9000",
            "certificate of a.example, b.example until 2027-01-01T00:00:00.000Z in",
            "  /etc/tls.crt",
            "2 buckets with 12,345 objects and 1 other version, 5.00 GiB",
            "2 requests under way; changes are refused until 'ringcask resume'",
            "",
            "DRIVE  STATE      OBJECTS   LOG       FREE      OF        DIRECTORY",
            "0      read-only  5.00 GiB  1.00 MiB  3.00 MiB  5.00 TiB  /srv/a",
            "",
            "CORE  DRIVE  STATE                OBJECTS   BUFFERS",
            "0     0      serving, drive full  3.00 MiB  0",
            "1     0      read-only            3.00 MiB  1",
            "",
            "core 1, log: writing log-00000003: Input/output error (os error 5), which is a",
            "  sentence that no terminal has room for in one line",
            "",
            "damage in data-00000002 at offset 8192: it rotted; data of b/k?[2J",
            "",
            "core 1: 11 more damaged places stand in its log",
        ];
        assert_eq!(show_within(WIDTH, &answer).lines().collect::<Vec<_>>(), expected);
        assert!(expected.iter().all(|line| line.chars().count() <= WIDTH));
    }
}
