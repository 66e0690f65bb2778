//! What a request says about encryption: `x-amz-server-side-encryption` and its relatives.
//!
//! Every function takes the header by a look-up of lower-case names, because a POST form says the same in
//! its fields.
//!
//! Source: AWS, PutObject and "Using server-side encryption with customer-provided keys"; the messages are
//! AWS's own.

use std::collections::BTreeMap;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::crypt::Key;
use crate::hash;
use crate::s3::error::{Code, S3Error};

const ALGORITHM: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CONTEXT: &str = "x-amz-server-side-encryption-context";
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";

/// The three headers of SSE-C.
struct Names {
    algorithm: &'static str,
    key: &'static str,
    md5: &'static str,
}

const CUSTOMER: Names = Names {
    algorithm: "x-amz-server-side-encryption-customer-algorithm",
    key: "x-amz-server-side-encryption-customer-key",
    md5: "x-amz-server-side-encryption-customer-key-md5",
};

const COPY_SOURCE: Names = Names {
    algorithm: "x-amz-copy-source-server-side-encryption-customer-algorithm",
    key: "x-amz-copy-source-server-side-encryption-customer-key",
    md5: "x-amz-copy-source-server-side-encryption-customer-key-md5",
};

/// Finds a header, or a field of a form, by its lower-case name.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<&'a [u8]>;

/// What a write asks for.
#[derive(Debug)]
pub enum Asked {
    /// Nothing: the bucket decides.
    Nothing,
    /// SSE-S3.
    Managed,
    /// SSE-KMS.
    Named {
        key_id: Option<String>,
        /// Canonical JSON, or empty.
        context: String,
        is_bucket_key: Option<bool>,
    },
    /// SSE-C.
    Customer(CustomerKey),
}

/// A key that the client keeps and brings.
#[derive(Debug)]
pub struct CustomerKey {
    pub key: Key,
    /// Its digest, which responses repeat.
    pub md5: [u8; 16],
}

impl PartialEq for CustomerKey {
    fn eq(&self, other: &Self) -> bool {
        self.key.reveal().ct_eq(other.key.reveal()).into()
    }
}

impl Asked {
    /// Reads the headers of a request that makes an object or an upload.
    pub fn of_write(header: Lookup<'_>) -> Result<Self, S3Error> {
        let algorithm = text(header, ALGORITHM)?;
        if let Some(key) = CustomerKey::read(header, &CUSTOMER, true)? {
            return match algorithm {
                None => Ok(Self::Customer(key)),
                Some(algorithm) => Err(S3Error::invalid_argument(
                    "Server Side Encryption with Customer provided key is incompatible with the encryption \
                     method specified",
                    ALGORITHM,
                    algorithm,
                )),
            };
        }
        match algorithm {
            Some("aws:kms") => Self::named(header),
            None | Some("AES256") => {
                for name in [KEY_ID, CONTEXT] {
                    if let Some(value) = text(header, name)? {
                        return Err(S3Error::invalid_argument(
                            "Server Side Encryption with AWS KMS managed key requires HTTP header \
                             x-amz-server-side-encryption : aws:kms",
                            name,
                            value,
                        ));
                    }
                }
                Ok(if algorithm.is_some() { Self::Managed } else { Self::Nothing })
            }
            Some("aws:kms:dsse") => Err(S3Error::not_implemented(ALGORITHM)
                .with_message("Encryption of objects in two layers is not implemented.")),
            Some(other) => Err(S3Error::invalid_argument(
                "The encryption method specified is not supported",
                ALGORITHM,
                other,
            )),
        }
    }

    fn named(header: Lookup<'_>) -> Result<Self, S3Error> {
        let key_id = text(header, KEY_ID)?.map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned);
        let context = text(header, CONTEXT)?.map_or(Ok(String::new()), canonical_context)?;
        let is_bucket_key = match text(header, BUCKET_KEY)? {
            None => None,
            Some(value) if value.eq_ignore_ascii_case("true") => Some(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Some(false),
            Some(value) => {
                let message = "The value of the bucket key header must be true or false.";
                return Err(S3Error::invalid_argument(message, BUCKET_KEY, value));
            }
        };
        Ok(Self::Named { key_id, context, is_bucket_key })
    }
}

/// Whether a request says anything about a key that its client keeps.
pub fn brings_key(header: Lookup<'_>) -> bool {
    [&CUSTOMER, &COPY_SOURCE]
        .iter()
        .any(|names| [names.algorithm, names.key, names.md5].into_iter().any(|name| header(name).is_some()))
}

impl CustomerKey {
    /// The key that a request brings to read an object with. Only SSE-C has a place in a read: the node knows
    /// by itself how the object is encrypted otherwise.
    pub fn of_read(header: Lookup<'_>) -> Result<Option<Self>, S3Error> {
        for name in [ALGORITHM, KEY_ID, CONTEXT] {
            if let Some(value) = text(header, name)? {
                let message = format!("{name} header is not supported for this operation.");
                return Err(S3Error::invalid_argument(message, name, value));
            }
        }
        Self::read(header, &CUSTOMER, false)
    }

    /// The key that a request brings for a part or the completion of an upload, which says by itself how it is
    /// encrypted otherwise.
    pub fn of_upload(header: Lookup<'_>) -> Result<Option<Self>, S3Error> {
        Self::read(header, &CUSTOMER, true)
    }

    /// The key that a copy brings to read its source with.
    pub fn of_copy_source(header: Lookup<'_>) -> Result<Option<Self>, S3Error> {
        Self::read(header, &COPY_SOURCE, false)
    }

    /// Reads three headers that come together. A read may leave out the digest; and a key of another length
    /// is no mistake in it, but a wrong key.
    fn read(header: Lookup<'_>, names: &Names, is_write: bool) -> Result<Option<Self>, S3Error> {
        let algorithm = text(header, names.algorithm)?;
        let (key, md5) = (text(header, names.key)?, text(header, names.md5)?);
        if algorithm.is_none() && key.is_none() && md5.is_none() {
            return Ok(None);
        }
        let refuse = |what: &str, name: &str| {
            let start = "Requests specifying Server Side Encryption with Customer provided keys must provide";
            Err(S3Error::invalid_argument(format!("{start} {what}."), name, "null"))
        };
        match algorithm {
            None => return refuse("a valid encryption algorithm", names.algorithm),
            Some("AES256") => {}
            Some(other) => {
                return Err(S3Error::new(Code::InvalidEncryptionAlgorithmError)
                    .with_field("ArgumentName", names.algorithm)
                    .with_field("ArgumentValue", other));
            }
        }
        let Some(key) = key else { return refuse("an appropriate secret key", names.key) };
        if md5.is_none() && is_write {
            return refuse("the client calculated MD5 of the secret key", names.md5);
        }
        let decoded = decode(key);
        let Some(key) = decoded.as_ref().and_then(|bytes| Key::from_slice(bytes)) else {
            if !is_write {
                return Err(Code::AccessDenied.into());
            }
            let message = "The secret key was invalid for the specified algorithm.";
            // The value is a secret, if a wrong one.
            return Err(S3Error::invalid_argument(message, names.key, "null"));
        };
        let digest = hash::md5(key.reveal());
        if md5.is_some_and(|md5| hash::base64_decode(md5.as_bytes(), 16).is_none_or(|md5| md5 != digest)) {
            return Err(S3Error::invalid_argument(
                "The calculated MD5 hash of the key did not match the hash that was provided.",
                names.md5,
                "null",
            ));
        }
        Ok(Some(Self { key, md5: digest }))
    }
}

/// Decodes the base64 of a key; its memory is wiped.
fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    hash::base64_decode(text.as_bytes(), Key::BYTES).map(Zeroizing::new)
}

/// Reads an encryption context: base64 of a JSON object of texts. What it says, not how it was written, is
/// bound to the data key.
fn canonical_context(text: &str) -> Result<String, S3Error> {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text).ok();
    let context = decoded.and_then(|json| serde_json::from_slice::<BTreeMap<String, String>>(&json).ok());
    let context = context.and_then(|context| match context.is_empty() {
        true => Some(String::new()),
        false => serde_json::to_string(&context).ok(),
    });
    context.ok_or_else(|| {
        let message = "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string \
                       holding JSON which represents a string-string map";
        S3Error::invalid_argument(message, CONTEXT, text)
    })
}

fn text<'a>(header: Lookup<'a>, name: &str) -> Result<Option<&'a str>, S3Error> {
    header(name)
        .map(|value| {
            std::str::from_utf8(value)
                .map_err(|_| S3Error::invalid_argument("Header value is not UTF-8.", name, ""))
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::base64_encode;
    use crate::s3::request::Request;

    fn asked(headers: &[(&str, &str)]) -> Result<Asked, S3Error> {
        let request = Request::for_test("PUT", "/b/k", headers);
        Asked::of_write(&|name| request.head.header(name))
    }

    fn read(headers: &[(&str, &str)]) -> Result<Option<CustomerKey>, S3Error> {
        let request = Request::for_test("GET", "/b/k", headers);
        CustomerKey::of_read(&|name| request.head.header(name))
    }

    fn code<T>(result: Result<T, S3Error>) -> Code {
        result.err().expect("a refusal").code
    }

    #[test]
    fn nothing_the_nodes_key_or_a_named_key() {
        assert!(matches!(asked(&[]), Ok(Asked::Nothing)));
        assert!(matches!(asked(&[(ALGORITHM, "AES256")]), Ok(Asked::Managed)));
        let context = base64_encode(br#"{"b": "2", "a":"1"}"#);
        let named =
            asked(&[(ALGORITHM, "aws:kms"), (KEY_ID, "project"), (CONTEXT, &context), (BUCKET_KEY, "True")]);
        let Ok(Asked::Named { key_id, context, is_bucket_key }) = named else { panic!("{named:?}") };
        assert_eq!((key_id.as_deref(), is_bucket_key), (Some("project"), Some(true)));
        assert_eq!(context, r#"{"a":"1","b":"2"}"#);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(code(asked(&[(ALGORITHM, "AES128")])), Code::InvalidArgument);
        assert_eq!(code(asked(&[(ALGORITHM, "aws:kms:dsse")])), Code::NotImplemented);
        assert_eq!(code(asked(&[(KEY_ID, "project")])), Code::InvalidArgument);
        assert_eq!(code(asked(&[(ALGORITHM, "AES256"), (KEY_ID, "project")])), Code::InvalidArgument);
        for context in ["x", "", "W10=", "eyJhIjoxfQ=="] {
            let error = asked(&[(ALGORITHM, "aws:kms"), (CONTEXT, context)]);
            assert_eq!(code(error), Code::InvalidArgument, "{context}");
        }
        assert_eq!(code(asked(&[(ALGORITHM, "aws:kms"), (BUCKET_KEY, "1")])), Code::InvalidArgument);
        assert_eq!(code(read(&[(ALGORITHM, "AES256")])), Code::InvalidArgument);
    }

    #[test]
    fn a_customers_key_comes_whole_and_unharmed() {
        let key = base64_encode(&[7; 32]);
        let md5 = base64_encode(&hash::md5(&[7; 32]));
        let all = [(CUSTOMER.algorithm, "AES256"), (CUSTOMER.key, &*key), (CUSTOMER.md5, &*md5)];
        let Ok(Asked::Customer(found)) = asked(&all) else { panic!("a customer's key") };
        assert_eq!(found.key.reveal(), &[7; 32]);
        for without in 0..3 {
            let mut headers = all.to_vec();
            headers.remove(without);
            assert_eq!(code(asked(&headers)), Code::InvalidArgument);
            // A read may leave out the digest.
            assert_eq!(read(&headers).is_ok(), without == 2);
        }
        let with = |at: usize, value: &'static str| {
            let mut headers = all;
            headers[at].1 = value;
            (asked(&headers).err().map(|error| error.code), read(&headers).err().map(|error| error.code))
        };
        let algorithm = Some(Code::InvalidEncryptionAlgorithmError);
        assert_eq!(with(0, "AES128"), (algorithm, algorithm));
        assert_eq!(with(1, "c2hvcnQ="), (Some(Code::InvalidArgument), Some(Code::AccessDenied)));
        let digest = Some(Code::InvalidArgument);
        assert_eq!(with(2, "AAAAAAAAAAAAAAAAAAAAAA=="), (digest, digest));
        assert_eq!(with(2, "no base64"), (digest, digest));
        assert_eq!(code(asked(&[&all[..], &[(ALGORITHM, "AES256")]].concat())), Code::InvalidArgument);
    }
}
