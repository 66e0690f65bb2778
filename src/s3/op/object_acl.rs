//! GetObjectAcl and PutObjectAcl: the ACL of an object, or of a version.

use crate::engine::{Condition, EngineError, Update};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{self, DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::notification::{self, event::EventName};
use crate::s3::object_acl::{Place, STORED};
use crate::s3::service::S3Service;
use crate::s3::settings::acl;
use crate::s3::version;

pub async fn get<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let named = version::named(&request)?;
    let lookup = service.engine().get(bucket.id, request.key.as_bytes(), named).await?;
    let object = version::found(lookup, named, &request.key)?;
    request.check_seen(&object)?;
    let (settings, accounts) = (service.bucket_settings(&bucket), service.accounts());
    let owner = service.owner_id(&settings);
    let place = Place { settings: &settings, owner: &owner, accounts: &accounts };
    let acl = place.acl_of(&object.attributes.headers)?;
    let mut response = super::document(acl::document(&acl, &|id| service.accounts().display_name(id)));
    version::write(&mut response, version::shown(&bucket, object.version()));
    Ok(response)
}

pub async fn put<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let host = service.engine().host();
    let document = body::receive_document(host, &mut request, body, DocumentDigest::Optional).await?;
    let bucket = service.bucket(&request)?;
    let named = version::named(&request)?;
    let key = request.key.as_bytes();
    let lookup = service.engine().get(bucket.id, key, named).await?;
    let object = version::found(lookup, named, &request.key)?;
    request.check_seen(&object)?;
    let (settings, accounts) = (service.bucket_settings(&bucket), service.accounts());
    let owner = service.owner_id(&settings);
    let place = Place { settings: &settings, owner: &owner, accounts: &accounts };
    let current = place.acl_of(&object.attributes.headers)?;
    let acl = place.acl_of_put(&request, &document, &current)?;
    let update =
        Update::Headers { set: place.stored(&acl).into_iter().collect(), remove: vec![STORED.to_owned()] };
    // Whose the object is was found out by looking at this version.
    let same = Condition { sequence: Some(object.sequence), ..Condition::default() };
    let name = EventName::ObjectAclPut;
    let events = notification::drafts(service, &request, &bucket, name, &request.key, None);
    let (engine, version) = (service.engine(), Some(object.version()));
    let updated = engine.update_with_events(bucket.id, key, version, update, same, events).await;
    let updated = updated.map_err(|error| match error {
        EngineError::ConditionFailed | EngineError::ConditionOnMissing => Code::OperationAborted.into(),
        other => version::refusal(other, named, &request.key),
    })?;
    let mut response = Response::new(200);
    version::write(&mut response, updated.version);
    Ok(response)
}
