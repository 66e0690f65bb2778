//! What does it cost to write a page of a listing, and to read the document of DeleteObjects?

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ringcask::base::etag::ETag;
use ringcask::engine::{ListPage, ListedObject};
use ringcask::s3::listing::Filter;
use ringcask::s3::xml::{self, XmlWriter};

/// As many as a page, or a request to delete, may have.
const KEYS: usize = 1000;

const MODIFIED_MS: u64 = 1_769_860_800_000;

#[divan::bench(args = [false, true])]
fn list_page(bencher: Bencher, is_url_encoded: bool) {
    let object = |number| ListedObject {
        key: key(number).into_bytes(),
        bytes: 4096,
        etag: ETag::of_md5([number as u8; 16]),
        modified: MODIFIED_MS,
        checksum: None,
    };
    let page = ListPage {
        objects: (0..KEYS).map(object).collect(),
        common_prefixes: Vec::new(),
        truncated: true,
        next: key(KEYS - 1).into_bytes(),
    };
    let filter = Filter {
        prefix: String::new(),
        delimiter: String::new(),
        keys_max: KEYS as u32,
        url_encoded: is_url_encoded,
    };
    bencher.counter(ItemsCount::new(KEYS)).bench_local(|| {
        let mut xml = XmlWriter::document("ListBucketResult");
        filter.write_page(&mut xml, black_box(&page), None);
        xml.finish()
    });
}

#[divan::bench]
fn delete_objects(bencher: Bencher) {
    let mut document = "<Delete><Quiet>true</Quiet>".to_owned();
    for number in 0..KEYS {
        document.push_str(&format!("<Object><Key>{}</Key></Object>", key(number)));
    }
    document.push_str("</Delete>");
    bencher.counter(ItemsCount::new(KEYS)).bench_local(|| {
        let root = xml::parse(black_box(document.as_bytes()), "Delete").expect("the document is right");
        assert_eq!(root.children_named("Object").count(), KEYS);
    });
}

fn key(number: usize) -> String {
    format!("photos/2026/{number:06}.jpg")
}
