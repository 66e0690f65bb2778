//! Receiving a posted form: its fields into memory, then its file as a body that ends where the file does.

use std::ops::RangeInclusive;

use crate::base::limits::{FORM_BUFFER_BYTES, PART_BYTES_MAX};
use crate::http::Head;
use crate::http::form::{Boundary, ContentEnd, Form, FormError, FormParser};
use crate::io::Buffer;
use crate::net::BodyError;
use crate::s3::body::Incoming;
use crate::s3::claims::too_large;
use crate::s3::error::{Code, S3Error};

/// What of a request's body was received and not yet used.
struct Raw<'a, I> {
    body: &'a mut I,
    /// On the heap: who holds a buffer of the pool may not wait for another. `None` while it is filled.
    buffer: Option<Buffer>,
    /// Bytes of the buffer that are used up.
    at: usize,
    is_ended: bool,
}

impl<'a, I: Incoming> Raw<'a, I> {
    fn new(body: &'a mut I) -> Self {
        Self { body, buffer: Some(Buffer::heap(FORM_BUFFER_BYTES)), at: 0, is_ended: false }
    }

    fn unused(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer[self.at..])
    }

    /// Receives more behind what is unused, which must leave room.
    async fn receive(&mut self) -> Result<(), BodyError> {
        let Some(mut buffer) = self.buffer.take() else { return Err(BodyError::Incomplete) };
        let left = buffer.len() - self.at;
        buffer.copy_within(self.at.., 0);
        buffer.set_len(left);
        self.at = 0;
        let room = buffer.spare();
        let (result, buffer) = self.body.read(buffer, room).await;
        self.buffer = Some(buffer);
        self.is_ended = result? == 0;
        Ok(())
    }
}

/// Receives all fields before the file. The file is to be read from what comes with them.
pub async fn receive<'a, I: Incoming>(
    head: &Head,
    body: &'a mut I,
) -> Result<(Form, FormFile<'a, I>), S3Error> {
    let content_type = head.header("content-type").unwrap_or_default();
    let boundary = Boundary::of_content_type(content_type).ok_or_else(not_a_form)?.map_err(refusal)?;
    let mut parser = FormParser::new(boundary);
    let mut raw = Raw::new(body);
    loop {
        raw.receive().await?;
        if let Some((form, used)) = parser.parse(raw.unused()).map_err(refusal)? {
            raw.at = used;
            check_names(&form)?;
            let boundary = parser.boundary().clone();
            let limits = 0..=PART_BYTES_MAX;
            return Ok((form, FormFile { raw, boundary, limits, bytes: 0, is_ended: false, failure: None }));
        }
        if raw.is_ended {
            return Err(refusal(FormError::Malformed("it ends before its file")));
        }
    }
}

/// The file of a form, as a body.
pub struct FormFile<'a, I> {
    raw: Raw<'a, I>,
    boundary: Boundary,
    /// Bytes that it may have.
    limits: RangeInclusive<u64>,
    /// Bytes that were read.
    bytes: u64,
    is_ended: bool,
    failure: Option<S3Error>,
}

impl<I: Incoming> FormFile<'_, I> {
    /// Bounds the length of the file; by itself it is bounded like any payload.
    pub fn limit(&mut self, limits: &RangeInclusive<u64>) {
        self.limits = *limits.start()..=*limits.end().min(&PART_BYTES_MAX);
    }

    /// Why reading it failed, if that was not the connection's fault.
    pub fn take_failure(&mut self) -> Option<S3Error> {
        self.failure.take()
    }

    /// Moves what is known to be the file's to `buffer`; `Ok(0)` at its end.
    async fn next(&mut self, buffer: &mut Buffer, limit: usize) -> Result<usize, BodyError> {
        loop {
            let found = self.boundary.find_end(self.raw.unused());
            if found.bytes > 0 {
                let count = found.bytes.min(limit);
                let count = buffer.append(&self.raw.unused()[..count]);
                self.raw.at += count;
                self.bytes += count as u64;
                return if self.bytes > *self.limits.end() { Err(self.too_large()) } else { Ok(count) };
            }
            if found.end != ContentEnd::Unknown {
                self.is_ended = true;
                return if self.bytes < *self.limits.start() { Err(self.too_small()) } else { Ok(0) };
            }
            if self.raw.is_ended {
                self.failure = Some(refusal(FormError::Malformed("it ends within its file")));
                return Err(BodyError::Malformed);
            }
            self.raw.receive().await?;
        }
    }

    fn too_large(&mut self) -> BodyError {
        let mut error = too_large(self.bytes, *self.limits.end());
        error.close = true;
        self.failure = Some(error);
        BodyError::Malformed
    }

    fn too_small(&mut self) -> BodyError {
        let error = S3Error::new(Code::EntityTooSmall)
            .with_field("ProposedSize", self.bytes)
            .with_field("MinSizeAllowed", self.limits.start());
        self.failure = Some(error);
        BodyError::Malformed
    }
}

impl<I: Incoming> Incoming for FormFile<'_, I> {
    async fn read(&mut self, mut buffer: Buffer, limit: usize) -> (Result<usize, BodyError>, Buffer) {
        if self.is_ended {
            return (Ok(0), buffer);
        }
        let result = self.next(&mut buffer, limit).await;
        (result, buffer)
    }
}

/// A name that stands twice could mean one thing to the policy and another to the upload.
fn check_names(form: &Form) -> Result<(), S3Error> {
    let mut names: Vec<String> = form.fields.iter().map(|field| field.name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let message = "POST requires exactly one value for each field.";
            Err(S3Error::invalid_argument(message, &pair[0], ""))
        }
        None => Ok(()),
    }
}

/// The answer to a POST to a bucket that is no form.
pub fn not_a_form() -> S3Error {
    S3Error::precondition_failed("Bucket POST must be of the enclosure-type multipart/form-data")
}

fn refusal(error: FormError) -> S3Error {
    let mut error = match error {
        FormError::Malformed(why) => S3Error::new(Code::MalformedPOSTRequest).with_field("Reason", why),
        FormError::TooLarge => S3Error::new(Code::MaxPostPreDataLengthExceededError),
    };
    error.close = true;
    error
}
