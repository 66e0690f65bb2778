//! Request documents: any bytes are read or refused, what is read means the same to another XML parser, and
//! every setting reads what it writes.

use std::fmt::Debug;

use ringcask::auth::acl::Acl;
use ringcask::auth::principal::Accounts;
use ringcask::base::limits::{XML_ATTRIBUTES_MAX, XML_DEPTH_MAX, XML_ELEMENTS_MAX};
use ringcask::s3::settings::cors::CorsRequest;
use ringcask::s3::settings::expiry::{Candidate, DayLength};
use ringcask::s3::settings::{
    Cors, DefaultEncryption, Document, Lifecycle, Notification, ObjectLock, ObjectOwnership,
    PublicAccessBlock, acl, request_payment::BucketOwnerPays, tagging::BucketTags, versioning,
};
use ringcask::s3::tagging::{TagSet, Tagged};
use ringcask::s3::xml::{self, Element};
use ringcask::s3::{completion, lock};

use super::Random;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        assert!(xml::parse(data, "Root").is_err(), "this is no UTF-8");
        return;
    };
    let other = roxmltree::Document::parse(text);
    let root = match &other {
        Ok(other) => other.root_element().tag_name().name(),
        Err(_) => root_name(text).unwrap_or("Root"),
    };
    let read = xml::parse(data, root).ok();
    if let Ok(other) = &other {
        compare(text, read.as_ref(), other);
    }
    if read.is_some() {
        document(root, data);
    }
}

/// The local name of what looks like the root element.
fn root_name(text: &str) -> Option<&str> {
    let is_start = |character: char| character.is_alphabetic() || character == '_';
    let start = text.match_indices('<').find(|(at, _)| text[at + 1..].starts_with(is_start))?.0 + 1;
    let name = text[start..].split(|character: char| " \t\r\n/>".contains(character)).next()?;
    Some(name.rsplit(':').next().unwrap_or(name))
}

/// Holds what was read against what roxmltree reads.
fn compare(text: &str, read: Option<&Element>, other: &roxmltree::Document) {
    let root = other.root_element();
    let depth = |node: roxmltree::Node| node.ancestors().filter(roxmltree::Node::is_element).count();
    let elements = || root.descendants().filter(roxmltree::Node::is_element);
    let Some(read) = read else {
        let is_within = elements().count() <= XML_ELEMENTS_MAX
            && elements().all(|element| depth(element) <= XML_DEPTH_MAX)
            && elements().all(|element| element.attributes().len() < XML_ATTRIBUTES_MAX / 2);
        // It takes names whose prefix is empty, and quoted ends within the declaration.
        let is_odd = text.contains("<:") || text.contains("</:") || text.matches("?>").count() > 1;
        assert!(!is_within || is_odd, "a document that another parser reads was refused");
        return;
    };
    compare_elements(read, root);
}

fn compare_elements(read: &Element, other: roxmltree::Node) {
    assert_eq!(read.name, other.tag_name().name());
    let text: String =
        other.children().filter(|child| child.is_text()).filter_map(|child| child.text()).collect();
    assert_eq!(read.text, text, "text of {}", read.name);
    let children: Vec<_> = other.children().filter(roxmltree::Node::is_element).collect();
    assert_eq!(read.children.len(), children.len());
    for (read, other) in read.children.iter().zip(children) {
        compare_elements(read, other);
    }
}

/// Reads the document as what its root says.
fn document(root: &str, data: &[u8]) {
    match root {
        Cors::ROOT => {
            if let Some(cors) = fixed_point::<Cors>(data) {
                ask_cors(&cors, data);
            }
        }
        DefaultEncryption::ROOT => drop(fixed_point::<DefaultEncryption>(data)),
        Lifecycle::ROOT => {
            if let Some(lifecycle) = fixed_point::<Lifecycle>(data) {
                ask_lifecycle(&lifecycle, data);
            }
        }
        Notification::ROOT => {
            if let Some(notification) = fixed_point::<Notification>(data) {
                for event in ["s3:ObjectCreated:Put", "s3:ObjectRemoved:Delete"] {
                    let _ = notification.matches(event, &String::from_utf8_lossy(&data[..data.len() / 2]));
                }
                let _ = notification.check_targets(["arn:aws:sqs:us-east-1:a:webhook"].into_iter());
            }
        }
        ObjectLock::ROOT => drop(fixed_point::<ObjectLock>(data)),
        ObjectOwnership::ROOT => drop(fixed_point::<ObjectOwnership>(data)),
        PublicAccessBlock::ROOT => drop(fixed_point::<PublicAccessBlock>(data)),
        BucketOwnerPays::ROOT => drop(fixed_point::<BucketOwnerPays>(data)),
        "Tagging" => {
            drop(fixed_point::<BucketTags>(data));
            tags(data);
        }
        "AccessControlPolicy" => access_control(data),
        "VersioningConfiguration" => {
            if let Ok(read) = versioning::parse(data) {
                assert_eq!(versioning::parse(&versioning::document(read).finish()), Ok(read));
            }
        }
        "Retention" => {
            if let Ok(Some(read)) = lock::retention_parse(data, 1) {
                let written = lock::retention_document(&read).finish();
                assert_eq!(lock::retention_parse(&written, 1), Ok(Some(read)));
            }
        }
        "LegalHold" => {
            if let Ok(read) = lock::legal_hold_parse(data) {
                assert_eq!(lock::legal_hold_parse(&lock::legal_hold_document(read).finish()), Ok(read));
            }
        }
        "CompleteMultipartUpload" => {
            if let Ok(parts) = completion::parse(data) {
                assert!(parts.windows(2).all(|pair| pair[0].number < pair[1].number));
            }
        }
        _ => {}
    }
}

fn fixed_point<D: Document + PartialEq + Debug>(data: &[u8]) -> Option<D> {
    let read = D::parse(data).ok()?;
    let written = read.render();
    let again = D::parse(&written).expect("what was written is read");
    assert_eq!(again, read);
    assert_eq!(again.render(), written);
    Some(read)
}

fn tags(data: &[u8]) {
    let Ok(tags) = TagSet::of_document(data, Tagged::Object) else { return };
    assert_eq!(TagSet::of_document(&tags.document().finish(), Tagged::Object).as_ref(), Ok(&tags));
    let mut headers = Vec::new();
    tags.store(&mut headers);
    assert_eq!(TagSet::load(&headers), tags);
}

/// Any id is an account's, and any address.
struct Everybody;

impl Accounts for Everybody {
    fn canonical_id(&self, account_id: &str) -> Option<String> {
        Some(account_id.to_owned())
    }

    fn account_id(&self, canonical_id: &str) -> Option<String> {
        // As ids are: an ACL is stored as text with these characters between them.
        canonical_id.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| canonical_id.to_owned())
    }

    fn canonical_id_of_email(&self, email: &str) -> Option<String> {
        email.contains('@').then(|| "0e".to_owned())
    }

    fn has_user(&self, _: &str) -> bool {
        true
    }
}

fn access_control(data: &[u8]) {
    let owner = "0a";
    let Ok(read) = acl::of_document(data, owner, &Everybody) else { return };
    assert_eq!(Acl::parse(&read.to_string()).as_ref(), Some(&read), "as it is stored");
    let written = acl::document(&read, &|id| Some(format!("<{id}>"))).finish();
    let again = acl::of_document(&written, owner, &Everybody).expect("what was written is read");
    // Documents have groups first.
    let sorted = |acl: &Acl| {
        let mut grants: Vec<_> = acl.grants.iter().map(|grant| format!("{grant:?}")).collect();
        grants.sort();
        grants
    };
    assert_eq!(sorted(&again), sorted(&read));
}

fn ask_cors(cors: &Cors, data: &[u8]) {
    let mut random = Random::of(data);
    let text = String::from_utf8_lossy(data);
    let words: Vec<&str> = text.split(['<', '>']).filter(|word| !word.is_empty()).collect();
    let mut word = || words[random.below(words.len())];
    let (origin, headers) = (word(), [word(), ",", word()].concat());
    for method in ["GET", "PUT"] {
        for headers in [None, Some(headers.as_str())] {
            if let Some(grant) = cors.grant(CorsRequest { origin, method, headers }) {
                grant.write(&mut ringcask::http::Response::new(200));
            }
        }
    }
}

fn ask_lifecycle(lifecycle: &Lifecycle, data: &[u8]) {
    let mut random = Random::of(data);
    for day in [DayLength::CALENDAR, DayLength(1000), DayLength(u64::MAX)] {
        let times = [0, random.next() % (1 << 43), random.next(), u64::MAX];
        let (modified, since) = (times[random.below(4)], times[random.below(4)]);
        let (bytes, newer) = (times[random.below(4)], times[random.below(4)]);
        let object = Candidate { key: "a/b", bytes, has_tag: &|_, _| true, modified };
        for expiry in [
            lifecycle.expires(&object, day),
            lifecycle.noncurrent_expires(&object, since, newer, day),
            lifecycle.delete_marker_expires("a/b", modified, day),
            lifecycle.upload_aborts("a/b", modified, day),
        ] {
            assert!(expiry.is_none_or(|expiry| expiry.header().starts_with("expiry-date=")));
        }
    }
}
