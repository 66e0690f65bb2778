//! What is refused when it is stored, in AWS's words.

use super::*;
use crate::auth::policy::bucket;

fn refusal(text: &str) -> String {
    let policy = Policy::parse(text.as_bytes(), Kind::Bucket);
    let checked = policy.and_then(|policy| bucket::check(&policy, "amzn-s3-demo-bucket", &TwoAccounts));
    checked.err().map_or_else(String::new, |error| error.message)
}

/// A statement in which one element, given as a JSON member, is put in the place of the right one.
fn with(replacement: &str) -> String {
    let name = replacement.split('"').nth(1).unwrap_or_default();
    let members = [
        r#""Effect":"Allow""#,
        r#""Principal":"*""#,
        r#""Action":"s3:GetObject""#,
        r#""Resource":"arn:aws:s3:::amzn-s3-demo-bucket/*""#,
    ];
    let is_replaced = |member: &str| {
        let own = member.split('"').nth(1).unwrap_or_default();
        name == own || name.strip_prefix("Not") == Some(own)
    };
    let mut members: Vec<&str> = members.into_iter().filter(|member| !is_replaced(member)).collect();
    if replacement.contains(':') {
        members.push(replacement);
    }
    format!(r#"{{"Version":"2012-10-17","Statement":[{{{}}}]}}"#, members.join(","))
}

#[test]
fn documents_that_are_no_policies_are_refused() {
    let long = format!("{{{}", " ".repeat(20 * 1024));
    let cases = [
        ("", "Policies must be valid JSON and the first byte must be '{'"),
        ("[]", "Policies must be valid JSON and the first byte must be '{'"),
        ("{", "This policy contains invalid Json"),
        (r#"{"Version":"2012-10-17","Version":"2012-10-17"}"#, "This policy contains invalid Json"),
        ("{}", "Missing required field Statement"),
        (r#"{"Statement":[]}"#, "Could not parse the policy: Statement is empty!"),
        (r#"{"Statement":"x"}"#, "Invalid policy syntax."),
        (r#"{"Version":"2012-10-18","Statement":[]}"#, "The policy must contain a valid version string"),
        (r#"{"Statements":[]}"#, "Unknown field Statements"),
        (&long, "Policy exceeds the maximum allowed document size."),
    ];
    for (text, message) in cases {
        assert_eq!(refusal(text), message, "{text}");
    }
}

#[test]
fn statements_with_what_cannot_be_evaluated_are_refused() {
    let conditions = "Conditions do not apply to combination of actions and resources in statement";
    let cases = [
        (r#""Sid":"x""#, ""),
        (r#""Effect""#, "Missing required field Effect"),
        (r#""Effect":"allow""#, "Invalid effect: allow"),
        (r#""Principal""#, "Missing required field Principal"),
        (r#""Principal":"arn:aws:iam::444455556666:root""#, "Invalid principal in policy"),
        (r#""Principal":{"AWS":"arn:aws:iam::444455556666:root"}"#, ""),
        (r#""Principal":{"AWS":"arn:aws:iam::444455556666:user/Dave"}"#, ""),
        (r#""Principal":{"AWS":"arn:aws:iam::444455556666:user/Jane"}"#, "Invalid principal in policy"),
        (r#""Principal":{"AWS":"arn:aws:iam::444455556666:user/*"}"#, "Invalid principal in policy"),
        (r#""Principal":{"AWS":"arn:aws:iam::444455556666:role/Dave"}"#, "Invalid principal in policy"),
        (r#""Principal":{"AWS":"777788889999"}"#, "Invalid principal in policy"),
        (r#""Principal":{"AWS":[]}"#, "Invalid principal in policy"),
        (r#""Principal":{"CanonicalUser":"00"}"#, "Invalid principal in policy"),
        (
            r#""Principal":{"Service":"logging.s3.amazonaws.com"}"#,
            "There is no service logging.s3.amazonaws.com here that a policy could be about.",
        ),
        (r#""Principal":{"Service":"logging"}"#, "Invalid principal in policy"),
        (r#""NotPrincipal":{"AWS":"444455556666"}"#, "Allow with NotPrincipal is not allowed."),
        (r#""Action""#, "Missing required field Action"),
        (r#""Action":"s3:GetObjects""#, "Policy has invalid action"),
        (r#""Action":"iam:*""#, "Policy has invalid action"),
        (
            r#""Action":["s3:GetObject","s3:ListBucket"]"#,
            "Action does not apply to any resource(s) in statement",
        ),
        (r#""Action":"s3:ListAllMyBuckets""#, "Action does not apply to any resource(s) in statement"),
        (r#""Action":"*""#, ""),
        (r#""NotAction":"s3:GetObject""#, ""),
        (r#""Resource""#, "Missing required field Resource"),
        (r#""Resource":"*""#, "Policy has invalid resource"),
        (r#""Resource":"arn:aws:s3:::other-bucket/*""#, "Policy has invalid resource"),
        (r#""Resource":"arn:aws:s3:::amzn-s3-demo-bucket2/*""#, "Policy has invalid resource"),
        (r#""Resource":"arn:aws:s3:::amzn-s3-demo-bucke?/x""#, ""),
        (r#""Resource":"arn:aws:s3:::amzn-s3-demo-bucket*""#, ""),
        (r#""Resource":"arn:aws:s3:::*/*""#, ""),
        (r#""Resource":"arn:aws:s3:::amzn-s3-demo-bucket/${aws:unknown}""#, "Policy has invalid resource"),
        (
            r#""Resource":"arn:aws:s3:::amzn-s3-demo-bucket""#,
            "Action does not apply to any resource(s) in statement",
        ),
        (r#""Condition":{"StringIs":{"s3:VersionId":"x"}}"#, "Invalid Condition type : StringIs"),
        (r#""Condition":{"NullIfExists":{"aws:Referer":"true"}}"#, "Invalid Condition type : NullIfExists"),
        (
            r#""Condition":{"StringEquals":{"aws:SourceVpce":"vpce-1"}}"#,
            "Policy has an invalid condition key - aws:SourceVpce",
        ),
        (r#""Condition":{"StringEquals":{"s3:prefix":"x"}}"#, conditions),
        (
            r#""Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}}"#,
            "Invalid Condition value for aws:SourceIp: 10.0.0.0/33",
        ),
        (
            r#""Condition":{"DateLessThan":{"aws:CurrentTime":"soon"}}"#,
            "Invalid Condition value for aws:CurrentTime: soon",
        ),
        (r#""Condition":{"StringEquals":{"aws:Referer":[]}}"#, "Invalid policy syntax."),
        (r#""Condition":{"StringEquals":{"aws:Referer":{}}}"#, "Invalid policy syntax."),
        (r#""Conditions":{"StringEquals":{"aws:Referer":"x"}}"#, "Unknown field Conditions"),
    ];
    for (replacement, message) in cases {
        assert_eq!(refusal(&with(replacement)), message, "{replacement}");
    }
}

#[test]
fn policies_of_identities_name_no_principals() {
    let parse = |text: &str| Policy::parse(text.as_bytes(), Kind::Identity).map_err(|error| error.message);
    assert!(parse(r#"{"Statement":{"Effect":"Allow","Action":"ringcask:*","Resource":"*"}}"#).is_ok());
    assert_eq!(
        parse(r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}}"#),
        Err("Policy document should not specify a principal.".to_owned())
    );
    assert!(parse(r#"{"Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}"#).is_err());
    assert!(parse(r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"bucket/*"}}"#).is_err());
}
