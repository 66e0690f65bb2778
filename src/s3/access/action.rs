//! Which actions a request means. The table of operations has one for each; a version, a header or a copy can
//! make it another one, or more.
//!
//! Source: AWS, "Required permissions for Amazon S3 API operations".

use crate::auth::acl::GRANT_HEADERS;
use crate::auth::policy::action::Action;
use crate::s3::lock;
use crate::s3::request::Request;
use crate::s3::route::Operation;

/// Actions whose names differ if the request names a version.
const OF_VERSION: [(Action, Action); 9] = [
    (Action::named("s3:DeleteObject"), Action::named("s3:DeleteObjectVersion")),
    (Action::named("s3:DeleteObjectTagging"), Action::named("s3:DeleteObjectVersionTagging")),
    (Action::named("s3:GetObject"), Action::named("s3:GetObjectVersion")),
    (Action::named("s3:GetObjectAcl"), Action::named("s3:GetObjectVersionAcl")),
    (Action::named("s3:GetObjectAttributes"), Action::named("s3:GetObjectVersionAttributes")),
    (Action::named("s3:GetObjectTagging"), Action::named("s3:GetObjectVersionTagging")),
    (Action::named("s3:GetObjectTorrent"), Action::named("s3:GetObjectVersionTorrent")),
    (Action::named("s3:PutObjectAcl"), Action::named("s3:PutObjectVersionAcl")),
    (Action::named("s3:PutObjectTagging"), Action::named("s3:PutObjectVersionTagging")),
];

/// The action of something that is done to a version, if one is named.
pub fn of_version(action: Action, names_version: bool) -> Action {
    let other = OF_VERSION.iter().find(|(current, _)| names_version && *current == action);
    other.map_or(action, |(_, of_version)| *of_version)
}

/// The action that a request means first of all.
pub fn primary(operation: Operation, request: &Request) -> Action {
    of_version(operation.row().action, request.query("versionId").is_some())
}

/// What a request needs that asks to bypass retentions of the mode governance.
pub const BYPASS_GOVERNANCE: Action = Action::named("s3:BypassGovernanceRetention");

/// What reading an object needs, and learning its ETag, its length or its time from a condition.
pub const GET_OBJECT: Action = Action::named("s3:GetObject");
pub const DELETE_OBJECT: Action = Action::named("s3:DeleteObject");

const PUT_BUCKET_ACL: Action = Action::named("s3:PutBucketAcl");
const PUT_BUCKET_OBJECT_LOCK: Action = Action::named("s3:PutBucketObjectLockConfiguration");
const PUT_BUCKET_OWNERSHIP: Action = Action::named("s3:PutBucketOwnershipControls");
const PUT_BUCKET_VERSIONING: Action = Action::named("s3:PutBucketVersioning");
const PUT_OBJECT: Action = Action::named("s3:PutObject");
const PUT_OBJECT_ACL: Action = Action::named("s3:PutObjectAcl");
const PUT_OBJECT_LEGAL_HOLD: Action = Action::named("s3:PutObjectLegalHold");
const PUT_OBJECT_RETENTION: Action = Action::named("s3:PutObjectRetention");
const PUT_OBJECT_TAGGING: Action = Action::named("s3:PutObjectTagging");

/// Whether an operation makes an object, or begins to.
pub fn makes_object(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::PutObject
            | Operation::PostObject
            | Operation::CopyObject
            | Operation::CreateMultipartUpload
    )
}

/// Whether a change has a condition whose outcome tells more of the current object than that it is there.
///
/// Source: AWS, "Enforce conditional deletes on Amazon S3 buckets" and "Enforce conditional writes on Amazon S3
/// buckets": `If-Match` with an ETag needs `s3:GetObject`. An ETag in `If-None-Match`, which AWS does not take
/// there, tells as much.
fn tells_of_current(operation: Operation, request: &Request) -> bool {
    const NAMES: [&str; 6] = [
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-unmodified-since",
        "x-amz-if-match-last-modified-time",
        "x-amz-if-match-size",
    ];
    let is_change = makes_object(operation)
        || matches!(
            operation,
            Operation::CompleteMultipartUpload | Operation::DeleteObject | Operation::RenameObject
        );
    is_change && NAMES.iter().any(|name| request.head.header(name).is_some_and(|value| value != b"*"))
}

/// The actions that a request means beside the first, on the same bucket or object.
pub fn beside(operation: Operation, request: &Request) -> impl Iterator<Item = Action> + use<> {
    let has = |name: &str| request.head.header(name).is_some();
    let has_acl = || has("x-amz-acl") || GRANT_HEADERS.iter().any(|(name, _)| has(name));
    let when = |is_meant: bool, action: Action| is_meant.then_some(action);
    let names_version = request.query("versionId").is_some();
    let current = when(tells_of_current(operation, request), of_version(GET_OBJECT, names_version));
    let actions = match operation {
        Operation::GetObjectAttributes => [Some(of_version(GET_OBJECT, names_version)), None, None, None],
        Operation::CreateBucket => {
            let has_lock = request.head.text("x-amz-bucket-object-lock-enabled");
            let has_lock = has_lock.is_some_and(|text| text.eq_ignore_ascii_case("true"));
            [
                when(has_acl(), PUT_BUCKET_ACL),
                when(has_lock, PUT_BUCKET_OBJECT_LOCK),
                when(has_lock, PUT_BUCKET_VERSIONING),
                when(has("x-amz-object-ownership"), PUT_BUCKET_OWNERSHIP),
            ]
        }
        _ if makes_object(operation) => {
            let has_retention = has("x-amz-object-lock-mode") || has("x-amz-object-lock-retain-until-date");
            [
                when(has_acl(), PUT_OBJECT_ACL),
                when(has("x-amz-tagging"), PUT_OBJECT_TAGGING),
                when(has_retention, PUT_OBJECT_RETENTION),
                when(has("x-amz-object-lock-legal-hold"), PUT_OBJECT_LEGAL_HOLD),
            ]
        }
        Operation::DeleteObject | Operation::PutObjectRetention => {
            [when(lock::wants_bypass(request), BYPASS_GOVERNANCE), None, None, None]
        }
        // It makes an object of its new key, whatever AWS's own action for that says.
        Operation::RenameObject => [Some(PUT_OBJECT), None, None, None],
        _ => [None; 4],
    };
    actions.into_iter().chain([current]).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::route::route;

    /// Method, target and headers; all actions in order.
    const REQUESTS: &[(&str, &str, &[&str], &[&str])] = &[
        ("GET", "/", &[], &["s3:ListAllMyBuckets"]),
        ("PUT", "/b", &[], &["s3:CreateBucket"]),
        ("PUT", "/b", &["x-amz-acl"], &["s3:CreateBucket", "s3:PutBucketAcl"]),
        ("PUT", "/b", &["x-amz-object-ownership"], &["s3:CreateBucket", "s3:PutBucketOwnershipControls"]),
        ("HEAD", "/b", &[], &["s3:ListBucket"]),
        ("GET", "/b?list-type=2", &[], &["s3:ListBucket"]),
        ("GET", "/b?versions", &[], &["s3:ListBucketVersions"]),
        ("GET", "/b?uploads", &[], &["s3:ListBucketMultipartUploads"]),
        ("GET", "/b?acl", &[], &["s3:GetBucketAcl"]),
        ("PUT", "/b?policy", &[], &["s3:PutBucketPolicy"]),
        ("DELETE", "/b?cors", &[], &["s3:PutBucketCORS"]),
        ("DELETE", "/b?lifecycle", &[], &["s3:PutLifecycleConfiguration"]),
        ("GET", "/b/k", &[], &["s3:GetObject"]),
        ("HEAD", "/b/k", &[], &["s3:GetObject"]),
        ("GET", "/b/k?versionId=null", &[], &["s3:GetObjectVersion"]),
        ("HEAD", "/b/k?versionId=x", &[], &["s3:GetObjectVersion"]),
        ("GET", "/b/k?attributes", &[], &["s3:GetObjectAttributes", "s3:GetObject"]),
        (
            "GET",
            "/b/k?attributes&versionId=x",
            &[],
            &["s3:GetObjectVersionAttributes", "s3:GetObjectVersion"],
        ),
        ("GET", "/b/k?tagging", &[], &["s3:GetObjectTagging"]),
        ("PUT", "/b/k?tagging&versionId=x", &[], &["s3:PutObjectVersionTagging"]),
        ("DELETE", "/b/k?tagging&versionId=x", &[], &["s3:DeleteObjectVersionTagging"]),
        ("PUT", "/b/k?acl", &["x-amz-acl"], &["s3:PutObjectAcl"]),
        ("PUT", "/b/k?acl&versionId=x", &[], &["s3:PutObjectVersionAcl"]),
        ("PUT", "/b/k?retention&versionId=x", &[], &["s3:PutObjectRetention"]),
        ("DELETE", "/b/k", &[], &["s3:DeleteObject"]),
        ("DELETE", "/b/k?versionId=x", &[], &["s3:DeleteObjectVersion"]),
        ("PUT", "/b/k", &[], &["s3:PutObject"]),
        (
            "PUT",
            "/b/k",
            &["x-amz-grant-read", "x-amz-tagging", "x-amz-object-lock-mode", "x-amz-object-lock-legal-hold"],
            &[
                "s3:PutObject",
                "s3:PutObjectAcl",
                "s3:PutObjectTagging",
                "s3:PutObjectRetention",
                "s3:PutObjectLegalHold",
            ],
        ),
        ("PUT", "/b/k", &["x-amz-copy-source", "x-amz-tagging"], &["s3:PutObject", "s3:PutObjectTagging"]),
        ("POST", "/b/k?uploads", &["x-amz-acl"], &["s3:PutObject", "s3:PutObjectAcl"]),
        ("PUT", "/b/k?partNumber=1&uploadId=u", &["x-amz-acl"], &["s3:PutObject"]),
        ("POST", "/b/k?uploadId=u", &[], &["s3:PutObject"]),
        ("POST", "/b/k?uploadId=u", &["if-match"], &["s3:PutObject", "s3:GetObject"]),
        ("PUT", "/b/k", &["if-match"], &["s3:PutObject", "s3:GetObject"]),
        ("PUT", "/b/k", &["if-none-match"], &["s3:PutObject", "s3:GetObject"]),
        ("DELETE", "/b/k", &["if-match"], &["s3:DeleteObject", "s3:GetObject"]),
        (
            "DELETE",
            "/b/k?versionId=x",
            &["x-amz-if-match-size"],
            &["s3:DeleteObjectVersion", "s3:GetObjectVersion"],
        ),
        ("GET", "/b/k", &["if-match"], &["s3:GetObject"]),
        ("PUT", "/b/k?renameObject", &["x-amz-rename-source"], &["s3:RenameObject", "s3:PutObject"]),
        ("DELETE", "/b/k?uploadId=u", &[], &["s3:AbortMultipartUpload"]),
        ("GET", "/b/k?uploadId=u", &[], &["s3:ListMultipartUploadParts"]),
    ];

    #[test]
    fn requests_mean_the_actions_that_aws_documents() {
        for (method, target, headers, actions) in REQUESTS {
            let headers: Vec<_> = headers.iter().map(|name| (*name, "x")).collect();
            let request = Request::for_test(method, target, &headers);
            let operation = route(&request).unwrap();
            let first = std::iter::once(primary(operation, &request));
            let meant: Vec<_> = first.chain(beside(operation, &request)).map(Action::name).collect();
            assert_eq!(meant, *actions, "{method} {target} {headers:?}");
        }
    }
}
