//! Operations on the settings of a bucket: what is put is answered, what cannot be heeded is refused, and
//! settings that depend on each other say so.

use super::harness::{Answer, Node};
use crate::hash;
use crate::s3::notification_target::NotificationTarget;
use crate::s3::service::{NewBuckets, Settings};
use crate::s3::xml::Element;

const NAMESPACE: &str = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

/// A node whose buckets have ACLs and block nothing.
fn open_node() -> Node {
    let target = NotificationTarget {
        name: "main".to_owned(),
        arn: NotificationTarget::arn_of("us-east-1", "main"),
        url: "http://localhost/".to_owned(),
        host: "localhost".to_owned(),
        port: 80,
        authority: "localhost".to_owned(),
        path: "/".to_owned(),
        token: None,
        queue_max: 1,
    };
    let settings =
        Settings { new_buckets: NewBuckets::Acl, notification_targets: vec![target], ..Settings::default() };
    Node::with_settings("bkt", settings)
}

/// Puts a document with its digest.
fn put(node: &Node, sub_resource: &str, document: &str) -> Answer {
    let digest = hash::base64_encode(&hash::md5(document.as_bytes()));
    let headers = [("content-md5", digest.as_str())];
    node.send("PUT", &format!("/bkt?{sub_resource}"), &headers, document.as_bytes())
}

fn get(node: &Node, sub_resource: &str) -> Answer {
    node.send("GET", &format!("/bkt?{sub_resource}"), &[], b"")
}

fn delete(node: &Node, sub_resource: &str) -> u16 {
    node.send("DELETE", &format!("/bkt?{sub_resource}"), &[], b"").status
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.error(), (status, code.to_owned()));
}

fn grants(acl: &Element) -> Vec<String> {
    let grants = acl.child("AccessControlList").expect("a list").children_named("Grant");
    let text = |grant: &Element| {
        let grantee = grant.child("Grantee").expect("a grantee");
        let name = grantee.child_text("DisplayName").or(grantee.child_text("URI")).unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default().to_owned();
        format!("{name} {}", grant.child_text("Permission").unwrap_or_default())
    };
    grants.map(text).collect()
}

const TAGGING: &str = "<Tagging><TagSet><Tag><Key>Hello</Key><Value>World</Value></Tag></TagSet></Tagging>";
const CORS: &str = "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod>\
    <AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedHeader>x-amz-*</AllowedHeader>\
    <ExposeHeader>ETag</ExposeHeader></CORSRule></CORSConfiguration>";
const LIFECYCLE: &str = "<LifecycleConfiguration><Rule><ID>r</ID><Prefix>logs/</Prefix>\
    <Status>Enabled</Status><Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>";
const ENCRYPTION: &str = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
    <SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>\
    </ServerSideEncryptionConfiguration>";
const OWNERSHIP: &str = "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerPreferred</ObjectOwnership>\
    </Rule></OwnershipControls>";
const BLOCK: &str = "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>\
    <IgnorePublicAcls>false</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy>\
    <RestrictPublicBuckets>false</RestrictPublicBuckets></PublicAccessBlockConfiguration>";

/// Sub-resource, document, status of its PUT, and what a GET of a bucket without it answers.
const DOCUMENTS: [(&str, &str, u16, &str); 6] = [
    ("tagging", TAGGING, 200, "NoSuchTagSet"),
    ("cors", CORS, 200, "NoSuchCORSConfiguration"),
    ("lifecycle", LIFECYCLE, 200, "NoSuchLifecycleConfiguration"),
    ("encryption", ENCRYPTION, 200, "ServerSideEncryptionConfigurationNotFoundError"),
    ("ownershipControls", OWNERSHIP, 200, "OwnershipControlsNotFoundError"),
    ("publicAccessBlock", BLOCK, 200, "NoSuchPublicAccessBlockConfiguration"),
];

#[test]
fn a_setting_is_put_answered_and_removed() {
    let node = open_node();
    for (name, document, status, absent) in DOCUMENTS {
        assert_refused(&get(&node, name), 404, absent);
        assert_eq!(delete(&node, name), 204);
        let answer = put(&node, name, document);
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        let root = document[1..].split('>').next().unwrap();
        let got = get(&node, name);
        let text = String::from_utf8(got.body.clone()).unwrap();
        let expected = document.replacen(root, &format!("{root} {NAMESPACE}"), 1);
        if name != "cors" {
            assert!(text.ends_with(&expected), "{name}: {text}");
        }
        assert_eq!(got.header("content-type"), Some("application/xml"));
        assert_eq!(put(&node, name, &text).status, status, "{name}: what is answered can be put");
        assert_eq!(get(&node, name).body, got.body);
        assert_eq!(delete(&node, name), 204);
        assert_refused(&get(&node, name), 404, absent);
    }
}

#[test]
fn a_document_is_refused_after_its_bucket_and_its_digest() {
    let node = open_node();
    for (name, document, _, _) in DOCUMENTS {
        let missing = node.send("PUT", &format!("/none?{name}"), &[], b"<");
        assert_refused(&missing, 404, "NoSuchBucket");
        assert_refused(&put(&node, name, "<"), 400, "MalformedXML");
        assert_refused(&put(&node, name, ""), 400, "MissingRequestBodyError");
        assert_refused(&put(&node, name, "<Other/>"), 400, "MalformedXML");
        let wrong = [("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")];
        let answer = node.send("PUT", &format!("/bkt?{name}"), &wrong, document.as_bytes());
        assert_refused(&answer, 400, "BadDigest");
        let foreign = [("x-amz-expected-bucket-owner", "123456789012")];
        for method in ["GET", "DELETE"] {
            let answer = node.send(method, &format!("/bkt?{name}"), &foreign, b"");
            assert_refused(&answer, 403, "AccessDenied");
        }
    }
    for name in ["tagging", "cors", "lifecycle", "object-lock"] {
        let answer = node.send("PUT", &format!("/bkt?{name}"), &[], b"<a/>");
        assert_refused(&answer, 400, "InvalidRequest");
    }
}

#[test]
fn versioning_is_enabled_and_suspended() {
    let node = open_node();
    let versioning = |status: &str| {
        let document =
            format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        put(&node, "versioning", &document)
    };
    let status = || {
        let document = get(&node, "versioning").document("VersioningConfiguration");
        document.child_text("Status").map(str::to_owned)
    };
    assert_eq!(status(), None);
    for wanted in ["Suspended", "Enabled", "Enabled", "Suspended"] {
        assert_eq!(versioning(wanted).status, 200);
        assert_eq!(status().as_deref(), Some(wanted));
    }
    assert_refused(&versioning("On"), 400, "MalformedXML");
}

#[test]
fn object_lock_needs_versions_and_keeps_them() {
    let node = open_node();
    let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
        <DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>\
        </ObjectLockConfiguration>";
    let version = |status: &str| {
        let document =
            format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        put(&node, "versioning", &document)
    };
    assert_refused(&get(&node, "object-lock"), 404, "ObjectLockConfigurationNotFoundError");
    assert_refused(&put(&node, "object-lock", lock), 409, "InvalidBucketState");
    assert_eq!(version("Suspended").status, 200);
    assert_refused(&put(&node, "object-lock", lock), 409, "InvalidBucketState");
    assert_eq!(version("Enabled").status, 200);
    assert_eq!(put(&node, "object-lock", lock).status, 200);
    let got = String::from_utf8(get(&node, "object-lock").body).unwrap();
    assert!(got.contains("<Mode>GOVERNANCE</Mode><Days>1</Days>"), "{got}");
    assert_refused(&version("Suspended"), 409, "InvalidBucketState");

    let headers = [("x-amz-bucket-object-lock-enabled", "True")];
    assert_eq!(node.send("PUT", "/locked", &headers, b"").status, 200);
    let versioning = node.send("GET", "/locked?versioning", &[], b"").document("VersioningConfiguration");
    assert_eq!(versioning.child_text("Status"), Some("Enabled"));
    let lock = node.send("GET", "/locked?object-lock", &[], b"").document("ObjectLockConfiguration");
    assert!(lock.child("Rule").is_none());
    let headers = [("x-amz-bucket-object-lock-enabled", "yes")];
    assert_refused(&node.send("PUT", "/other", &headers, b""), 400, "InvalidArgument");
}

#[test]
fn an_acl_comes_as_a_name_as_headers_or_as_a_document() {
    let node = open_node();
    let acl = || grants(&get(&node, "acl").document("AccessControlPolicy"));
    assert_eq!(acl(), ["root FULL_CONTROL"]);
    assert_eq!(node.send("PUT", "/bkt?acl", &[("x-amz-acl", "public-read")], b"").status, 200);
    assert_eq!(acl(), ["AllUsers READ", "root FULL_CONTROL"]);
    let id = Settings::default().owner_id;
    let header = [("x-amz-grant-read-acp", format!("id=\"{id}\""))];
    let header = [(header[0].0, header[0].1.as_str())];
    assert_eq!(node.send("PUT", "/bkt?acl", &header, b"").status, 200);
    assert_eq!(acl(), ["root READ_ACP"]);
    let document = String::from_utf8(get(&node, "acl").body).unwrap();
    assert_eq!(put(&node, "acl", &document.replace("READ_ACP", "FULL_CONTROL")).status, 200);
    assert_eq!(acl(), ["root FULL_CONTROL"]);

    assert_refused(&node.send("PUT", "/bkt?acl", &[], b""), 400, "MissingSecurityHeader");
    let both = node.send("PUT", "/bkt?acl", &[("x-amz-acl", "private")], document.as_bytes());
    assert_refused(&both, 400, "UnexpectedContent");
    let answer = node.send("PUT", "/bkt?acl", &[("x-amz-acl", "public-ready")], b"");
    assert_refused(&answer, 400, "InvalidArgument");
    assert_refused(&put(&node, "acl", "<a/>"), 400, "MalformedACLError");
    assert_refused(&put(&node, "acl", &document.replace(&id, "_foo")), 403, "AccessDenied");
}

#[test]
fn blocks_and_ownership_forbid_acls() {
    let node = open_node();
    let canned = |name: &str| node.send("PUT", "/bkt?acl", &[("x-amz-acl", name)], b"");
    let enforced = OWNERSHIP.replace("Preferred", "Enforced");
    assert_eq!(canned("authenticated-read").status, 200);
    assert_refused(&put(&node, "ownershipControls", &enforced), 400, "InvalidBucketAclWithObjectOwnership");
    assert_eq!(put(&node, "publicAccessBlock", BLOCK).status, 200);
    assert_refused(&canned("public-read"), 403, "AccessDenied");
    assert_eq!(canned("private").status, 200);
    assert_eq!(put(&node, "ownershipControls", &enforced).status, 200);
    assert_refused(&canned("private"), 400, "AccessControlListNotSupported");
    assert_eq!(grants(&get(&node, "acl").document("AccessControlPolicy")), ["root FULL_CONTROL"]);
}

#[test]
fn a_policy_is_answered_byte_for_byte_and_says_whether_it_is_public() {
    let node = open_node();
    let is_public = || {
        let status = get(&node, "policyStatus").document("PolicyStatus");
        status.child_text("IsPublic") == Some("true")
    };
    assert_refused(&get(&node, "policy"), 404, "NoSuchBucketPolicy");
    assert!(!is_public());
    let policy = "{ \"Version\":\"2012-10-17\",\n\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\
        \"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::bkt/*\"}]}";
    assert_eq!(put(&node, "policy", policy).status, 204);
    let answer = get(&node, "policy");
    assert_eq!(answer.body, policy.as_bytes());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(is_public());
    assert_eq!(delete(&node, "policy"), 204);
    assert!(!is_public());
    node.send("PUT", "/bkt?acl", &[("x-amz-acl", "public-read")], b"");
    assert!(is_public());

    assert_eq!(put(&node, "publicAccessBlock", BLOCK).status, 200);
    assert_refused(&put(&node, "policy", policy), 403, "AccessDenied");
    assert_eq!(put(&node, "policy", &policy.replace("Allow", "Deny")).status, 204);
    for malformed in ["[]", "{}", &policy.replace("bkt", "other"), &policy.replace("Effect", "Affect")] {
        assert_refused(&put(&node, "policy", malformed), 400, "MalformedPolicy");
    }
    let long = policy.replace('\n', &" ".repeat(20 << 10));
    assert_refused(&put(&node, "policy", &long), 400, "MalformedPolicy");
}

#[test]
fn notifications_go_to_targets_of_the_node() {
    let node = open_node();
    let arn = NotificationTarget::arn_of("us-east-1", "main");
    let document = format!(
        "<NotificationConfiguration><QueueConfiguration><Id>a</Id><Queue>{arn}</Queue>\
         <Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>"
    );
    let configurations = || get(&node, "notification").document("NotificationConfiguration").children.len();
    assert_eq!(configurations(), 0);
    assert_eq!(put(&node, "notification", &document).status, 200);
    assert_eq!(configurations(), 1);
    let unknown = put(&node, "notification", &document.replace(":main:", ":other:"));
    assert_refused(&unknown, 400, "InvalidArgument");
    assert_eq!(configurations(), 1);
    assert_eq!(put(&node, "notification", "<NotificationConfiguration/>").status, 200);
    assert_eq!(configurations(), 0);
}

#[test]
fn the_owner_pays() {
    let node = open_node();
    let payer = |name: &str| {
        let root = "RequestPaymentConfiguration";
        put(&node, "requestPayment", &format!("<{root}><Payer>{name}</Payer></{root}>"))
    };
    assert_eq!(payer("BucketOwner").status, 200);
    assert_refused(&payer("Requester"), 501, "NotImplemented");
    assert_refused(&payer("Nobody"), 400, "MalformedXML");
    let payment = get(&node, "requestPayment").document("RequestPaymentConfiguration");
    assert_eq!(payment.child_text("Payer"), Some("BucketOwner"));
}

#[test]
fn lifecycle_says_from_which_size_on_nothing_moves() {
    let node = open_node();
    const HEADER: &str = "x-amz-transition-default-minimum-object-size";
    assert_eq!(put(&node, "lifecycle", LIFECYCLE).header(HEADER), Some("all_storage_classes_128K"));
    assert_eq!(get(&node, "lifecycle").header(HEADER), Some("all_storage_classes_128K"));
    let answer = node.send("PUT", "/bkt?lifecycle", &[(HEADER, "small")], LIFECYCLE.as_bytes());
    assert_refused(&answer, 400, "InvalidArgument");
}

#[test]
fn a_page_of_another_origin_asks_before_it_acts() {
    let node = open_node();
    let ask = |origin: &str, method: &str, headers: &str| {
        let all = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", headers),
        ];
        let sent: Vec<_> = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        node.send_unsigned("OPTIONS", "/bkt/key", &sent, b"")
    };
    let origin = "https://a.example.com";
    assert_refused(&ask("", "", ""), 400, "BadRequest");
    assert_refused(&ask(origin, "", ""), 400, "BadRequest");
    assert_refused(&ask(origin, "PATCH", ""), 400, "BadRequest");
    assert_refused(&ask(origin, "GET", ""), 403, "AccessForbidden");
    assert_eq!(put(&node, "cors", CORS).status, 200);

    let answer = ask(origin, "GET", "x-amz-date");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-amz-date"));
    assert_eq!(answer.header("access-control-expose-headers"), Some("ETag"));
    assert!(answer.header("vary").unwrap().starts_with("Origin"));
    assert_refused(&ask(origin, "PUT", ""), 403, "AccessForbidden");
    assert_refused(&ask("https://example.org", "GET", ""), 403, "AccessForbidden");
    assert_refused(&ask(origin, "GET", "content-type"), 403, "AccessForbidden");
    let elsewhere = [("origin", origin), ("access-control-request-method", "GET")];
    assert_refused(&node.send_unsigned("OPTIONS", "/none/k", &elsewhere, b""), 403, "AccessForbidden");
}

#[test]
fn answers_and_refusals_can_be_read_by_a_page_that_may() {
    let node = open_node();
    assert_eq!(put(&node, "cors", CORS).status, 200);
    let from = |origin: &str, method: &str, target: &str| {
        let answer = node.send(method, target, &[("origin", origin)], b"");
        let allowed = answer.header("access-control-allow-origin").map(str::to_owned);
        (answer.status, allowed, answer.header("vary").is_some())
    };
    let origin = "https://a.example.com";
    assert_eq!(from(origin, "GET", "/bkt"), (200, Some(origin.to_owned()), true));
    assert_eq!(from(origin, "GET", "/bkt/missing"), (404, Some(origin.to_owned()), true));
    assert_eq!(from(origin, "HEAD", "/bkt"), (200, None, true));
    assert_eq!(from("https://example.org", "GET", "/bkt"), (200, None, true));
    assert_eq!(node.send("GET", "/bkt", &[], b"").header("access-control-allow-origin"), None);
}

#[test]
fn new_buckets_are_as_the_node_is_told() {
    let closed = Node::with_bucket("bkt");
    let ownership = get(&closed, "ownershipControls").document("OwnershipControls");
    let rule = ownership.child("Rule").unwrap();
    assert_eq!(rule.child_text("ObjectOwnership"), Some("BucketOwnerEnforced"));
    let block = get(&closed, "publicAccessBlock").document("PublicAccessBlockConfiguration");
    assert!(block.children.len() == 4 && block.children.iter().all(|child| child.text == "true"));
    let public = ("x-amz-acl", "public-read");
    let make = |headers: &[(&str, &str)]| closed.send("PUT", "/new", headers, b"");
    assert_refused(&make(&[public]), 400, "InvalidBucketAclWithObjectOwnership");
    let writer = ("x-amz-object-ownership", "ObjectWriter");
    assert_refused(&make(&[public, writer]), 400, "InvalidBucketAclWithBlockPublicAccessError");
    assert_refused(&make(&[("x-amz-object-ownership", "Mine")]), 400, "InvalidArgument");
    assert_eq!(make(&[writer, ("x-amz-acl", "private")]).status, 200);

    let open = open_node();
    assert_eq!(open.send("PUT", "/new", &[public], b"").status, 200);
    let acl = |node: &Node| grants(&node.send("GET", "/new?acl", &[], b"").document("AccessControlPolicy"));
    assert_eq!(acl(&open), ["AllUsers READ", "root FULL_CONTROL"]);
    // Whoever makes a bucket again gets the ACL that they ask for now.
    assert_eq!(open.send("PUT", "/new", &[], b"").status, 200);
    assert_eq!(acl(&open), ["root FULL_CONTROL"]);
    let enforced = [("x-amz-object-ownership", "BucketOwnerEnforced"), public];
    let refused = open.send("PUT", "/enforced", &enforced, b"");
    assert_refused(&refused, 400, "InvalidBucketAclWithObjectOwnership");
}

#[test]
fn a_bucket_can_be_made_with_its_tags() {
    let node = open_node();
    let tags = "<CreateBucketConfiguration><Tags><Tag><Key>k</Key><Value>v</Value></Tag></Tags>\
        </CreateBucketConfiguration>";
    assert_eq!(node.send("PUT", "/tagged", &[], tags.as_bytes()).status, 200);
    let set = node.send("GET", "/tagged?tagging", &[], b"").document("Tagging");
    assert_eq!(set.child("TagSet").unwrap().children.len(), 1);
    let twice = tags.replace("</Tag></Tags>", "</Tag><Tag><Key>k</Key><Value>w</Value></Tag></Tags>");
    assert_refused(&node.send("PUT", "/twice", &[], twice.as_bytes()), 400, "InvalidTag");
}

#[test]
fn answers_say_when_rules_remove_an_object_or_abort_an_upload() {
    let node = open_node();
    let rules = "<LifecycleConfiguration><Rule><ID>logs</ID><Filter><Prefix>logs/</Prefix></Filter>\
        <Status>Enabled</Status><Expiration><Days>1</Days></Expiration><AbortIncompleteMultipartUpload>\
        <DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>\
        <Rule><ID>tagged</ID><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>\
        <Status>Enabled</Status><Expiration><Date>2040-01-01T00:00:00Z</Date></Expiration></Rule>\
        </LifecycleConfiguration>";
    assert_eq!(put(&node, "lifecycle", rules).status, 200);
    let expiration = |answer: Answer| answer.header("x-amz-expiration").map(str::to_owned);
    let made = expiration(node.send("PUT", "/bkt/logs/a", &[], b"x")).unwrap();
    assert!(
        made.starts_with("expiry-date=\"") && made.ends_with("00:00:00 GMT\", rule-id=\"logs\""),
        "{made}"
    );
    for method in ["GET", "HEAD"] {
        assert_eq!(expiration(node.send(method, "/bkt/logs/a", &[], b"")).as_ref(), Some(&made));
    }
    let copy = [("x-amz-copy-source", "bkt/logs/a")];
    assert_eq!(expiration(node.send("PUT", "/bkt/logs/b", &copy, b"")), Some(made));
    assert_eq!(expiration(node.send("PUT", "/bkt/other", &copy, b"")), None);
    let tagged = expiration(node.send("PUT", "/bkt/other", &[("x-amz-tagging", "k=v")], b"x"));
    let expected = "expiry-date=\"Sun, 01 Jan 2040 00:00:00 GMT\", rule-id=\"tagged\"";
    assert_eq!(tagged.as_deref(), Some(expected));
    assert_eq!(expiration(node.send("GET", "/bkt/other", &[], b"")).as_deref(), Some(expected));

    let begun = node.send("POST", "/bkt/logs/large?uploads", &[], b"");
    assert_eq!(begun.header("x-amz-abort-rule-id"), Some("logs"));
    let date = begun.header("x-amz-abort-date").map(str::to_owned);
    let upload = begun.document("InitiateMultipartUploadResult").child_text("UploadId").unwrap().to_owned();
    let target = format!("/bkt/logs/large?uploadId={upload}");
    assert_eq!(node.send("GET", &target, &[], b"").header("x-amz-abort-date").map(str::to_owned), date);
    let etag =
        node.send("PUT", &format!("{target}&partNumber=1"), &[], b"x").header("etag").unwrap().to_owned();
    let parts = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    let done = expiration(node.send("POST", &target, &[], parts.as_bytes()));
    assert!(done.is_some_and(|done| done.ends_with("rule-id=\"logs\"")));
}
