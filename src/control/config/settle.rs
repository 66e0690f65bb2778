//! What all sources together come to: defaults, and what no single value shows.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::value::{AdminListen, NewBucketsName};
use super::{Layer, Settings};
use crate::base::limits::{
    ARENA_BYTES_MAX, ARENA_BYTES_MIN, AUDIT_FILE_BYTES_MIN, AUDIT_FILES_MAX, CORES_MAX, DATA_DIRECTORIES_MAX,
    LIFECYCLE_DAY_SECONDS_MAX, SCRUB_BYTES_PER_SECOND,
};
use crate::control::audit::{AccessLog, AuditWebhook};
use crate::control::bytes_size::BytesSize;
use crate::control::{logging, webhook};
use crate::crypt::MasterKey;
use crate::s3::NewBuckets;

impl Layer {
    /// Fills in the defaults and checks what no single value shows.
    pub fn settle(self) -> Result<Settings, String> {
        self.check_listeners()?;
        let data = self.data.unwrap_or_else(|| vec![PathBuf::from("./data")]);
        if data.is_empty() || data.len() > DATA_DIRECTORIES_MAX {
            return Err(format!("--data: give 1 to {DATA_DIRECTORIES_MAX} directories, not {}", data.len()));
        }
        if data.iter().any(|directory| directory.as_os_str().is_empty()) {
            return Err("--data: a directory's name is empty".into());
        }
        let cores = self.cores.unwrap_or_else(|| cpus().len().min(CORES_MAX));
        if cores == 0 || cores > CORES_MAX {
            return Err(format!("--cores: give 1 to {CORES_MAX}, not {cores}"));
        }
        let arena = self.arena.unwrap_or(BytesSize(64 << 20));
        if !(ARENA_BYTES_MIN..=ARENA_BYTES_MAX).contains(&arena.0) {
            let (least, most) = (BytesSize(ARENA_BYTES_MIN), BytesSize(ARENA_BYTES_MAX));
            return Err(format!("--arena: give {least} to {most}, not {arena}"));
        }
        let domains = self.domain.unwrap_or_default();
        let day_seconds = self.lifecycle_day_seconds.unwrap_or(LIFECYCLE_DAY_SECONDS_MAX);
        if !(1..=LIFECYCLE_DAY_SECONDS_MAX).contains(&day_seconds) {
            return Err(format!(
                "--lifecycle-day-seconds: give 1 to {LIFECYCLE_DAY_SECONDS_MAX}, not {day_seconds}"
            ));
        }
        let region = region(self.region.unwrap_or_else(|| "us-east-1".into()))?;
        let log_level = self.log_level.unwrap_or_else(|| "info".into());
        logging::check(&log_level)?;
        let log_size = self.access_log_size.map(|size| size.0);
        let access_log = access_log(self.access_log, log_size, self.access_log_files)?;
        let audit_webhook = audit_webhook(self.audit_webhook, self.audit_webhook_token_file)?;
        Ok(Settings {
            data,
            listen: self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9000))),
            admin_listen: match self.admin_listen {
                Some(AdminListen(address)) => address,
                None => Some(SocketAddr::from(([127, 0, 0, 1], 9001))),
            },
            admin_tls: self.admin_tls.unwrap_or(false),
            metrics_token_file: self.metrics_token_file,
            listen_http: self.listen_http,
            tls_certificates: self.tls_certificate.unwrap_or_default(),
            tls_keys: self.tls_key.unwrap_or_default(),
            tls_self_signed: self.tls_self_signed.unwrap_or(false),
            master_key_file: self.master_key_file,
            cores,
            domains: domains.iter().map(|name| domain(name)).collect::<Result<_, _>>()?,
            notification_targets: webhook::targets(&self.webhook.unwrap_or_default(), &region)?,
            region,
            arena_bytes: usize::try_from(arena.0).map_err(|_| "--arena: too large for this machine")?,
            cache_bytes: self.cache.unwrap_or(BytesSize(64 << 20)).0,
            drain: Duration::from_secs(self.drain_seconds.unwrap_or(10)),
            log_level,
            log_format: self.log_format.unwrap_or_default(),
            access_log,
            audit_webhook,
            slow_request: self.slow_request_ms.filter(|ms| *ms > 0).map(Duration::from_millis),
            new_buckets: match self.new_buckets {
                Some(NewBucketsName::Acl) => NewBuckets::Acl,
                Some(NewBucketsName::Aws) | None => NewBuckets::Aws,
            },
            sse_c_over_http: self.sse_c_over_http.unwrap_or(false),
            lifecycle_day: Duration::from_secs(day_seconds),
            scrub_bytes_per_second: self.scrub_bytes_per_second.map_or(SCRUB_BYTES_PER_SECOND, |size| size.0),
            accept_damage: self.accept_damage.unwrap_or(false),
            forget_master_key: self.forget_master_key.map(fingerprint).transpose()?,
        })
    }

    /// Refuses what would serve other than the person thinks, or would have no effect.
    fn check_listeners(&self) -> Result<(), String> {
        let has_certificate = self.tls_certificate.as_ref().is_some_and(|files| !files.is_empty());
        let has_key = self.tls_key.as_ref().is_some_and(|files| !files.is_empty());
        let error = match (has_certificate, self.tls_self_signed.unwrap_or(false)) {
            (false, _) if has_key => {
                "--tls-key: give the certificate that it belongs to with --tls-certificate"
            }
            (false, false) if self.listen_http.is_some() => {
                "--listen-http: without --tls-certificate, --listen serves plain HTTP; give one of the two"
            }
            (false, false) if self.admin_tls == Some(true) => {
                "--admin-tls: give a certificate with --tls-certificate"
            }
            (true, true) => "--tls-self-signed and --tls-certificate are given; give one",
            _ if self.metrics_token_file.is_some() && self.admin_listen == Some(AdminListen(None)) => {
                "--metrics-token-file: without --admin-listen there are no metrics to ask for"
            }
            _ => return Ok(()),
        };
        Err(error.into())
    }
}

/// Joins the settings of the access log's file.
fn access_log(
    path: Option<PathBuf>,
    bytes: Option<u64>,
    files: Option<usize>,
) -> Result<Option<AccessLog>, String> {
    let Some(path) = path else {
        return match (bytes, files) {
            (None, None) => Ok(None),
            _ => Err("--access-log-size and --access-log-files: give the file with --access-log".into()),
        };
    };
    let bytes = bytes.unwrap_or(256 << 20);
    if bytes > 0 && bytes < AUDIT_FILE_BYTES_MIN {
        let least = BytesSize(AUDIT_FILE_BYTES_MIN);
        return Err(format!(
            "--access-log-size: give at least {least}, or 0 for a file that is never renamed"
        ));
    }
    let files_max = files.unwrap_or(8);
    if !(1..=AUDIT_FILES_MAX).contains(&files_max) {
        return Err(format!("--access-log-files: give 1 to {AUDIT_FILES_MAX}, not {files_max}"));
    }
    Ok(Some(AccessLog { path, bytes_max: (bytes > 0).then_some(bytes), files_max }))
}

/// Joins the settings of the access log's webhook.
fn audit_webhook(url: Option<String>, token_file: Option<PathBuf>) -> Result<Option<AuditWebhook>, String> {
    match (url, token_file) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err("--audit-webhook-token-file: give the URL with --audit-webhook".into()),
        (Some(url), token_file) => AuditWebhook::new(url, token_file).map(Some),
    }
}

/// A master key's fingerprint, as messages write it.
fn fingerprint(text: String) -> Result<String, String> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == 2 * MasterKey::FINGERPRINT_BYTES && text.bytes().all(is_digit) {
        return Ok(text);
    }
    Err(format!(
        "--forget-master-key: '{text}' is no fingerprint; it has {} hex digits, and the start that is refused names it",
        2 * MasterKey::FINGERPRINT_BYTES
    ))
}

/// A domain in the form that a `Host` header is compared with.
fn domain(name: &str) -> Result<String, String> {
    let clean = name.trim().trim_end_matches('.').to_ascii_lowercase();
    let label_ok = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if clean.len() > 253 || !clean.split('.').all(label_ok) {
        return Err(format!("--domain: '{name}' is not a domain name; write it without scheme and port"));
    }
    Ok(clean)
}

/// A region stands in the scope of signatures, between slashes.
fn region(name: String) -> Result<String, String> {
    let fits = (1..=64).contains(&name.len());
    if fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Ok(name);
    }
    Err(format!("--region: '{name}' is not a region name; letters, digits and '-' make one, like us-east-1"))
}

/// CPUs that the process may run on, in ascending order; never none.
pub fn cpus() -> Vec<usize> {
    let Ok(mask) = rustix::thread::sched_getaffinity(None) else { return vec![0] };
    let cpus: Vec<_> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).collect();
    if cpus.is_empty() { vec![0] } else { cpus }
}
