//! Text for a terminal of 80 columns, or fewer.

use crate::engine::VersionId;
use crate::engine::offline::{ObjectName, hex};
use crate::s3::version;

/// Columns of a terminal: what a wider one shows reads as it does on this.
pub const WIDTH: usize = 80;

/// Columns of the narrowest terminal that lines are broken for.
const WIDTH_MIN: usize = 40;

/// Columns of the terminal that standard output is, [`WIDTH`] at most; of what is no terminal, so many.
pub fn width() -> usize {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        // One that does not know how wide it is says 0.
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col).clamp(WIDTH_MIN, WIDTH),
        _ => WIDTH,
    }
}

/// A number with its thousands apart.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes to three digits, in binary units.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1000.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    let digits = if unit == "B" || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

/// How far something is, as a share of one; shorter on a narrow terminal.
pub fn bar(width: usize, share: f64) -> String {
    let length = width.saturating_sub(WIDTH - 24).max(4);
    let full = (share.clamp(0.0, 1.0) * length as f64).round() as usize;
    format!("[{}{}]", "#".repeat(full), "-".repeat(length - full))
}

/// Bytes of a key or a name as text: what a terminal would obey, and what is no UTF-8, is escaped.
pub fn printable(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                out.extend(character.escape_default());
            } else {
                out.push(character);
            }
        }
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

/// Bucket and key of an object.
pub fn place(object: &ObjectName) -> String {
    let bucket = match &object.bucket_name {
        Some(name) => printable(name.as_bytes()),
        None => format!("(bucket {:016x})", object.bucket),
    };
    if object.key.is_empty() { bucket } else { format!("{bucket}/{}", printable(&object.key)) }
}

/// An object as a message names it.
pub fn object(object: &ObjectName) -> String {
    let place = place(object);
    match (object.version, &object.upload) {
        (Some(VersionId::Numbered(sequence)), _) => {
            format!("{place} version {}", version::text(VersionId::Numbered(sequence)))
        }
        (_, Some(id)) => format!("{place} upload {}", hex(id)),
        _ => place,
    }
}

/// A label and text behind it, in lines of at most `width` columns where words allow it.
pub fn labelled(width: usize, label: &str, text: &str) -> String {
    const INDENT: usize = 14;
    let mut out = String::new();
    let mut line = format!("    {label:<10}");
    let mut is_empty = true;
    for word in text.split(' ') {
        let length = line.chars().count() + usize::from(!is_empty) + word.chars().count();
        if length > width && !is_empty {
            out.push_str(line.trim_end());
            out.push('\n');
            line = " ".repeat(INDENT);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!(
            [number(0), number(999), number(1000), number(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [bytes(0), bytes(999), bytes(1024), bytes(1_500_000)],
            ["0 B", "999 B", "1.00 KiB", "1.43 MiB"]
        );
        assert_eq!(bytes(u64::MAX), "16384 PiB");
    }

    #[test]
    fn text_fits_a_terminal_and_does_nothing_to_it() {
        for width in [WIDTH, 60, WIDTH_MIN] {
            let text = labelled(width, "there is", &"word ".repeat(60));
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        }
        assert_eq!(printable(b"a\x1b[2Jb\xff\xc3\xa4\n"), "a\\u{1b}[2Jb\\xff\u{e4}\\n");
    }
}
