//! Policies in the manner of AWS's "Examples of Amazon S3 bucket policies" and of the pages on elements of
//! policies, with what they mean.

use super::*;
use crate::auth::acl::{Acl, CannedAcl};

fn allow(principal: &str, action: &str, resource: &str, condition: &str) -> String {
    statement("Allow", principal, action, resource, condition)
}

fn statement(effect: &str, principal: &str, action: &str, resource: &str, condition: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}","Principal":{principal},"Action":{action},
        "Resource":"arn:aws:s3:::amzn-s3-demo-bucket{resource}","Condition":{{{condition}}}}}]}}"#
    )
}

#[test]
fn a_public_website_lets_everyone_read_objects_and_nothing_else() {
    let policy = allow(r#""*""#, r#""s3:GetObject""#, "/*", "");
    let everyone = Facts::default();
    assert!(allows(&policy, None, "s3:GetObject", "a/b", &everyone));
    assert!(!allows(&policy, None, "s3:GetObjectVersion", "a/b", &everyone));
    assert!(!allows(&policy, None, "s3:ListBucket", "", &everyone));
    assert!(!allows(&policy, None, "s3:PutObject", "a/b", &everyone));
    assert!(of_bucket(&policy).is_public());
}

#[test]
fn users_of_other_accounts_need_their_own_policies_too() {
    let policy = allow(r#"{"AWS":"arn:aws:iam::444455556666:user/Dave"}"#, r#""s3:GetObject""#, "/*", "");
    let read_all = r#"{"Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}}"#;
    let facts = Facts::default();
    assert!(allows(&policy, Some(&user(OTHER, "Dave", &[read_all])), "s3:GetObject", "k", &facts));
    assert!(!allows(&policy, Some(&user(OTHER, "Dave", &[])), "s3:GetObject", "k", &facts));
    assert!(!allows(&policy, Some(&user(OTHER, "Jane", &[read_all])), "s3:GetObject", "k", &facts));
    // The user was named, not its account.
    assert!(!allows(&policy, Some(&root(OTHER)), "s3:GetObject", "k", &facts));
    let account = allow(r#"{"AWS":"444455556666"}"#, r#""s3:GetObject""#, "/*", "");
    assert!(allows(&account, Some(&root(OTHER)), "s3:GetObject", "k", &facts));
    assert!(allows(&account, Some(&user(OTHER, "Jane", &[read_all])), "s3:GetObject", "k", &facts));
    assert!(!allows(&account, Some(&user(OTHER, "Jane", &[])), "s3:GetObject", "k", &facts));
}

#[test]
fn users_of_the_owner_need_one_of_the_two() {
    let named = allow(r#"{"AWS":"arn:aws:iam::111122223333:user/Dave"}"#, r#""s3:GetObject""#, "/*", "");
    let account = allow(r#"{"AWS":"arn:aws:iam::111122223333:root"}"#, r#""s3:GetObject""#, "/*", "");
    let facts = Facts::default();
    let get =
        |policy: &str, principal: &Principal| allows(policy, Some(principal), "s3:GetObject", "k", &facts);
    assert!(get(&named, &user(OWNER, "Dave", &[])));
    assert!(!get(&named, &user(OWNER, "Jane", &[])));
    // Naming the account delegates to its own policies.
    assert!(!get(&account, &user(OWNER, "Dave", &[])));
    let home = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*Object",
        "Resource":"arn:aws:s3:::amzn-s3-demo-bucket/home/${aws:username}/*"}]}"#;
    let dave = user(OWNER, "Dave", &[home]);
    assert!(allows(&account, Some(&dave), "s3:PutObject", "home/Dave/x", &facts));
    assert!(!allows(&account, Some(&dave), "s3:PutObject", "home/Jane/x", &facts));
    // What a variable stands for is no pattern.
    let star = user(OWNER, "*", &[home]);
    assert!(!allows(&account, Some(&star), "s3:PutObject", "home/Jane/x", &facts));
}

#[test]
fn a_denial_beats_everything_but_the_roots_way_back_to_the_policy() {
    let policy = statement("Deny", r#""*""#, r#""s3:*""#, "*", "");
    let facts = Facts::default();
    let all = r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
    let dave = user(OWNER, "Dave", &[all]);
    for (principal, action, allowed) in [
        (&root(OWNER), "s3:ListBucket", false),
        (&root(OWNER), "s3:DeleteBucketPolicy", true),
        (&root(OWNER), "s3:PutBucketPolicy", true),
        (&dave, "s3:PutBucketPolicy", false),
        (&dave, "s3:ListBucket", false),
        (&root(OTHER), "s3:DeleteBucketPolicy", false),
    ] {
        assert_eq!(allows(&policy, Some(principal), action, "", &facts), allowed, "{action}");
    }
}

#[test]
fn only_https_means_nothing_here_gets_in_over_plain_http() {
    let policy = statement("Deny", r#""*""#, r#""s3:*""#, "/*", r#""Bool":{"aws:SecureTransport":"false"}"#);
    let plain = Facts(vec![("aws:SecureTransport", vec!["false"])]);
    let tls = Facts(vec![("aws:SecureTransport", vec!["true"])]);
    assert!(!allows(&policy, Some(&root(OWNER)), "s3:GetObject", "k", &plain));
    assert!(allows(&policy, Some(&root(OWNER)), "s3:GetObject", "k", &tls));
}

#[test]
fn networks_decide_by_the_address() {
    let policy = allow(
        r#""*""#,
        r#""s3:GetObject""#,
        "/*",
        r#""IpAddress":{"aws:SourceIp":["192.0.2.0/24","2001:DB8:1234:5678::/64"]},
           "NotIpAddress":{"aws:SourceIp":"192.0.2.188/32"}"#,
    );
    let from =
        |address| allows(&policy, None, "s3:GetObject", "k", &Facts(vec![("aws:SourceIp", vec![address])]));
    assert!(from("192.0.2.1"));
    assert!(from("::ffff:192.0.2.1"));
    assert!(from("2001:db8:1234:5678::9"));
    assert!(!from("192.0.2.188"));
    assert!(!from("192.0.3.1"));
    assert!(!from("2001:db8:1234:5679::9"));
    assert!(!of_bucket(&policy).is_public());
    let wide = allow(r#""*""#, r#""s3:GetObject""#, "/*", r#""IpAddress":{"aws:SourceIp":"0.0.0.0/1"}"#);
    assert!(of_bucket(&wide).is_public());
    assert!(allows(&wide, None, "s3:GetObject", "k", &Facts(vec![("aws:SourceIp", vec!["127.0.0.1"])])));
}

/// Operator, key and operands; value; whether the condition holds.
const CONDITIONS: &[(&str, &str, Option<&str>, bool)] = &[
    (r#""StringEquals":{"s3:prefix":["","home/"]}"#, "s3:prefix", Some("home/"), true),
    (r#""StringEquals":{"s3:prefix":"home/"}"#, "s3:prefix", Some("Home/"), false),
    (r#""StringEquals":{"s3:prefix":"home/"}"#, "s3:prefix", None, false),
    (r#""StringEqualsIfExists":{"s3:prefix":"home/"}"#, "s3:prefix", None, true),
    (r#""StringNotEquals":{"s3:prefix":"home/"}"#, "s3:prefix", None, true),
    (r#""StringNotEquals":{"s3:prefix":["home/","a"]}"#, "s3:prefix", Some("a"), false),
    (r#""StringEqualsIgnoreCase":{"s3:prefix":"HOME/"}"#, "s3:prefix", Some("home/"), true),
    (r#""StringNotEqualsIgnoreCase":{"s3:prefix":"HOME/"}"#, "s3:prefix", Some("home/"), false),
    (r#""StringEquals":{"s3:prefix":"a*"}"#, "s3:prefix", Some("ab"), false),
    (r#""StringLike":{"s3:prefix":"a*/?"}"#, "s3:prefix", Some("ab/c"), true),
    (r#""StringNotLike":{"s3:prefix":"a*/?"}"#, "s3:prefix", Some("ab/c"), false),
    (r#""StringLike":{"s3:prefix":"a${*}"}"#, "s3:prefix", Some("ab"), false),
    (r#""StringLike":{"s3:prefix":"${aws:username,'nobody'}/${$}"}"#, "s3:prefix", Some("nobody/$"), true),
    (r#""StringEquals":{"s3:prefix":"${aws:username}"}"#, "s3:prefix", Some(""), false),
    (r#""NumericLessThanEquals":{"s3:max-keys":"10"}"#, "s3:max-keys", Some("10"), true),
    (r#""NumericLessThan":{"s3:max-keys":10}"#, "s3:max-keys", Some("10"), false),
    (r#""NumericGreaterThan":{"s3:max-keys":"9.5"}"#, "s3:max-keys", Some("10"), true),
    (r#""NumericEquals":{"s3:max-keys":["1","010"]}"#, "s3:max-keys", Some("10"), true),
    (r#""NumericNotEquals":{"s3:max-keys":"10"}"#, "s3:max-keys", Some("10"), false),
    (r#""NumericEquals":{"s3:max-keys":"10"}"#, "s3:max-keys", Some("ten"), false),
    (
        r#""DateGreaterThan":{"aws:CurrentTime":"2019-07-01T00:00:00Z"}"#,
        "aws:CurrentTime",
        Some("2019-07-16T12:00:00Z"),
        true,
    ),
    (
        r#""DateLessThan":{"aws:CurrentTime":"2019-07-01"}"#,
        "aws:CurrentTime",
        Some("2019-07-16T12:00:00Z"),
        false,
    ),
    (r#""DateLessThan":{"aws:EpochTime":"1500000000"}"#, "aws:EpochTime", Some("1400000000"), true),
    (r#""NumericGreaterThan":{"s3:signatureAge":600000}"#, "s3:signatureAge", Some("600001"), true),
    (r#""Bool":{"aws:SecureTransport":false}"#, "aws:SecureTransport", Some("false"), true),
    (r#""BinaryEquals":{"aws:Referer":"QmluYXJ5"}"#, "aws:Referer", Some("QmluYXJ5"), true),
    (r#""Null":{"aws:Referer":"true"}"#, "aws:Referer", None, true),
    (r#""Null":{"aws:Referer":"false"}"#, "aws:Referer", None, false),
    (r#""Null":{"aws:Referer":["true","false"]}"#, "aws:Referer", Some("x"), true),
    (
        r#""ArnLike":{"aws:Referer":"arn:aws:iam::*:user/*"}"#,
        "aws:Referer",
        Some("arn:aws:iam::1:user/a:b"),
        true,
    ),
    (r#""ArnEquals":{"aws:Referer":"arn:*:user/*"}"#, "aws:Referer", Some("arn:aws:iam::1:user/a"), false),
    (r#""ArnNotLike":{"aws:Referer":"arn:aws:iam::1:*"}"#, "aws:Referer", Some("arn:aws:iam::1:root"), false),
];

#[test]
fn condition_operators_mean_what_aws_documents() {
    for (condition, key, value, holds) in CONDITIONS {
        // ARNs of one part too few are refused when they are stored.
        let text = allow(r#""*""#, r#""s3:ListBucket""#, "", condition);
        let Ok(_) = Policy::parse(text.as_bytes(), Kind::Bucket) else {
            assert!(condition.contains("arn:*:user"), "{condition}");
            continue;
        };
        let facts = Facts(value.iter().map(|value| (*key, vec![*value])).collect());
        assert_eq!(allows(&text, None, "s3:ListBucket", "", &facts), *holds, "{condition} {value:?}");
    }
}

#[test]
fn sets_of_tags_are_judged_as_sets() {
    let put = |condition: &str, tags: &[&'static str]| {
        let policy = allow(r#""*""#, r#""s3:PutObject""#, "/*", condition);
        let facts = match tags {
            [] => Facts::default(),
            tags => Facts(vec![("s3:RequestObjectTagKeys", tags.to_vec())]),
        };
        allows(&policy, None, "s3:PutObject", "k", &facts)
    };
    let all = r#""ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["Owner","Stage"]}"#;
    assert!(put(all, &["Owner"]));
    assert!(put(all, &[]));
    assert!(!put(all, &["Owner", "Other"]));
    let any = r#""ForAnyValue:StringEquals":{"s3:RequestObjectTagKeys":["Owner","Stage"]}"#;
    assert!(put(any, &["Other", "Owner"]));
    assert!(!put(any, &["Other"]));
    assert!(!put(any, &[]));
    let none = r#""ForAllValues:StringNotEquals":{"s3:RequestObjectTagKeys":["Owner"]}"#;
    assert!(put(none, &["Other"]));
    assert!(!put(none, &["Other", "Owner"]));
}

#[test]
fn variables_are_ordinary_text_in_policies_of_2008() {
    let policy = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",
        "Resource":"arn:aws:s3:::amzn-s3-demo-bucket/${aws:userid}"}]}"#;
    let facts = Facts::default();
    assert!(allows(policy, None, "s3:GetObject", "${aws:userid}", &facts));
    assert!(!allows(policy, None, "s3:GetObject", "anonymous", &facts));
}

#[test]
fn not_principal_leaves_out_only_users_named_with_their_account() {
    let deny = |principals: &str| {
        format!(
            r#"{{"Statement":[{{"Effect":"Deny","NotPrincipal":{{"AWS":[{principals}]}},"Action":"s3:*",
            "Resource":"arn:aws:s3:::amzn-s3-demo-bucket/*"}},
            {{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::amzn-s3-demo-bucket/*"}}]}}"#
        )
    };
    let both = deny(r#""arn:aws:iam::111122223333:user/Dave","arn:aws:iam::111122223333:root""#);
    let alone = deny(r#""arn:aws:iam::111122223333:user/Dave""#);
    let facts = Facts::default();
    let get =
        |policy: &str, principal: Option<&Principal>| allows(policy, principal, "s3:GetObject", "k", &facts);
    assert!(get(&both, Some(&user(OWNER, "Dave", &[]))));
    assert!(get(&both, Some(&root(OWNER))));
    assert!(!get(&both, Some(&user(OWNER, "Jane", &[]))));
    assert!(!get(&both, None));
    assert!(!get(&alone, Some(&user(OWNER, "Dave", &[]))));
}

#[test]
fn an_object_of_another_account_is_what_its_own_acl_makes_of_it() {
    let facts = Facts::default();
    let bucket_acl = Acl::private(&canonical(OWNER));
    let policy = of_bucket(&allow(r#""*""#, r#""s3:*""#, "/*", ""));
    let ask = |principal: Option<&Principal>, action: &str, acl: &Acl| {
        let attempt = Attempt {
            principal,
            action: Action::named(action),
            bucket: "amzn-s3-demo-bucket",
            key: "k",
            context: &facts,
        };
        let guard = Guard {
            owner: OWNER,
            policy: Some(&policy),
            acl: Some(&bucket_acl),
            ignore_public_acls: false,
            restrict_public_buckets: false,
        };
        is_allowed(&attempt, &guard, ObjectAcl::Some(acl)).unwrap()
    };
    let (owner, other) = (root(OWNER), root(OTHER));
    let private = Acl::private(&canonical(OTHER));
    assert!(!ask(Some(&owner), "s3:GetObject", &private));
    assert!(!ask(None, "s3:GetObject", &private));
    assert!(ask(Some(&owner), "s3:DeleteObject", &private));
    assert!(ask(Some(&other), "s3:GetObject", &private));
    let shared = CannedAcl::BucketOwnerRead.expand(&canonical(OTHER), Some(&canonical(OWNER)));
    assert!(ask(Some(&owner), "s3:GetObject", &shared));
    assert!(!ask(Some(&owner), "s3:PutObjectAcl", &shared));
    assert!(ask(Some(&other), "s3:PutObjectAcl", &shared));
    let public = CannedAcl::PublicRead.expand(&canonical(OTHER), Some(&canonical(OWNER)));
    assert!(ask(None, "s3:GetObject", &public));
    assert!(!ask(None, "s3:GetObjectAcl", &public));
}

#[test]
fn public_access_blocks_take_public_grants_away() {
    let facts = Facts::default();
    let acl = CannedAcl::PublicRead.expand(&canonical(OWNER), None);
    let policy = of_bucket(&allow(r#""*""#, r#""s3:ListBucket""#, "", ""));
    let ask = |principal: Option<&Principal>, policy: Option<&Policy>, blocked: bool| {
        let attempt = Attempt {
            principal,
            action: Action::named("s3:ListBucket"),
            bucket: "amzn-s3-demo-bucket",
            key: "",
            context: &facts,
        };
        let guard = Guard {
            owner: OWNER,
            policy,
            acl: Some(&acl),
            ignore_public_acls: blocked,
            restrict_public_buckets: blocked,
        };
        is_allowed(&attempt, &guard, ObjectAcl::None).unwrap()
    };
    assert!(ask(None, None, false));
    assert!(!ask(None, None, true));
    assert!(!ask(Some(&root(OTHER)), Some(&policy), true));
    assert!(ask(Some(&user(OWNER, "Dave", &[])), Some(&policy), true));
    assert!(ask(Some(&user(OWNER, "Dave", &[])), None, false));
    assert!(!ask(Some(&user(OWNER, "Dave", &[])), None, true));
}

#[test]
fn the_meaning_of_public_is_that_of_aws() {
    let fixed = [
        r#""StringEquals":{"aws:PrincipalAccount":"444455556666"}"#,
        r#""StringLike":{"aws:userid":"AIDADave"}"#,
        r#""ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::444455556666:user/Dave"}"#,
        r#""IpAddress":{"aws:SourceIp":"10.0.0.0/8"}"#,
    ];
    let open = [
        "",
        r#""StringEqualsIfExists":{"aws:PrincipalAccount":"444455556666"}"#,
        r#""StringNotEquals":{"aws:PrincipalAccount":"444455556666"}"#,
        r#""StringLike":{"aws:userid":"AIDA*"}"#,
        r#""StringLike":{"aws:Referer":"http://www.example.com/x"}"#,
        r#""ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/Dave"}"#,
        r#""IpAddress":{"aws:SourceIp":["10.0.0.0/8","0.0.0.0/0"]}"#,
        r#""IpAddress":{"aws:SourceIp":"2001::/16"}"#,
        r#""ForAllValues:StringEquals":{"aws:userid":"AIDADave"}"#,
    ];
    for (conditions, public) in [(&fixed[..], false), (&open[..], true)] {
        for condition in conditions {
            let policy = of_bucket(&allow(r#""*""#, r#""s3:GetObject""#, "/*", condition));
            assert_eq!(policy.is_public(), public, "{condition}");
        }
    }
    assert!(!of_bucket(&statement("Deny", r#""*""#, r#""s3:GetObject""#, "/*", "")).is_public());
    assert!(!of_bucket(&allow(r#"{"AWS":"444455556666"}"#, r#""s3:*""#, "/*", "")).is_public());
}
