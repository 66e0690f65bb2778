//! The house rules that a compiler does not know, held by a test.
//!
//! Each rule is a row of a table below; each failure names the file, the line and the fix. Exceptions are
//! named lists that only shrink: an exception that is no longer needed is a failure too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Layers and their ranks. A layer imports only layers of a lower rank; siblings of one rank don't know
/// each other.
const LAYERS: &[(&str, u8)] = &[
    ("base", 0),
    ("io", 1),
    ("ring", 2),
    ("hash", 2),
    ("crypt", 2),
    ("http", 2),
    ("engine", 2),
    ("auth", 3),
    ("net", 3),
    ("s3", 4),
    ("control", 5),
    ("node", 6),
];

/// What stands beside the layers' folders, and its rank.
const ROOTS: &[(&str, u8)] = &[("lib", 7), ("main", 7)];

/// Crates that only some layers may name: the invariant behind each is an absence elsewhere.
const CRATES_FENCED: &[(&str, &[&str], &str)] = &[
    ("io_uring", &["ring"], "nothing above ring/ knows the kernel interface: go through the traits of io/"),
    // io/ only makes its buffers known to the runtime, so that sockets fill them in place.
    ("monoio", &["io", "ring", "net", "node"], "the runtime stays replaceable: go through the traits of io/"),
    // The crate `ring` by the module that its users need: `crate::ring` is another thing.
    ("aead", &["crypt"], "ciphers, nonces and keys meet in crypt/ only"),
    ("httparse", &["http"], "bytes become request heads in http/ only"),
    ("rustls", &["net", "control"], "above net/ nobody knows how bytes travel: ask Peer"),
    // net/ makes one for its tests.
    ("rcgen", &["control", "net"], "certificates are the affair of control/tls/"),
    ("webpki", &["control"], "certificates are the affair of control/tls/"),
    ("quick_xml", &["s3"], "only s3/ knows XML"),
];

/// Folders in which `unsafe` may stand.
const UNSAFE_LAYERS: &[&str] = &["ring", "hash", "io"];

/// The one file that names S3's error codes.
const ERROR_CODES_FILE: &str = "src/s3/error.rs";

/// AWS, "Error responses: list of error codes": the codes a node like ours may send.
const ERROR_CODES: &[&str] = &[
    "AccessControlListNotSupported",
    "AccessDenied",
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "BadDigest",
    "BadRequest",
    "BucketAlreadyExists",
    "BucketAlreadyOwnedByYou",
    "BucketNotEmpty",
    "ConditionalRequestConflict",
    "EntityTooLarge",
    "EntityTooSmall",
    "IdempotencyParameterMismatch",
    "IllegalLocationConstraintException",
    "IllegalVersioningConfigurationException",
    "IncompleteBody",
    "InternalError",
    "InvalidAccessKeyId",
    "InvalidArgument",
    "InvalidBucketAclWithBlockPublicAccessError",
    "InvalidBucketAclWithObjectOwnership",
    "InvalidBucketName",
    "InvalidBucketState",
    "InvalidDigest",
    "InvalidEncryptionAlgorithmError",
    "InvalidPart",
    "InvalidPartOrder",
    "InvalidPolicyDocument",
    "InvalidRange",
    "InvalidRequest",
    "InvalidRetentionPeriod",
    "InvalidTag",
    "InvalidURI",
    "InvalidWriteOffset",
    "KeyTooLongError",
    "MalformedACLError",
    "MalformedPOSTRequest",
    "MalformedPolicy",
    "MalformedXML",
    "MaxMessageLengthExceeded",
    "MaxPostPreDataLengthExceededError",
    "MetadataTooLarge",
    "MethodNotAllowed",
    "MissingContentLength",
    "MissingSecurityHeader",
    "NoSuchBucket",
    "NoSuchBucketPolicy",
    "NoSuchCORSConfiguration",
    "NoSuchKey",
    "NoSuchLifecycleConfiguration",
    "NoSuchObjectLockConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchTagSet",
    "NoSuchUpload",
    "NoSuchVersion",
    "NoSuchWebsiteConfiguration",
    "NotImplemented",
    "ObjectLockConfigurationNotFoundError",
    "OperationAborted",
    "OwnershipControlsNotFoundError",
    "PreconditionFailed",
    "ReplicationConfigurationNotFoundError",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "ServerSideEncryptionConfigurationNotFoundError",
    "ServiceUnavailable",
    "SignatureDoesNotMatch",
    "SlowDown",
    "TooManyParts",
    "UnresolvableGrantByEmailAddress",
    "XAmzContentSHA256Mismatch",
];

/// Names of what somebody could guess byte by byte, if comparing them took as long as they agree.
const GUESSABLE: &[&str] = &["hmac", "mac", "password", "secret", "secret_access_key", "signature"];

/// Files that compare such texts as others, and why nobody can measure it.
const COMPARED_PLAINLY: &[(&str, &str)] =
    &[("src/auth/keys.rs", "both secrets are the node's own: it looks whether a derived key is still good")];

/// Characters of a line. Beyond it, side-by-side diffs wrap.
const LINE_CHARACTERS_MAX: usize = 120;

/// Files whose lines may be longer, because they are tables that read best with a row to a line.
const TABLE_FILES: &[(&str, &str)] = &[
    ("src/s3/error.rs", "a row for each error: code, status and AWS's message"),
    ("src/s3/route.rs", "a row for each operation: method, sub-resource and name"),
];

/// Lines of a file. Beyond it, a file usually holds two subjects.
const FILE_LINES_MAX: usize = 900;

/// Files beyond [`FILE_LINES_MAX`], and why each is one subject all the same.
const LONG_FILES: &[(&str, &str)] = &[];

/// Beginnings of absolute paths that belong to one machine, cut in two so that this file passes.
const MACHINE_PATHS: &[(&str, &str)] = &[("/wo", "rk/"), ("/ro", "ot/"), ("/opt", "/rc"), ("/ho", "me/")];

#[test]
fn layers_import_only_downwards() {
    let mut problems = Vec::new();
    for source in sources("src") {
        let Some(rank) = source.rank() else {
            problems.push(format!(
                "{}: belongs to no layer. Move it into a layer's folder, or add its folder to LAYERS with a rank",
                source.path
            ));
            continue;
        };
        for (line, target) in source.imports() {
            let target_rank = LAYERS.iter().find(|(name, _)| *name == target).map(|(_, rank)| *rank);
            match target_rank {
                Some(_) if source.layer() == target => {}
                Some(target_rank) if target_rank < rank => {}
                Some(target_rank) => problems.push(format!(
                    "{}:{line}: {} (rank {rank}) imports {target} (rank {target_rank}). Imports go only downwards \
                     and never to a sibling: move what is shared into a layer below both",
                    source.path,
                    source.layer(),
                )),
                None => {}
            }
        }
    }
    report(&problems);
}

#[test]
fn crates_stay_behind_their_layers() {
    let mut problems = Vec::new();
    for source in sources("src") {
        for (name, layers, fix) in CRATES_FENCED {
            if layers.contains(&source.layer()) {
                continue;
            }
            for token in source.tokens.iter().filter(|token| token.text == *name) {
                problems.push(format!("{}:{}: names the crate {name}; {fix}", source.path, token.line));
            }
        }
    }
    report(&problems);
}

#[test]
fn every_module_says_what_it_is() {
    let mut problems = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")).chain(sources("benches")) {
        if !source
            .text
            .lines()
            .find(|line| !line.trim().is_empty())
            .is_some_and(|line| line.starts_with("//!"))
        {
            problems.push(format!(
                "{}: does not start with `//!`. Begin with a line that says what the module is for",
                source.path
            ));
        }
    }
    report(&problems);
}

#[test]
fn unsafe_is_fenced_and_explained() {
    let mut problems = Vec::new();
    for source in sources("src") {
        for (index, token) in source.tokens.iter().enumerate() {
            if token.text != "unsafe" {
                continue;
            }
            if !UNSAFE_LAYERS.contains(&source.layer()) {
                problems.push(format!(
                    "{}:{}: unsafe outside {UNSAFE_LAYERS:?}. Find a safe form, or move the few lines there",
                    source.path, token.line
                ));
                continue;
            }
            let next = source.tokens.get(index + 1).map_or("", |next| next.text.as_str());
            let after = source.tokens.get(index + 2).map_or("", |after| after.text.as_str());
            let is_function_type = next == "fn" && after == "(";
            let is_declaration = next == "fn" || next == "extern" || next == "trait";
            // A private function, and one that a trait demands, is explained where it is called or by the trait.
            let line = source.text.lines().nth(token.line - 1).unwrap_or_default();
            let is_private = is_declaration && !line.trim_start().starts_with("pub");
            if is_function_type || is_private {
                continue;
            }
            let wanted = if is_declaration { "Safety" } else { "SAFETY:" };
            if !source.comment_above(token.line).contains(wanted) {
                problems.push(format!(
                    "{}:{}: unsafe without a comment `{wanted}` directly above. Name the invariant that makes it \
                     sound",
                    source.path, token.line
                ));
            }
        }
    }
    report(&problems);
}

#[test]
fn s3_error_codes_have_one_home() {
    let mut problems = Vec::new();
    for source in sources("src") {
        if source.path == ERROR_CODES_FILE || source.is_test_file() {
            continue;
        }
        for literal in source.strings.iter().filter(|literal| !source.is_test_line(literal.line)) {
            let is_code =
                ERROR_CODES.iter().any(|code| literal.text == *code) || literal.text.contains("<Code>");
            if is_code {
                problems.push(format!(
                    "{}:{}: the S3 error code {:?} outside {ERROR_CODES_FILE}. Return a typed error and give it its \
                     code there",
                    source.path, literal.line, literal.text
                ));
            }
        }
    }
    report(&problems);
}

#[test]
fn signatures_and_secrets_are_compared_in_constant_time() {
    let mut problems = Vec::new();
    for source in sources("src") {
        if source.is_test_file() {
            continue;
        }
        let is_guessable = |index: usize| {
            let text = source.text_at(index);
            GUESSABLE.contains(&text) || (source.layer() == "auth" && text == "expected")
        };
        // An operand is a path or a call: its words stand near, and on the same side of what ends it.
        let is_end =
            |index: &usize| ["", ",", ";", "{", "}", "|", "=", "!"].contains(&source.text_at(*index));
        let lines: Vec<usize> = (1..source.tokens.len())
            .filter(|at| ["=", "!"].contains(&source.text_at(*at)) && source.text_at(at + 1) == "=")
            .filter(|at| source.text_at(at - 1) != "=" && !source.is_test_line(source.tokens[*at].line))
            .filter(|at| {
                let before = (at.saturating_sub(8)..*at).rev().take_while(|index| !is_end(index));
                let after = (at + 2..at + 10).take_while(|index| !is_end(index));
                before.chain(after).any(is_guessable)
            })
            .map(|at| source.tokens[at].line)
            .collect();
        let excused = COMPARED_PLAINLY.iter().any(|(path, _)| *path == source.path);
        if excused && lines.is_empty() {
            problems
                .push(format!("{}: compares nothing plainly. Remove it from COMPARED_PLAINLY", source.path));
        }
        for line in lines.iter().filter(|_| !excused) {
            problems.push(format!(
                "{}:{line}: a signature or a secret is compared with == or !=. Use subtle's ct_eq",
                source.path
            ));
        }
    }
    report(&problems);
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let mut problems = Vec::new();
    for source in sources("src") {
        let text = |index: usize| source.text_at(index);
        let derives = (0..source.tokens.len()).filter(|at| text(*at) == "derive" && text(at + 1) == "(");
        for at in derives {
            let close = (at..source.tokens.len()).find(|index| text(*index) == ")").unwrap_or(at);
            if !(at..close).any(|index| text(index) == "Debug") {
                continue;
            }
            let ends = |index: &usize| ["{", ";", "("].contains(&text(*index)) && text(index - 1) != "pub";
            let open =
                (close + 1..source.tokens.len()).filter(|index| text(index - 1) != "derive").find(ends);
            let Some(open) = open.filter(|open| text(*open) == "{" && *open < close + 24) else { continue };
            let end = (open..source.tokens.len()).find(|index| text(*index) == "}").unwrap_or(open);
            for field in (open..end).filter(|index| text(index + 1) == ":") {
                let name = text(field);
                let is_secret = ["secret", "password"].iter().any(|word| name.contains(word));
                let until = (field..end).find(|index| text(*index) == ",").unwrap_or(end);
                let is_safe =
                    |index| text(index).contains("Secret") || ["bool", "Key"].contains(&text(index));
                if is_secret && !(field..until).any(is_safe) {
                    problems.push(format!(
                        "{}:{}: {name} would be printed by the derived Debug. Make it a Secret, or write Debug by hand",
                        source.path, source.tokens[field].line
                    ));
                }
            }
        }
    }
    report(&problems);
}

#[test]
fn nothing_is_left_unwritten() {
    let mut problems = Vec::new();
    for source in sources("src") {
        for pair in source.tokens.windows(2) {
            let unwritten =
                (pair[0].text == "todo" || pair[0].text == "unimplemented") && pair[1].text == "!";
            if unwritten {
                problems.push(format!("{}:{}: {}!. Write it", source.path, pair[0].line, pair[0].text));
            }
        }
        for (line, comment) in &source.comments {
            if ["TODO", "FIXME", "XXX"].iter().any(|mark| comment.contains(mark)) {
                problems.push(format!(
                    "{}:{line}: a note to do something later. Do it, or say why it is as it is",
                    source.path
                ));
            }
        }
    }
    report(&problems);
}

#[test]
fn lines_and_files_stay_readable() {
    let mut problems = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")).chain(sources("benches")) {
        let is_table = TABLE_FILES.iter().any(|(path, _)| *path == source.path);
        let long = |line: &str| line.chars().count() > LINE_CHARACTERS_MAX;
        for (index, line) in source.text.lines().enumerate() {
            if long(line) && !is_table {
                problems.push(format!(
                    "{}:{}: longer than {LINE_CHARACTERS_MAX} characters. Break it",
                    source.path,
                    index + 1
                ));
            }
        }
        if is_table && !source.text.lines().any(long) {
            problems.push(format!("{}: has no long lines left. Remove it from TABLE_FILES", source.path));
        }
        let lines = source.text.lines().count();
        let excused = LONG_FILES.iter().any(|(path, _)| *path == source.path);
        if lines > FILE_LINES_MAX && !excused {
            problems.push(format!(
                "{}: {lines} lines, more than {FILE_LINES_MAX}. Split it by subject, or name it in LONG_FILES with \
                 the reason",
                source.path
            ));
        }
        if lines <= FILE_LINES_MAX && excused {
            problems.push(format!("{}: no longer long. Remove it from LONG_FILES", source.path));
        }
    }
    for (path, _) in LONG_FILES.iter().chain(TABLE_FILES) {
        if !root().join(path).exists() {
            problems.push(format!("{path}: is gone. Remove its exception"));
        }
    }
    report(&problems);
}

#[test]
fn every_attack_of_the_table_has_its_test() {
    let text = fs::read_to_string(root().join("docs/SECURITY.md")).unwrap();
    let functions: BTreeSet<String> = ["src", "tests"]
        .into_iter()
        .flat_map(sources)
        .flat_map(|source| {
            let is_name = |at: &usize| source.text_at(at - 1) == "fn";
            (1..source.tokens.len())
                .filter(is_name)
                .map(|at| source.text_at(at).to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    let rows = text.lines().enumerate().filter(|(_, line)| line.starts_with("| ") && line.ends_with("` |"));
    let mut problems = Vec::new();
    for (index, row) in rows {
        let tests = row.rsplit("| ").next().unwrap_or_default();
        for name in tests.split('`').skip(1).step_by(2).filter(|name| !functions.contains(*name)) {
            problems.push(format!(
                "docs/SECURITY.md:{}: there is no test {name}. Name the one that is",
                index + 1
            ));
        }
    }
    report(&problems);
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    let mut problems = Vec::new();
    for path in files(&root()) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (index, line) in text.lines().enumerate() {
            for (first, second) in MACHINE_PATHS {
                let machine_path = format!("{first}{second}");
                let found = line.match_indices(&machine_path).any(|(at, _)| {
                    !line[..at]
                        .ends_with(|before: char| before.is_alphanumeric() || "./_-}%$".contains(before))
                });
                if found {
                    problems.push(format!(
                        "{}:{}: names {machine_path}. Use a path relative to the checkout or a temporary folder",
                        relative(&path),
                        index + 1
                    ));
                }
            }
        }
    }
    report(&problems);
}

/// Fails with all problems at once, each on its line.
fn report(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// One Rust file, taken apart just far enough for the rules above.
struct Source {
    /// Relative to the checkout, with `/`.
    path: String,
    text: String,
    tokens: Vec<Token>,
    strings: Vec<Token>,
    /// Line and text of each comment line.
    comments: Vec<(usize, String)>,
    /// Lines of `#[cfg(test)]` items.
    test_lines: BTreeSet<usize>,
}

struct Token {
    line: usize,
    text: String,
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (tokens, strings, comments) = lex(&text);
        let test_lines = test_lines(&tokens);
        Self { path: relative(path), text, tokens, strings, comments, test_lines }
    }

    /// The layer, or `lib` and `main` for the two files beside the layers.
    fn layer(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.split(['/', '.']).next().unwrap_or_default()
    }

    fn rank(&self) -> Option<u8> {
        LAYERS.iter().chain(ROOTS).find(|(name, _)| *name == self.layer()).map(|(_, rank)| *rank)
    }

    fn is_test_file(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    fn is_test_line(&self, line: usize) -> bool {
        self.test_lines.contains(&line)
    }

    /// How many `super::` lead from this file's top level to the crate's root.
    fn depth(&self) -> usize {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let parts = inner.split('/').count();
        if inner.ends_with("mod.rs") || parts == 1 { parts - 1 } else { parts }
    }

    /// Line and name of each first segment below the crate's root: `crate::x`, `ringcask::x`,
    /// `crate::{x, y::z}`, and as many `super::` as lead there.
    fn imports(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut inline_modules: Vec<usize> = Vec::new();
        let mut braces = 0;
        let mut index = 0;
        while index < self.tokens.len() {
            match self.text_at(index) {
                "{" => {
                    braces += 1;
                    if index >= 2 && self.text_at(index - 2) == "mod" {
                        inline_modules.push(braces);
                    }
                }
                "}" => {
                    if inline_modules.last() == Some(&braces) {
                        inline_modules.pop();
                    }
                    braces -= 1;
                }
                "crate" | "ringcask" if self.text_at(index + 1) == "::" => self.heads(index + 2, &mut found),
                "super" if index < 2 || self.text_at(index - 2) != "super" => {
                    let mut supers = 0;
                    let mut after = index;
                    while self.text_at(after) == "super" && self.text_at(after + 1) == "::" {
                        supers += 1;
                        after += 2;
                    }
                    if supers > 0 && supers >= self.depth() + inline_modules.len() {
                        self.heads(after, &mut found);
                    }
                }
                _ => {}
            }
            index += 1;
        }
        found
    }

    /// The first segments of a path or of a braced group of paths that starts at token `index`.
    fn heads(&self, index: usize, found: &mut Vec<(usize, String)>) {
        if self.text_at(index) != "{" {
            if let Some(token) = self.tokens.get(index) {
                found.push((token.line, token.text.clone()));
            }
            return;
        }
        let mut depth = 0;
        for at in index..self.tokens.len() {
            match self.text_at(at) {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
            let starts_path = self.text_at(at) == "{" || self.text_at(at) == ",";
            if depth == 1
                && starts_path
                && let Some(token) = self.tokens.get(at + 1)
            {
                found.push((token.line, token.text.clone()));
            }
        }
    }

    fn text_at(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| token.text.as_str())
    }

    /// The comment that explains `line`: on it, or in the lines above up to the end of the statement before.
    fn comment_above(&self, line: usize) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        let mut comment = lines[line - 1].to_owned();
        for above in lines[..line - 1].iter().rev().take(30) {
            let above = above.trim();
            let is_comment = above.starts_with("//");
            let ends_statement = above.is_empty() || above.ends_with([';', '}']) || above.ends_with("};");
            if !is_comment && ends_statement {
                break;
            }
            comment.push_str(above);
        }
        comment
    }
}

/// Splits Rust source into words and punctuation, string literals, and comment lines.
#[allow(clippy::type_complexity)]
fn lex(text: &str) -> (Vec<Token>, Vec<Token>, Vec<(usize, String)>) {
    let (mut tokens, mut strings, mut comments) = (Vec::new(), Vec::new(), Vec::new());
    let characters: Vec<char> = text.chars().collect();
    let at = |index: usize| characters.get(index).copied().unwrap_or('\0');
    let (mut index, mut line) = (0, 1);
    while index < characters.len() {
        let start = index;
        let start_line = line;
        let character = at(index);
        if character == '/' && at(index + 1) == '/' {
            while index < characters.len() && at(index) != '\n' {
                index += 1;
            }
            comments.push((line, characters[start..index].iter().collect()));
        } else if character == '/' && at(index + 1) == '*' {
            while index < characters.len() && !(at(index) == '*' && at(index + 1) == '/') {
                line += usize::from(at(index) == '\n');
                index += 1;
            }
            index += 2;
            comments.push((start_line, characters[start..index.min(characters.len())].iter().collect()));
        } else if let Some(end) = raw_string_end(&characters, index) {
            let body: String = characters[start..end].iter().collect();
            line += body.matches('\n').count();
            let hashes =
                body.chars().skip_while(|c| *c != '#' && *c != '"').take_while(|c| *c == '#').count();
            let open = body.find('"').unwrap_or(0) + 1;
            strings.push(Token { line: start_line, text: body[open..body.len() - hashes - 1].to_owned() });
            index = end;
        } else if character == '"' {
            index += 1;
            while index < characters.len() && at(index) != '"' {
                line += usize::from(at(index) == '\n');
                index += if at(index) == '\\' {
                    line += usize::from(at(index + 1) == '\n');
                    2
                } else {
                    1
                };
            }
            let body = characters[start + 1..index.min(characters.len())].iter().collect();
            strings.push(Token { line: start_line, text: body });
            index += 1;
        } else if character == '\'' {
            index = quote_end(&characters, index);
        } else if character.is_alphanumeric() || character == '_' {
            while at(index).is_alphanumeric() || at(index) == '_' {
                index += 1;
            }
            let is_byte_prefix = index == start + 1 && character == 'b' && matches!(at(index), '"' | '\'');
            if !is_byte_prefix {
                tokens.push(Token { line, text: characters[start..index].iter().collect() });
            }
        } else if character == ':' && at(index + 1) == ':' {
            tokens.push(Token { line, text: "::".to_owned() });
            index += 2;
        } else {
            line += usize::from(character == '\n');
            if !character.is_whitespace() {
                tokens.push(Token { line, text: character.to_string() });
            }
            index += 1;
        }
    }
    (tokens, strings, comments)
}

/// Where a raw string that starts at `index` ends (`r"…"`, `br#"…"#`), if one starts there.
fn raw_string_end(characters: &[char], index: usize) -> Option<usize> {
    let at = |index: usize| characters.get(index).copied().unwrap_or('\0');
    if index > 0 && (at(index - 1).is_alphanumeric() || at(index - 1) == '_') {
        return None;
    }
    let mut open = index + usize::from(at(index) == 'b');
    if at(open) != 'r' {
        return None;
    }
    open += 1;
    let mut hashes = 0;
    while at(open) == '#' {
        hashes += 1;
        open += 1;
    }
    if at(open) != '"' {
        return None;
    }
    let mut close = open + 1;
    while close < characters.len() {
        if at(close) == '"' && (1..=hashes).all(|offset| at(close + offset) == '#') {
            return Some(close + hashes + 1);
        }
        close += 1;
    }
    None
}

/// Past a character literal, or past the quote of a lifetime.
fn quote_end(characters: &[char], index: usize) -> usize {
    let at = |index: usize| characters.get(index).copied().unwrap_or('\0');
    if at(index + 1) == '\\' {
        let mut close = index + 3;
        while close < characters.len() && at(close) != '\'' {
            close += 1;
        }
        return close + 1;
    }
    if at(index + 2) == '\'' { index + 3 } else { index + 1 }
}

/// The lines of items under `#[cfg(test)]`.
fn test_lines(tokens: &[Token]) -> BTreeSet<usize> {
    let text = |index: usize| tokens.get(index).map_or("", |token: &Token| token.text.as_str());
    let mut lines = BTreeSet::new();
    for index in 0..tokens.len() {
        let is_gate = ["#", "[", "cfg", "(", "test", ")", "]"]
            .iter()
            .enumerate()
            .all(|(offset, expected)| text(index + offset) == *expected);
        if !is_gate {
            continue;
        }
        let mut braces = 0;
        for token in &tokens[index..] {
            match token.text.as_str() {
                "{" => braces += 1,
                "}" => braces -= 1,
                _ => {}
            }
            if braces == 0 && (token.text == "}" || token.text == ";") {
                lines.extend(tokens[index].line..=token.line);
                break;
            }
        }
    }
    lines
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// The Rust files under a folder of the checkout.
fn sources(folder: &str) -> Vec<Source> {
    let folder = root().join(folder);
    files(&folder)
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| Source::read(path))
        .collect()
}

/// All files below a folder, without what git ignores and git's own.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if ["target", "data", ".git", ".venv", "__pycache__"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn the_lexer_tells_code_from_comments_and_strings() {
    let text = "// unsafe crate::node\nlet a = \"crate::s3 \\\" x\"; let c = '\"'; let r = r#\"io_uring\"#;\n\
                use crate::{auth, base::x};\nfn f<'a>(x: &'a str) { super::y() } /* todo!\n */ z";
    let (tokens, strings, comments) = lex(text);
    let words: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    assert!(
        !words.contains(&"unsafe") && !words.contains(&"io_uring") && !words.contains(&"todo"),
        "{words:?}"
    );
    assert_eq!(strings.iter().map(|s| s.text.as_str()).collect::<Vec<_>>(), ["crate::s3 \\\" x", "io_uring"]);
    assert_eq!(comments.len(), 2);
    assert_eq!(tokens.last().map(|token| token.line), Some(5));
    let source = Source {
        path: "src/http/body.rs".to_owned(),
        text: text.to_owned(),
        tokens,
        strings,
        comments,
        test_lines: BTreeSet::new(),
    };
    let names: Vec<String> = source.imports().into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["auth", "base"]);
}
