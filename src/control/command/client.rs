//! The client's side of the admin API: one signed request, one JSON answer.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Environment, Options, trust};
use crate::auth::sign::{Credentials as Signer, sign_v4};
use crate::base::limits::ADMIN_ANSWER_BYTES_MAX;
use crate::control::admin::PATH;
use crate::control::credentials::{self, Credentials, Secret};
use crate::http::Head;
use crate::io::TimestampMs;

/// A node that does not answer within this time is not going to.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a node listens unless it was told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:9001";

const HTTP: &str = "http://";
const HTTPS: &str = "https://";

/// A way to one node's admin API.
pub struct Client {
    agent: ureq::Agent,
    /// `http://` or `https://`.
    scheme: &'static str,
    /// Host and port.
    authority: String,
    credentials: Credentials,
    region: String,
}

impl Client {
    /// The way that options and environment name.
    ///
    /// # Errors
    ///
    /// One sentence for the person at the prompt.
    pub fn of(options: &Options, environment: Environment<'_>) -> Result<Self, String> {
        Self::new(
            options.admin.clone().or_else(|| environment("RINGCASK_ADMIN")),
            options.ca.clone().or_else(|| environment("RINGCASK_CA").map(PathBuf::from)).as_deref(),
            credentials_of(options.data.as_deref(), environment)?,
            ["AWS_REGION", "AWS_DEFAULT_REGION", "RINGCASK_REGION"].into_iter().find_map(environment),
        )
    }

    fn new(
        url: Option<String>,
        ca: Option<&Path>,
        credentials: Credentials,
        region: Option<String>,
    ) -> Result<Self, String> {
        let url = url.unwrap_or_else(|| DEFAULT_URL.to_owned());
        let scheme = if url.starts_with(HTTPS) { HTTPS } else { HTTP };
        let authority = url.strip_prefix(scheme).map(|rest| rest.trim_end_matches('/'));
        let is_authority =
            |text: &&str| !text.is_empty() && !text.contains(['/', '?', '#', '@']) && text.is_ascii();
        let authority = authority
            .filter(is_authority)
            .ok_or_else(|| format!("--admin: '{url}' is not a URL like {DEFAULT_URL}"))?
            .to_owned();
        // A proxy would see what passes, and the node is near.
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(PATIENCE));
        let config = match scheme {
            HTTPS => config.tls_config(trust::of(ca)?).build(),
            _ => config.build(),
        };
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        Ok(Self { agent: config.into(), scheme, authority, credentials, region })
    }

    /// Sends a request; `path` is encoded. The answer is null where there is none.
    ///
    /// # Errors
    ///
    /// One sentence for the person at the prompt.
    pub fn send(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Value, String> {
        let (mut status, mut answer) = self.exchange(method, path, body, &self.region)?;
        // The node knows its region, and nobody else here needs to.
        if let Some(region) = answer["error"]["region"].as_str().map(str::to_owned) {
            (status, answer) = self.exchange(method, path, body, &region)?;
        }
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let error = &answer["error"];
        match (error["message"].as_str(), error["code"].as_str()) {
            (Some(message), Some(code)) => Err(format!("{message} ({code})")),
            _ => Err(format!("{} answered with status {status}; is it an admin API?", self.authority)),
        }
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        region: &str,
    ) -> Result<(u16, Value), String> {
        let failed = |error: ureq::Error| {
            format!("cannot reach the admin API at {}{}: {error}", self.scheme, self.authority)
        };
        let head = self.sign(method, path, body.unwrap_or_default(), region);
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{}{PATH}{path}", self.scheme, self.authority));
        for (name, value) in &head.headers {
            request = request.header(name, value.as_slice());
        }
        let wrong = |error: ureq::http::Error| format!("this cannot be sent: {error}");
        let response = match (method, body) {
            ("GET" | "DELETE", _) => self.agent.run(request.body(()).map_err(wrong)?),
            (_, body) => self.agent.run(request.body(body.unwrap_or_default()).map_err(wrong)?),
        };
        let mut response = response.map_err(failed)?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ADMIN_ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(failed)?;
        // Somebody else's answer may be anything; its status is told.
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// The headers of a signed request.
    fn sign(&self, method: &str, path: &str, body: &[u8], region: &str) -> Head {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (path, None),
        };
        let mut head = Head {
            method: method.to_owned(),
            path: format!("{PATH}{path}"),
            query,
            headers: vec![("host".to_owned(), self.authority.clone().into_bytes())],
            version_minor: 1,
        };
        let signer = Signer {
            id: &self.credentials.access_key_id,
            secret: self.credentials.secret_access_key.reveal(),
            region,
        };
        let digest: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        sign_v4(&mut head, signer, now(), &digest);
        head
    }
}

fn now() -> TimestampMs {
    #[expect(clippy::disallowed_methods, reason = "a command is outside of any simulation")]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Credentials of the data directory that an option names, of the environment, or of the data directory that
/// a node would use.
fn credentials_of(data: Option<&Path>, environment: Environment<'_>) -> Result<Credentials, String> {
    let pairs = [
        (credentials::USER_VARIABLE, credentials::PASSWORD_VARIABLE),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ];
    for (id, secret) in pairs.into_iter().filter(|_| data.is_none()) {
        if let (Some(access_key_id), Some(secret)) = (environment(id), environment(secret)) {
            return Ok(Credentials { access_key_id, secret_access_key: Secret::new(secret) });
        }
    }
    let data = data.map(Path::to_owned).or_else(|| {
        let first = environment("RINGCASK_DATA")?;
        first.split(':').next().map(PathBuf::from)
    });
    let file = data.unwrap_or_else(|| PathBuf::from("./data")).join(credentials::FILE_NAME);
    credentials::read(&file)?.ok_or_else(|| {
        format!(
            "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name the data directory of a \
             node on this machine with --data (there is no {})",
            file.display()
        )
    })
}
