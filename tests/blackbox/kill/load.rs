//! The changes that clients make while the node is killed.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use super::model::{Change, Content, Races, Version, VersionChange, Writer};
use crate::client::{Client, Request, complete_upload, encode, target};
use crate::content::{HEADER_BYTES, Random, payload};
use crate::http::Response;

pub const BUCKET: &str = "plain";
pub const BUCKET_VERSIONED: &str = "kept";
pub const RACES_PREFIX: &str = "race/";

const KEYS_PER_WRITER: usize = 6;

/// Beyond it, versions are deleted until there are fewer.
const VERSIONS_PER_KEY: usize = 5;

/// Keys that are raced for; the node's whole history has so many.
const RACES: usize = 4000;

/// Makes one random change. `false` if the node no longer answers, or says that it ends.
pub fn change(
    writer: &mut Writer,
    races: &Races,
    client: &mut Client,
    random: &mut Random,
    ended: &AtomicBool,
) -> bool {
    let result = match random.below(40) {
        0..=11 => put(writer, client, random),
        12 => put_in_parts(writer, client, random),
        13..=15 => put_if(writer, client, random),
        16..=18 => copy(writer, client, random),
        19..=20 => rename(writer, client, random),
        21..=24 => delete(writer, client, random),
        25..=26 => delete_several(writer, client, random),
        27 => vanish(writer, client, random),
        28..=30 => race(races, client, random),
        31..=36 => add_version(writer, client, random),
        37 => add_marker(writer, client, random),
        _ => remove_version(writer, client, random),
    };
    if let Err(error) = &result {
        assert_ne!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        // Only the end may end a writer; whatever else did is a failure to tell.
        assert!(ended.load(Ordering::SeqCst), "writer {}: {error}", writer.number);
    }
    result.is_ok()
}

/// A node that ends in order, or has lost its file systems, answers 503 and 500 to changes that come too late.
fn expect(response: Response, status: u16) -> io::Result<Response> {
    match (response.status, response.element("Code").as_deref()) {
        (503, Some("ServiceUnavailable")) | (500, Some("InternalError")) => {
            Err(io::Error::other("the node ends"))
        }
        _ => Ok(response.expect(status)),
    }
}

fn key(writer: &Writer, random: &mut Random) -> String {
    format!("{}key {}", writer.prefix(), random.below(KEYS_PER_WRITER))
}

/// Bytes of most objects: in the log, just beyond it, and far beyond; sometimes none.
fn body(random: &mut Random) -> (u64, Vec<u8>) {
    let length = match random.below(20) {
        0 => return (0, Vec::new()),
        1..=12 => HEADER_BYTES + random.below(8_000),
        13..=15 => HEADER_BYTES + random.below(70_000),
        _ => 66_000 + random.below(1_200_000),
    };
    let seed = random.next();
    (seed, payload(seed, length))
}

fn with_seed(request: Request, seed: u64) -> Request {
    request.header("x-amz-meta-seed", &seed.to_string())
}

fn put_request(bucket: &str, key: &str, seed: u64, body: Vec<u8>) -> Request {
    with_seed(Request::new("PUT", &target(bucket, key)), seed).body(body)
}

/// Sends a request for `change`, which has happened once it is answered.
fn carry_out(
    writer: &mut Writer,
    client: &mut Client,
    request: Request,
    status: u16,
    change: Change,
) -> io::Result<Response> {
    writer.unanswered = vec![change.clone()];
    let response = expect(client.try_send(request)?, status)?;
    writer.unanswered.clear();
    writer.keys.extend(change);
    Ok(response)
}

fn put(writer: &mut Writer, client: &mut Client, random: &mut Random) -> io::Result<()> {
    let key = key(writer, random);
    let (seed, body) = body(random);
    let request = put_request(BUCKET, &key, seed, body);
    carry_out(writer, client, request, 200, vec![(key, Some(seed))]).map(drop)
}

/// A multipart upload of two parts, the first of S3's least size. Sometimes it is given up.
fn put_in_parts(writer: &mut Writer, client: &mut Client, random: &mut Random) -> io::Result<()> {
    const PART_BYTES: usize = 5 * 1024 * 1024;
    let (key, seed) = (key(writer, random), random.next());
    let whole = payload(seed, PART_BYTES + 1 + random.below(200_000));
    let create = with_seed(Request::new("POST", &format!("{}?uploads", target(BUCKET, &key))), seed);
    let upload = expect(client.try_send(create)?, 200)?.element("UploadId").unwrap();
    let mut etags = Vec::new();
    for (index, part) in whole.chunks(PART_BYTES).enumerate() {
        let at = format!("{}?partNumber={}&uploadId={upload}", target(BUCKET, &key), index + 1);
        let answer = expect(client.try_send(Request::new("PUT", &at).body(part))?, 200)?;
        etags.push(answer.header("ETag").unwrap().to_owned());
    }
    if random.below(4) == 0 {
        let at = format!("{}?uploadId={upload}", target(BUCKET, &key));
        return expect(client.try_send(Request::new("DELETE", &at))?, 204).map(drop);
    }
    let request = complete_upload(BUCKET, &key, &upload, &etags);
    carry_out(writer, client, request, 200, vec![(key, Some(seed))]).map(drop)
}

/// Creates a key if nothing is there, as its only writer knows.
fn put_if(writer: &mut Writer, client: &mut Client, random: &mut Random) -> io::Result<()> {
    let key = key(writer, random);
    let (seed, body) = body(random);
    let request = put_request(BUCKET, &key, seed, body).header("If-None-Match", "*");
    if writer.keys.get(&key).copied().flatten().is_some() {
        return expect(client.try_send(request)?, 412).map(drop);
    }
    carry_out(writer, client, request, 200, vec![(key, Some(seed))]).map(drop)
}

/// Some key of this writer that holds something.
fn held(writer: &Writer, random: &mut Random) -> Option<(String, u64)> {
    let held = writer.keys.iter().filter_map(|(key, content)| Some((key.clone(), (*content)?)));
    let held: Vec<(String, u64)> = held.collect();
    (!held.is_empty()).then(|| held[random.below(held.len())].clone())
}

fn copy(writer: &mut Writer, client: &mut Client, random: &mut Random) -> io::Result<()> {
    let (to, Some((from, seed))) = (key(writer, random), held(writer, random)) else { return Ok(()) };
    if from == to {
        return Ok(());
    }
    let request =
        Request::new("PUT", &target(BUCKET, &to)).header("x-amz-copy-source", &target(BUCKET, &from));
    carry_out(writer, client, request, 200, vec![(to, Some(seed))]).map(drop)
}

/// Old and new key change together.
fn rename(writer: &mut Writer, client: &mut Client, random: &mut Random) -> io::Result<()> {
    let (to, Some((from, seed))) = (key(writer, random), held(writer, random)) else { return Ok(()) };
    if from == to {
        return Ok(());
    }
    let at = format!("{}?renameObject", target(BUCKET, &to));
    let request = Request::new("PUT", &at).header("x-amz-rename-source", &encode(&from));
    carry_out(writer, client, request, 200, vec![(to, Some(seed)), (from, None)]).map(drop)
}

fn delete(writer: &mut Writer, client: &mut Client, random: &mut Random) -> io::Result<()> {
    let key = key(writer, random);
    let request = Request::new("DELETE", &target(BUCKET, &key));
    carry_out(writer, client, request, 204, vec![(key, None)]).map(drop)
}

/// Several deletions in one request; each happens for itself.
fn delete_several(writer: &mut Writer, client: &mut Client, random: &mut Random) -> io::Result<()> {
    let first = random.below(KEYS_PER_WRITER);
    let keys = (0..3).map(|step| format!("{}key {}", writer.prefix(), (first + step) % KEYS_PER_WRITER));
    let changes: Vec<Change> = keys.map(|key| vec![(key, None)]).collect();
    let listed: String =
        changes.iter().flatten().map(|(key, _)| format!("<Object><Key>{key}</Key></Object>")).collect();
    let body = format!("<Delete><Quiet>true</Quiet>{listed}</Delete>");
    let md5 = STANDARD.encode(Md5::digest(&body));
    let request = Request::new("POST", &format!("/{BUCKET}?delete")).header("Content-MD5", &md5).body(body);
    writer.unanswered = changes.clone();
    let response = expect(client.try_send(request)?, 200)?;
    if response.text().contains("<Error>") {
        return Err(io::Error::other(response.text()));
    }
    writer.unanswered.clear();
    writer.keys.extend(changes.into_iter().flatten());
    Ok(())
}

/// A client that goes away in the midst of its body: nothing may come of it.
fn vanish(writer: &mut Writer, client: &mut Client, random: &mut Random) -> io::Result<()> {
    let key = key(writer, random);
    let seed = random.next();
    let request = client.sign(put_request(BUCKET, &key, seed, payload(seed, 800_000)));
    let bytes = request.bytes();
    let sent = 1000 + random.below(bytes.len() - 1000);
    let mut connection = crate::http::Connection::open(client.address())?;
    connection.send(&bytes[..sent])
}

/// Tries to create a key that others try to create, too.
fn race(races: &Races, client: &mut Client, random: &mut Random) -> io::Result<()> {
    let (key, seed) = (format!("{RACES_PREFIX}{:04}", random.below(RACES)), random.next());
    races.begin(&key, seed);
    let body = payload(seed, HEADER_BYTES + random.below(3000));
    let request = put_request(BUCKET, &key, seed, body).header("If-None-Match", "*");
    let response = client.try_send(request)?;
    let has_won = response.status == 200;
    if !has_won {
        // Two at the same moment: one of them may also be told that there is a conflict.
        expect(response, 412)?;
    }
    races.end(&key, seed, has_won);
    Ok(())
}

fn add_version(writer: &mut Writer, client: &mut Client, random: &mut Random) -> io::Result<()> {
    let key = key(writer, random);
    let (seed, body) = body(random);
    let request = put_request(BUCKET_VERSIONED, &key, seed, body);
    add(writer, client, key, Some(seed), request, 200)
}

fn add_marker(writer: &mut Writer, client: &mut Client, random: &mut Random) -> io::Result<()> {
    let key = key(writer, random);
    let request = Request::new("DELETE", &target(BUCKET_VERSIONED, &key));
    add(writer, client, key, None, request, 204)
}

fn add(
    writer: &mut Writer,
    client: &mut Client,
    key: String,
    content: Content,
    request: Request,
    status: u16,
) -> io::Result<()> {
    writer.version_unanswered = Some(VersionChange::Added { key: key.clone(), content });
    let response = expect(client.try_send(request)?, status)?;
    writer.version_unanswered = None;
    let id = response.header("x-amz-version-id").expect("the version is named").to_owned();
    writer.versions.entry(key.clone()).or_default().insert(0, Version { id, content });
    while writer.versions[&key].len() > VERSIONS_PER_KEY {
        let id = writer.versions[&key].last().unwrap().id.clone();
        remove(writer, client, &key, &id)?;
    }
    Ok(())
}

fn remove_version(writer: &mut Writer, client: &mut Client, random: &mut Random) -> io::Result<()> {
    let all = writer.versions.iter();
    let all = all.flat_map(|(key, versions)| versions.iter().map(move |it| (key.clone(), it.id.clone())));
    let all: Vec<(String, String)> = all.collect();
    if all.is_empty() {
        return Ok(());
    }
    let (key, id) = &all[random.below(all.len())];
    remove(writer, client, key, id)
}

fn remove(writer: &mut Writer, client: &mut Client, key: &str, id: &str) -> io::Result<()> {
    let at = format!("{}?versionId={}", target(BUCKET_VERSIONED, key), encode(id));
    writer.version_unanswered = Some(VersionChange::Removed { key: key.to_owned(), id: id.to_owned() });
    expect(client.try_send(Request::new("DELETE", &at))?, 204)?;
    writer.version_unanswered = None;
    writer.versions.get_mut(key).unwrap().retain(|version| version.id != id);
    Ok(())
}
