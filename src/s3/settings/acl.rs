//! ACLs as requests bring them, in headers and documents, and as answers show them. What they mean is in
//! [`crate::auth::acl`]; buckets and objects share all of this.
//!
//! Source: AWS, "Access control list (ACL) overview", PutBucketAcl and PutObjectAcl.

use super::document::{Fields, text};
use crate::auth::acl::{
    Acl, AclError, CannedAcl, GRANT_HEADERS, Grant, Grantee, GranteeName, Permission, parse_grant_header,
};
use crate::auth::principal::Accounts;
use crate::s3::error::{Code, S3Error};
use crate::s3::request::Request;
use crate::s3::xml::{self, Element, XmlWriter};

/// Name of the setting of a bucket; its value is what [`Acl`] displays.
pub const NAME: &str = "acl";

/// Root element of the document.
const ROOT: &str = "AccessControlPolicy";

/// The header that names a canned ACL.
const CANNED_HEADER: &str = "x-amz-acl";

/// A canned ACL that grants to a service of AWS, which does not exist here.
const CANNED_FOREIGN: &str = "aws-exec-read";

/// Whose ACL it is.
#[derive(Clone, Copy, Debug)]
pub struct AclOwner<'a> {
    /// Canonical id of the owner of the bucket or object.
    pub id: &'a str,
    /// Of an object: canonical id of the owner of its bucket.
    pub bucket_owner: Option<&'a str>,
}

/// Whether a request brings an ACL in its headers.
pub fn has_headers(request: &Request) -> bool {
    request.head.header(CANNED_HEADER).is_some() || has_grants(request)
}

/// Whether a request grants something in headers, beside a canned ACL.
pub fn has_grants(request: &Request) -> bool {
    GRANT_HEADERS.iter().any(|(name, _)| request.head.header(name).is_some())
}

/// Reads the ACL that a request brings in its headers; `None` if it brings none.
pub fn of_headers(
    request: &Request,
    owner: AclOwner<'_>,
    accounts: &dyn Accounts,
) -> Result<Option<Acl>, S3Error> {
    let mut granted: Option<Acl> = None;
    for (name, permission) in GRANT_HEADERS {
        let Some(value) = request.header(name)? else { continue };
        let acl = granted.get_or_insert_with(|| Acl { owner: owner.id.to_owned(), grants: Vec::new() });
        for grantee in parse_grant_header(value).map_err(refusal)? {
            let grantee = grantee.resolve(accounts).map_err(refusal)?;
            acl.add(Grant { grantee, permission }).map_err(refusal)?;
        }
    }
    match (request.header(CANNED_HEADER)?, granted) {
        (None, granted) => Ok(granted),
        (Some(_), Some(_)) => {
            Err(S3Error::invalid_request("Specifying both Canned ACLs and Header Grants is not allowed"))
        }
        (Some(CANNED_FOREIGN), None) => Err(S3Error::not_implemented(CANNED_HEADER)),
        (Some(name), None) => match CannedAcl::parse(name) {
            Some(canned) => Ok(Some(canned.expand(owner.id, owner.bucket_owner))),
            None => Err(S3Error::invalid_argument("Invalid canned ACL.", CANNED_HEADER, name)),
        },
    }
}

/// Reads `AccessControlPolicy` of something that belongs to `owner`, a canonical id.
pub fn of_document(document: &[u8], owner: &str, accounts: &dyn Accounts) -> Result<Acl, S3Error> {
    let malformed = |error: S3Error| match error.code {
        Code::MalformedXML => Code::MalformedACLError.into(),
        _ => error,
    };
    let root = xml::parse(document, ROOT).map_err(malformed)?;
    read(&root, owner, accounts).map_err(malformed)
}

fn read(root: &Element, owner: &str, accounts: &dyn Accounts) -> Result<Acl, S3Error> {
    let fields = Fields::of(root, &["Owner", "AccessControlList"])?;
    if let Some(named) = fields.once("Owner")? {
        let named = Fields::of(named, &["ID", "DisplayName"])?.text("ID")?;
        if named.is_some_and(|named| named != owner) {
            return Err(Code::AccessDenied.into());
        }
    }
    let list = fields.required("AccessControlList")?;
    let mut acl = Acl { owner: owner.to_owned(), grants: Vec::new() };
    for grant in Fields::of(list, &["Grant"])?.all("Grant") {
        let fields = Fields::of(grant, &["Grantee", "Permission"])?;
        let permission = Permission::parse(text(fields.required("Permission")?)?.trim());
        let permission = permission.ok_or(Code::MalformedACLError)?;
        let grantee = grantee_name(fields.required("Grantee")?)?.resolve(accounts).map_err(refusal)?;
        acl.add(Grant { grantee, permission }).map_err(refusal)?;
    }
    Ok(acl)
}

/// Who is named by `Grantee`, whose `xsi:type` says how.
fn grantee_name(grantee: &Element) -> Result<GranteeName, S3Error> {
    let fields = Fields::of(grantee, &["ID", "DisplayName", "URI", "EmailAddress"])?;
    let name = |element| Ok::<_, S3Error>(text(fields.required(element)?)?.trim().to_owned());
    let kind = grantee.kind.as_deref().unwrap_or_default();
    match kind.rsplit(':').next().unwrap_or_default() {
        "CanonicalUser" => name("ID").map(GranteeName::Id),
        "Group" => name("URI").map(GranteeName::Uri),
        "AmazonCustomerByEmail" => name("EmailAddress").map(GranteeName::Email),
        _ => Err(Code::MalformedACLError.into()),
    }
}

/// Writes `AccessControlPolicy`. `name_of` gives the display name of a canonical id.
pub fn document(acl: &Acl, name_of: &dyn Fn(&str) -> Option<String>) -> XmlWriter {
    let account = |xml: &mut XmlWriter, id: &str| {
        xml.text("ID", id);
        if let Some(name) = name_of(id) {
            xml.text("DisplayName", &name);
        }
    };
    let mut xml = XmlWriter::document(ROOT);
    xml.open("Owner");
    account(&mut xml, &acl.owner);
    xml.close();
    xml.open("AccessControlList");
    // Their order means nothing. Groups stand first, so that what is public is seen at once.
    let (accounts, groups): (Vec<&Grant>, Vec<&Grant>) =
        acl.grants.iter().partition(|grant| matches!(grant.grantee, Grantee::Account(_)));
    for Grant { grantee, permission } in groups.into_iter().chain(accounts) {
        xml.open("Grant");
        match (grantee, grantee.uri()) {
            (Grantee::Account(id), _) => {
                xml.open_typed("Grantee", "CanonicalUser");
                account(&mut xml, id);
            }
            (_, uri) => {
                xml.open_typed("Grantee", "Group");
                xml.text("URI", uri.unwrap_or_default());
            }
        }
        xml.close();
        xml.text("Permission", permission.name());
        xml.close();
    }
    xml
}

fn refusal(error: AclError) -> S3Error {
    match error {
        AclError::UnknownId(id) => S3Error::invalid_argument("Invalid id", "CanonicalUser/ID", id),
        AclError::UnknownUri(uri) => S3Error::invalid_argument("Invalid group uri", "Group/URI", uri),
        AclError::UnknownEmail(email) => {
            S3Error::new(Code::UnresolvableGrantByEmailAddress).with_field("Email", email)
        }
        AclError::Malformed(value) => {
            S3Error::invalid_argument("Argument format not recognized", "x-amz-grant", value)
        }
        AclError::TooMany => Code::MalformedACLError.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: &str = "0a";

    /// The accounts `0a` and `0b`, the second with an address.
    struct Two;

    impl Accounts for Two {
        fn canonical_id(&self, _account_id: &str) -> Option<String> {
            None
        }

        fn account_id(&self, canonical_id: &str) -> Option<String> {
            ["0a", "0b"].contains(&canonical_id).then(|| format!("id of {canonical_id}"))
        }

        fn canonical_id_of_email(&self, email: &str) -> Option<String> {
            (email == "b@example.com").then(|| "0b".to_owned())
        }

        fn has_user(&self, _arn: &str) -> bool {
            false
        }
    }

    fn of_list(grants: &str) -> Result<Acl, Code> {
        let document = format!(
            "<{ROOT}><Owner><ID>{OWNER}</ID></Owner><AccessControlList>{grants}</AccessControlList></{ROOT}>"
        );
        of_document(document.as_bytes(), OWNER, &Two).map_err(|error| error.code)
    }

    fn grant(kind: &str, name: &str, permission: &str) -> String {
        format!(
            "<Grant><Grantee xmlns:xsi=\"x\" xsi:type=\"{kind}\">{name}</Grantee>\
             <Permission>{permission}</Permission></Grant>"
        )
    }

    fn of(headers: &[(&str, &str)]) -> Result<Option<Acl>, Code> {
        let request = Request::for_test("PUT", "/b?acl", headers);
        let owner = AclOwner { id: OWNER, bucket_owner: None };
        assert_eq!(has_headers(&request), !headers.is_empty());
        of_headers(&request, owner, &Two).map_err(|error| error.code)
    }

    #[test]
    fn grantees_are_accounts_addresses_and_groups() {
        let group = "<URI>http://acs.amazonaws.com/groups/global/AllUsers</URI>";
        let grants = grant("Group", group, "FULL_CONTROL")
            + &grant("CanonicalUser", "<ID>0b</ID><DisplayName>b</DisplayName>", "READ")
            + &grant("AmazonCustomerByEmail", "<EmailAddress>b@example.com</EmailAddress>", "WRITE_ACP");
        let acl = of_list(&grants).unwrap();
        assert_eq!(acl.to_string(), "0a;FULL_CONTROL=AllUsers;READ=0b;WRITE_ACP=0b");
        let written = document(&acl, &|id| Some(format!("name of {id}"))).finish();
        assert_eq!(of_document(&written, OWNER, &Two), Ok(acl));
        assert!(String::from_utf8(written).unwrap().contains("<DisplayName>name of 0b</DisplayName>"));
        assert_eq!(of_list("").unwrap().grants, []);
    }

    #[test]
    fn nobody_can_be_granted_what_is_not_there() {
        let code = |grants: String| of_list(&grants).unwrap_err();
        assert_eq!(code(grant("CanonicalUser", "<ID>_foo</ID>", "READ")), Code::InvalidArgument);
        assert_eq!(code(grant("Group", "<URI>x</URI>", "READ")), Code::InvalidArgument);
        assert_eq!(
            code(grant("AmazonCustomerByEmail", "<EmailAddress>x</EmailAddress>", "READ")),
            Code::UnresolvableGrantByEmailAddress
        );
        for grants in [
            grant("CanonicalUser", "<ID>0b</ID>", "EXECUTE"),
            grant("CanonicalUser", "<URI>0b</URI>", "READ"),
            grant("Robot", "<ID>0b</ID>", "READ"),
            grant("CanonicalUser", "<ID>0b</ID>", "READ").repeat(101),
            "<Grant/>".to_owned(),
            "<Other/>".to_owned(),
        ] {
            assert_eq!(code(grants), Code::MalformedACLError);
        }
        let foreign =
            b"<AccessControlPolicy><Owner><ID>0b</ID></Owner><AccessControlList/></AccessControlPolicy>";
        assert_eq!(of_document(foreign, OWNER, &Two).unwrap_err().code, Code::AccessDenied);
        assert_eq!(of_document(b"<x", OWNER, &Two).unwrap_err().code, Code::MalformedACLError);
    }

    #[test]
    fn headers_name_a_canned_acl_or_grants() {
        assert_eq!(of(&[]), Ok(None));
        let acl = of(&[("x-amz-acl", "public-read")]).unwrap().unwrap();
        assert_eq!(acl.to_string(), "0a;FULL_CONTROL=0a;READ=AllUsers");
        let granted = [("x-amz-grant-read", "id=\"0b\", id=0a"), ("x-amz-grant-write-acp", "id=0b")];
        assert_eq!(of(&granted).unwrap().unwrap().to_string(), "0a;READ=0b;READ=0a;WRITE_ACP=0b");
        let all = ["full-control", "write-acp", "read-acp", "write", "read"];
        let all = all.map(|permission| format!("x-amz-grant-{permission}"));
        let all: Vec<_> = all.iter().map(|name| (name.as_str(), "id=0b")).collect();
        let text = "0a;READ=0b;WRITE=0b;READ_ACP=0b;WRITE_ACP=0b;FULL_CONTROL=0b";
        assert_eq!(of(&all).unwrap().unwrap().to_string(), text);
        assert_eq!(of(&[("x-amz-acl", "public-ready")]), Err(Code::InvalidArgument));
        assert_eq!(of(&[("x-amz-acl", "aws-exec-read")]), Err(Code::NotImplemented));
        assert_eq!(of(&[("x-amz-acl", "private"), granted[0]]), Err(Code::InvalidRequest));
        assert_eq!(of(&[("x-amz-grant-read", "0b")]), Err(Code::InvalidArgument));
        assert_eq!(of(&[("x-amz-grant-read", "id=0c")]), Err(Code::InvalidArgument));
    }
}
