//! Operations on a simulated node of one core: what is asked over the protocol, through the engine, to the
//! simulated drive and back after its power went.

mod access;
mod bypasses;
mod checksums;
mod encryption;
mod forms;
mod harness;
mod lifecycle;
mod locks;
mod notifications;
mod object_acls;
mod objects;
mod people;
mod rename;
mod settings;
mod tags;
mod version_history;
mod versions;
mod writes;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use proptest::prelude::*;

use people::People;

use crate::auth::{Authentication, Identity, PayloadPromise};
use crate::engine::{Engine, Mesh, Message, Options, Reply, prepare};
use crate::http::{Response, ResponseBody};
use crate::io::Buffer;
use crate::io::sim::{SimHost, Simulation};
use crate::net::BodyError;
use crate::s3::body::Incoming;
use crate::s3::error::{Code, S3Error};
use crate::s3::request::Request;
use crate::s3::route::route;
use crate::s3::service::{S3Service, Settings};
use crate::s3::xml::{self, Element};

/// The mesh of a node that has one core.
struct Alone;

impl Mesh for Alone {
    fn cores(&self) -> usize {
        1
    }

    fn me(&self) -> usize {
        0
    }

    fn call(&self, _to: usize, _message: Message) -> Pin<Box<dyn Future<Output = Reply>>> {
        Box::pin(async { Reply::stopping() })
    }
}

/// A body that is in memory already.
struct Bytes<'a>(&'a [u8]);

impl Incoming for Bytes<'_> {
    async fn read(&mut self, mut buffer: Buffer, limit: usize) -> (Result<usize, BodyError>, Buffer) {
        let count = buffer.append(&self.0[..self.0.len().min(limit)]);
        self.0 = &self.0[count..];
        (Ok(count), buffer)
    }
}

/// The body of a client that sends a head and then nothing.
struct Silent;

impl Incoming for Silent {
    async fn read(&mut self, buffer: Buffer, _limit: usize) -> (Result<usize, BodyError>, Buffer) {
        (Err(BodyError::TimedOut), buffer)
    }
}

/// Small segments, so that the simulated drive stays small.
fn options() -> Options {
    Options {
        log_segment_bytes: 4 << 20,
        data_segment_bytes: 16 << 20,
        checkpoint_log_bytes: 2 << 20,
        cache_bytes: 64 << 10,
        ..Options::default()
    }
}

async fn start(host: SimHost) -> S3Service<SimHost> {
    let shared = prepare(&host, 1, false).await.expect("the drives are ours");
    let engine = Engine::new(host, Rc::new(Alone), shared, options());
    engine.recover().await.expect("the log is whole");
    S3Service::new(engine, Settings::default(), People::new(&Settings::default()))
}

/// Carries out a request of somebody who may do everything.
async fn send(
    service: &S3Service<SimHost>,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response, S3Error> {
    let length = body.len().to_string();
    let headers = [headers, &[("content-length", length.as_str()), ("host", "node")]].concat();
    let request = Request::for_test(method, target, &headers);
    let operation = route(&request)?;
    let identity = Identity::AccessKey { id: "root".to_owned() };
    let authentication = Authentication { identity, payload: PayloadPromise::Unsigned };
    let mut body = Bytes(body);
    let request = service.authorize(request, operation, authentication, &mut body).await?;
    service.run(request, &mut body).await
}

/// As [`send`], for requests that must succeed; gives the body.
async fn body_of(service: &S3Service<SimHost>, method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let answer = send(service, method, target, &[], body).await;
    let response = answer.unwrap_or_else(|error| panic!("{method} {target}: {error:?}"));
    match response.body {
        ResponseBody::Bytes(bytes) => bytes.to_vec(),
        ResponseBody::Stream { mut source, .. } => {
            let mut bytes = Vec::new();
            while let Some(chunk) = source.next().await {
                bytes.extend_from_slice(&chunk.expect("a payload that can be read"));
            }
            bytes
        }
        ResponseBody::Empty | ResponseBody::Absent { .. } => Vec::new(),
    }
}

async fn document_of(service: &S3Service<SimHost>, method: &str, target: &str, root: &str) -> Element {
    xml::parse(&body_of(service, method, target, b"").await, root).expect("a document")
}

fn text(element: &Element, name: &str) -> String {
    element.child_text(name).unwrap_or_default().to_owned()
}

/// Parts of 5 MiB and one byte; their ETags.
async fn upload_two_parts(service: &S3Service<SimHost>, key: &str) -> (String, Vec<String>) {
    let target = format!("/bkt/{key}?uploads");
    let begun = document_of(service, "POST", &target, "InitiateMultipartUploadResult").await;
    let id = text(&begun, "UploadId");
    let mut etags = Vec::new();
    for (number, payload) in [(1, vec![7; 5 << 20]), (2, vec![8])] {
        let target = format!("/bkt/{key}?partNumber={number}&uploadId={id}");
        body_of(service, "PUT", &target, &payload).await;
        etags.push(crate::base::etag::ETag::of_md5(crate::hash::md5(&payload)).to_string());
    }
    (id, etags)
}

fn completion(etags: &[String]) -> Vec<u8> {
    let part = |(index, etag): (usize, &String)| {
        format!("<Part><PartNumber>{}</PartNumber><ETag>\"{etag}\"</ETag></Part>", index + 1)
    };
    let parts: String = etags.iter().enumerate().map(part).collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>").into_bytes()
}

#[test]
fn a_completed_upload_outlives_the_power_and_its_completion_may_be_repeated() {
    let simulation = Simulation::new(1);
    let host = simulation.host(1);
    let (target, document, answer) = simulation.block_on(async move {
        let service = start(host).await;
        body_of(&service, "PUT", "/bkt", b"").await;
        let (id, etags) = upload_two_parts(&service, "a%20b").await;
        let target = format!("/bkt/a%20b?uploadId={id}");
        let document = completion(&etags);
        let answer = body_of(&service, "POST", &target, &document).await;
        (target, document, answer)
    });
    let result = xml::parse(&answer, "CompleteMultipartUploadResult").unwrap();
    assert!(text(&result, "ETag").ends_with("-2\""));
    assert_eq!(text(&result, "ChecksumType"), "FULL_OBJECT");

    simulation.crash();
    let host = simulation.host(1);
    simulation.block_on(async move {
        let service = start(host).await;
        let repeated = body_of(&service, "POST", &target, &document).await;
        assert_eq!(repeated, answer);
        let payload = body_of(&service, "GET", "/bkt/a%20b", b"").await;
        assert_eq!(payload.len(), (5 << 20) + 1);
        assert!(payload[..5 << 20].iter().all(|byte| *byte == 7) && payload[5 << 20] == 8);

        body_of(&service, "PUT", "/bkt/a%20b", b"another").await;
        let gone = send(&service, "POST", &target, &[], &document).await;
        assert_eq!(gone.err().map(|error| error.code), Some(Code::NoSuchUpload));
    });
}

#[test]
fn a_copied_part_shares_its_source_even_if_that_is_deleted() {
    let simulation = Simulation::new(2);
    let host = simulation.host(1);
    simulation.block_on(async move {
        let service = start(host).await;
        body_of(&service, "PUT", "/bkt", b"").await;
        let source: Vec<u8> = (0..6u32 << 20).map(|at| (at % 251) as u8).collect();
        body_of(&service, "PUT", "/bkt/source", &source).await;
        let begun = document_of(&service, "POST", "/bkt/k?uploads", "InitiateMultipartUploadResult").await;
        let id = text(&begun, "UploadId");
        let mut etags = Vec::new();
        for (number, range) in [(1, "bytes=100-5243079"), (2, "bytes=0-9")] {
            let target = format!("/bkt/k?partNumber={number}&uploadId={id}");
            let headers = [("x-amz-copy-source", "bkt/source"), ("x-amz-copy-source-range", range)];
            let Ok(Response { body: ResponseBody::Bytes(document), .. }) =
                send(&service, "PUT", &target, &headers, b"").await
            else {
                panic!("a part is copied");
            };
            let result = xml::parse(&document, "CopyPartResult").unwrap();
            etags.push(text(&result, "ETag").trim_matches('"').to_owned());
        }
        body_of(&service, "DELETE", "/bkt/source", b"").await;
        body_of(&service, "POST", &format!("/bkt/k?uploadId={id}"), &completion(&etags)).await;
        let expected = [&source[100..5_243_080], &source[..10]].concat();
        assert!(body_of(&service, "GET", "/bkt/k", b"").await == expected);
    });
}

#[test]
fn an_aborted_upload_is_listed_no_more_and_a_bucket_with_objects_stays() {
    let simulation = Simulation::new(3);
    let host = simulation.host(1);
    simulation.block_on(async move {
        let service = start(host).await;
        body_of(&service, "PUT", "/bkt", b"").await;
        let (id, etags) = upload_two_parts(&service, "k").await;
        let parts = document_of(&service, "GET", &format!("/bkt/k?uploadId={id}"), "ListPartsResult").await;
        assert_eq!(parts.children_named("Part").count(), 2);
        let uploads = document_of(&service, "GET", "/bkt?uploads", "ListMultipartUploadsResult").await;
        assert_eq!(uploads.children_named("Upload").count(), 1);

        body_of(&service, "DELETE", &format!("/bkt/k?uploadId={id}"), b"").await;
        let uploads = document_of(&service, "GET", "/bkt?uploads", "ListMultipartUploadsResult").await;
        assert_eq!(uploads.children_named("Upload").count(), 0);
        let target = format!("/bkt/k?uploadId={id}");
        let gone = send(&service, "POST", &target, &[], &completion(&etags)).await;
        assert_eq!(gone.err().map(|error| error.code), Some(Code::NoSuchUpload));

        body_of(&service, "PUT", "/bkt/k", b"x").await;
        let refused = send(&service, "DELETE", "/bkt", &[], b"").await;
        assert_eq!(refused.err().map(|error| error.code), Some(Code::BucketNotEmpty));
        body_of(&service, "DELETE", "/bkt/k", b"").await;
        body_of(&service, "DELETE", "/bkt", b"").await;
        let missing = send(&service, "HEAD", "/bkt", &[], b"").await;
        assert_eq!(missing.err().map(|error| error.code), Some(Code::NoSuchBucket));
    });
}

/// Everything that a listing shows, gathered page by page.
async fn listed(service: &S3Service<SimHost>, query: &str, page_of: fn(&Element) -> String) -> Vec<String> {
    let mut shown = Vec::new();
    let mut next = String::new();
    loop {
        let result = document_of(service, "GET", &format!("/bkt?{query}{next}"), "ListBucketResult").await;
        shown.extend(result.children_named("Contents").map(|object| text(object, "Key")));
        shown.extend(result.children_named("CommonPrefixes").map(|prefix| text(prefix, "Prefix")));
        if text(&result, "IsTruncated") != "true" {
            return shown;
        }
        next = page_of(&result);
    }
}

/// What a listing shows, from its definition.
fn model(keys: &BTreeSet<String>, prefix: &str, delimiter: &str) -> Vec<String> {
    let entry = |key: &String| match key[prefix.len()..].split_once(delimiter) {
        Some((folder, _)) if !delimiter.is_empty() => format!("{prefix}{folder}{delimiter}"),
        _ => key.clone(),
    };
    let entries: BTreeSet<String> = keys.iter().filter(|key| key.starts_with(prefix)).map(entry).collect();
    entries.into_iter().collect()
}

fn encoded(text: &str) -> String {
    crate::http::percent::encode(text.as_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn listings_page_by_page_show_what_the_model_shows(
        keys in prop::collection::btree_set("[ab/%+\u{e4}]{1,5}", 0..20),
        prefix in "[ab/]{0,2}",
        delimiter in "(/|a|a/|\u{e4})?",
        page in 1usize..4,
    ) {
        let simulation = Simulation::new(4);
        let host = simulation.host(1);
        let expected = model(&keys, &prefix, &delimiter);
        let (first, second) = simulation.block_on(async move {
            let service = start(host).await;
            body_of(&service, "PUT", "/bkt", b"").await;
            for key in &keys {
                body_of(&service, "PUT", &format!("/bkt/{}", encoded(key)), b"").await;
            }
            let (prefix, delimiter) = (encoded(&prefix), encoded(&delimiter));
            let query = format!("prefix={prefix}&delimiter={delimiter}&max-keys={page}");
            let first = listed(&service, &query, |page| {
                let last = page.children_named("Contents").last().map(|object| text(object, "Key"));
                let marker = page.child_text("NextMarker").map(str::to_owned).or(last);
                format!("&marker={}", encoded(&marker.unwrap_or_default()))
            });
            let first = first.await;
            let query = format!("list-type=2&{query}");
            let second = listed(&service, &query, |page| {
                format!("&continuation-token={}", text(page, "NextContinuationToken"))
            });
            (first, second.await)
        });
        for mut shown in [first, second] {
            shown.sort();
            prop_assert_eq!(&shown, &expected);
        }
    }
}
