//! What each setting is, and where it came from: for `ringcask config`. No secret is among it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Command};

use super::config::{Layer, Settings};

/// Variables that are no settings: of the command line, and secrets.
const OTHER_VARIABLES: [&str; 7] = [
    "RINGCASK_ADMIN",
    "RINGCASK_CA",
    "RINGCASK_CONFIG",
    "RINGCASK_MASTER_KEY",
    "RINGCASK_NEW_SECRET",
    "RINGCASK_ROOT_PASSWORD",
    "RINGCASK_ROOT_USER",
];

/// Secrets that the environment may hold, by the names that people know.
const SECRETS: [(&str, &str); 3] = [
    ("master-key", "RINGCASK_MASTER_KEY"),
    ("root-user", "RINGCASK_ROOT_USER"),
    ("root-password", "RINGCASK_ROOT_PASSWORD"),
];

/// With what variables begin that Kubernetes sets for a service called ringcask.
const OF_KUBERNETES: [&str; 2] = ["RINGCASK_SERVICE_", "RINGCASK_PORT_"];

/// A setting as the node uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// As it stands in the file, and after the dashes of an option.
    pub name: String,
    /// As it would be written; a sentence where the default is no fixed value.
    pub value: String,
    pub origin: Origin,
}

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    CommandLine,
    Environment(String),
    File(PathBuf),
    Default,
}

impl Origin {
    /// The kind in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CommandLine => "option",
            Self::Environment(_) => "environment",
            Self::File(_) => "file",
            Self::Default => "default",
        }
    }
}

/// The sources of settings, the strongest first.
pub struct Sources<'a> {
    pub line: &'a Layer,
    pub environment: &'a Layer,
    /// With its path, if there is one.
    pub file: Option<(&'a Path, &'a Layer)>,
}

impl Sources<'_> {
    /// Every setting in the order of `--help`, then secrets that are set, then webhooks.
    pub fn explain(&self, settings: &Settings, is_set: impl Fn(&str) -> bool) -> Vec<Setting> {
        let (line, environment) = (table(self.line), table(self.environment));
        let file = self.file.map(|(path, layer)| (path, table(layer)));
        let mut all = Vec::new();
        for (name, default) in defaults() {
            let (value, origin) = if let Some(value) = line.get(&name) {
                (written(value), Origin::CommandLine)
            } else if let Some(value) = environment.get(&name) {
                (written(value), Origin::Environment(Layer::variable(&name)))
            } else if let Some((path, value)) =
                file.as_ref().and_then(|(path, it)| Some((path, it.get(&name)?)))
            {
                (written(value), Origin::File(path.to_path_buf()))
            } else if name == "cores" {
                (settings.cores.to_string(), Origin::Default)
            } else {
                (default, Origin::Default)
            };
            all.push(Setting { name, value, origin });
        }
        for (name, variable) in SECRETS.into_iter().filter(|(_, variable)| is_set(variable)) {
            let origin = Origin::Environment(variable.to_owned());
            all.push(Setting { name: name.to_owned(), value: "(set, not shown)".to_owned(), origin });
        }
        for target in &settings.notification_targets {
            let Some((path, _)) = self.file else { break };
            let token = if target.token.is_some() { ", with a token" } else { "" };
            let value = format!("{}, at most {} events{token}", target.url, target.queue_max);
            let origin = Origin::File(path.to_path_buf());
            all.push(Setting { name: format!("webhook {}", target.name), value, origin });
        }
        all
    }
}

/// Refuses variables that look like settings and are none: what is misspelt would have no effect.
///
/// # Errors
///
/// One sentence for the person at the prompt.
pub fn check_variables(names: impl Iterator<Item = String>) -> Result<(), String> {
    let known: Vec<String> =
        Layer::keys().map(|key| Layer::variable(&key)).chain(OTHER_VARIABLES.map(str::to_owned)).collect();
    for name in names.filter(|name| name.starts_with("RINGCASK_")) {
        let is_foreign = name == "RINGCASK_PORT" || OF_KUBERNETES.iter().any(|it| name.starts_with(it));
        if is_foreign || known.contains(&name) {
            continue;
        }
        return Err(match nearest(&name, &known) {
            Some(nearest) => format!("unknown environment variable {name}; did you mean {nearest}?"),
            None => format!("unknown environment variable {name}; 'ringcask --help' names those there are"),
        });
    }
    Ok(())
}

/// Refuses variables of settings whose values are no text: they would count as not set.
///
/// # Errors
///
/// One sentence for the person at the prompt.
pub fn check_values(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<(), String> {
    let is_ours = |name: &OsString| name.to_string_lossy().starts_with("RINGCASK_");
    match variables.into_iter().find(|(name, value)| is_ours(name) && value.to_str().is_none()) {
        None => Ok(()),
        Some((name, _)) => Err(format!(
            "{}: the value is not UTF-8; give a path with other bytes as an option",
            name.to_string_lossy()
        )),
    }
}

/// The known name that is most like what was written, if it is like it at all.
pub fn nearest<'a>(written: &str, known: &'a [String]) -> Option<&'a String> {
    let similarity = |name: &str| strsim::jaro_winkler(written, name);
    let all = known.iter().map(|name| (similarity(name), name));
    all.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(it, _)| *it > 0.7).map(|(_, name)| name)
}

/// Names of all settings with their defaults, as `--help` says them.
fn defaults() -> Vec<(String, String)> {
    let command = Layer::augment_args(Command::new(""));
    let of = |argument: &clap::Arg| {
        let name = argument.get_long()?.to_owned();
        let help = argument.get_long_help().or(argument.get_help())?.to_string();
        let default = help.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
        let default = default.map_or(String::new(), |(default, _)| default.replace('\n', " "));
        Some((name, default))
    };
    command.get_arguments().filter_map(of).collect()
}

/// What a layer says, by name.
fn table(layer: &Layer) -> toml::Table {
    // Every type of a setting can be written.
    toml::Table::try_from(layer).unwrap_or_default()
}

fn written(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(written).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn layer(text: &str) -> Layer {
        Layer::from_toml(text).unwrap()
    }

    #[test]
    fn each_setting_says_where_it_came_from() {
        let line = layer("region = 'line'\ndata = ['/a', '/b']");
        let environment = layer("region = 'environment'\narena = '128MiB'");
        let text = "region = 'file'\narena = '1GiB'\nadmin-listen = 'off'\n[[webhook]]\nname = 'w'\n\
                    url = 'http://h/x'\ntoken = 'topsecret'";
        let file = layer(text);
        let settings = line.clone().or(environment.clone()).or(file.clone()).settle().unwrap();
        let sources =
            Sources { line: &line, environment: &environment, file: Some((Path::new("/etc/r.toml"), &file)) };
        let all = sources.explain(&settings, |name| name == "RINGCASK_ROOT_PASSWORD");
        let found = |name: &str| {
            let setting = all.iter().find(|setting| setting.name == name).unwrap();
            (setting.value.as_str(), setting.origin.clone())
        };
        let file = Origin::File("/etc/r.toml".into());
        assert_eq!(found("region"), ("line", Origin::CommandLine));
        assert_eq!(found("data"), ("/a, /b", Origin::CommandLine));
        assert_eq!(found("arena"), ("128MiB", Origin::Environment("RINGCASK_ARENA".into())));
        assert_eq!(found("admin-listen"), ("off", file.clone()));
        assert_eq!(found("cache"), ("64MiB", Origin::Default));
        assert_eq!(found("cores"), (settings.cores.to_string().as_str(), Origin::Default));
        assert_eq!(found("webhook w"), ("http://h/x, at most 10000 events, with a token", file));
        assert_eq!(found("root-password").0, "(set, not shown)");
        assert!(!format!("{all:?}").contains("topsecret"));
        assert!(Layer::keys().all(|key| all.iter().any(|setting| setting.name == key)));
    }

    #[test]
    fn paths_that_are_no_text_are_shown_and_hide_nothing_else() {
        let odd = PathBuf::from(OsStr::from_bytes(b"/srv/\xff\xfe"));
        let one = Layer::placed(Some(vec!["/a".into(), odd]), Some(3));
        let settings = one.clone().settle().unwrap();
        let sources = Sources { line: &one, environment: &Layer::default(), file: None };
        let all = sources.explain(&settings, |_| false);
        let found = |name: &str| {
            let setting = all.iter().find(|setting| setting.name == name).unwrap();
            (setting.value.as_str(), setting.origin.clone())
        };
        assert_eq!(found("data"), ("/a, /srv/\u{fffd}\u{fffd}", Origin::CommandLine));
        assert_eq!(found("cores"), ("3", Origin::CommandLine));
    }

    #[test]
    fn a_variable_that_is_no_text_is_refused_and_not_taken_for_unset() {
        let check = |name: &str| {
            check_values([(name.into(), OsStr::from_bytes(b"/srv/\xff").to_owned())].into_iter())
        };
        assert!(check("RINGCASK_DATA").unwrap_err().starts_with("RINGCASK_DATA: the value is not UTF-8"));
        assert_eq!(check("LC_ALL"), Ok(()));
    }

    #[test]
    fn a_misspelt_variable_is_refused_with_a_suggestion() {
        let check = |name: &str| check_variables([name.to_owned()].into_iter());
        assert_eq!(
            check("RINGCASK_LISEN"),
            Err("unknown environment variable RINGCASK_LISEN; did you mean RINGCASK_LISTEN?".into())
        );
        for known in ["RINGCASK_LISTEN", "RINGCASK_CONFIG", "RINGCASK_ROOT_USER", "PATH", "AWS_REGION"] {
            assert_eq!(check(known), Ok(()));
        }
        for foreign in ["RINGCASK_PORT", "RINGCASK_PORT_9000_TCP_ADDR", "RINGCASK_SERVICE_HOST"] {
            assert_eq!(check(foreign), Ok(()), "Kubernetes sets {foreign} for a service of that name");
        }
    }
}
