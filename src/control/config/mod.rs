//! Settings: from the command line, the environment, a TOML file and defaults, in this order of strength.
//!
//! [`Layer`] is what one source says. Its fields define the options, the file's keys and the environment
//! variables alike: `--log-level`, `log-level`, `RINGCASK_LOG_LEVEL`. [`read`] makes layers of the environment and
//! the file, [`settle`] makes [`Settings`] of what all of them come to.

mod read;
mod settle;
#[cfg(test)]
mod tests;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Command};
use serde::{Deserialize, Serialize};

use super::audit::{AccessLog, AuditWebhook};
use super::bytes_size::BytesSize;
use super::webhook::Webhook;
use crate::s3::NewBuckets;
use crate::s3::notification_target::NotificationTarget;
use value::{AdminListen, NewBucketsName, one_or_many, path_shown, paths_shown};

pub use settle::cpus;
pub use value::LogFormat;

/// Everything a node needs to know to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Data directories, one for each drive.
    pub data: Vec<PathBuf>,
    pub listen: SocketAddr,
    /// Where plain HTTP is served beside TLS on `listen`.
    pub listen_http: Option<SocketAddr>,
    /// Files with certificates, and directories of them.
    pub tls_certificates: Vec<PathBuf>,
    /// The keys of those that are files, in the same order.
    pub tls_keys: Vec<PathBuf>,
    /// Whether `listen` serves TLS with a certificate that the node makes.
    pub tls_self_signed: bool,
    /// Where the admin API listens; `None`: nowhere.
    pub admin_listen: Option<SocketAddr>,
    /// Whether it serves TLS there.
    pub admin_tls: bool,
    /// A file with the token that `/metrics` asks for.
    pub metrics_token_file: Option<PathBuf>,
    /// The master key's file, if it is not one in a data directory.
    pub master_key_file: Option<PathBuf>,
    /// Core threads.
    pub cores: usize,
    /// Domains whose sub-domains are buckets, in lower case.
    pub domains: Vec<String>,
    pub region: String,
    /// I/O buffers of each core.
    pub arena_bytes: usize,
    /// Budget of the object cache of each core.
    pub cache_bytes: u64,
    /// How long requests under way may take to end when the node stops.
    pub drain: Duration,
    /// Directives as `tracing_subscriber::EnvFilter` reads them; a level in the simplest case.
    pub log_level: String,
    pub log_format: LogFormat,
    /// The file that each request gets a line in.
    pub access_log: Option<AccessLog>,
    /// Where these lines are sent.
    pub audit_webhook: Option<AuditWebhook>,
    /// Requests that take longer are logged with where their time went.
    pub slow_request: Option<Duration>,
    /// What buckets have that are made without saying otherwise.
    pub new_buckets: NewBuckets,
    /// Whether customers' keys may come over plain HTTP.
    pub sse_c_over_http: bool,
    /// How long a day of lifecycle rules is.
    pub lifecycle_day: Duration,
    /// Bytes that the scrub reads in a second of each drive; 0 for none.
    pub scrub_bytes_per_second: u64,
    /// Whether to start without changes that are damaged in the log.
    pub accept_damage: bool,
    /// Fingerprint of a lost master key whose sealed secrets are to be given up.
    pub forget_master_key: Option<String>,
    /// Where event notifications may go.
    pub notification_targets: Vec<NotificationTarget>,
}

/// What one source says; `None` leaves the word to the next.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Layer {
    /// Directory to store in, one for each drive; may be repeated [env: RINGCASK_DATA, ':' between several]
    /// [default: ./data]
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "one_or_many", serialize_with = "paths_shown")]
    data: Option<Vec<PathBuf>>,

    /// Address and port to listen on; port 0 takes a free one [env: RINGCASK_LISTEN]
    /// [default: 127.0.0.1:9000]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,

    /// File with a certificate and its chain (PEM), or a directory of NAME.crt with NAME.key: with one, --listen
    /// serves TLS. May be repeated, for several names; SIGHUP has them read again
    /// [env: RINGCASK_TLS_CERTIFICATE, ':' between several]
    #[arg(long, value_name = "FILE")]
    #[serde(deserialize_with = "one_or_many", serialize_with = "paths_shown")]
    tls_certificate: Option<Vec<PathBuf>>,

    /// File with the key of a certificate, one for each --tls-certificate that is a file, in the same order
    /// [env: RINGCASK_TLS_KEY, ':' between several]
    #[arg(long, value_name = "FILE")]
    #[serde(deserialize_with = "one_or_many", serialize_with = "paths_shown")]
    tls_key: Option<Vec<PathBuf>>,

    /// For trying out: --listen serves TLS with a certificate that the node makes and signs itself
    /// [env: RINGCASK_TLS_SELF_SIGNED] [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    tls_self_signed: Option<bool>,

    /// Address and port for plain HTTP, beside TLS on --listen [env: RINGCASK_LISTEN_HTTP]
    #[arg(long, value_name = "ADDR:PORT")]
    listen_http: Option<SocketAddr>,

    /// Address and port of the admin API; 'off' for none [env: RINGCASK_ADMIN_LISTEN]
    /// [default: 127.0.0.1:9001]
    #[arg(long, value_name = "ADDR:PORT")]
    admin_listen: Option<AdminListen>,

    /// Serve TLS on --admin-listen, too, with the certificates of --listen [env: RINGCASK_ADMIN_TLS]
    /// [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    admin_tls: Option<bool>,

    /// File with a token that whoever asks for /metrics must send as Authorization: Bearer; without it, everybody who
    /// reaches --admin-listen gets them [env: RINGCASK_METRICS_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    #[serde(serialize_with = "path_shown")]
    metrics_token_file: Option<PathBuf>,

    /// File with the master key, base64 of 32 bytes, which seals the secrets on the drives; or set
    /// RINGCASK_MASTER_KEY to the key itself [env: RINGCASK_MASTER_KEY_FILE]
    /// [default: ringcask.master-key in the first --data, made by the first start]
    #[arg(long, value_name = "FILE")]
    #[serde(serialize_with = "path_shown")]
    master_key_file: Option<PathBuf>,

    /// Core threads [env: RINGCASK_CORES] [default: as many as the process may use CPUs]
    #[arg(long, value_name = "N")]
    cores: Option<usize>,

    /// Domain whose sub-domains are buckets (http://bucket.NAME/key); may be repeated
    /// [env: RINGCASK_DOMAIN, ',' between several]
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "one_or_many")]
    domain: Option<Vec<String>>,

    /// Region that clients sign for [env: RINGCASK_REGION] [default: us-east-1]
    #[arg(long, value_name = "NAME")]
    region: Option<String>,

    /// I/O buffers of each core [env: RINGCASK_ARENA] [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    arena: Option<BytesSize>,

    /// Cache of small objects of each core; 0 for none [env: RINGCASK_CACHE] [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    cache: Option<BytesSize>,

    /// Seconds that requests under way may take to end when the node stops [env: RINGCASK_DRAIN_SECONDS]
    /// [default: 10]
    #[arg(long, value_name = "N")]
    drain_seconds: Option<u64>,

    /// error, warn, info, debug or trace, or directives like info,ringcask::engine=debug
    /// [env: RINGCASK_LOG_LEVEL] [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,

    /// Log lines for people (human) or for machines (json) [env: RINGCASK_LOG_FORMAT] [default: human]
    #[arg(long, value_name = "FORMAT", hide_possible_values = true)]
    log_format: Option<LogFormat>,

    /// File that gets a line of JSON for each request; SIGHUP has it opened again. docs/LOGS.md has the fields
    /// [env: RINGCASK_ACCESS_LOG]
    #[arg(long, value_name = "FILE")]
    #[serde(serialize_with = "path_shown")]
    access_log: Option<PathBuf>,

    /// Size at which the file of --access-log is renamed to FILE.1 and a new one begun; 0 for never
    /// [env: RINGCASK_ACCESS_LOG_SIZE] [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    access_log_size: Option<BytesSize>,

    /// Renamed files of the access log that are kept [env: RINGCASK_ACCESS_LOG_FILES] [default: 8]
    #[arg(long, value_name = "N")]
    access_log_files: Option<usize>,

    /// http:// URL that the lines of the access log are posted to [env: RINGCASK_AUDIT_WEBHOOK]
    #[arg(long, value_name = "URL")]
    audit_webhook: Option<String>,

    /// File with a token that is sent to --audit-webhook as Authorization: Bearer
    /// [env: RINGCASK_AUDIT_WEBHOOK_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    #[serde(serialize_with = "path_shown")]
    audit_webhook_token_file: Option<PathBuf>,

    /// Milliseconds after which a request counts as slow and is logged with the time of each stage; 0 for never
    /// [env: RINGCASK_SLOW_REQUEST_MS] [default: 0]
    #[arg(long, value_name = "N")]
    slow_request_ms: Option<u64>,

    /// What a new bucket has: ACLs off and public access blocked, as on AWS today (aws), or ACLs on and
    /// nothing blocked, as before April 2023 (acl) [env: RINGCASK_NEW_BUCKETS] [default: aws]
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    new_buckets: Option<NewBucketsName>,

    /// Take customers' keys (SSE-C) over plain HTTP, too: for a node behind a proxy that ends TLS
    /// [env: RINGCASK_SSE_C_OVER_HTTP] [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    sse_c_over_http: Option<bool>,

    /// For tests of lifecycle rules: seconds that a day of theirs lasts
    /// [env: RINGCASK_LIFECYCLE_DAY_SECONDS] [default: 86400]
    #[arg(long, value_name = "N")]
    lifecycle_day_seconds: Option<u64>,

    /// Bytes read in a second of each drive to verify what is stored; 0 for none
    /// [env: RINGCASK_SCRUB_BYTES_PER_SECOND] [default: 8MiB]
    #[arg(long, value_name = "SIZE")]
    scrub_bytes_per_second: Option<BytesSize>,

    /// For one start after damage that lost changes: go on without them, see docs/DAMAGE.md
    /// [env: RINGCASK_ACCEPT_DAMAGE] [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    accept_damage: Option<bool>,

    /// For one start after the master key was lost for good: give up the access keys and the encrypted objects that it
    /// sealed; the refused start names its fingerprint, see docs/IDENTITIES.md
    /// [env: RINGCASK_FORGET_MASTER_KEY]
    #[arg(long, value_name = "FINGERPRINT")]
    forget_master_key: Option<String>,

    /// Notification targets: only the file can declare them.
    #[arg(skip)]
    #[serde(skip_serializing)]
    webhook: Option<Vec<Webhook>>,
}

impl Layer {
    /// A layer that says where data lies and how many cores there are, and nothing else.
    pub fn placed(data: Option<Vec<PathBuf>>, cores: Option<usize>) -> Self {
        Self { data, cores, ..Self::default() }
    }

    /// Core threads, if the layer says how many.
    pub fn cores(&self) -> Option<usize> {
        self.cores
    }

    /// Names of all settings, as they stand in the file and after the dashes of an option.
    pub fn keys() -> impl Iterator<Item = String> {
        let arguments = Self::augment_args(Command::new("")).get_arguments().cloned().collect::<Vec<_>>();
        arguments.into_iter().filter_map(|argument| argument.get_long().map(str::to_owned))
    }

    /// The environment variable of a setting.
    pub fn variable(key: &str) -> String {
        format!("RINGCASK_{}", key.replace('-', "_").to_ascii_uppercase())
    }

    /// What `self` says, and `weaker` where it says nothing.
    pub fn or(self, weaker: Self) -> Self {
        Self {
            data: self.data.or(weaker.data),
            listen: self.listen.or(weaker.listen),
            tls_certificate: self.tls_certificate.or(weaker.tls_certificate),
            tls_key: self.tls_key.or(weaker.tls_key),
            tls_self_signed: self.tls_self_signed.or(weaker.tls_self_signed),
            listen_http: self.listen_http.or(weaker.listen_http),
            admin_listen: self.admin_listen.or(weaker.admin_listen),
            admin_tls: self.admin_tls.or(weaker.admin_tls),
            metrics_token_file: self.metrics_token_file.or(weaker.metrics_token_file),
            master_key_file: self.master_key_file.or(weaker.master_key_file),
            cores: self.cores.or(weaker.cores),
            domain: self.domain.or(weaker.domain),
            region: self.region.or(weaker.region),
            arena: self.arena.or(weaker.arena),
            cache: self.cache.or(weaker.cache),
            drain_seconds: self.drain_seconds.or(weaker.drain_seconds),
            log_level: self.log_level.or(weaker.log_level),
            log_format: self.log_format.or(weaker.log_format),
            access_log: self.access_log.or(weaker.access_log),
            access_log_size: self.access_log_size.or(weaker.access_log_size),
            access_log_files: self.access_log_files.or(weaker.access_log_files),
            audit_webhook: self.audit_webhook.or(weaker.audit_webhook),
            audit_webhook_token_file: self.audit_webhook_token_file.or(weaker.audit_webhook_token_file),
            slow_request_ms: self.slow_request_ms.or(weaker.slow_request_ms),
            new_buckets: self.new_buckets.or(weaker.new_buckets),
            sse_c_over_http: self.sse_c_over_http.or(weaker.sse_c_over_http),
            lifecycle_day_seconds: self.lifecycle_day_seconds.or(weaker.lifecycle_day_seconds),
            scrub_bytes_per_second: self.scrub_bytes_per_second.or(weaker.scrub_bytes_per_second),
            accept_damage: self.accept_damage.or(weaker.accept_damage),
            forget_master_key: self.forget_master_key.or(weaker.forget_master_key),
            webhook: self.webhook.or(weaker.webhook),
        }
    }
}
