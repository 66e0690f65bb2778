//! Settings: from the command line, the environment, a TOML file and defaults, in this order of strength.
//!
//! [`Layer`] is what one source says. Its fields define the options, the file's keys and the environment
//! variables alike: `--log-level`, `log-level`, `RINGCASK_LOG_LEVEL`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Command, ValueEnum};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::audit::{AccessLog, AuditWebhook};
use super::bytes_size::BytesSize;
use super::webhook::{self, Webhook};
use crate::base::limits::{
    ARENA_BYTES_MAX, ARENA_BYTES_MIN, AUDIT_FILE_BYTES_MIN, AUDIT_FILES_MAX, CONFIG_FILE_BYTES_MAX,
    CORES_MAX, DATA_DIRECTORIES_MAX, LIFECYCLE_DAY_SECONDS_MAX, SCRUB_BYTES_PER_SECOND,
};
use crate::crypt::MasterKey;
use crate::s3::NewBuckets;
use crate::s3::notification_target::NotificationTarget;

/// The one key of the file that is no option: tables do not fit a command line.
const WEBHOOK: &str = "webhook";

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

/// An address to listen on, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AdminListen(Option<SocketAddr>);

impl FromStr for AdminListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "off" => Ok(Self(None)),
            address => address
                .parse()
                .map(|address| Self(Some(address)))
                .map_err(|_| format!("'{text}' is neither ADDR:PORT nor off")),
        }
    }
}

impl<'de> Deserialize<'de> for AdminListen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for AdminListen {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(address) => to.collect_str(&address),
            None => to.serialize_str("off"),
        }
    }
}

/// [`crate::s3::NewBuckets`] as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum NewBucketsName {
    Aws,
    Acl,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line a person reads.
    #[default]
    Human,
    /// A JSON object a line.
    Json,
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

/// A list may be written as one value: `data = "/srv/a"`.
fn one_or_many<'de, T, D>(from: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a string or a list of strings")]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(Some(match OneOrMany::deserialize(from)? {
        OneOrMany::One(value) => vec![value],
        OneOrMany::Many(values) => values,
    }))
}

/// A path is any bytes, what is shown is text: what is no UTF-8 in it is replaced.
fn path_shown<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.to_string_lossy()).serialize(to)
}

/// The same of several.
fn paths_shown<S: Serializer>(paths: &Option<Vec<PathBuf>>, to: S) -> Result<S::Ok, S::Error> {
    let shown = |paths: &Vec<PathBuf>| paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let shown: Option<Vec<String>> = paths.as_ref().map(shown);
    shown.serialize(to)
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

    /// Reads the variables of all settings. An empty variable counts as not set.
    pub fn from_environment(environment: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut layer = Self::default();
        for key in Self::keys() {
            let variable = Self::variable(&key);
            let Some(text) = environment(&variable).filter(|text| !text.is_empty()) else { continue };
            let value = environment_value(&key, &text);
            let one: Self = toml::Table::from_iter([(key, value)])
                .try_into()
                .map_err(|error: toml::de::Error| format!("{variable}: {}", error.message()))?;
            layer = layer.or(one);
        }
        Ok(layer)
    }

    /// Reads a configuration file.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let bytes = std::fs::metadata(path)
            .map_err(|error| format!("cannot read the configuration file {shown}: {error}"))?
            .len();
        if bytes > CONFIG_FILE_BYTES_MAX {
            return Err(format!("the configuration file {shown} has {bytes} bytes; that cannot be right"));
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read the configuration file {shown}: {error}"))?;
        Self::from_toml(&text).map_err(|error| format!("{shown}: {error}"))
    }

    /// Reads the text of a configuration file.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let located = |error: &toml::de::Error| {
            let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
            let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            format!("{line}{}", error.message())
        };
        let table: toml::Table = toml::from_str(text).map_err(|error| located(&error))?;
        for key in table.keys() {
            if key != WEBHOOK && !Self::keys().any(|known| known == *key) {
                return Err(unknown_key(key));
            }
        }
        toml::from_str(text).map_err(|error| located(&error))
    }

    /// Fills in the defaults and checks what no single value shows.
    pub fn settle(self) -> Result<Settings, String> {
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
        super::logging::check(&log_level)?;
        let log_size = self.access_log_size.map(|size| size.0);
        let access_log = access_log(self.access_log, log_size, self.access_log_files)?;
        let audit_webhook = audit_webhook(self.audit_webhook, self.audit_webhook_token_file)?;
        let tls_certificates = self.tls_certificate.unwrap_or_default();
        let tls_keys = self.tls_key.unwrap_or_default();
        let tls_self_signed = self.tls_self_signed.unwrap_or(false);
        match (tls_certificates.is_empty(), tls_self_signed) {
            (true, _) if !tls_keys.is_empty() => {
                return Err(
                    "--tls-key: give the certificate that it belongs to with --tls-certificate".into()
                );
            }
            (true, false) if self.listen_http.is_some() => {
                return Err("--listen-http: without --tls-certificate, --listen serves plain HTTP; give one of the two"
                    .into());
            }
            (true, false) if self.admin_tls == Some(true) => {
                return Err("--admin-tls: give a certificate with --tls-certificate".into());
            }
            (false, true) => return Err("--tls-self-signed and --tls-certificate are given; give one".into()),
            _ => {}
        }
        if self.metrics_token_file.is_some() && self.admin_listen == Some(AdminListen(None)) {
            return Err("--metrics-token-file: without --admin-listen there are no metrics to ask for".into());
        }
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
            tls_certificates,
            tls_keys,
            tls_self_signed,
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

/// CPUs that the process may run on, in ascending order; never none.
pub fn cpus() -> Vec<usize> {
    let Ok(mask) = rustix::thread::sched_getaffinity(None) else { return vec![0] };
    let cpus: Vec<_> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).collect();
    if cpus.is_empty() { vec![0] } else { cpus }
}

/// A variable's text as the value that the file would hold. Directories are separated as in `PATH`; a
/// domain never holds a comma.
fn environment_value(key: &str, text: &str) -> toml::Value {
    let list = |separator: char| {
        let parts = text.split(separator).filter(|part| !part.is_empty());
        toml::Value::Array(parts.map(|part| toml::Value::String(part.trim().to_owned())).collect())
    };
    match key {
        "data" | "tls-certificate" | "tls-key" => list(':'),
        "domain" => list(','),
        "cores" | "drain-seconds" | "lifecycle-day-seconds" | "access-log-files" | "slow-request-ms" => {
            text.trim().parse().map_or_else(|_| toml::Value::String(text.to_owned()), toml::Value::Integer)
        }
        "accept-damage" | "admin-tls" | "sse-c-over-http" | "tls-self-signed" => {
            text.trim().parse().map_or_else(|_| toml::Value::String(text.to_owned()), toml::Value::Boolean)
        }
        _ => toml::Value::String(text.trim().to_owned()),
    }
}

fn unknown_key(key: &str) -> String {
    let known: Vec<String> = Layer::keys().chain([WEBHOOK.to_owned()]).collect();
    match super::origin::nearest(&key.to_lowercase().replace('_', "-"), &known) {
        Some(name) => format!("unknown key '{key}'; did you mean '{name}'?"),
        None => format!("unknown key '{key}'; known are {}", known.join(", ")),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(layer: &[(&str, &str)]) -> Result<Layer, String> {
        Layer::from_environment(|name| {
            layer.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_any_source_the_defaults_hold() {
        let settings = Layer::default().settle().unwrap();
        assert_eq!(settings.data, [PathBuf::from("./data")]);
        assert_eq!(settings.listen.to_string(), "127.0.0.1:9000");
        assert_eq!(settings.admin_listen.unwrap().to_string(), "127.0.0.1:9001");
        assert_eq!(settings.region, "us-east-1");
        assert_eq!(settings.arena_bytes, 64 << 20);
        assert_eq!(settings.cores, cpus().len());
        assert_eq!(settings.drain, Duration::from_secs(10));
    }

    #[test]
    fn the_command_line_beats_the_environment_and_that_beats_the_file() {
        let line = Layer { region: Some("line".into()), ..Layer::default() };
        let environment =
            environment(&[("RINGCASK_REGION", "environment"), ("RINGCASK_CORES", "3")]).unwrap();
        let file = Layer::from_toml("region = 'file'\ncores = 7\nlisten = '[::1]:81'").unwrap();
        let settings = line.or(environment).or(file).settle().unwrap();
        assert_eq!(settings.region, "line");
        assert_eq!(settings.cores, 3);
        assert_eq!(settings.listen.to_string(), "[::1]:81");
    }

    #[test]
    fn every_setting_can_come_from_the_file() {
        let text = "data = ['/a', '/b']\nlisten = '0.0.0.0:80'\nadmin-listen = '[::1]:9'\n\
                    master-key-file = '/k'\ncores = 2\ndomain = 'S3.example.com'\n\
                    region = 'eu'\narena = '128MiB'\ncache = 1048576\ndrain-seconds = 5\n\
                    log-level = 'warn'\nlog-format = 'json'\nnew-buckets = 'acl'\nlifecycle-day-seconds = 10\n\
                    scrub-bytes-per-second = '1MiB'\naccept-damage = true\n\
                    tls-certificate = ['/c', '/d']\ntls-key = '/k'\ntls-self-signed = false\n\
                    listen-http = '0.0.0.0:81'\nadmin-tls = true\n\
                    access-log = '/log'\naccess-log-size = '1MiB'\naccess-log-files = 3\n\
                    audit-webhook = 'http://h/x'\naudit-webhook-token-file = '/token'\nslow-request-ms = 500\n\
                    metrics-token-file = '/metrics'\nsse-c-over-http = true\n\
                    forget-master-key = '0123456789abcdef'";
        let settings = Layer::from_toml(text).unwrap().settle().unwrap();
        assert_eq!(settings.data, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(settings.domains, ["s3.example.com"]);
        assert_eq!((settings.arena_bytes, settings.cache_bytes), (128 << 20, 1 << 20));
        assert_eq!((settings.drain, settings.log_format), (Duration::from_secs(5), LogFormat::Json));
        assert_eq!(
            (settings.admin_listen.unwrap().port(), settings.master_key_file),
            (9, Some(PathBuf::from("/k")))
        );
        assert_eq!(
            (settings.new_buckets, settings.lifecycle_day),
            (NewBuckets::Acl, Duration::from_secs(10))
        );
        assert_eq!((settings.scrub_bytes_per_second, settings.accept_damage), (1 << 20, true));
        assert_eq!(settings.tls_certificates, [PathBuf::from("/c"), PathBuf::from("/d")]);
        assert_eq!((settings.tls_keys, settings.tls_self_signed), (vec![PathBuf::from("/k")], false));
        assert_eq!((settings.listen_http.unwrap().port(), settings.admin_tls), (81, true));
        assert_eq!(settings.metrics_token_file, Some(PathBuf::from("/metrics")));
        assert!(settings.sse_c_over_http);
        assert_eq!(settings.forget_master_key.as_deref(), Some("0123456789abcdef"));
        let access_log = AccessLog { path: "/log".into(), bytes_max: Some(1 << 20), files_max: 3 };
        assert_eq!(
            (settings.access_log, settings.slow_request),
            (Some(access_log), Some(Duration::from_millis(500)))
        );
        let webhook = AuditWebhook { url: "http://h/x".to_owned(), token_file: Some("/token".into()) };
        assert_eq!(settings.audit_webhook, Some(webhook));
        assert_eq!(Layer::keys().count(), text.lines().count(), "a setting is missing from this test");
    }

    #[test]
    fn every_setting_can_come_from_the_environment() {
        let variables = [
            ("RINGCASK_DATA", "/a:/b,c"),
            ("RINGCASK_LISTEN", "0.0.0.0:80"),
            ("RINGCASK_TLS_CERTIFICATE", "/c:/d"),
            ("RINGCASK_TLS_KEY", "/k"),
            ("RINGCASK_TLS_SELF_SIGNED", "false"),
            ("RINGCASK_LISTEN_HTTP", "0.0.0.0:82"),
            ("RINGCASK_ADMIN_LISTEN", "127.0.0.1:81"),
            ("RINGCASK_ADMIN_TLS", "true"),
            ("RINGCASK_METRICS_TOKEN_FILE", "/token"),
            ("RINGCASK_MASTER_KEY_FILE", "/k"),
            ("RINGCASK_CORES", "2"),
            ("RINGCASK_DOMAIN", "a.example, b.example"),
            ("RINGCASK_REGION", "eu"),
            ("RINGCASK_ARENA", "128MiB"),
            ("RINGCASK_CACHE", "0"),
            ("RINGCASK_DRAIN_SECONDS", "5"),
            ("RINGCASK_LOG_LEVEL", "debug"),
            ("RINGCASK_LOG_FORMAT", "json"),
            ("RINGCASK_ACCESS_LOG", "/log"),
            ("RINGCASK_ACCESS_LOG_SIZE", "0"),
            ("RINGCASK_ACCESS_LOG_FILES", "3"),
            ("RINGCASK_AUDIT_WEBHOOK", "http://h/x"),
            ("RINGCASK_AUDIT_WEBHOOK_TOKEN_FILE", "/token"),
            ("RINGCASK_SLOW_REQUEST_MS", "0"),
            ("RINGCASK_NEW_BUCKETS", "acl"),
            ("RINGCASK_SSE_C_OVER_HTTP", "true"),
            ("RINGCASK_LIFECYCLE_DAY_SECONDS", "7"),
            ("RINGCASK_SCRUB_BYTES_PER_SECOND", "0"),
            ("RINGCASK_ACCEPT_DAMAGE", "true"),
            ("RINGCASK_FORGET_MASTER_KEY", "0123456789abcdef"),
        ];
        assert_eq!(Layer::keys().count(), variables.len(), "a setting is missing from this test");
        let settings = environment(&variables).unwrap().settle().unwrap();
        assert_eq!(settings.data, [PathBuf::from("/a"), PathBuf::from("/b,c")]);
        assert_eq!(settings.domains, ["a.example", "b.example"]);
        assert_eq!((settings.cores, settings.cache_bytes), (2, 0));
        assert_eq!((settings.scrub_bytes_per_second, settings.accept_damage), (0, true));
        let access_log = AccessLog { path: "/log".into(), bytes_max: None, files_max: 3 };
        assert_eq!((settings.access_log, settings.slow_request), (Some(access_log), None));
    }

    #[test]
    fn webhooks_are_declared_in_the_file_alone() {
        let text = "region = 'eu'\n[[webhook]]\nname = 'one'\nurl = 'http://h/x'\ntoken = 't'\nqueue-max = 5\n\
                    [[webhook]]\nname = 'two'\nurl = 'http://h:81/y'";
        let settings = Layer::from_toml(text).unwrap().settle().unwrap();
        let arns: Vec<_> = settings.notification_targets.iter().map(|target| target.arn.as_str()).collect();
        assert_eq!(arns, ["arn:ringcask:sqs:eu:one:webhook", "arn:ringcask:sqs:eu:two:webhook"]);
        assert_eq!(settings.notification_targets[0].queue_max, 5);
        assert!(Layer::from_toml("[[webhook]]\nname = 'a'\nurl = 'http://h'\nurls = 1").is_err());
        assert!(Layer::from_toml("[[webhook]]\nname = 'a'\nurl = 'https://h'").unwrap().settle().is_err());
    }

    #[test]
    fn an_unknown_key_gets_a_suggestion() {
        assert_eq!(
            Layer::from_toml("lisen = 'x'"),
            Err("unknown key 'lisen'; did you mean 'listen'?".into())
        );
        assert_eq!(
            Layer::from_toml("log_level = 'info'"),
            Err("unknown key 'log_level'; did you mean 'log-level'?".into())
        );
        assert!(Layer::from_toml("zzz = 1").unwrap_err().contains("known are data, listen"));
    }

    #[test]
    fn errors_name_the_line_or_the_variable() {
        let error = Layer::from_toml("cores = 2\nlisten = 'nowhere'").unwrap_err();
        assert!(error.starts_with("line 2: "), "{error}");
        let error = Layer::from_toml("cores = 2\n\n!").unwrap_err();
        assert!(error.starts_with("line 3: "), "{error}");
        let error = environment(&[("RINGCASK_CORES", "many")]).unwrap_err();
        assert!(error.starts_with("RINGCASK_CORES: "), "{error}");
    }

    #[test]
    fn values_that_cannot_work_are_refused() {
        let bad = [
            "cores = 0",
            "cores = 1000000",
            "data = []",
            "data = ''",
            "arena = '1KiB'",
            "domain = 'http://x'",
            "region = 'a/b'",
            "region = ''",
            "log-level = 'ringcask=loud'",
            "lifecycle-day-seconds = 0",
            "tls-key = '/k'",
            "admin-tls = true",
            "listen-http = '127.0.0.1:81'",
            "tls-certificate = '/c'\ntls-self-signed = true",
            "lifecycle-day-seconds = 86401",
            "access-log-files = 3",
            "access-log = '/log'\naccess-log-files = 0",
            "access-log = '/log'\naccess-log-size = '1KiB'",
            "audit-webhook = 'https://h/x'",
            "audit-webhook = 'http://u:p@h/x'",
            "audit-webhook-token-file = '/token'",
            "metrics-token-file = '/token'\nadmin-listen = 'off'",
        ];
        for text in bad {
            assert!(Layer::from_toml(text).unwrap().settle().is_err(), "{text}");
        }
    }
}
