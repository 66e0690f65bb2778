//! Encryption as the operations ask for it: of the request at hand, in its bucket.

use std::rc::Rc;

use super::answer::Notice;
use super::asked::{Asked, CustomerKey, Lookup};
use super::data_key::{DataKey, Place, Target};
use super::reader::Opened;
use super::vault::name_of;
use super::{Encryption, Run, Scheme, remove};
use crate::engine::{Bucket, Object, Upload};
use crate::io::Host;
use crate::s3::error::S3Error;
use crate::s3::request::Request;
use crate::s3::service::S3Service;
use crate::s3::settings::DefaultAlgorithm;

/// How all headers of encryption begin; those of a copy's source apart.
const PREFIX: &str = "x-amz-server-side-encryption";

/// How those of SSE-C begin.
const CUSTOMER_PREFIX: &str = "x-amz-server-side-encryption-customer-";

/// With whose key a new object or upload is to be encrypted: as the request (or form) asks, else as the
/// bucket does. `None`: with none.
pub fn target<H: Host>(
    service: &S3Service<H>,
    bucket: &Rc<Bucket>,
    header: Lookup<'_>,
) -> Result<Option<Target>, S3Error> {
    let asked = Asked::of_write(header)?;
    let default = default_target(service, bucket)?;
    if default.is_none() && matches!(asked, Asked::Nothing) {
        return Ok(None);
    }
    Target::choose(asked, default, &service.vault()?)
}

fn default_target<H: Host>(service: &S3Service<H>, bucket: &Rc<Bucket>) -> Result<Option<Target>, S3Error> {
    let settings = service.bucket_settings(bucket);
    let Some(default) = settings.encryption()? else { return Ok(None) };
    Ok(Some(match &default.algorithm {
        DefaultAlgorithm::Aes256 => Target::Managed,
        DefaultAlgorithm::Kms { key_id } => {
            Target::named(key_id.clone(), String::new(), default.bucket_key_enabled.unwrap_or_default())
        }
    }))
}

/// The data key of a new object or upload, if it is to be encrypted.
pub fn data_key<H: Host>(
    service: &S3Service<H>,
    target: Option<Target>,
    place: Place,
) -> Result<Option<DataKey>, S3Error> {
    let Some(target) = target else { return Ok(None) };
    target.data_key(&service.vault()?, place, service.engine().host()).map(Some)
}

/// What it takes to read the object that a request names.
pub fn opened<H: Host>(
    service: &S3Service<H>,
    object: &Object<H>,
    request: &Request,
) -> Result<Opened, S3Error> {
    let is_asked = request.head.headers.iter().any(|(name, _)| name.starts_with(PREFIX));
    let customer = if is_asked { CustomerKey::of_read(&|name| request.head.header(name))? } else { None };
    opened_with(service, object, customer.as_ref())
}

/// What it takes to read the source of a copy, and the key that the request brings for it.
pub fn opened_source<H: Host>(
    service: &S3Service<H>,
    object: &Object<H>,
    request: &Request,
) -> Result<(Opened, Option<CustomerKey>), S3Error> {
    let customer = CustomerKey::of_copy_source(&|name| request.head.header(name))?;
    let opened = opened_with(service, object, customer.as_ref())?;
    Ok((opened, customer))
}

fn opened_with<H: Host>(
    service: &S3Service<H>,
    object: &Object<H>,
    customer: Option<&CustomerKey>,
) -> Result<Opened, S3Error> {
    if customer.is_none() && !object.attributes.headers.iter().any(|(name, _)| name == super::HEADER) {
        return Ok(Opened::default());
    }
    Opened::of(object, &service.vault()?, customer)
}

/// The data key and the runs of an object that is to be appended to, if it is encrypted. It stays encrypted as
/// it is, and the request may not ask for anything else.
pub fn continued<H: Host>(
    service: &S3Service<H>,
    object: &Object<H>,
    request: &Request,
) -> Result<Option<(DataKey, Vec<Run>)>, S3Error> {
    let asked = Asked::of_write(&|name| request.head.header(name))?;
    let kept = Encryption::load(&object.attributes.headers)?;
    let is_kept = match (&asked, kept.as_ref().map(|kept| &kept.scheme)) {
        (Asked::Nothing | Asked::Customer(_), _) | (Asked::Managed, Some(Scheme::Managed)) => true,
        (Asked::Named { key_id, context, .. }, Some(Scheme::Named { key_id: kept, context: bound, .. })) => {
            key_id.as_ref().is_none_or(|id| name_of(id) == name_of(kept))
                && (context.is_empty() || context == bound)
        }
        _ => false,
    };
    if !is_kept {
        return Err(S3Error::invalid_request("What is appended to an object is encrypted as the object is."));
    }
    let customer = if let Asked::Customer(key) = asked { Some(key) } else { None };
    Ok(opened_with(service, object, customer.as_ref())?.into_key())
}

/// The data key of an upload, for a part of it.
pub fn of_upload<H: Host>(
    service: &S3Service<H>,
    bucket: &Bucket,
    upload: &Upload,
    request: &Request,
) -> Result<Option<DataKey>, S3Error> {
    let customer = CustomerKey::of_upload(&|name| request.head.header(name))?;
    let kept = Encryption::load(&upload.headers)?;
    match (kept.as_ref().map(|kept| &kept.scheme), &customer) {
        (Some(Scheme::Customer), None) => {
            return Err(S3Error::invalid_request(
                "The multipart upload initiate requested encryption. Subsequent part requests must include \
                 the appropriate encryption parameters.",
            ));
        }
        (None | Some(Scheme::Managed | Scheme::Named { .. }), Some(_)) => {
            return Err(S3Error::invalid_request(
                "The multipart upload initiate did not request encryption with this key. Please resend \
                 the request without sending encryption parameters.",
            ));
        }
        _ => {}
    }
    let Some(kept) = kept else { return Ok(None) };
    let place = Place { bucket: bucket.id };
    DataKey::open(kept, place, &service.vault()?, customer.as_ref(), wrong_upload_key).map(Some)
}

/// How the object of an upload will be encrypted, for the answer to its completion. The customer's key need not
/// come again, but if it does it must be the right one.
pub fn of_completion<H: Host>(
    service: &S3Service<H>,
    bucket: &Bucket,
    upload: &Upload,
    request: &Request,
) -> Result<Option<Notice>, S3Error> {
    if request.head.headers.iter().any(|(name, _)| name.starts_with(CUSTOMER_PREFIX)) {
        let key = of_upload(service, bucket, upload, request)?;
        return Ok(key.map(DataKey::into_notice));
    }
    Ok(Encryption::load(&upload.headers)?.map(|kept| Notice { kept, customer_md5: None }))
}

fn wrong_upload_key() -> S3Error {
    S3Error::invalid_request("The provided encryption parameters did not match the ones used originally.")
}

/// Puts what a copy keeps of its encryption in the place of what its source kept.
pub fn replace(headers: &mut crate::engine::Headers, data_key: Option<&DataKey>) {
    match data_key {
        Some(data_key) => data_key.kept.store(headers),
        None => remove(headers),
    }
}
