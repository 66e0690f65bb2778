//! Whose multipart uploads are: who began one, and who will own its object.
//!
//! Source: AWS, ListMultipartUploads and ListParts, `Initiator` and `Owner`.

use std::rc::Rc;

use crate::auth::principal::Principal;
use crate::engine::{Bucket, Headers};
use crate::io::Host;
use crate::s3::accounts::{KnownAccounts, Owner};
use crate::s3::error::S3Error;
use crate::s3::object_acl::Place;
use crate::s3::service::S3Service;

/// Where an upload keeps who began it: the canonical id of an account, or the ARN of a user. No header of HTTP
/// can have this name, and it never reaches the object.
pub const STORED: &str = ":initiator";

/// Who has to do with an upload, as listings show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parties {
    pub initiator: Owner,
    pub owner: Owner,
}

/// Remembers among an upload's headers who begins it. What nobody signed is the bucket owner's.
pub fn store(principal: Option<&Principal>, headers: &mut Headers) {
    let Some(principal) = principal else { return };
    let name = if principal.is_root() { &principal.canonical_id } else { &principal.arn };
    headers.push((STORED.to_owned(), name.as_bytes().to_vec()));
}

impl Parties {
    /// Finds them for each of some uploads of a bucket, by the uploads' headers.
    pub fn of_all<'a, H: Host>(
        service: &S3Service<H>,
        bucket: &Rc<Bucket>,
        uploads: impl Iterator<Item = &'a Headers>,
    ) -> Result<Vec<Self>, S3Error> {
        let (settings, accounts) = (service.bucket_settings(bucket), service.accounts());
        let owner = service.owner_id(&settings);
        let place = Place { settings: &settings, owner: &owner, accounts: &accounts };
        uploads
            .map(|headers| {
                let owner = shown(&accounts, place.acl_of(headers)?.owner);
                let began = headers.iter().find(|(name, _)| name == STORED);
                let began = began.map(|(_, who)| String::from_utf8_lossy(who).into_owned());
                let initiator = shown(&accounts, began.unwrap_or_else(|| place.owner.to_owned()));
                Ok(Self { initiator, owner })
            })
            .collect()
    }
}

/// An account by its canonical id, or a user by its ARN. The name of an account that is gone stays empty.
fn shown(accounts: &KnownAccounts, id: String) -> Owner {
    let user = id.strip_prefix("arn:").and_then(|arn| arn.rsplit_once('/'));
    let name = match user {
        Some((_, name)) => name.to_owned(),
        None => accounts.display_name(&id).unwrap_or_default(),
    };
    Owner { id, name }
}
