//! Who gets through and who does not: two accounts, their users, and nobody in particular.

use super::harness::{Answer, Node};
use super::people::{OTHER, OTHER_ID};
use crate::s3::service::{NewBuckets, Settings};
use crate::s3::xml::Element;

/// A node with the operator's bucket `bkt`, in which ACLs count and nothing is blocked.
fn open_node() -> Node {
    let settings = Settings { new_buckets: NewBuckets::Acl, ..Settings::default() };
    let node = Node::with_settings("bkt", settings);
    assert_eq!(node.send("PUT", "/bkt/k", &[], b"text").status, 200);
    node
}

/// A node with the operator's bucket `bkt` as new buckets are by default.
fn aws_node() -> Node {
    let node = Node::with_bucket("bkt");
    assert_eq!(node.send("PUT", "/bkt/k", &[], b"text").status, 200);
    node
}

/// Lets the bucket `bkt` have statements, each without its `Resource` elements' ARN prefix.
fn set_policy(node: &Node, statements: &str) {
    let statements = statements.replace("@", "arn:aws:s3:::");
    let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    let answer = node.send("PUT", "/bkt?policy", &[], policy.as_bytes());
    assert_eq!(answer.status, 204, "{policy}: {answer:?}");
}

/// Sends a request without headers or payload; `id` is empty for an anonymous one.
fn ask(node: &Node, id: &str, method: &str, target: &str) -> Answer {
    match id {
        "" => node.send_anonymous(method, target),
        id => node.send_as(id, method, target, &[], b""),
    }
}

/// Statuses of one request, by who sends it.
fn statuses(node: &Node, method: &str, target: &str) -> [u16; 7] {
    ["root", "reader", "plain", "other", "visitor", "guest", ""]
        .map(|id| ask(node, id, method, target).status)
}

const NOBODY_ELSE: [u16; 7] = [200, 200, 403, 403, 403, 403, 403];

#[test]
fn a_new_bucket_is_its_accounts_alone() {
    for node in [aws_node(), open_node()] {
        assert_eq!(statuses(&node, "GET", "/bkt/k"), NOBODY_ELSE);
        assert_eq!(statuses(&node, "HEAD", "/bkt"), NOBODY_ELSE);
        assert_eq!(statuses(&node, "GET", "/bkt"), NOBODY_ELSE);
        assert_eq!(statuses(&node, "GET", "/bkt?acl"), NOBODY_ELSE);
        // Readers don't write.
        for id in ["reader", "plain", "other", "visitor", "guest"] {
            let answer = node.send_as(id, "PUT", "/bkt/new", &[], b"x");
            assert_eq!(answer.error(), (403, "AccessDenied".to_owned()), "{id}");
            assert_eq!(ask(&node, id, "DELETE", "/bkt/k").status, 403, "{id}");
            assert_eq!(ask(&node, id, "DELETE", "/bkt").status, 403, "{id}");
            assert_eq!(ask(&node, id, "POST", "/bkt/k?uploads").status, 403, "{id}");
        }
        assert_eq!(node.send("GET", "/bkt/new", &[], b"").status, 404);
    }
}

#[test]
fn accounts_have_their_own_buckets_and_see_no_others() {
    let node = aws_node();
    assert_eq!(ask(&node, "other", "PUT", "/theirs").status, 200);
    assert_eq!(ask(&node, "visitor", "PUT", "/visited").status, 200);
    assert_eq!(ask(&node, "guest", "PUT", "/guested").status, 403);
    assert_eq!(ask(&node, "plain", "PUT", "/plains").status, 403);
    assert_eq!(ask(&node, "", "PUT", "/nobodys").status, 403);
    let list = |id| {
        let answer = ask(&node, id, "GET", "/");
        let document = answer.document("ListAllMyBucketsResult");
        let owner = document.child("Owner").unwrap().child_text("DisplayName").unwrap().to_owned();
        let buckets = document.child("Buckets").unwrap().children_named("Bucket");
        let names = buckets.map(|bucket| bucket.child_text("Name").unwrap().to_owned());
        (owner, names.collect::<Vec<_>>().join(" "))
    };
    let pair = |owner: &str, names: &str| (owner.to_owned(), names.to_owned());
    assert_eq!(list("root"), pair("root", "bkt"));
    assert_eq!(list("reader"), pair("root", "bkt"));
    assert_eq!(list("other"), pair("other", "theirs visited"));
    assert_eq!(list("visitor"), pair("other", "theirs visited"));
    for id in ["plain", "guest", ""] {
        assert_eq!(ask(&node, id, "GET", "/").error(), (403, "AccessDenied".to_owned()), "{id}");
    }
    // A name is one account's, and the operator is nobody special.
    assert_eq!(ask(&node, "other", "PUT", "/bkt").error(), (409, "BucketAlreadyExists".to_owned()));
    assert_eq!(ask(&node, "root", "PUT", "/theirs").error(), (409, "BucketAlreadyExists".to_owned()));
    assert_eq!(ask(&node, "root", "GET", "/theirs").status, 403);
    assert_eq!(ask(&node, "visitor", "GET", "/theirs").status, 200);
    assert_eq!(ask(&node, "other", "DELETE", "/theirs").status, 204);
}

#[test]
fn a_policy_lets_others_in_as_far_as_it_says() {
    let node = aws_node();
    set_policy(
        &node,
        r#"{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":["s3:GetObject","s3:PutObject"],
            "Resource":"@bkt/*"}"#,
    );
    // `guest` lacks the leave of its own account; the account `other` has no `s3:ListBucket`.
    assert_eq!(statuses(&node, "GET", "/bkt/k"), [200, 200, 403, 200, 200, 403, 403]);
    assert_eq!(statuses(&node, "GET", "/bkt"), NOBODY_ELSE);
    assert_eq!(node.send_as("visitor", "PUT", "/bkt/new", &[], b"x").status, 200);
    assert_eq!(ask(&node, "visitor", "DELETE", "/bkt/new").status, 403);
    set_policy(
        &node,
        r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/plain"},
            "Action":"s3:ListBucket","Resource":"@bkt","Condition":{"StringLike":{"s3:prefix":"home/*"}}}"#,
    );
    assert_eq!(ask(&node, "plain", "GET", "/bkt?prefix=home/x").status, 200);
    assert_eq!(ask(&node, "plain", "GET", "/bkt?list-type=2&prefix=work/").status, 403);
    assert_eq!(ask(&node, "plain", "GET", "/bkt").status, 403);
    assert_eq!(ask(&node, "other", "GET", "/bkt/k").status, 403);
}

#[test]
fn a_denial_stops_the_owner_too_but_not_from_taking_it_back() {
    let node = aws_node();
    set_policy(&node, r#"{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["@bkt","@bkt/*"]}"#);
    assert_eq!(statuses(&node, "GET", "/bkt/k"), [403; 7]);
    assert_eq!(ask(&node, "reader", "GET", "/bkt?policy").status, 403);
    assert_eq!(ask(&node, "root", "GET", "/bkt?policy").status, 200);
    assert_eq!(ask(&node, "root", "DELETE", "/bkt?policy").status, 204);
    assert_eq!(statuses(&node, "GET", "/bkt/k"), NOBODY_ELSE);
}

#[test]
fn conditions_look_at_the_request() {
    let node = open_node();
    let condition =
        r#""IpAddress":{"aws:SourceIp":"192.0.2.0/24"},"StringEquals":{"s3:authType":"REST-HEADER"}"#;
    let statement = |effect: &str, action: &str, condition: &str| {
        format!(
            r#"{{"Effect":"{effect}","Principal":"*","Action":"{action}","Resource":"@bkt/*",
            "Condition":{{{condition}}}}}"#
        )
    };
    set_policy(&node, &statement("Allow", "s3:GetObject", condition));
    assert_eq!(statuses(&node, "GET", "/bkt/k"), [200, 200, 200, 200, 200, 403, 403]);
    // What a proxy claims is not believed.
    set_policy(&node, &statement("Allow", "s3:GetObject", r#""IpAddress":{"aws:SourceIp":"198.51.100.7"}"#));
    let claimed = [("x-forwarded-for", "198.51.100.7")];
    assert_eq!(node.send_as("other", "GET", "/bkt/k", &claimed, b"").status, 403);
    // Uploads must say how they are stored.
    let encrypted = r#""StringNotEquals":{"s3:x-amz-storage-class":"STANDARD"}"#;
    set_policy(&node, &statement("Deny", "s3:PutObject", encrypted));
    assert_eq!(node.send("PUT", "/bkt/new", &[], b"x").status, 403);
    assert_eq!(node.send("PUT", "/bkt/new", &[("x-amz-storage-class", "STANDARD")], b"x").status, 200);
}

#[test]
fn who_may_not_list_does_not_learn_what_is_missing() {
    let node = open_node();
    set_policy(&node, r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"@bkt/*"}"#);
    assert_eq!(ask(&node, "", "GET", "/bkt/k").status, 200);
    assert_eq!(ask(&node, "", "GET", "/bkt/none").error(), (403, "AccessDenied".to_owned()));
    assert_eq!(ask(&node, "", "HEAD", "/bkt/none").status, 403);
    assert_eq!(ask(&node, "other", "GET", "/bkt/none").status, 403);
    assert_eq!(ask(&node, "reader", "GET", "/bkt/none").status, 404);
    set_policy(
        &node,
        r#"{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:ListBucket"],
            "Resource":["@bkt","@bkt/*"]}"#,
    );
    assert_eq!(ask(&node, "", "GET", "/bkt/none").error(), (404, "NoSuchKey".to_owned()));
    assert_eq!(ask(&node, "", "GET", "/absent/none").error(), (404, "NoSuchBucket".to_owned()));
}

#[test]
fn who_may_list_some_keys_learns_what_is_missing_among_them() {
    let node = open_node();
    set_policy(
        &node,
        r#"{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"@bkt",
            "Condition":{"StringLike":{"s3:prefix":"public/*"}}}"#,
    );
    for id in ["other", ""] {
        assert_eq!(ask(&node, id, "HEAD", "/bkt/public/none").status, 404, "{id}");
        assert_eq!(ask(&node, id, "HEAD", "/bkt/private/none").status, 403, "{id}");
        // It is the key that counts, not what the request says beside.
        assert_eq!(ask(&node, id, "GET", "/bkt/private/none?prefix=public/x").status, 403, "{id}");
    }
}

#[test]
fn a_policy_is_its_buckets_accounts_alone_whomever_it_lets_in() {
    let node = open_node();
    let all = r#"{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["@bkt","@bkt/*"]}"#;
    set_policy(&node, all);
    for id in ["other", "visitor", ""] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = ask(&node, id, method, "/bkt?policy");
            assert_eq!(answer.error(), (405, "MethodNotAllowed".to_owned()), "{id} {method}");
        }
    }
    assert_eq!(ask(&node, "guest", "GET", "/bkt?policy").status, 403);
    assert_eq!(statuses(&node, "GET", "/bkt?policyStatus"), [200, 200, 200, 200, 200, 403, 200]);
    assert_eq!(ask(&node, "plain", "DELETE", "/bkt?policy").status, 204);
}

#[test]
fn principals_that_are_not_here_are_refused_by_name() {
    let node = open_node();
    let put = |principal: &str| {
        let policy = format!(
            r#"{{"Statement":{{"Effect":"Allow","Principal":{principal},"Action":"s3:PutObject",
            "Resource":"arn:aws:s3:::bkt/*"}}}}"#
        );
        let answer = node.send("PUT", "/bkt?policy", &[], policy.as_bytes());
        (answer.error(), answer.document("Error").child_text("Message").unwrap().to_owned())
    };
    let (error, message) = put(r#"{"Service":"logging.s3.amazonaws.com"}"#);
    assert_eq!(error, (501, "NotImplemented".to_owned()));
    assert!(message.contains("logging.s3.amazonaws.com"), "{message}");
    for principal in [
        r#"{"Service":"logging"}"#,
        r#"{"Service":"*.amazonaws.com"}"#,
        r#"{"AWS":"arn:aws:iam::tenant:root"}"#,
        r#"{"AWS":"arn:aws:iam::999999999999:root"}"#,
        r#"{"AWS":"arn:aws:iam::444455556666:user/nobody"}"#,
        r#"{"Federated":"cognito-identity.amazonaws.com"}"#,
    ] {
        assert_eq!(put(principal).0, (400, "MalformedPolicy".to_owned()), "{principal}");
    }
    assert_eq!(node.send("GET", "/bkt?policy", &[], b"").status, 404);
}

#[test]
fn acls_count_unless_they_are_disabled_or_ignored() {
    let node = open_node();
    let set = |canned: &str| {
        assert_eq!(node.send("PUT", "/bkt?acl", &[("x-amz-acl", canned)], b"").status, 200, "{canned}");
    };
    set("public-read");
    assert_eq!(statuses(&node, "GET", "/bkt"), [200, 200, 200, 200, 200, 403, 200]);
    // The bucket's list says nothing about what is in it.
    assert_eq!(ask(&node, "", "GET", "/bkt/k").status, 403);
    assert_eq!(ask(&node, "", "GET", "/bkt/none").status, 404);
    assert_eq!(ask(&node, "", "GET", "/bkt?acl").status, 403);
    set("authenticated-read");
    assert_eq!(statuses(&node, "GET", "/bkt"), [200, 200, 200, 200, 200, 403, 403]);
    let grants = format!("id={OTHER_ID}");
    let granted = [("x-amz-grant-full-control", grants.as_str())];
    assert_eq!(node.send("PUT", "/bkt?acl", &granted, b"").status, 200);
    assert_eq!(statuses(&node, "GET", "/bkt?acl"), [200, 200, 403, 200, 200, 403, 403]);
    assert_eq!(node.send_as("other", "PUT", "/bkt/new", &[], b"x").status, 200);
    assert_eq!(ask(&node, "other", "GET", "/bkt?policy").status, 403);
    set("public-read");
    let block = "<PublicAccessBlockConfiguration><IgnorePublicAcls>true</IgnorePublicAcls>\
                 </PublicAccessBlockConfiguration>";
    assert_eq!(node.send("PUT", "/bkt?publicAccessBlock", &[], block.as_bytes()).status, 200);
    assert_eq!(statuses(&node, "GET", "/bkt"), NOBODY_ELSE);
}

#[test]
fn a_public_policy_of_a_restricted_bucket_lets_only_its_account_in() {
    let node = open_node();
    set_policy(&node, r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"@bkt/*"}"#);
    assert_eq!(statuses(&node, "GET", "/bkt/k"), [200, 200, 200, 200, 200, 403, 200]);
    let block = "<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets>\
                 </PublicAccessBlockConfiguration>";
    assert_eq!(node.send("PUT", "/bkt?publicAccessBlock", &[], block.as_bytes()).status, 200);
    assert_eq!(statuses(&node, "GET", "/bkt/k"), [200, 200, 200, 403, 403, 403, 403]);
}

#[test]
fn copies_need_leave_to_read_the_source() {
    let node = aws_node();
    assert_eq!(ask(&node, "other", "PUT", "/theirs").status, 200);
    let copy = |id: &str, source: &str| {
        node.send_as(id, "PUT", "/theirs/copy", &[("x-amz-copy-source", source)], b"").status
    };
    assert_eq!(copy("other", "/bkt/k"), 403);
    set_policy(
        &node,
        r#"{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"s3:GetObject",
            "Resource":"@bkt/*"}"#,
    );
    assert_eq!(copy("other", "/bkt/k"), 200);
    assert_eq!(copy("guest", "/bkt/k"), 403);
    assert_eq!(copy("other", "/bkt/none"), 403);
    let expected = [("x-amz-copy-source", "/bkt/k"), ("x-amz-source-expected-bucket-owner", OTHER)];
    assert_eq!(node.send_as("other", "PUT", "/theirs/copy", &expected, b"").status, 403);
}

#[test]
fn tags_go_along_with_a_copy_only_for_who_may_read_and_give_them() {
    let node = aws_node();
    assert_eq!(ask(&node, "other", "PUT", "/theirs").status, 200);
    assert_eq!(node.send("PUT", "/bkt/k", &[("x-amz-tagging", "a=b")], b"text").status, 200);
    let allow = |actions: &str| {
        set_policy(
            &node,
            &format!(
                r#"{{"Effect":"Allow","Principal":{{"AWS":"444455556666"}},"Action":[{actions}],
                "Resource":"@bkt/*"}}"#
            ),
        );
    };
    let copy = |directive: &str| {
        let headers = [("x-amz-copy-source", "/bkt/k"), ("x-amz-tagging-directive", directive)];
        node.send_as("other", "PUT", "/theirs/copy", &headers, b"").status
    };
    allow(r#""s3:GetObject""#);
    assert_eq!((copy("COPY"), copy("REPLACE")), (403, 200));
    allow(r#""s3:GetObject","s3:GetObjectTagging""#);
    assert_eq!(copy("COPY"), 200);
}

#[test]
fn conditions_ask_about_documents_and_stored_tags() {
    let node = aws_node();
    assert_eq!(node.send("PUT", "/bkt/open", &[("x-amz-tagging", "level=public")], b"x").status, 200);
    set_policy(
        &node,
        r#"{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"s3:GetObject","Resource":"@bkt/*",
            "Condition":{"StringEquals":{"s3:ExistingObjectTag/level":"public"}}},
           {"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"s3:PutObjectTagging",
            "Resource":"@bkt/*","Condition":{"StringEquals":{"s3:RequestObjectTag/owner":"other"}}}"#,
    );
    assert_eq!(ask(&node, "other", "GET", "/bkt/open").status, 200);
    assert_eq!(ask(&node, "other", "GET", "/bkt/k").status, 403);
    assert_eq!(ask(&node, "other", "GET", "/bkt/none").status, 403);
    let tag = |value: &str| {
        let document =
            format!("<Tagging><TagSet><Tag><Key>owner</Key><Value>{value}</Value></Tag></TagSet></Tagging>");
        node.send_as("other", "PUT", "/bkt/k?tagging", &[], document.as_bytes()).status
    };
    assert_eq!((tag("root"), tag("other")), (403, 200));
    let tags = node.send("GET", "/bkt/k?tagging", &[], b"");
    let set = tags.document("Tagging").child("TagSet").unwrap().child("Tag").unwrap().clone();
    assert_eq!(set.child_text("Value"), Some("other"));
}

#[test]
fn each_of_many_keys_is_asked_about() {
    let node = aws_node();
    assert_eq!(node.send("PUT", "/bkt/mine", &[], b"x").status, 200);
    set_policy(
        &node,
        r#"{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"s3:DeleteObject",
            "Resource":"@bkt/k"}"#,
    );
    let order = "<Delete><Object><Key>k</Key></Object><Object><Key>mine</Key></Object></Delete>";
    let digest = crate::hash::base64_encode(&crate::hash::md5(order.as_bytes()));
    let headers = [("content-md5", digest.as_str())];
    let answer = node.send_as("other", "POST", "/bkt?delete", &headers, order.as_bytes());
    assert_eq!(answer.status, 200);
    let result = answer.document("DeleteResult");
    assert_eq!(result.child("Deleted").unwrap().child_text("Key"), Some("k"));
    let error = result.child("Error").unwrap();
    assert_eq!((error.child_text("Key"), error.child_text("Code")), (Some("mine"), Some("AccessDenied")));
    assert_eq!(node.send("GET", "/bkt/k", &[], b"").status, 404);
    assert_eq!(node.send("GET", "/bkt/mine", &[], b"").status, 200);
}

#[test]
fn the_expected_owner_is_the_real_one() {
    let node = aws_node();
    assert_eq!(ask(&node, "other", "PUT", "/theirs").status, 200);
    let expecting = |id: &str, bucket: &str, owner: &str| {
        node.send_as(id, "HEAD", bucket, &[("x-amz-expected-bucket-owner", owner)], b"").status
    };
    assert_eq!(expecting("other", "/theirs", OTHER), 200);
    assert_eq!(expecting("other", "/theirs", "000000000000"), 403);
    assert_eq!(expecting("root", "/bkt", "000000000000"), 200);
    assert_eq!(expecting("root", "/bkt", OTHER), 403);
}

#[test]
fn owners_in_listings_are_the_real_ones() {
    let node = aws_node();
    assert_eq!(ask(&node, "other", "PUT", "/theirs").status, 200);
    assert_eq!(node.send_as("visitor", "PUT", "/theirs/k", &[], b"x").status, 200);
    let answer = ask(&node, "other", "GET", "/theirs");
    let document = answer.document("ListBucketResult");
    let owner = document.child("Contents").unwrap().child("Owner").unwrap();
    assert_eq!((owner.child_text("ID"), owner.child_text("DisplayName")), (Some(OTHER_ID), Some("other")));
}

#[test]
fn headers_that_do_more_need_leave_for_more() {
    let node = open_node();
    set_policy(
        &node,
        r#"{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"s3:PutObject","Resource":"@bkt/*"}"#,
    );
    assert_eq!(node.send_as("other", "PUT", "/bkt/new", &[], b"x").status, 200);
    let put =
        |header: &str, value: &str| node.send_as("other", "PUT", "/bkt/new", &[(header, value)], b"x").status;
    assert_eq!(put("x-amz-tagging", "a=b"), 403);
    assert_eq!(put("x-amz-object-lock-legal-hold", "ON"), 403);
    // The ACL is the writer's to give, unless the bucket's owner denies it.
    assert_eq!(put("x-amz-acl", "bucket-owner-full-control"), 200);
    set_policy(
        &node,
        r#"{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"s3:PutObject","Resource":"@bkt/*"},
           {"Effect":"Deny","Principal":"*","Action":"s3:PutObjectAcl","Resource":"@bkt/*"}"#,
    );
    assert_eq!(put("x-amz-acl", "bucket-owner-full-control"), 403);
    assert_eq!(node.send_as("other", "PUT", "/bkt/new", &[], b"x").status, 200);
}

/// Initiator and owner, as id and name each, of an upload in a listing.
fn parties(element: &Element) -> [String; 2] {
    ["Initiator", "Owner"].map(|name| {
        let party = element.child(name).unwrap();
        format!("{} {}", party.child_text("ID").unwrap(), party.child_text("DisplayName").unwrap())
    })
}

#[test]
fn an_upload_is_shown_with_who_began_it_and_who_owns_it() {
    let node = open_node();
    assert_eq!(node.send("PUT", "/bkt?acl", &[("x-amz-acl", "public-read-write")], b"").status, 200);
    let root = format!("{} root", Settings::default().owner_id);
    let other = format!("{OTHER_ID} other");
    let visitor = format!("arn:aws:iam::{OTHER}:user/visitor visitor");
    let expected = [
        ("a", "root", [&root, &root]),
        ("b", "other", [&other, &other]),
        ("c", "visitor", [&visitor, &other]),
        ("d", "", [&root, &root]),
    ];
    for (key, id, parties_of) in expected {
        let begun = ask(&node, id, "POST", &format!("/bkt/{key}?uploads"));
        let begun = begun.document("InitiateMultipartUploadResult");
        let upload = begun.child_text("UploadId").unwrap();
        let target = format!("/bkt/{key}?uploadId={upload}");
        let parts = match id {
            "other" | "visitor" => ask(&node, "other", "GET", &target),
            _ => ask(&node, "root", "GET", &target),
        };
        assert_eq!(parties(&parts.document("ListPartsResult")).each_ref(), parties_of, "{key}");
    }
    let list = ask(&node, "root", "GET", "/bkt?uploads").document("ListMultipartUploadsResult");
    let listed: Vec<_> = list.children_named("Upload").map(parties).collect();
    assert_eq!(
        listed.iter().map(|parties| parties.each_ref()).collect::<Vec<_>>(),
        expected.map(|row| row.2)
    );
}

#[test]
fn who_does_not_sign_may_still_give_an_upload_its_acl() {
    let node = open_node();
    assert_eq!(node.send("PUT", "/bkt?acl", &[("x-amz-acl", "public-read-write")], b"").status, 200);
    assert_eq!(node.send_unsigned("PUT", "/bkt/k", &[("x-amz-acl", "public-read")], b"x").status, 200);
    assert_eq!(ask(&node, "", "GET", "/bkt/k").body, b"x");
    assert_eq!(ask(&node, "root", "GET", "/bkt/k?acl").status, 200);
    // The object is the bucket owner's from then on.
    assert_eq!(node.send_unsigned("PUT", "/bkt/k?acl", &[("x-amz-acl", "private")], b"").status, 403);
    assert_eq!(node.send_unsigned("PUT", "/bkt/t", &[("x-amz-tagging", "a=b")], b"x").status, 403);
}
