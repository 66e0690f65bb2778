//! A large bucket's listings, page by page, against a model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::{Client, Request, encode, target};
use crate::content::Random;
use crate::http::{Response, elements};
use crate::node::Node;

const BUCKET: &str = "large";
const KEYS: usize = 100_000;
const CONNECTIONS: usize = 64;

/// Names that sort in telling ways around the delimiter, and beyond ASCII.
const SEGMENTS: &[&str] =
    &["a", "a-", "a0", "b", "b b", "c+c", "d%2F", "é", "日本", "\u{1F980}", "z&<>\"'", "~"];

#[test]
fn a_listing_of_a_hundred_thousand_keys_equals_the_models() {
    let keys = keys();
    let node = Node::start();
    node.client().put_bucket(BUCKET);
    fill(&node, &keys);
    let model = Model { keys };
    let mut client = node.client();

    // Whole walks, in both versions of the operation.
    for (prefix, delimiter, page) in [
        ("", "", 1000),
        ("", "/", 1000),
        ("", "/", 3),
        ("wide/", "/", 700),
        ("deep/", "", 1000),
        ("deep/a/", "/", 5),
        ("deep/a", "/", 1),
        ("deep/", "a", 17),
        ("deep/", "b b/", 40),
        ("many/000", "/", 100),
        ("many/", "/", 1000),
        ("nothing here", "/", 10),
    ] {
        for version in [1, 2] {
            walk(&mut client, &model, &Query { prefix, delimiter, page, version, after: "" });
        }
    }

    // Pages from random places, also from places that are no key, or lie inside a common prefix.
    let mut random = Random::new(7);
    let all: Vec<&String> = model.keys.iter().collect();
    for round in 0..400 {
        let mut after = all[random.below(all.len())].clone();
        match random.below(4) {
            0 => after.push('/'),
            1 => {
                after.pop();
            }
            2 => after = after.split_inclusive('/').next().unwrap_or_default().to_owned(),
            _ => {}
        }
        let prefix = match random.below(3) {
            0 => String::new(),
            1 => after.split_inclusive('/').next().unwrap_or_default().to_owned(),
            _ => after.chars().take(random.below(12)).collect(),
        };
        let query = Query {
            prefix: &prefix,
            delimiter: ["", "/", "a", "/a"][random.below(4)],
            page: [1, 2, 10, 333, 1000, 5000][random.below(6)],
            version: 1 + round % 2,
            after: &after,
        };
        one_page(&mut client, &model, &query);
    }
}

struct Query<'a> {
    prefix: &'a str,
    delimiter: &'a str,
    page: usize,
    version: usize,
    /// `marker` or `start-after`.
    after: &'a str,
}

/// An entry of a page: an object's key, or a common prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Key(String),
    Prefix(String),
}

struct Model {
    keys: BTreeSet<String>,
}

impl Model {
    /// The page after `after`, and whether more follows.
    fn page(&self, query: &Query<'_>, after: &str) -> (Vec<Entry>, bool) {
        let mut found: Vec<Entry> = Vec::new();
        for key in self.keys.range(query.prefix.to_owned()..) {
            let Some(rest) = key.strip_prefix(query.prefix) else { break };
            let at = if query.delimiter.is_empty() { None } else { rest.find(query.delimiter) };
            let entry = match at {
                Some(at) => Entry::Prefix(key[..query.prefix.len() + at + query.delimiter.len()].to_owned()),
                None => Entry::Key(key.clone()),
            };
            let passed = match &entry {
                Entry::Key(key) => key.as_str() <= after,
                // A marker inside a common prefix does not hide it, unless it was the prefix itself or what it
                // holds lies wholly before the marker.
                Entry::Prefix(prefix) => {
                    prefix.as_str() <= after && (key.as_str() <= after || after == prefix)
                }
            };
            if passed || found.last() == Some(&entry) {
                continue;
            }
            if found.len() == query.page.min(1000) {
                return (found, true);
            }
            found.push(entry);
        }
        (found, false)
    }
}

/// Lists from the beginning to the end, and compares with the model.
fn walk(client: &mut Client, model: &Model, query: &Query<'_>) {
    let whole = Query { page: usize::MAX, ..*query };
    let mut expected = Vec::new();
    let mut after = String::new();
    loop {
        let (page, more) = model.page(&whole, &after);
        expected.extend(page);
        if !more {
            break;
        }
        after = match expected.last() {
            Some(Entry::Key(last) | Entry::Prefix(last)) => last.clone(),
            None => break,
        };
    }
    let mut listed = Vec::new();
    let mut next = String::new();
    loop {
        let response = ask(client, query, &next);
        let page = entries(&response);
        assert!(page.len() <= query.page, "{} entries in a page of {}", page.len(), query.page);
        listed.extend(page);
        if response.element("IsTruncated").as_deref() != Some("true") {
            break;
        }
        let token = if query.version == 2 { "NextContinuationToken" } else { "NextMarker" };
        let name = if query.version == 2 { "continuation-token" } else { "marker" };
        // Without a delimiter the first version sends no NextMarker: the last key serves.
        let token = match response.element(token) {
            Some(token) if query.version == 1 => decode(&token),
            Some(token) => token,
            None => match listed.last() {
                Some(Entry::Key(last)) if query.version == 1 && query.delimiter.is_empty() => last.clone(),
                other => panic!("truncated, without {token}, after {other:?}"),
            },
        };
        next = format!("&{name}={}", encode(&token));
    }
    assert!(
        listed == expected,
        "prefix {:?} delimiter {:?} page {} version {}: {} entries of {}, first difference at {:?}",
        query.prefix,
        query.delimiter,
        query.page,
        query.version,
        listed.len(),
        expected.len(),
        listed.iter().zip(&expected).find(|(listed, expected)| listed != expected)
    );
}

fn one_page(client: &mut Client, model: &Model, query: &Query<'_>) {
    let (expected, more) = model.page(query, query.after);
    let name = if query.version == 2 { "start-after" } else { "marker" };
    let response = ask(client, query, &format!("&{name}={}", encode(query.after)));
    assert_eq!(
        (entries(&response), response.element("IsTruncated").as_deref() == Some("true")),
        (expected, more),
        "prefix {:?} delimiter {:?} page {} version {} after {:?}",
        query.prefix,
        query.delimiter,
        query.page,
        query.version,
        query.after
    );
}

fn ask(client: &mut Client, query: &Query<'_>, next: &str) -> Response {
    let version = if query.version == 2 { "&list-type=2" } else { "" };
    let text = format!(
        "/{BUCKET}?encoding-type=url&prefix={}&delimiter={}&max-keys={}{version}{next}",
        encode(query.prefix),
        encode(query.delimiter),
        query.page
    );
    client.send(Request::new("GET", &text)).expect(200)
}

/// Keys and common prefixes of a page, merged into the order that AWS counts them in.
fn entries(response: &Response) -> Vec<Entry> {
    let text = response.text();
    let mut found = BTreeMap::new();
    for contents in elements(&text, "Contents") {
        let key = decode(&elements(&contents, "Key")[0]);
        assert!(found.insert(key.clone(), Entry::Key(key)).is_none());
    }
    for common in elements(&text, "CommonPrefixes") {
        let prefix = decode(&elements(&common, "Prefix")[0]);
        assert!(found.insert(prefix.clone(), Entry::Prefix(prefix)).is_none());
    }
    found.into_values().collect()
}

/// Undoes `encoding-type=url`.
fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_encoding::percent_decode_str(&text).decode_utf8().unwrap().into_owned()
}

/// Deep and shallow, narrow and wide: folders with one key, folders with very many.
fn keys() -> BTreeSet<String> {
    let mut random = Random::new(1);
    let mut keys = BTreeSet::new();
    while keys.len() < KEYS {
        let key = match keys.len() % 4 {
            0 => {
                let depth = 1 + random.below(6);
                let path: Vec<&str> = (0..depth).map(|_| SEGMENTS[random.below(SEGMENTS.len())]).collect();
                format!("deep/{}/{:04x}", path.join("/"), random.below(1 << 16))
            }
            1 => format!("wide/{:06}/only", random.below(1_000_000)),
            2 => format!("many/{:03}/{:05}", random.below(40), random.below(100_000)),
            _ => format!("{}{:05}", SEGMENTS[random.below(SEGMENTS.len())], random.below(100_000)),
        };
        keys.insert(key);
        if keys.len() % 1000 == 0 {
            // A key that is also a folder's name, and an empty segment.
            keys.insert(format!("deep/a/{}/", keys.len()));
            keys.insert(format!("deep/a//{}", keys.len()));
        }
    }
    keys
}

/// Writes an empty object for each key, over many connections.
fn fill(node: &Node, keys: &BTreeSet<String>) {
    let keys: Vec<&String> = keys.iter().collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            let (keys, next) = (&keys, &next);
            scope.spawn(move || {
                let mut client = node.client();
                while let Some(key) = keys.get(next.fetch_add(1, Ordering::Relaxed)) {
                    client.send(Request::new("PUT", &target(BUCKET, key))).expect(200);
                }
            });
        }
    });
}
