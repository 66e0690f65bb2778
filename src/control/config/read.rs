//! What the environment and a TOML file say.

use std::path::Path;

use super::Layer;
use crate::base::limits::CONFIG_FILE_BYTES_MAX;
use crate::control::origin;

/// The one key of the file that is no option: tables do not fit a command line.
const WEBHOOK: &str = "webhook";

impl Layer {
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
    match origin::nearest(&key.to_lowercase().replace('_', "-"), &known) {
        Some(name) => format!("unknown key '{key}'; did you mean '{name}'?"),
        None => format!("unknown key '{key}'; known are {}", known.join(", ")),
    }
}
