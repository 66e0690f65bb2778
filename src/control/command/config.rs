//! `ringcask config`: every setting of a running node, with where it came from.

use serde_json::Value;

use super::doctor::wrapped;
use super::show::{rows, text as text_of};
use super::status::folded;
use super::text;

/// A line for each setting; values that are too long go on below.
pub fn show(answer: &Value) -> String {
    show_within(text::width(), answer)
}

fn show_within(columns: usize, answer: &Value) -> String {
    let settings: Vec<[String; 3]> = rows(answer, "settings")
        .iter()
        .map(|setting| {
            let from = match setting["origin"].as_str() {
                Some("default") => "(default)".to_owned(),
                _ => text_of(setting, "from"),
            };
            let value = match text_of(setting, "value") {
                value if value.is_empty() => "-".to_owned(),
                value => value,
            };
            [text_of(setting, "name"), value, from]
        })
        .collect();
    let width = |column: usize, most: usize| {
        let widest = settings.iter().map(|setting| setting[column].chars().count()).max();
        widest.unwrap_or(0).min(most)
    };
    let names = width(0, 26);
    // What stays beside the names, with room for a word on where a value came from.
    let values = width(1, 26.min(columns.saturating_sub(names + 13)));
    let mut out = String::new();
    for [name, value, from] in &settings {
        let line = format!("{name:<names$}  {value:<values$}  {from}");
        if line.chars().count() <= columns {
            out += &format!("{}\n", line.trim_end());
            continue;
        }
        out += &format!("{name}\n");
        for part in [value, from] {
            out += &wrapped(columns, "    ", 4, part);
        }
    }
    for note in rows(answer, "notes").iter().filter_map(Value::as_str) {
        out += &format!("\n{}", folded(columns, note));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::text::WIDTH;
    use super::*;

    #[test]
    fn settings_stand_in_columns_and_long_ones_below_their_names() {
        let long = format!("/srv/{}", "x".repeat(90));
        let setting = |name: &str, value: &str, origin: &str, from: &str| -> Value {
            json!({ "name": name, "value": value, "origin": origin, "from": from })
        };
        let answer = json!({ "settings": [
            setting("data", &long, "environment", "RINGCASK_DATA"),
            setting("listen", "127.0.0.1:9000", "option", "--listen"),
            setting("domain", "", "default", ""),
        ], "notes": ["one drive too many"] });
        for width in [WIDTH, 60, 40] {
            let shown = show_within(width, &answer);
            assert!(shown.lines().all(|line| line.chars().count() <= width), "{shown}");
        }
        let shown = show_within(WIDTH, &answer);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!((lines[0], lines[3]), ("data", "    RINGCASK_DATA"));
        assert_eq!(lines[4], "listen  127.0.0.1:9000              --listen");
        assert_eq!(lines[5], "domain  -                           (default)");
        assert_eq!(lines[6..], ["", "one drive too many"]);
    }
}
