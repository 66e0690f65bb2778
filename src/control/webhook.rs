//! Notification targets as the configuration file declares them.
//!
//! ```toml
//! [[webhook]]
//! name = "thumbnails"
//! url = "http://10.0.0.7:8080/events"
//! token = "sent as Authorization: Bearer"
//! queue-max = 10000
//! ```

use serde::Deserialize;

use crate::base::limits::{
    WEBHOOK_NAME_LENGTH_MAX, WEBHOOK_QUEUE_DEFAULT, WEBHOOK_QUEUE_MAX, WEBHOOK_URL_BYTES_MAX, WEBHOOKS_MAX,
};
use crate::base::secret::Secret;
use crate::s3::notification_target::NotificationTarget;

/// One `[[webhook]]` of the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Webhook {
    name: String,
    url: String,
    token: Option<Secret>,
    queue_max: Option<usize>,
}

/// Checks all declared webhooks.
///
/// # Errors
///
/// One sentence for the person at the prompt, naming the webhook.
pub fn targets(webhooks: &[Webhook], region: &str) -> Result<Vec<NotificationTarget>, String> {
    if webhooks.len() > WEBHOOKS_MAX {
        return Err(format!("[[webhook]]: declare at most {WEBHOOKS_MAX}, not {}", webhooks.len()));
    }
    let mut targets: Vec<NotificationTarget> = Vec::with_capacity(webhooks.len());
    for webhook in webhooks {
        let target = webhook.target(region)?;
        if targets.iter().any(|other| other.name == target.name) {
            return Err(format!("[[webhook]] '{}': the name is given twice", target.name));
        }
        targets.push(target);
    }
    Ok(targets)
}

impl Webhook {
    fn target(&self, region: &str) -> Result<NotificationTarget, String> {
        let refuse = |why: &str| format!("[[webhook]] '{}': {why}", self.name.escape_default());
        let fits = (1..=WEBHOOK_NAME_LENGTH_MAX).contains(&self.name.len());
        if !fits || !self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            let most = WEBHOOK_NAME_LENGTH_MAX;
            return Err(refuse(&format!("a name has 1 to {most} letters, digits, '-' and '_'")));
        }
        let (authority, path) = split_url(&self.url).map_err(refuse)?;
        let (host, port) = split_authority(authority).ok_or_else(|| refuse("the URL's host is not one"))?;
        if self.token.as_ref().is_some_and(|token| !is_token(token)) {
            return Err(refuse("the token must be visible ASCII without spaces"));
        }
        let queue_max = self.queue_max.unwrap_or(WEBHOOK_QUEUE_DEFAULT);
        if !(1..=WEBHOOK_QUEUE_MAX).contains(&queue_max) {
            return Err(refuse(&format!("queue-max is 1 to {WEBHOOK_QUEUE_MAX}, not {queue_max}")));
        }
        Ok(NotificationTarget {
            name: self.name.clone(),
            arn: NotificationTarget::arn_of(region, &self.name),
            url: self.url.clone(),
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
            token: self.token.clone(),
            queue_max,
        })
    }
}

/// Whether a token can stand in a header.
pub fn is_token(token: &Secret) -> bool {
    let token = token.reveal();
    !token.is_empty() && token.len() <= WEBHOOK_URL_BYTES_MAX && token.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether a URL can be called; the error says why not.
pub fn check_url(url: &str) -> Result<(), &'static str> {
    let (authority, _) = split_url(url)?;
    split_authority(authority).map(drop).ok_or("the URL's host is not one")
}

/// Authority, and path with query.
fn split_url(url: &str) -> Result<(&str, &str), &'static str> {
    if url.len() > WEBHOOK_URL_BYTES_MAX {
        return Err("the URL is too long");
    }
    if url.starts_with("https://") {
        return Err("https is not spoken; put a proxy that does beside the node and give its http:// URL");
    }
    let Some(rest) = url.strip_prefix("http://") else {
        return Err("the URL must begin with http://");
    };
    // What could end the request line or begin another header.
    if !rest.bytes().all(|b| b.is_ascii_graphic()) || rest.contains('#') {
        return Err("the URL must be visible ASCII without spaces and '#'; write others percent-encoded");
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("the URL must not hold credentials; give them as token");
    }
    Ok((authority, path))
}

/// Host and port of an authority: RFC 3986, section 3.2.
fn split_authority(authority: &str) -> Option<(&str, u16)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        return Some((address, port_of(port)?));
    }
    let end = authority.find(':').unwrap_or(authority.len());
    let (host, port) = authority.split_at(end);
    let is_host = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    is_host.then_some(host).zip(port_of(port))
}

/// The port of what follows a host: nothing, or ':' and a number.
fn port_of(text: &str) -> Option<u16> {
    if text.is_empty() {
        return Some(80);
    }
    let digits = text.strip_prefix(':')?;
    let port = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?;
    port.filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(url: &str) -> Result<NotificationTarget, String> {
        let webhook =
            Webhook { name: "t".into(), url: url.into(), token: Some(Secret::new("x")), queue_max: None };
        targets(&[webhook], "us-east-1").map(|mut targets| targets.remove(0))
    }

    #[test]
    fn a_url_is_taken_apart_for_the_request_that_will_be_sent() {
        let target = one("http://host.example:8080/a/b?c=d").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("host.example", 8080));
        assert_eq!((target.authority.as_str(), target.path.as_str()), ("host.example:8080", "/a/b?c=d"));
        assert_eq!(target.arn, "arn:ringcask:sqs:us-east-1:t:webhook");
        assert_eq!(one("http://h").unwrap().path, "/");
        assert_eq!(one("http://h?x").unwrap().path, "/?x");
        let target = one("http://[::1]:81/").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.authority.as_str()), ("::1", 81, "[::1]:81"));
        assert_eq!(one("http://10.0.0.7/").unwrap().port, 80);
    }

    #[test]
    fn urls_that_cannot_be_called_are_refused() {
        let bad = [
            "https://host/",
            "ftp://host/",
            "host/",
            "http://",
            "http:///x",
            "http://h:0/",
            "http://h:65536/",
            "http://h:+1/",
            "http://h:/",
            "http://u:p@h/",
            "http://h/a b",
            "http://h/\r\nX: y",
            "http://h/#f",
            "http://[::1",
            "http://[nonsense]/",
            "http://[::1]x/",
        ];
        for url in bad {
            assert!(one(url).is_err(), "{url}");
        }
        assert!(one(&format!("http://h/{}", "x".repeat(WEBHOOK_URL_BYTES_MAX))).is_err());
    }

    #[test]
    fn names_are_simple_and_unique() {
        let named =
            |name: &str| Webhook { name: name.into(), url: "http://h/".into(), token: None, queue_max: None };
        assert!(targets(&[named("a"), named("b")], "eu").is_ok());
        assert!(targets(&[named("a"), named("a")], "eu").unwrap_err().contains("twice"));
        for name in ["", "a:b", "a b", &"x".repeat(WEBHOOK_NAME_LENGTH_MAX + 1)] {
            assert!(targets(&[named(name)], "eu").is_err(), "{name}");
        }
    }

    #[test]
    fn a_token_never_begins_another_header() {
        for token in ["", "a b", "a\r\nX: y"] {
            let webhook = Webhook {
                name: "t".into(),
                url: "http://h/".into(),
                token: Some(Secret::new(token)),
                queue_max: Some(1),
            };
            assert!(targets(&[webhook], "eu").is_err(), "{token}");
        }
    }
}
