//! How a node is, as a person reads it.

use serde_json::Value;

use super::show::{WIDTH, rows, table, text};
use super::text;

/// A line for each core, and below it a sentence for each failure and each place that is damaged.
pub fn show(answer: &Value) -> String {
    let mut out = format!("ringcask {}: {}\n\n", text(answer, "version"), text(answer, "status"));
    out += &table(&["CORE", "DRIVE", "STATE", "FREE", "OF", "DIRECTORY"], rows(answer, "cores"), |core| {
        let state = match core["full"] == true && core["state"] == "serving" {
            true => "serving, drive full".to_owned(),
            false => text(core, "state"),
        };
        let (free, total) = (bytes(core, "bytesFree"), bytes(core, "bytesTotal"));
        vec![text(core, "core"), text(core, "drive"), state, free, total, text(core, "directory")]
    });
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
            out += &format!("\ncore {number}: {hidden} more damaged places stand in its log\n");
        }
    }
    out
}

fn bytes(value: &Value, name: &str) -> String {
    value[name].as_u64().map(text::bytes).unwrap_or_default()
}

/// A sentence in lines that fit a terminal, those after the first indented. A longer word keeps its line.
fn folded(text: &str) -> String {
    const INDENT: &str = "  ";
    let (mut out, mut width) = (String::new(), 0);
    for word in text.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            out += "\n";
            out += INDENT;
            width = INDENT.len();
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out += word;
        width += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_core_has_a_line_and_each_failure_a_sentence() {
        let core = |core: u64, state: &str, failures: Value| {
            json!({ "core": core, "drive": 0, "directory": "/srv/a", "state": state, "failures": failures,
                "full": core == 0, "bytesFree": 3 << 20, "bytesTotal": 5_u64 << 40 })
        };
        let damages = json!({ "count": 12, "places": [{ "file": "data-00000002", "offset": 8192,
            "reason": "it rotted", "objects": ["b/k\u{1b}[2J"] }] });
        let failure = json!([{ "part": "log", "reason": "writing log-00000003: Input/output error \
            (os error 5), which is a sentence that no terminal has room for in one line" }]);
        let mut answer = json!({ "status": "read-only", "version": "0.1.0",
            "cores": [core(0, "serving", json!([])), core(1, "read-only", failure)] });
        answer["cores"][1]["damages"] = damages;
        let expected = [
            "ringcask 0.1.0: read-only",
            "",
            "CORE  DRIVE  STATE                FREE      OF        DIRECTORY",
            "0     0      serving, drive full  3.00 MiB  5.00 TiB  /srv/a",
            "1     0      read-only            3.00 MiB  5.00 TiB  /srv/a",
            "",
            "core 1, log: writing log-00000003: Input/output error (os error 5), which is a",
            "  sentence that no terminal has room for in one line",
            "",
            "damage in data-00000002 at offset 8192: it rotted; data of b/k?[2J",
            "",
            "core 1: 11 more damaged places stand in its log",
        ];
        assert_eq!(show(&answer).lines().collect::<Vec<_>>(), expected);
        assert!(show(&answer).lines().all(|line| line.chars().count() <= WIDTH));
    }
}
