//! Answers as a person reads them: tables and short lists that fit the terminal.

use std::io::IsTerminal;

use serde_json::Value;

use super::text::width;

/// Spaces between columns.
const GAP: usize = 2;

/// A column that holds more is not made narrower than this: what is left of an id or a size could not be read.
const COLUMN_MIN: usize = 16;

pub fn whoami(answer: &Value) -> String {
    let account = match text(answer, "accountName") {
        name if name.is_empty() => text(answer, "account"),
        name => format!("{} ({name})", text(answer, "account")),
    };
    fields(&[
        ("arn", text(answer, "arn")),
        ("account", account),
        ("canonical id", text(answer, "canonicalId")),
    ])
}

pub fn log_level(answer: &Value) -> String {
    fields(&[("level", text(answer, "level")), ("at the start", text(answer, "configured"))])
}

pub fn account(answer: &Value) -> String {
    fields(&[
        ("id", text(answer, "id")),
        ("name", text(answer, "name")),
        ("email", text(answer, "email")),
        ("canonical id", text(answer, "canonicalId")),
        ("created", date(answer, "created")),
    ])
}

pub fn accounts(answer: &Value) -> String {
    table(&["ID", "NAME", "EMAIL", "CREATED"], rows(answer, "accounts"), |account| {
        vec![text(account, "id"), text(account, "name"), text(account, "email"), date(account, "created")]
    })
}

pub fn user(answer: &Value) -> String {
    fields(&[
        ("arn", text(answer, "arn")),
        ("id", text(answer, "id")),
        ("policies", list(answer, "policies")),
        ("groups", list(answer, "groups")),
    ])
}

pub fn users(answer: &Value) -> String {
    table(&["NAME", "POLICIES", "GROUPS", "KEYS", "CREATED"], rows(answer, "users"), |user| {
        vec![
            text(user, "name"),
            list(user, "policies"),
            list(user, "groups"),
            text(user, "keys"),
            date(user, "created"),
        ]
    })
}

pub fn groups(answer: &Value) -> String {
    table(&["NAME", "POLICIES", "MEMBERS", "CREATED"], rows(answer, "groups"), |group| {
        vec![text(group, "name"), list(group, "policies"), list(group, "members"), date(group, "created")]
    })
}

pub fn policies(answer: &Value) -> String {
    table(&["NAME", "KIND", "UPDATED"], rows(answer, "policies"), |policy| {
        let kind = if policy["builtIn"] == true { "built in" } else { "own" };
        vec![text(policy, "name"), kind.to_owned(), date(policy, "updated")]
    })
}

/// A policy's document as it was stored.
pub fn document(answer: &Value) -> String {
    let document = answer["document"].as_str().unwrap_or_default();
    if document.ends_with('\n') { document.to_owned() } else { format!("{document}\n") }
}

/// A key with its secret, and two variables to paste.
pub fn new_key(answer: &Value) -> String {
    let holder = match text(answer, "user") {
        user if user.is_empty() => format!("the root of account {}", text(answer, "account")),
        user => format!("user {user}"),
    };
    format!(
        "access key of {holder}; the secret is shown this once:\n\n\
         export AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\n",
        quoted(answer["accessKeyId"].as_str().unwrap_or_default()),
        quoted(answer["secretAccessKey"].as_str().unwrap_or_default()),
    )
}

pub fn keys(answer: &Value) -> String {
    table(&["ID", "OF", "STATE", "CREATED", "ROTATED"], rows(answer, "keys"), |key| {
        let holder = match text(key, "user") {
            user if user.is_empty() => "(root)".to_owned(),
            user => user,
        };
        let state = if key["active"] == true { "active" } else { "inactive" };
        vec![text(key, "accessKeyId"), holder, state.to_owned(), date(key, "created"), date(key, "rotated")]
    })
}

pub fn kms_keys(answer: &Value) -> String {
    table(&["NAME", "VERSION", "CREATED", "ROTATED"], rows(answer, "keys"), |key| {
        vec![text(key, "name"), text(key, "version"), date(key, "created"), date(key, "rotated")]
    })
}

/// A word for a shell: quoted where it must be.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+/=@%:,".contains(&byte);
    if word.bytes().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// Text of a field; numbers as text, null as nothing. What a terminal would obey is taken out.
pub(super) fn text(value: &Value, name: &str) -> String {
    let text = match &value[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    text.replace(char::is_control, "?")
}

/// The day of a moment.
fn date(value: &Value, name: &str) -> String {
    text(value, name).chars().take(10).collect()
}

/// Names of a list.
fn list(value: &Value, name: &str) -> String {
    let names = value[name].as_array().into_iter().flatten().filter_map(Value::as_str);
    names.collect::<Vec<_>>().join(",").replace(char::is_control, "?")
}

pub(super) fn rows<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map_or(&[], Vec::as_slice)
}

fn fields(fields: &[(&str, String)]) -> String {
    let shown = fields.iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(name, value)| format!("{:<13} {value}\n", format!("{name}:"))).collect()
}

/// A table whose columns are as wide as they need to be. Of a line that is too long for a terminal, what stands in the
/// widest columns goes on below; where columns would become too narrow for that, each row is a list. Where the output
/// goes to a file or another program, every row is one line.
pub(super) fn table(head: &[&str], rows: &[Value], row: impl Fn(&Value) -> Vec<String>) -> String {
    let width = if std::io::stdout().is_terminal() { width() } else { usize::MAX };
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    table_within(width, &std::iter::once(head).chain(rows.iter().map(row)).collect::<Vec<_>>())
}

/// A table of at most `width` columns of the terminal; the first row is its head.
fn table_within(width: usize, rows: &[Vec<String>]) -> String {
    let columns = rows[0].len();
    let length = |text: &String| text.chars().count();
    let mut widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| length(&row[column])).max().unwrap_or_default())
        .collect();
    while widths.iter().sum::<usize>() + GAP * (columns - 1) > width {
        let widest = (0..columns).max_by_key(|column| widths[*column]).unwrap_or_default();
        if widths[widest] <= COLUMN_MIN {
            return lists_within(width, rows);
        }
        widths[widest] -= 1;
    }
    let mut out = String::new();
    for row in rows {
        let cells: Vec<Vec<char>> = row.iter().map(|cell| cell.chars().collect()).collect();
        let lines = cells.iter().zip(&widths).map(|(cell, width)| cell.len().div_ceil((*width).max(1)));
        for line in 0..lines.max().unwrap_or_default().max(1) {
            let part = |(cell, width): (&Vec<char>, &usize)| {
                let part: String = cell.iter().skip(line * width).take(*width).collect();
                format!("{part:<width$}")
            };
            let joined = cells.iter().zip(&widths).map(part).collect::<Vec<_>>().join(&" ".repeat(GAP));
            out.push_str(joined.trim_end());
            out.push('\n');
        }
    }
    out
}

/// Rows below each other, each a list of what it has under which head.
fn lists_within(width: usize, rows: &[Vec<String>]) -> String {
    let Some((head, rows)) = rows.split_first() else { return String::new() };
    let names = head.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let room = width.saturating_sub(names + GAP).max(1);
    let mut out = String::new();
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        for (name, cell) in head.iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
            let characters: Vec<char> = cell.chars().collect();
            for (line, part) in characters.chunks(room).enumerate() {
                let name = if line == 0 { name } else { "" };
                out += &format!("{name:<names$}{}{}\n", " ".repeat(GAP), part.iter().collect::<String>());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::text::WIDTH;
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_it_needs_to_be() {
        let answer = json!({ "policies": [
            { "name": "readonly", "builtIn": true, "updated": null },
            { "name": "p", "builtIn": false, "updated": "2026-11-22T10:00:00.000Z" },
        ]});
        let expected = "NAME      KIND      UPDATED\nreadonly  built in\np         own       2026-11-22\n";
        assert_eq!(policies(&answer), expected);
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let (long, user) = (format!("{}end", "x".repeat(97)), "u".repeat(60));
        let rows = [row(&["ID", "OF", "STATE"]), row(&[&long, &user, "active"]), row(&["k", "", "inactive"])];
        let shown = table_within(WIDTH, &rows);
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
        // Nothing is left out, and columns stay columns.
        let column = |from: usize, to: usize| {
            let part = |line: &str| line.chars().skip(from).take(to - from).collect::<String>();
            shown.lines().map(part).collect::<Vec<_>>().concat().replace(' ', "")
        };
        let (of, state) = (shown.find("OF").unwrap(), shown.find("STATE").unwrap());
        assert_eq!(column(0, of), format!("ID{long}k"));
        assert_eq!(column(of, state), format!("OF{user}"));
        assert_eq!(column(state, WIDTH), "STATEactiveinactive");
        // For other programs, a row is a line.
        assert_eq!(table_within(usize::MAX, &rows).lines().count(), 3);
    }

    #[test]
    fn where_columns_would_be_too_narrow_a_row_is_a_list() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let head = row(&["DRIVE", "STATE", "OBJECTS", "LOG", "FREE", "OF", "DIRECTORY"]);
        let drive = |number: &str, directory: &str| {
            row(&[number, "read-only", "5.00 GiB", "1.00 MiB", "", "5.00 TiB", directory])
        };
        let rows = [head, drive("0", "/srv/a"), drive("1", &"/x".repeat(25))];
        assert!(table_within(80, &rows).starts_with("DRIVE  STATE      OBJECTS "), "a table where it fits");
        let expected = [
            "DRIVE      0",
            "STATE      read-only",
            "OBJECTS    5.00 GiB",
            "LOG        1.00 MiB",
            "OF         5.00 TiB",
            "DIRECTORY  /srv/a",
            "",
            "DRIVE      1",
            "STATE      read-only",
            "OBJECTS    5.00 GiB",
            "LOG        1.00 MiB",
            "OF         5.00 TiB",
            "DIRECTORY  /x/x/x/x/x/x/x/x/x/x/x/x/x/x/",
            "           x/x/x/x/x/x/x/x/x/x/x",
        ];
        assert_eq!(table_within(40, &rows).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        let answer =
            json!({ "accounts": [{ "id": "1", "name": "a\u{1b}[2Jb", "email": "", "created": null }] });
        assert!(!accounts(&answer).contains('\u{1b}'));
    }

    #[test]
    fn a_secret_can_be_pasted_whatever_is_in_it() {
        let shown = |secret: &str| {
            new_key(
                &json!({ "accessKeyId": "minio", "secretAccessKey": secret, "user": "u", "account": "1" }),
            )
        };
        assert!(shown("abc123").contains("export AWS_SECRET_ACCESS_KEY=abc123\n"));
        assert!(shown("a'b $c").contains("export AWS_SECRET_ACCESS_KEY='a'\\''b $c'\n"));
    }
}
