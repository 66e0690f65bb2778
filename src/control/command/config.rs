//! `ringcask config`: every setting of a running node, with where it came from.

use serde_json::Value;

use super::show::{rows, text};
use super::status::folded;
use super::text::WIDTH;

/// A line for each setting; values that are too long go on below.
pub fn show(answer: &Value) -> String {
    let settings: Vec<[String; 3]> = rows(answer, "settings")
        .iter()
        .map(|setting| {
            let from = match setting["origin"].as_str() {
                Some("default") => "(default)".to_owned(),
                _ => text(setting, "from"),
            };
            let value = match text(setting, "value") {
                value if value.is_empty() => "-".to_owned(),
                value => value,
            };
            [text(setting, "name"), value, from]
        })
        .collect();
    let width = |column: usize, most: usize| {
        let widest = settings.iter().map(|setting| setting[column].chars().count()).max();
        widest.unwrap_or(0).min(most)
    };
    let (names, values) = (width(0, 26), width(1, 26));
    let mut out = String::new();
    for [name, value, from] in &settings {
        let line = format!("{name:<names$}  {value:<values$}  {from}");
        if line.chars().count() <= WIDTH {
            out += &format!("{}\n", line.trim_end());
            continue;
        }
        out += &format!("{name}\n");
        for part in [value, from] {
            let characters: Vec<char> = part.chars().collect();
            for chunk in characters.chunks(WIDTH - 4) {
                out += &format!("    {}\n", chunk.iter().collect::<String>());
            }
        }
    }
    for note in rows(answer, "notes").iter().filter_map(Value::as_str) {
        out += &format!("\n{}", folded(note));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_stand_in_columns_and_long_ones_below_their_names() {
        let long = format!("/srv/{}", "x".repeat(90));
        let setting = |name: &str, value: &str, origin: &str, from: &str| -> Value {
            json!({ "name": name, "value": value, "origin": origin, "from": from })
        };
        let shown = show(&json!({ "settings": [
            setting("data", &long, "environment", "RINGCASK_DATA"),
            setting("listen", "127.0.0.1:9000", "option", "--listen"),
            setting("domain", "", "default", ""),
        ], "notes": ["one drive too many"] }));
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!((lines[0], lines[3]), ("data", "    RINGCASK_DATA"));
        assert_eq!(lines[4], "listen  127.0.0.1:9000              --listen");
        assert_eq!(lines[5], "domain  -                           (default)");
        assert_eq!(lines[6..], ["", "one drive too many"]);
    }
}
