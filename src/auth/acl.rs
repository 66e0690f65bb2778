//! Access control lists: grants of an owner to accounts and to AWS's predefined groups.
//!
//! Source: AWS, "Access control list (ACL) overview".

use std::fmt;

use crate::auth::principal::{Accounts, Principal};
use crate::base::limits::ACL_GRANTS_MAX;

/// Who may do what with a bucket or object beside what policies say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// Canonical id of the owner's account.
    pub owner: String,
    pub grants: Vec<Grant>,
}

/// One permission for one grantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub grantee: Grantee,
    pub permission: Permission,
}

/// Who is granted something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// An account, by its canonical id.
    Account(String),
    /// Everyone, signed or not.
    AllUsers,
    /// Everyone who signs with a key of any account.
    AuthenticatedUsers,
    /// The writer of server access logs.
    LogDelivery,
}

/// What a grant allows; the actions behind each are in `policy::decide`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    Read,
    Write,
    ReadAcp,
    WriteAcp,
    FullControl,
}

/// A grantee as a client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GranteeName {
    /// `id`: a canonical id.
    Id(String),
    /// `uri`: a predefined group.
    Uri(String),
    /// `emailAddress` of an account.
    Email(String),
}

/// Why a grant cannot be made; the words are AWS's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AclError {
    /// No account has that canonical id.
    UnknownId(String),
    /// There is no such group.
    UnknownUri(String),
    /// No account has that address.
    UnknownEmail(String),
    /// A grant header is no list of `name="value"`.
    Malformed(String),
    /// More grants than [`ACL_GRANTS_MAX`].
    TooMany,
}

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

impl Acl {
    /// The list of what nobody but its owner may touch.
    pub fn private(owner: &str) -> Self {
        let grantee = Grantee::Account(owner.to_owned());
        Self { owner: owner.to_owned(), grants: vec![Grant { grantee, permission: Permission::FullControl }] }
    }

    /// Whether nothing is granted beyond what the owner has anyway.
    pub fn is_private(&self) -> bool {
        *self == Self::private(&self.owner)
    }

    /// Whether a grant gives `permission` to the sender of a request (`None`: not signed).
    pub fn allows(&self, principal: Option<&Principal>, permission: Permission) -> bool {
        self.allows_as(principal, permission, Grantee::includes)
    }

    /// Like [`Acl::allows`], without grants to the public: what IgnorePublicAcls leaves.
    pub fn allows_without_public(&self, principal: Option<&Principal>, permission: Permission) -> bool {
        self.allows_as(principal, permission, |grantee, principal| {
            !grantee.is_public() && grantee.includes(principal)
        })
    }

    /// Whether a grant to everyone, or to everyone with a key, gives `permission`.
    pub fn allows_public(&self, permission: Permission) -> bool {
        self.allows_as(None, permission, |grantee, _| grantee.is_public())
    }

    fn allows_as(
        &self,
        principal: Option<&Principal>,
        permission: Permission,
        includes: impl Fn(&Grantee, Option<&Principal>) -> bool,
    ) -> bool {
        self.grants.iter().any(|grant| {
            (grant.permission == permission || grant.permission == Permission::FullControl)
                && includes(&grant.grantee, principal)
        })
    }

    /// Whether it grants anything to everyone, or to everyone with a key: AWS's meaning of a public ACL.
    pub fn is_public(&self) -> bool {
        self.grants.iter().any(|grant| grant.grantee.is_public())
    }

    /// Adds a grant.
    pub fn add(&mut self, grant: Grant) -> Result<(), AclError> {
        if self.grants.len() >= ACL_GRANTS_MAX {
            return Err(AclError::TooMany);
        }
        self.grants.push(grant);
        Ok(())
    }

    /// Reads what its `Display` wrote; `None` if it didn't.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(';');
        let owner = fields.next()?.to_owned();
        let grant = |field: &str| {
            let (permission, grantee) = field.split_once('=')?;
            let grantee = match grantee {
                "AllUsers" => Grantee::AllUsers,
                "AuthenticatedUsers" => Grantee::AuthenticatedUsers,
                "LogDelivery" => Grantee::LogDelivery,
                id => Grantee::Account(id.to_owned()),
            };
            Some(Grant { grantee, permission: Permission::parse(permission)? })
        };
        Some(Self { owner, grants: fields.map(grant).collect::<Option<_>>()? })
    }
}

/// The form in which it is stored: the owner, then `PERMISSION=grantee`, with semicolons between.
impl fmt::Display for Acl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.owner)?;
        for Grant { grantee, permission } in &self.grants {
            let grantee = match grantee {
                Grantee::Account(id) => id,
                Grantee::AllUsers => "AllUsers",
                Grantee::AuthenticatedUsers => "AuthenticatedUsers",
                Grantee::LogDelivery => "LogDelivery",
            };
            write!(out, ";{}={grantee}", permission.name())?;
        }
        Ok(())
    }
}

impl Grantee {
    /// The group's URI; `None` for an account.
    pub fn uri(&self) -> Option<&'static str> {
        match self {
            Self::Account(_) => None,
            Self::AllUsers => Some(ALL_USERS),
            Self::AuthenticatedUsers => Some(AUTHENTICATED_USERS),
            Self::LogDelivery => Some(LOG_DELIVERY),
        }
    }

    /// Whether it is everyone, or everyone with a key.
    pub fn is_public(&self) -> bool {
        matches!(self, Self::AllUsers | Self::AuthenticatedUsers)
    }

    fn includes(&self, principal: Option<&Principal>) -> bool {
        match self {
            Self::Account(id) => principal.is_some_and(|principal| principal.canonical_id == *id),
            Self::AllUsers => true,
            Self::AuthenticatedUsers => principal.is_some(),
            Self::LogDelivery => false,
        }
    }
}

impl Permission {
    /// Its name in ACL documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::ReadAcp => "READ_ACP",
            Self::WriteAcp => "WRITE_ACP",
            Self::FullControl => "FULL_CONTROL",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::ReadAcp, Self::WriteAcp, Self::FullControl]
            .into_iter()
            .find(|permission| permission.name() == name)
    }
}

impl GranteeName {
    /// Finds who is meant.
    pub fn resolve(self, accounts: &dyn Accounts) -> Result<Grantee, AclError> {
        match self {
            Self::Id(id) if accounts.account_id(&id).is_some() => Ok(Grantee::Account(id)),
            Self::Id(id) => Err(AclError::UnknownId(id)),
            Self::Uri(uri) => [Grantee::AllUsers, Grantee::AuthenticatedUsers, Grantee::LogDelivery]
                .into_iter()
                .find(|group| group.uri() == Some(&uri))
                .ok_or(AclError::UnknownUri(uri)),
            Self::Email(email) => match accounts.canonical_id_of_email(&email) {
                Some(id) => Ok(Grantee::Account(id)),
                None => Err(AclError::UnknownEmail(email)),
            },
        }
    }
}

/// Headers that grant, with the permission of each. Their grants stand in an ACL in this order, whatever the
/// order of the headers.
pub const GRANT_HEADERS: [(&str, Permission); 5] = [
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
    ("x-amz-grant-full-control", Permission::FullControl),
];

/// Reads the value of a grant header: `id="…", uri="…", emailAddress="…"`. Quotes may be missing.
pub fn parse_grant_header(value: &str) -> Result<Vec<GranteeName>, AclError> {
    let malformed = || AclError::Malformed(value.to_owned());
    value
        .split(',')
        .map(|grantee| {
            let (name, value) = grantee.split_once('=').ok_or_else(malformed)?;
            let value = value.trim();
            let value = match value.strip_prefix('"') {
                Some(quoted) => quoted.strip_suffix('"').ok_or_else(malformed)?,
                None => value,
            };
            let name = name.trim();
            if name.eq_ignore_ascii_case("id") {
                Ok(GranteeName::Id(value.to_owned()))
            } else if name.eq_ignore_ascii_case("uri") {
                Ok(GranteeName::Uri(value.to_owned()))
            } else if name.eq_ignore_ascii_case("emailAddress") {
                Ok(GranteeName::Email(value.to_owned()))
            } else {
                Err(malformed())
            }
        })
        .collect()
}

/// A list with a name: `x-amz-acl`.
///
/// Source: AWS, "Access control list (ACL) overview", "Canned ACL". `aws-exec-read` grants to EC2, which
/// does not exist here, so it is no name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannedAcl {
    Private,
    PublicRead,
    PublicReadWrite,
    AuthenticatedRead,
    BucketOwnerRead,
    BucketOwnerFullControl,
    LogDeliveryWrite,
}

impl CannedAcl {
    const NAMES: [(&str, Self); 7] = [
        ("private", Self::Private),
        ("public-read", Self::PublicRead),
        ("public-read-write", Self::PublicReadWrite),
        ("authenticated-read", Self::AuthenticatedRead),
        ("bucket-owner-read", Self::BucketOwnerRead),
        ("bucket-owner-full-control", Self::BucketOwnerFullControl),
        ("log-delivery-write", Self::LogDeliveryWrite),
    ];

    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, canned)| *canned)
    }

    /// What it means for something of `owner`. `bucket_owner` is the owner of an object's bucket, and `None`
    /// for a bucket, which takes the two names about it as `private`.
    pub fn expand(self, owner: &str, bucket_owner: Option<&str>) -> Acl {
        let mut acl = Acl::private(owner);
        let mut grant = |grantee, permission| acl.grants.push(Grant { grantee, permission });
        let to_bucket_owner = bucket_owner.filter(|bucket_owner| *bucket_owner != owner);
        match self {
            Self::Private => {}
            Self::PublicRead => grant(Grantee::AllUsers, Permission::Read),
            Self::PublicReadWrite => {
                grant(Grantee::AllUsers, Permission::Read);
                grant(Grantee::AllUsers, Permission::Write);
            }
            Self::AuthenticatedRead => grant(Grantee::AuthenticatedUsers, Permission::Read),
            Self::BucketOwnerRead | Self::BucketOwnerFullControl => {
                let permission = match self {
                    Self::BucketOwnerRead => Permission::Read,
                    _ => Permission::FullControl,
                };
                if let Some(bucket_owner) = to_bucket_owner {
                    grant(Grantee::Account(bucket_owner.to_owned()), permission);
                }
            }
            Self::LogDeliveryWrite => {
                grant(Grantee::LogDelivery, Permission::Write);
                grant(Grantee::LogDelivery, Permission::ReadAcp);
            }
        }
        acl
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knows accounts `1` and `2`, with ids `a` and `b`.
    struct Two;

    impl Accounts for Two {
        fn canonical_id(&self, account_id: &str) -> Option<String> {
            ["1", "2"].contains(&account_id).then(|| account_id.replace('1', "a").replace('2', "b"))
        }

        fn account_id(&self, canonical_id: &str) -> Option<String> {
            ["a", "b"].contains(&canonical_id).then(|| canonical_id.replace('a', "1").replace('b', "2"))
        }

        fn canonical_id_of_email(&self, email: &str) -> Option<String> {
            (email == "b@example.com").then(|| "b".to_owned())
        }

        fn has_user(&self, _arn: &str) -> bool {
            false
        }
    }

    #[test]
    fn canned_lists_grant_what_their_names_say() {
        let (owner, other) = (Principal::root("1", "a"), Principal::root("2", "b"));
        let who = [None, Some(&other), Some(&owner)];
        let allowed = |canned: &str, permission| {
            let acl = CannedAcl::parse(canned).unwrap().expand("a", Some("b"));
            who.map(|principal| acl.allows(principal, permission))
        };
        assert_eq!(allowed("private", Permission::Read), [false, false, true]);
        assert_eq!(allowed("public-read", Permission::Read), [true, true, true]);
        assert_eq!(allowed("public-read", Permission::Write), [false, false, true]);
        assert_eq!(allowed("public-read-write", Permission::Write), [true, true, true]);
        assert_eq!(allowed("authenticated-read", Permission::Read), [false, true, true]);
        assert_eq!(allowed("bucket-owner-read", Permission::Read), [false, true, true]);
        assert_eq!(allowed("bucket-owner-read", Permission::ReadAcp), [false, false, true]);
        assert_eq!(allowed("bucket-owner-full-control", Permission::WriteAcp), [false, true, true]);
        assert_eq!(allowed("log-delivery-write", Permission::Write), [false, false, true]);
        assert_eq!(CannedAcl::parse("public"), None);
        // What is said about the owner of the bucket says nothing new to itself.
        assert!(CannedAcl::BucketOwnerFullControl.expand("a", Some("a")).is_private());
        assert!(CannedAcl::AuthenticatedRead.expand("a", None).is_public());
        assert!(!CannedAcl::LogDeliveryWrite.expand("a", None).is_public());
    }

    #[test]
    fn lists_are_read_as_they_were_stored() {
        for (_, canned) in CannedAcl::NAMES {
            let acl = canned.expand("a", Some("b"));
            assert_eq!(Acl::parse(&acl.to_string()), Some(acl));
        }
        assert_eq!(Acl::parse("a").map(|acl| acl.grants.len()), Some(0));
        assert_eq!(Acl::parse("a;READ"), None);
        assert_eq!(Acl::parse("a;OWN=b"), None);
    }

    #[test]
    fn grant_headers_name_accounts_and_groups() {
        let read = |value: &str| {
            let names = parse_grant_header(value)?;
            names.into_iter().map(|name| name.resolve(&Two)).collect::<Result<Vec<_>, _>>()
        };
        let both = format!(r#"id="a", uri="{ALL_USERS}""#);
        assert_eq!(read(&both), Ok(vec![Grantee::Account("a".to_owned()), Grantee::AllUsers]));
        assert_eq!(read("emailAddress=b@example.com"), Ok(vec![Grantee::Account("b".to_owned())]));
        assert_eq!(read("id=c"), Err(AclError::UnknownId("c".to_owned())));
        assert_eq!(read("uri=x"), Err(AclError::UnknownUri("x".to_owned())));
        assert_eq!(read("emailAddress=x"), Err(AclError::UnknownEmail("x".to_owned())));
        for value in ["", "a", "name=a", r#"id="a"#] {
            assert_eq!(read(value), Err(AclError::Malformed(value.to_owned())));
        }
    }

    #[test]
    fn a_list_has_an_end() {
        let mut acl = Acl { owner: "a".to_owned(), grants: Vec::new() };
        let grant = Grant { grantee: Grantee::AllUsers, permission: Permission::Read };
        for _ in 0..ACL_GRANTS_MAX {
            acl.add(grant.clone()).unwrap();
        }
        assert_eq!(acl.add(grant), Err(AclError::TooMany));
    }
}
