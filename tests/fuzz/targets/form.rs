//! Posted forms: however a form arrives in pieces, it has the same fields and the same file, those that a second
//! reader finds; its policy is read or refused, and only what was signed is authentic.

use ringcask::auth::sign::{Credentials, sign_post, sign_post_v2};
use ringcask::auth::{self, Identity, Keys, PolicyError, PostPolicy, SigningKeys};
use ringcask::base::limits::FORM_BYTES_MAX;
use ringcask::http::form::{Boundary, ContentEnd, Field, File, Form, FormParser};

use super::Random;

const KEY: Credentials<'_> = Credentials {
    id: "AKIAIOSFODNN7EXAMPLE",
    secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    region: "us-east-1",
};
const NOW: u64 = 1_451_347_200_000;

/// The first line is the `Content-Type`, what follows it the body.
pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (content_type, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let Some(Ok(boundary)) = Boundary::of_content_type(content_type) else { return };
    let whole = receive(&boundary, body, || body.len().max(1));
    let mut random = Random::of(data);
    let pieces = receive(&boundary, body, || random.piece());
    // What is both wrong and too long is refused for one or the other.
    assert!(whole == pieces || (whole.is_none() && pieces.is_none()), "{whole:?}\n{pieces:?}");
    let Some(received) = whole else { return };
    if let Some(name) = boundary_text(content_type) {
        assert_eq!(read(&name, body).as_ref(), Some(&received));
    }
    judge(&received.form, &mut random);
}

#[derive(Debug, PartialEq)]
struct Received {
    form: Form,
    /// What the file holds, if it ended.
    file: Option<Vec<u8>>,
}

/// A form that arrives in pieces; `None` if it is refused or ends too early.
fn receive(boundary: &Boundary, body: &[u8], mut piece: impl FnMut() -> usize) -> Option<Received> {
    let mut parser = FormParser::new(boundary.clone());
    let mut received = 0;
    let (form, mut at) = loop {
        received = body.len().min(received + piece());
        match parser.parse(&body[..received]) {
            Ok(Some(parsed)) => break parsed,
            Ok(None) if received < body.len() => {}
            _ => return None,
        }
    };
    assert!(at <= FORM_BYTES_MAX && at <= received);
    if form.file.is_none() {
        return Some(Received { form, file: None });
    }
    let mut file = Vec::new();
    loop {
        let there = &body[at..received];
        let found = boundary.find_end(there);
        file.extend_from_slice(&there[..found.bytes]);
        match found.end {
            ContentEnd::Unknown if received == body.len() => return Some(Received { form, file: None }),
            ContentEnd::Unknown => {
                assert!(there.len() - found.bytes <= 80, "more is held back than a delimiter");
                at += found.bytes;
                received = body.len().min(received + piece());
            }
            ContentEnd::Part(_) | ContentEnd::Close => return Some(Received { form, file: Some(file) }),
        }
    }
}

/// The boundary, if it is written plainly.
fn boundary_text(content_type: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(content_type).ok()?;
    let name = text.strip_prefix("multipart/form-data; boundary=")?;
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_plain.then(|| name.to_owned())
}

/// Reads a whole form at once.
fn read(boundary: &str, body: &[u8]) -> Option<Received> {
    let mut form = Form::default();
    let mut rest = body.strip_prefix(format!("--{boundary}\r\n").as_bytes())?;
    loop {
        let head = find(rest, b"\r\n\r\n")?;
        let text = std::str::from_utf8(&rest[..head]).ok()?;
        let (name, file_name) = disposition(text)?;
        rest = &rest[head + 4..];
        let end = end_of(rest, boundary);
        if name.eq_ignore_ascii_case("file") {
            form.file = Some(File { name: file_name });
            return Some(Received { form, file: end.map(|(end, _, _)| rest[..end].to_vec()) });
        }
        let (end, next, is_closed) = end?;
        form.fields.push(Field { name, value: std::str::from_utf8(&rest[..end]).ok()?.to_owned() });
        if is_closed {
            return Some(Received { form, file: None });
        }
        rest = &rest[next..];
    }
}

/// Where content ends, where the next part begins, and whether the form is closed.
fn end_of(content: &[u8], boundary: &str) -> Option<(usize, usize, bool)> {
    let delimiter = format!("\r\n--{boundary}");
    let mut from = 0;
    loop {
        let end = from + find(&content[from..], delimiter.as_bytes())?;
        let behind = end + delimiter.len();
        match content.get(behind..behind + 2)? {
            b"\r\n" => return Some((end, behind + 2, false)),
            b"--" => return Some((end, behind, true)),
            _ => from = end + 1,
        }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Name and file name of a part.
fn disposition(head: &str) -> Option<(String, Option<String>)> {
    let is_it = |name: &str| name.trim().eq_ignore_ascii_case("content-disposition");
    let line = head.split("\r\n").find(|line| line.split_once(':').is_some_and(|(name, _)| is_it(name)))?;
    let value = line.split_once(':')?.1.trim();
    let parameters = value.split_once(';').map_or("", |(_, parameters)| parameters);
    let mut found = Vec::new();
    let mut rest: Vec<char> = parameters.chars().collect();
    rest.reverse();
    loop {
        while rest.last().is_some_and(|character| " \t;".contains(*character)) {
            rest.pop();
        }
        let mut name = String::new();
        while rest.last().is_some_and(|character| *character != '=') {
            name.extend(rest.pop());
        }
        if rest.pop().is_none() {
            break;
        }
        let mut text = String::new();
        if rest.last() == Some(&'"') {
            rest.pop();
            loop {
                match rest.pop() {
                    None => return finish(&found),
                    Some('"') => break,
                    Some('\\') if rest.last() == Some(&'"') => text.extend(rest.pop()),
                    Some(character) => text.push(character),
                }
            }
        } else {
            while rest.last().is_some_and(|character| *character != ';') {
                text.extend(rest.pop());
            }
            text = text.trim().to_owned();
        }
        found.push((name.trim().to_ascii_lowercase(), text));
    }
    finish(&found)
}

fn finish(found: &[(String, String)]) -> Option<(String, Option<String>)> {
    let value = |wanted: &str| found.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    Some((value("name")?, value("filename")))
}

struct OneKey;

impl Keys for OneKey {
    fn secret(&self, id: &str) -> Option<String> {
        (id == KEY.id).then(|| KEY.secret.to_owned())
    }
}

fn authenticate(form: &Form) -> Option<Identity> {
    let signing_keys = SigningKeys::new();
    let context = auth::Context {
        region: KEY.region,
        now: NOW,
        keys: &OneKey,
        signing_keys: &signing_keys,
        virtual_bucket: None,
    };
    auth::authenticate_form(form, &context).ok().map(|authentication| authentication.identity)
}

/// Judges a form by its policy and its signature, and then with a signature of ours.
fn judge(form: &Form, random: &mut Random) {
    let _ = authenticate(form);
    let Some(policy) = form.field("policy") else { return };
    if let Ok(read) = PostPolicy::parse(policy) {
        assert_eq!(PostPolicy::parse(policy).as_ref(), Ok(&read));
        let _ = read.bytes();
        let key = form.field("key").unwrap_or_default();
        let judged = read.check(NOW, "bucket", key, &form.fields);
        assert!(!matches!(judged, Err(PolicyError::Document(_))), "it was read before");
        // A field that no condition knows is one too many.
        let extra = Field { name: "x-amz-meta-never-mentioned-before".to_owned(), value: String::new() };
        let fields = [form.fields.as_slice(), &[extra]].concat();
        let mentioned = String::from_utf8_lossy(&decode(policy)).contains("never-mentioned");
        assert!(mentioned || read.check(NOW, "bucket", key, &fields).is_err());
        assert!(read.check(u64::MAX, "bucket", key, &form.fields).is_err(), "every policy ends");
    }
    let special = ["awsaccesskeyid", "signature", "policy"];
    let is_other = |field: &&Field| {
        let name = field.name.to_ascii_lowercase();
        !special.contains(&name.as_str()) && !name.starts_with("x-amz-")
    };
    let others: Vec<Field> = form.fields.iter().filter(is_other).cloned().collect();
    let signed = |signature: &[(&str, &str)]| {
        let field =
            |(name, value): &(&str, &str)| Field { name: (*name).to_owned(), value: (*value).to_owned() };
        Form { fields: others.iter().cloned().chain(signature.iter().map(field)).collect(), file: None }
    };
    let mut changed = policy.to_owned().into_bytes();
    if !changed.is_empty() {
        let at = random.below(changed.len());
        changed[at] ^= 1;
    }
    let changed = String::from_utf8(changed).ok().filter(|changed| changed != policy);
    let credential = format!("{}/20151229/us-east-1/s3/aws4_request", KEY.id);
    let (v4, v2) = (sign_post(policy, KEY, NOW), sign_post_v2(policy, KEY));
    for (policy, is_authentic) in [(Some(policy.to_owned()), true), (changed, false)] {
        let Some(policy) = policy else { continue };
        let v4 = signed(&[
            ("policy", &policy),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-credential", &credential),
            ("x-amz-date", "20151229T000000Z"),
            ("X-Amz-Signature", &v4),
        ]);
        let v2 = signed(&[("Policy", &policy), ("AWSAccessKeyId", KEY.id), ("signature", &v2)]);
        for form in [v4, v2] {
            assert_eq!(authenticate(&form).is_some(), is_authentic);
        }
    }
}

fn decode(policy: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(policy).unwrap_or_default()
}
