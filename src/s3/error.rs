//! S3's error codes, their statuses and texts, and their rendering. No other file names a code's text.
//!
//! Source: AWS, "Error responses" of the Amazon S3 API Reference. The messages are AWS's own, because
//! clients look at them. S3 has no quotas: that code is MinIO's, which tools know.

use std::borrow::Cow;

use crate::http::Response;
use crate::s3::xml::XmlWriter;

/// The text of a code: its name, unless it has characters that no name can have.
macro_rules! text_of {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident $text:literal) => {
        $text
    };
}

macro_rules! codes {
    ($($name:ident $(as $text:literal)? $status:literal $message:literal;)*) => {
        /// A code of S3's error table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($name,)*
        }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Text of the `Code` element.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => text_of!($name $($text)?),)*
                }
            }

            /// HTTP status of the response.
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                }
            }

            /// Text of the `Message` element unless a situation has another.
            pub fn message(self) -> &'static str {
                match self {
                    $(Self::$name => $message,)*
                }
            }
        }
    };
}

codes! {
    AccessControlListNotSupported 400 "The bucket does not allow ACLs";
    AccessDenied 403 "Access Denied";
    AccessForbidden 403 "CORSResponse: CORS is not enabled for this bucket.";
    AuthorizationHeaderMalformed 400 "The authorization header you provided is invalid.";
    AuthorizationQueryParametersError 400 "Error parsing the query parameters of the signature.";
    BadDigest 400 "The Content-MD5 you specified did not match what we received.";
    BadRequest 400 "Bad Request";
    BucketAlreadyExists 409 "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.";
    BucketAlreadyOwnedByYou 409 "Your previous request to create the named bucket succeeded and you already own it.";
    BucketNotEmpty 409 "The bucket you tried to delete is not empty";
    ConditionalRequestConflict 409 "The conditional request cannot succeed due to a conflicting operation against this resource.";
    EntityTooLarge 400 "Your proposed upload exceeds the maximum allowed size";
    EntityTooSmall 400 "Your proposed upload is smaller than the minimum allowed size";
    HttpVersionNotSupported 505 "The HTTP version specified is not supported.";
    IdempotencyParameterMismatch 400 "Parameters on this idempotent request are inconsistent with parameters used in previous request(s).";
    IllegalLocationConstraintException 400 "The specified location constraint is incompatible for the region specific endpoint this request was sent to.";
    IllegalVersioningConfigurationException 400 "The Versioning element must be specified";
    IncompleteBody 400 "The request body terminated unexpectedly";
    InsufficientStorage 507 "The node has no free space for this request.";
    InternalError 500 "We encountered an internal error. Please try again.";
    InvalidAccessKeyId 403 "The AWS Access Key Id you provided does not exist in our records.";
    InvalidArgument 400 "Invalid Argument";
    InvalidBucketAclWithBlockPublicAccessError 400 "Bucket cannot have public ACLs set with BlockPublicAccess enabled";
    InvalidBucketAclWithObjectOwnership 400 "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
    InvalidBucketName 400 "The specified bucket is not valid.";
    InvalidBucketState 409 "The request is not valid for the current state of the bucket.";
    InvalidDigest 400 "The Content-MD5 you specified was invalid.";
    InvalidEncryptionAlgorithmError 400 "The encryption request you specified is not valid. The valid value is AES256.";
    InvalidLocationConstraint 400 "The specified location-constraint is not valid";
    InvalidPart 400 "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.";
    InvalidPartOrder 400 "The list of parts was not in ascending order. Parts must be ordered by part number.";
    InvalidPolicyDocument 400 "The content of the form does not meet the conditions specified in the policy document.";
    InvalidRange 416 "The requested range is not satisfiable";
    InvalidRedirectLocation 400 "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.";
    InvalidRequest 400 "Invalid Request";
    InvalidRetentionPeriod 400 "The retention period must be a positive integer value.";
    InvalidStorageClass 400 "The storage class you specified is not valid";
    InvalidTag 400 "The tag provided was not a valid tag. This error can occur if the tag did not pass input validation.";
    InvalidToken 400 "The provided token is malformed or otherwise invalid.";
    InvalidURI 400 "Couldn't parse the specified URI.";
    InvalidWriteOffset 400 "The write offset value that you specified does not match the current object size.";
    KmsNotFoundException as "KMS.NotFoundException" 400 "The specified key does not exist.";
    KeyTooLongError 400 "Your key is too long";
    MalformedACLError 400 "The XML you provided was not well-formed or did not validate against our published schema";
    MalformedPolicy 400 "Policies must be valid JSON and the first byte must be '{'";
    MalformedPOSTRequest 400 "The body of your POST request is not well-formed multipart/form-data.";
    MalformedTrailerError 400 "The request contained trailing data that was not well-formed or did not conform to our published schema.";
    MalformedXML 400 "The XML you provided was not well-formed or did not validate against our published schema";
    MaxMessageLengthExceeded 400 "Your request was too big.";
    MaxPostPreDataLengthExceededError 400 "Your POST request fields preceding the upload file were too large.";
    MetadataTooLarge 400 "Your metadata headers exceed the maximum allowed metadata size";
    MethodNotAllowed 405 "The specified method is not allowed against this resource.";
    MissingContentLength 411 "You must provide the Content-Length HTTP header.";
    MissingRequestBodyError 400 "Request Body is empty";
    MissingSecurityHeader 400 "Your request was missing a required header";
    NoSuchBucket 404 "The specified bucket does not exist";
    NoSuchBucketPolicy 404 "The bucket policy does not exist";
    NoSuchCORSConfiguration 404 "The CORS configuration does not exist";
    NoSuchKey 404 "The specified key does not exist.";
    NoSuchLifecycleConfiguration 404 "The lifecycle configuration does not exist";
    NoSuchObjectLockConfiguration 404 "The specified object does not have a ObjectLock configuration";
    NoSuchPublicAccessBlockConfiguration 404 "The public access block configuration was not found";
    NoSuchTagSet 404 "The TagSet does not exist";
    NoSuchUpload 404 "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
    NoSuchVersion 404 "The specified version does not exist.";
    NoSuchWebsiteConfiguration 404 "The specified bucket does not have a website configuration";
    NotImplemented 501 "A header you provided implies functionality that is not implemented";
    ObjectLockConfigurationNotFoundError 404 "Object Lock configuration does not exist for this bucket";
    OperationAborted 409 "A conflicting conditional operation is currently in progress against this resource. Please try again.";
    OwnershipControlsNotFoundError 404 "The bucket ownership controls were not found";
    PreconditionFailed 412 "At least one of the pre-conditions you specified did not hold";
    ReplicationConfigurationNotFoundError 404 "The replication configuration was not found";
    RequestHeaderSectionTooLarge 400 "Your request header and query parameters used to make the request exceed the maximum allowed size.";
    RequestTimeTooSkewed 403 "The difference between the request time and the current time is too large.";
    RequestTimeout 400 "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.";
    ServerSideEncryptionConfigurationNotFoundError 404 "The server side encryption configuration was not found";
    ServiceUnavailable 503 "Service is unable to handle request.";
    SignatureDoesNotMatch 403 "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    SlowDown 503 "Please reduce your request rate.";
    TooManyParts 400 "You have attempted to add more parts than the maximum of 10000 that are allowed for this object.";
    UnexpectedContent 400 "This request does not support content";
    UnresolvableGrantByEmailAddress 400 "The e-mail address you provided does not match any account on record.";
    XAmzContentSHA256Mismatch 400 "The provided 'x-amz-content-sha256' header does not match what was computed.";
    XMinioAdminBucketQuotaExceeded 400 "Bucket quota exceeded";
}

/// An answer that says why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Error {
    pub code: Code,
    pub message: Cow<'static, str>,
    /// Elements beside the common ones, in order.
    pub fields: Vec<(&'static str, String)>,
    /// Header lines beside the common ones.
    pub headers: Vec<(&'static str, String)>,
    /// The connection cannot be used any further (its body cannot be read on).
    pub close: bool,
}

impl S3Error {
    /// The code with its default message.
    pub fn new(code: Code) -> Self {
        Self { code, message: code.message().into(), fields: Vec::new(), headers: Vec::new(), close: false }
    }

    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = message.into();
        self
    }

    /// Adds an element of the error document.
    pub fn with_field(mut self, name: &'static str, value: impl ToString) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }

    pub fn with_header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// `InvalidArgument` about one argument.
    pub fn invalid_argument(
        message: impl Into<Cow<'static, str>>,
        name: impl ToString,
        value: impl ToString,
    ) -> Self {
        Self::new(Code::InvalidArgument)
            .with_message(message)
            .with_field("ArgumentName", name)
            .with_field("ArgumentValue", value)
    }

    /// `InvalidRequest` with its situation's message.
    pub fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest).with_message(message)
    }

    /// `NotImplemented` because of a header (or parameter) of the request.
    pub fn not_implemented(header: impl ToString) -> Self {
        Self::new(Code::NotImplemented).with_field("Header", header)
    }

    pub fn no_such_bucket(bucket: &str) -> Self {
        Self::new(Code::NoSuchBucket).with_field("BucketName", bucket)
    }

    pub fn no_such_key(key: &str) -> Self {
        Self::new(Code::NoSuchKey).with_field("Key", key)
    }

    /// Whether it tells that a key or a version holds nothing.
    pub fn tells_missing(&self) -> bool {
        matches!(self.code, Code::NoSuchKey | Code::NoSuchVersion)
    }

    pub fn no_such_upload(upload: &str) -> Self {
        Self::new(Code::NoSuchUpload).with_field("UploadId", upload)
    }

    /// `PreconditionFailed` naming the header that does not hold.
    pub fn precondition_failed(header: &'static str) -> Self {
        Self::new(Code::PreconditionFailed).with_field("Condition", header)
    }

    /// The error document. Whoever answers HEAD drops the body.
    pub fn response(&self, resource: &str, request_id: &str, host_id: &str) -> Response {
        let mut xml = XmlWriter::document_plain("Error");
        xml.text("Code", self.code.name());
        xml.text("Message", &self.message);
        for (name, value) in &self.fields {
            xml.text(name, value);
        }
        if !resource.is_empty() {
            xml.text("Resource", resource);
        }
        xml.text("RequestId", request_id);
        xml.text("HostId", host_id);
        let mut response = Response::new(self.code.status()).with_header("Content-Type", "application/xml");
        for (name, value) in &self.headers {
            response.header(name, value);
        }
        response.close = self.close;
        response.with_body(xml.finish())
    }
}

impl From<Code> for S3Error {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ResponseBody;

    #[test]
    fn an_error_document_names_code_message_fields_and_ids() {
        let error = S3Error::no_such_key("a<b&c\u{1}");
        let response = error.response("/bucket/a%3Cb", "4442587FB7D0A2F9", "host=");
        assert_eq!(response.status, 404);
        let ResponseBody::Bytes(body) = response.body else { panic!("an error has a document") };
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
             <Message>The specified key does not exist.</Message><Key>a&lt;b&amp;c&#x1;</Key>\
             <Resource>/bucket/a%3Cb</Resource><RequestId>4442587FB7D0A2F9</RequestId>\
             <HostId>host=</HostId></Error>"
        );
    }

    #[test]
    fn every_code_has_an_error_status_and_a_message() {
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{}", code.name());
            assert!(!code.message().is_empty(), "{}", code.name());
        }
    }
}
