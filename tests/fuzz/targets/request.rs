//! What a request's target and headers mean: bucket, key and operation, and every header that S3 reads. The same
//! request has one meaning, whether its bucket stands in the path or in the host name, and however its key is
//! spelled in percent-encoding.

use ringcask::auth::PayloadPromise;
use ringcask::base::limits::{KEY_BYTES_MAX, OBJECT_TAGS_MAX, PART_BYTES_MAX, RANGES_MAX};
use ringcask::http::range::{self, RangeRequest};
use ringcask::http::{Head, HeadParser, Query, date, percent};
use ringcask::s3::access::action;
use ringcask::s3::claims::Claims;
use ringcask::s3::copy_source::CopySource;
use ringcask::s3::encryption::CustomerKey;
use ringcask::s3::encryption::asked::Asked;
use ringcask::s3::listing::{self, Filter};
use ringcask::s3::lock::LockWish;
use ringcask::s3::precondition::{self, Preconditions};
use ringcask::s3::request::{Request, is_bucket_name};
use ringcask::s3::route::route;
use ringcask::s3::settings::acl::{self, AclOwner};
use ringcask::s3::settings::{Document, ObjectOwnership};
use ringcask::s3::tagging::TagSet;
use ringcask::s3::{completion, metadata, unsupported, version};

use super::Random;

const DOMAIN: &str = "s3.example.com";
const NOW: u64 = 1_369_353_600_000;

/// Lines of text: method and target, then headers.
pub fn run(data: &[u8]) {
    let Some(head) = head(data) else { return };
    let domains = [DOMAIN.to_owned()];
    dates(&head);
    ranges(&head, &mut Random::of(data));
    let _ = Query::parse(head.query.as_deref());
    let Ok(request) = Request::new(head.clone(), &domains) else { return };
    meaning(&request, &head);
    headers(&request);
}

/// A head as a connection would have read it: only the version is left out, and `Host` if it is not given.
pub fn head(data: &[u8]) -> Option<Head> {
    let mut lines = data.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut text = lines.next()?.to_vec();
    text.extend_from_slice(b" HTTP/1.1\r\n");
    let mut has_host = false;
    for line in lines.filter(|line| !line.is_empty()) {
        has_host |= line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"host:"));
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
    }
    if !has_host {
        text.extend_from_slice(b"Host: s3.example.com\r\n");
    }
    text.extend_from_slice(b"\r\n");
    let (head, end) = HeadParser::default().parse(&text).ok()??;
    (end == text.len()).then_some(head)
}

/// The decoder of escapes, again.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
            out.push((digit(at + 1)? * 16 + digit(at + 2)?) as u8);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Some(out)
}

fn meaning(request: &Request, head: &Head) {
    let domains = [DOMAIN.to_owned()];
    assert!(request.key.len() <= KEY_BYTES_MAX);
    let path = &head.path[1..];
    if request.is_virtual_hosted {
        assert_eq!(decoded(path).as_deref(), Some(request.key.as_bytes()));
    } else {
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        assert_eq!(decoded(bucket).as_deref(), Some(request.bucket.as_bytes()));
        assert_eq!(decoded(key).as_deref(), Some(request.key.as_bytes()));
    }
    let operation = route(request);
    if let Ok(operation) = operation {
        let row = operation.row();
        assert_eq!((row.level, row.method), (request.level(), head.method.as_str()));
        let _ = action::primary(operation, request);
        let _ = action::beside(operation, request).count();
    }
    let same = |head: Head, what: &str| {
        let other = Request::new(head, &domains).expect(what);
        assert_eq!((&other.bucket, &other.key), (&request.bucket, &request.key), "{what}");
        assert_eq!(route(&other), operation, "{what}");
    };
    let (bucket, key) =
        (percent::encode(request.bucket.as_bytes()), percent::encode_path(request.key.as_bytes()));
    // Another spelling of the same path.
    let path = if request.is_virtual_hosted { format!("/{key}") } else { format!("/{bucket}/{key}") };
    if request.is_virtual_hosted || !request.bucket.is_empty() {
        same(Head { path, ..head.clone() }, "encoded again");
    }
    // The bucket in the host name instead of the path.
    if !request.is_virtual_hosted && is_bucket_name(&request.bucket) {
        let mut virtual_hosted = Head { path: format!("/{key}"), ..head.clone() };
        virtual_hosted.headers.retain(|(name, _)| name != "host");
        let host = format!("{}.{DOMAIN}:9000", request.bucket);
        virtual_hosted.headers.push(("host".to_owned(), host.into_bytes()));
        same(virtual_hosted, "virtual-hosted");
    }
}

fn headers(request: &Request) {
    let lookup = |name: &str| request.head.header(name);
    let _ = unsupported::check(request);
    let _ = metadata::of_request(request).map(|kept| metadata::of_source(&kept, request));
    for promise in [PayloadPromise::Unsigned, PayloadPromise::UnsignedChunksTrailer] {
        if let Ok(claims) = Claims::of(request, &promise, PART_BYTES_MAX) {
            assert!(claims.bytes.is_none_or(|bytes| bytes <= PART_BYTES_MAX));
        }
    }
    for conditions in [Preconditions::of_read(request), Preconditions::of_copy_source(request)] {
        let etag = ringcask::base::etag::ETag::of_md5([7; 16]);
        let _ = conditions.judge(&etag, NOW);
    }
    let _ = (precondition::of_write(request), precondition::of_delete(request));
    if let Ok(source) = CopySource::of(request) {
        assert!(!source.bucket.is_empty() && !source.key.is_empty());
    }
    if let Ok(wish) = LockWish::read(request, NOW) {
        let mut headers = Vec::new();
        wish.store(&mut headers);
        assert_eq!(LockWish::take(&mut headers), wish);
    }
    if let Ok(Some(tags)) = TagSet::of_header(request) {
        assert!(tags.len() <= OBJECT_TAGS_MAX);
        let mut headers = Vec::new();
        tags.store(&mut headers);
        assert_eq!(TagSet::load(&headers), tags);
    }
    let _ = (Asked::of_write(&lookup), CustomerKey::of_read(&lookup), CustomerKey::of_copy_source(&lookup));
    let owner = AclOwner { id: "0a", bucket_owner: Some("0b") };
    let _ = acl::of_headers(request, owner, &NoAccounts);
    if let Some(value) = request.head.text("x-amz-object-ownership")
        && let Ok(ownership) = ObjectOwnership::of_header(value)
    {
        assert_eq!(ObjectOwnership::parse(&ownership.render()), Ok(ownership));
    }
    let _ = completion::Promise::read(|name| request.head.text(name));
    if let Ok(Some(named)) = version::named(request) {
        assert_eq!(version::parse(&version::text(named)), Some(named));
    }
    if let Ok(filter) = Filter::read(request) {
        let _ = filter.query(b"after");
    }
    if let Some(Ok(after)) = request.query("continuation-token").map(listing::token_parse) {
        assert_eq!(listing::token_parse(&listing::token_text(&after)), Ok(after));
    }
}

struct NoAccounts;

impl ringcask::auth::principal::Accounts for NoAccounts {
    fn canonical_id(&self, _: &str) -> Option<String> {
        None
    }

    fn account_id(&self, id: &str) -> Option<String> {
        Some(id.to_owned())
    }

    fn canonical_id_of_email(&self, email: &str) -> Option<String> {
        Some(email.to_owned())
    }

    fn has_user(&self, _: &str) -> bool {
        false
    }
}

/// Every header is read as every kind of date.
fn dates(head: &Head) {
    for (_, value) in &head.headers {
        let Ok(text) = std::str::from_utf8(value) else { continue };
        if let Some(moment) = date::parse_http_date(text) {
            let written = date::imf_fixdate(moment);
            let again = date::parse_http_date(std::str::from_utf8(&written).unwrap());
            assert_eq!(again, Some(moment / 1000 * 1000));
        }
        if let Some(moment) = date::parse_basic(text) {
            assert_eq!(date::parse_basic(&date::basic(moment)), Some(moment));
        }
        if let Some(moment) = date::parse_iso8601(text) {
            assert_eq!(date::parse_iso8601(&date::iso8601(moment)), Some(moment));
        }
    }
}

fn ranges(head: &Head, random: &mut Random) {
    let Some(value) = head.header("range") else { return };
    for length in [0, 1, random.next() % 10_000, u64::MAX] {
        let RangeRequest::Satisfiable(ranges) = range::parse(value, length) else { continue };
        assert!(!ranges.is_empty() && ranges.len() <= RANGES_MAX);
        assert!(ranges.iter().all(|range| range.start < range.end && range.end <= length));
        let text = std::str::from_utf8(value).unwrap();
        let specs = text.split_once('=').unwrap().1.split(',').map(|spec| spec.trim_matches([' ', '\t']));
        let expected = specs.filter(|spec| !spec.is_empty()).filter_map(|spec| {
            let number = |digits: &str| match digits {
                "" => None,
                digits => Some(digits.parse::<u128>().unwrap_or(u128::MAX)),
            };
            let (first, last) = spec.split_once('-').unwrap();
            let length = u128::from(length);
            let (start, end) = match (number(first), number(last)) {
                (Some(first), Some(last)) => (first, last.saturating_add(1).min(length)),
                (Some(first), None) => (first, length),
                (None, last) => (length - last.unwrap().min(length), length),
            };
            (start < end).then_some((start, end))
        });
        let ranges = ranges.iter().map(|range| (u128::from(range.start), u128::from(range.end)));
        // A last byte beyond 64 bits is as good as the last one.
        assert!(ranges.eq(expected), "{text} of {length}");
    }
}
