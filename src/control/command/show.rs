//! Answers as a person reads them: tables and short lists of at most 80 columns.

use serde_json::Value;

/// Columns of a terminal.
pub(super) const WIDTH: usize = 80;

/// Spaces between columns.
const GAP: usize = 2;

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

/// A table whose columns are as wide as they need to be; the widest are cut if a line would be too long.
pub(super) fn table(head: &[&str], rows: &[Value], row: impl Fn(&Value) -> Vec<String>) -> String {
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows.iter().map(row)).collect();
    let columns = lines[0].len();
    let length = |text: &String| text.chars().count();
    let mut widths: Vec<usize> = (0..columns)
        .map(|column| lines.iter().map(|line| length(&line[column])).max().unwrap_or_default())
        .collect();
    while widths.iter().sum::<usize>() + GAP * (columns - 1) > WIDTH {
        let widest = (0..columns).max_by_key(|column| widths[*column]).unwrap_or_default();
        widths[widest] -= 1;
    }
    let mut out = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| cut(cell, *width)).collect();
        let joined = cells.join(&" ".repeat(GAP));
        out.push_str(joined.trim_end());
        out.push('\n');
    }
    out
}

/// A text of exactly `width` characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return format!("{text:<width$}");
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        let long = "x".repeat(100);
        let answer = json!({ "keys": [{ "accessKeyId": long, "user": long, "active": true,
            "created": "2026-11-22T10:00:00.000Z", "rotated": "2026-11-22T10:00:00.000Z" }] });
        for line in keys(&answer).lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(keys(&answer).contains('…'));
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
