//! Who signed a posted form. The signature is among its fields and covers its policy, in either version.
//!
//! Sources: AWS, "POST Object" and "Browser-based uploads using POST (AWS Signature Version 4)", and for
//! Version 2 the page of the same name.

use subtle::ConstantTimeEq;

use super::sigv4::{ALGORITHM, Mismatch, Scope};
use super::{AuthError, Authentication, Context, Identity, PayloadPromise, refuse_session, secret, sigv2};
use crate::http::date;
use crate::http::form::Form;

/// Decides who posts a form. One without a policy is anonymous; whether that may pass is a matter of policy.
pub fn authenticate_form(form: &Form, context: &Context<'_>) -> Result<Authentication, AuthError> {
    let is_v4 = ["x-amz-algorithm", "x-amz-credential", "x-amz-signature"]
        .iter()
        .any(|name| form.field(name).is_some());
    let is_v2 = ["AWSAccessKeyId", "signature"].iter().any(|name| form.field(name).is_some());
    let id = match (form.field("policy"), is_v4) {
        (None, _) if !is_v4 && !is_v2 => {
            return Ok(Authentication { identity: Identity::Anonymous, payload: PayloadPromise::Unsigned });
        }
        (None, _) => return Err(missing("policy")),
        (Some(policy), true) => verify_v4(form, policy, context)?,
        (Some(policy), false) => verify_v2(form, policy, context)?,
    };
    refuse_session(form.field("x-amz-security-token").map(str::as_bytes))?;
    let identity = Identity::AccessKey { id: id.to_owned() };
    Ok(Authentication { identity, payload: PayloadPromise::Unsigned })
}

fn verify_v4<'a>(form: &'a Form, policy: &str, context: &Context<'_>) -> Result<&'a str, AuthError> {
    let required = |name| form.field(name).ok_or_else(|| missing(name));
    let algorithm = required("x-amz-algorithm")?;
    let credential = required("x-amz-credential")?;
    let timestamp = required("x-amz-date")?;
    let signature = required("x-amz-signature")?;
    let invalid = |message: String, name: &str, value: &str| AuthError::InvalidArgument {
        message,
        name: name.to_owned(),
        value: value.to_owned(),
    };
    if algorithm != ALGORITHM {
        let message = format!("X-Amz-Algorithm only supports \"{ALGORITHM}\"");
        return Err(invalid(message, "x-amz-algorithm", algorithm));
    }
    let in_credential = |message: String| {
        let message = format!("Error parsing the X-Amz-Credential parameter; {message}");
        invalid(message, "x-amz-credential", credential)
    };
    let scope = Scope::parse(credential).map_err(in_credential)?;
    date::parse_basic(timestamp).filter(|moment| date::basic(*moment) == timestamp).ok_or_else(|| {
        let message = "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"";
        invalid(message.to_owned(), "x-amz-date", timestamp)
    })?;
    scope.check(context.region, timestamp).map_err(|Mismatch { message, .. }| in_credential(message))?;
    let secret = secret(context, scope.id)?;
    let key = context.signing_keys.key(scope.id, &secret, scope.date, context.region);
    let expected = key.sign(policy.as_bytes());
    if !bool::from(expected.as_slice().ct_eq(signature.as_bytes())) {
        return Err(mismatch(scope.id, signature, policy));
    }
    Ok(scope.id)
}

fn verify_v2<'a>(form: &'a Form, policy: &str, context: &Context<'_>) -> Result<&'a str, AuthError> {
    let required = |name| form.field(name).ok_or_else(|| missing(name));
    let id = required("AWSAccessKeyId")?;
    let signature = required("signature")?;
    let expected = sigv2::signature(&secret(context, id)?, policy.as_bytes());
    if !bool::from(expected.as_bytes().ct_eq(signature.as_bytes())) {
        return Err(mismatch(id, signature, policy));
    }
    Ok(id)
}

fn missing(name: &str) -> AuthError {
    AuthError::InvalidArgument {
        message: format!(
            "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of \
             the fields."
        ),
        name: name.to_owned(),
        value: String::new(),
    }
}

fn mismatch(id: &str, provided: &str, policy: &str) -> AuthError {
    AuthError::SignatureDoesNotMatch {
        id: id.to_owned(),
        provided: provided.to_owned(),
        string_to_sign: policy.to_owned(),
        canonical_request: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Keys, SigningKeys};
    use crate::http::form::Field;

    struct OneKey;

    impl Keys for OneKey {
        fn secret(&self, id: &str) -> Option<String> {
            // AWS's example key.
            (id == "AKIAIOSFODNN7EXAMPLE").then(|| "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned())
        }
    }

    /// AWS, "Example: Browser-Based Upload using HTTP POST (Using AWS Signature Version 4)".
    const POLICY: &str = concat!(
        "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tl",
        "dCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAg",
        "ICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhh",
        "bXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwg",
        "IiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAg",
        "ICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXot",
        "bWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkv",
        "dXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwN",
        "CiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9",
    );
    const SIGNATURE: &str = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";

    fn v4() -> Vec<(&'static str, &'static str)> {
        vec![
            ("x-amz-algorithm", ALGORITHM),
            ("X-Amz-Credential", "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"),
            ("x-amz-date", "20151229T000000Z"),
            ("policy", POLICY),
            ("x-amz-signature", SIGNATURE),
        ]
    }

    fn asked(fields: &[(&str, &str)]) -> Result<Identity, AuthError> {
        let own = |(name, value): &(&str, &str)| Field { name: (*name).into(), value: (*value).into() };
        let form = Form { fields: fields.iter().map(own).collect(), file: None };
        let signing_keys = SigningKeys::new();
        let context = Context {
            region: "us-east-1",
            now: 0,
            keys: &OneKey,
            signing_keys: &signing_keys,
            virtual_bucket: None,
        };
        authenticate_form(&form, &context).map(|authentication| authentication.identity)
    }

    fn with(name: &str, value: &'static str) -> Vec<(&'static str, &'static str)> {
        let mut fields = v4();
        fields
            .iter_mut()
            .filter(|(have, _)| have.eq_ignore_ascii_case(name))
            .for_each(|field| field.1 = value);
        fields
    }

    #[test]
    fn the_published_example_is_authentic() {
        let identity = Identity::AccessKey { id: "AKIAIOSFODNN7EXAMPLE".to_owned() };
        assert_eq!(asked(&v4()), Ok(identity.clone()));
        let secret = OneKey.secret("AKIAIOSFODNN7EXAMPLE").unwrap();
        let signature = sigv2::signature(&secret, POLICY.as_bytes());
        let v2 = [
            ("awsaccesskeyid", "AKIAIOSFODNN7EXAMPLE"),
            ("Signature", signature.as_str()),
            ("policy", POLICY),
        ];
        assert_eq!(asked(&v2), Ok(identity));
        assert!(matches!(
            asked(&[v2[0], ("signature", "x"), v2[2]]),
            Err(AuthError::SignatureDoesNotMatch { .. })
        ));
        assert!(matches!(
            asked(&[("AWSAccessKeyId", "no"), v2[1], v2[2]]),
            Err(AuthError::InvalidAccessKeyId { .. })
        ));
        assert_eq!(asked(&[("key", "k")]), Ok(Identity::Anonymous));
    }

    #[test]
    fn a_form_that_is_signed_otherwise_is_refused() {
        assert!(matches!(asked(&with("policy", "e30=")), Err(AuthError::SignatureDoesNotMatch { .. })));
        assert!(matches!(
            asked(&with("x-amz-signature", "00")),
            Err(AuthError::SignatureDoesNotMatch { .. })
        ));
        for (name, value) in [
            ("x-amz-algorithm", "AWS4-HMAC-SHA1"),
            ("x-amz-credential", "AKIAIOSFODNN7EXAMPLE"),
            ("x-amz-credential", "AKIAIOSFODNN7EXAMPLE/20151229/eu-west-1/s3/aws4_request"),
            ("x-amz-date", "20151230T000000Z"),
            ("x-amz-date", "yesterday"),
        ] {
            assert!(matches!(asked(&with(name, value)), Err(AuthError::InvalidArgument { .. })), "{value}");
        }
    }

    #[test]
    fn a_signature_needs_all_its_fields() {
        for at in 0..5 {
            let mut fields = v4();
            let (name, _) = fields.remove(at);
            // Without its policy a signature proves nothing; without a signature a policy allows nothing.
            let Err(AuthError::InvalidArgument { name: missing, .. }) = asked(&fields) else {
                panic!("{name} is needed");
            };
            assert!(missing.eq_ignore_ascii_case(name));
        }
        assert!(asked(&[("policy", POLICY)]).is_err());
        assert!(asked(&[("policy", POLICY), ("AWSAccessKeyId", "AKIAIOSFODNN7EXAMPLE")]).is_err());
        let token = [v4(), vec![("x-amz-security-token", "t")]].concat();
        assert_eq!(asked(&token), Err(AuthError::InvalidToken));
    }
}
