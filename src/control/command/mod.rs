//! The commands beside the node itself. Those here manage identities: each is one request to the admin API
//! of a running node. `check` and `inspect` look at the drives of one that is not running, and `replace-drive`
//! has an empty one take the place of one that is lost; `doctor` looks at the host; `completions` and `man`
//! describe the commands themselves.

mod check;
mod client;
mod config;
mod describe;
mod directories;
mod doctor;
mod drain;
mod inspect;
mod progress;
mod quota;
mod replace;
mod show;
mod status;
mod text;
mod trust;

use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::credentials::Secret;
use crate::base::limits::ADMIN_BODY_BYTES_MAX;
use crate::http::percent::encode;
use client::Client;
pub use text::WIDTH;

pub use describe::Describe;

const KEY_EXAMPLES: &str = "\
Examples:
  ringcask key create --user alice           a new key; its secret is shown this once
  ringcask key create --account acme         a key of the root of the account acme
  pass show minio | ringcask key create --user backup --id minio-backup --secret-stdin
                                             a key that clients have already

To replace a key without a gap, create a second one, give it to the clients, and
delete the first. 'rotate' gives a key another secret at once.";

const LOG_LEVEL_EXAMPLES: &str = "\
Examples:
  ringcask log-level                            what is logged, and what was at the start
  ringcask log-level debug                      more, from now on and on all cores
  ringcask log-level info,ringcask::engine=trace
                                                all that one part of the node has to say";

/// What can be asked of the host, and of the drives of a node that is not running; and what is done to those.
#[derive(Subcommand, Debug)]
pub enum Examine {
    /// Checks everything on the drives of a stopped node; changes nothing
    #[command(after_help = check::EXIT_CODES)]
    Check(check::Check),
    /// Shows what lies in the files of a stopped node; changes nothing
    #[command(after_help = inspect::EXAMPLES)]
    Inspect(inspect::Inspect),
    /// Gives up a drive of a stopped node that is lost for good: an empty one takes its place
    #[command(after_help = replace::EXAMPLES)]
    ReplaceDrive(replace::Replace),
    /// Looks whether the host suits a node, and says what to change; changes nothing
    #[command(after_help = doctor::EXIT_CODES)]
    Doctor(doctor::Doctor),
}

impl Examine {
    /// Carries the command out; returns the exit code.
    pub fn run(self, environment: impl Fn(&str) -> Option<String>) -> u8 {
        let environment: Environment<'_> = &|name| environment(name).filter(|value| !value.is_empty());
        let result = match self {
            Self::Check(check) => check.run(environment),
            Self::Inspect(inspect) => inspect.run(environment).map(|()| 0),
            Self::ReplaceDrive(replace) => replace.run(environment),
            Self::Doctor(doctor) => doctor.run(environment),
        };
        result.unwrap_or_else(|error| {
            eprintln!("ringcask: {error}");
            2
        })
    }
}

/// What can be asked of a node.
#[derive(Subcommand, Debug)]
pub enum Manage {
    /// Accounts: each owns its buckets and users, and sees no others
    Account(Area<AccountCommand>),
    /// Users of an account, and the policies attached to them
    User(Area<UserCommand>),
    /// Groups of users, and the policies attached to them
    Group(Area<GroupCommand>),
    /// Policies that can be attached to users and groups
    Policy(Area<PolicyCommand>),
    /// Access keys of users and of account roots
    #[command(after_help = KEY_EXAMPLES)]
    Key(Area<KeyCommand>),
    /// Keys that objects are encrypted under (SSE-KMS); for the node's operator
    Kms(Area<KmsCommand>),
    /// Buckets, and what they hold; for the node's operator
    Bucket(Area<quota::BucketCommand>),
    /// How much a bucket may hold; for the node's operator
    #[command(after_help = quota::EXAMPLES)]
    Quota(Area<quota::QuotaCommand>),
    /// Shows how the node, its drives and its cores are; for the node's operator
    Status(Options),
    /// Shows what the node logs, or changes it at once and until the next start; for the node's operator
    #[command(after_help = LOG_LEVEL_EXAMPLES)]
    LogLevel(LogLevel),
    /// Shows every setting of the node, and where it came from; for the node's operator
    Config(Options),
    /// Shows how far scrub, cleaning of the log and checkpoints are; for the node's operator
    Progress(progress::Progress),
    /// Has the node refuse requests, and waits for those under way; for the node's operator
    #[command(after_help = drain::EXAMPLES)]
    Drain(drain::Drain),
    /// Has the node take requests again; for the node's operator
    Resume(Options),
    /// Writes a checkpoint now, so that the next start reads little; for the node's operator
    Checkpoint(drain::Checkpoint),
    /// Shows whose credentials are in use
    Whoami(Options),
}

/// What is to be logged, if it is to be changed.
#[derive(Args, Debug)]
pub struct LogLevel {
    #[command(flatten)]
    options: Options,

    /// error, warn, info, debug, trace or off, or directives like info,ringcask::engine=debug
    level: Option<String>,
}

/// A group of commands with the options that all of them have.
#[derive(Args, Debug)]
pub struct Area<T: Subcommand> {
    #[command(flatten)]
    options: Options,

    #[command(subcommand)]
    command: T,
}

/// How the node is reached, on whose behalf, and how answers are shown.
///
/// The credentials are those of RINGCASK_ROOT_USER and RINGCASK_ROOT_PASSWORD, or AWS_ACCESS_KEY_ID and
/// AWS_SECRET_ACCESS_KEY, or stand in the data directory.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// URL of the node's admin API [env: RINGCASK_ADMIN] [default: http://127.0.0.1:9001]
    #[arg(long, value_name = "URL", global = true)]
    admin: Option<String>,

    /// Act in this account (id or name) instead of one's own; for the node's operator
    #[arg(long, value_name = "ACCOUNT", global = true)]
    account: Option<String>,

    /// Take the root credentials from this data directory [default: from the environment, else ./data]
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,

    /// File with the certificates to trust, for an https:// URL [env: RINGCASK_CA] [default: the system's]
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,

    /// Show the answer as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
pub enum AccountCommand {
    /// Makes an account; 'key create --account NAME' then makes a key of its root
    Create {
        name: String,
        /// Address by which ACLs may name the account
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
    },
    /// Lists all accounts
    List,
    /// Shows an account with its canonical id
    Show { name: String },
    /// Deletes an account that has no buckets, users, groups and policies, and its root's keys
    Delete { name: String },
}

#[derive(Subcommand, Debug)]
pub enum UserCommand {
    /// Makes a user, who may do nothing until a policy allows it
    Create {
        name: String,
        /// Policy to attach; may be repeated
        #[arg(long, value_name = "POLICY")]
        policy: Vec<String>,
        /// Group to join; may be repeated
        #[arg(long, value_name = "GROUP")]
        group: Vec<String>,
    },
    /// Lists the account's users
    List,
    /// Deletes a user and its keys
    Delete { name: String },
    /// Attaches and detaches policies
    #[command(subcommand)]
    Policy(AttachCommand),
}

#[derive(Subcommand, Debug)]
pub enum GroupCommand {
    /// Makes a group
    Create {
        name: String,
        /// Policy to attach; may be repeated
        #[arg(long, value_name = "POLICY")]
        policy: Vec<String>,
    },
    /// Lists the account's groups
    List,
    /// Deletes a group without members
    Delete { name: String },
    /// Makes a user a member
    Add { group: String, user: String },
    /// Takes a user out of the group
    Remove { group: String, user: String },
    /// Attaches and detaches policies
    #[command(subcommand)]
    Policy(AttachCommand),
}

#[derive(Subcommand, Debug)]
pub enum AttachCommand {
    /// Attaches a policy
    Attach { name: String, policy: String },
    /// Detaches a policy
    Detach { name: String, policy: String },
}

#[derive(Subcommand, Debug)]
pub enum PolicyCommand {
    /// Makes a policy, or gives it another document, which counts at once
    Put {
        name: String,
        /// JSON document; '-' reads it from standard input
        file: PathBuf,
    },
    /// Prints a policy's document
    Get { name: String },
    /// Lists the built-in policies and the account's own
    List,
    /// Deletes a policy that is attached to nobody
    Delete { name: String },
}

#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Makes an access key and shows its secret this once
    Create {
        /// Whose key it is [default: the account's root]
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// Access key id that clients use already [default: a new one]
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        #[command(flatten)]
        secret: SecretOptions,
    },
    /// Lists access keys of the account
    List {
        /// Of this user alone
        #[arg(long, value_name = "USER")]
        user: Option<String>,
    },
    /// Deletes an access key
    Delete { id: String },
    /// Makes an access key useless until it is activated again
    Deactivate { id: String },
    /// Makes an access key usable again
    Activate { id: String },
    /// Gives an access key another secret, shown this once; the one before stops to work at once
    Rotate {
        id: String,
        #[command(flatten)]
        secret: SecretOptions,
    },
}

#[derive(Subcommand, Debug)]
pub enum KmsCommand {
    /// Makes an encryption key, which requests name as x-amz-server-side-encryption-aws-kms-key-id
    Create { name: String },
    /// Lists the encryption keys, the node's own among them
    List,
    /// Gives a key a new version for what is written from now on; older objects stay readable
    Rotate { name: String },
}

/// Where a secret comes from that clients use already.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub struct SecretOptions {
    /// Read the secret from standard input, a line [default: RINGCASK_NEW_SECRET, else a new one is made]
    #[arg(long)]
    secret_stdin: bool,
    /// The secret itself; beware: other users of this machine can see the arguments of commands
    #[arg(long, value_name = "SECRET")]
    secret: Option<Secret>,
}

/// One request, and how its answer is shown to a person.
struct Request {
    method: &'static str,
    path: String,
    body: Option<Vec<u8>>,
    show: Box<dyn Fn(&Value) -> String>,
}

impl Request {
    fn new(method: &'static str, path: impl Into<String>, show: impl Fn(&Value) -> String + 'static) -> Self {
        Self { method, path: path.into(), body: None, show: Box::new(show) }
    }

    /// A request whose answer says nothing: `done` does.
    fn silent(method: &'static str, path: impl Into<String>, done: String) -> Self {
        Self::new(method, path, move |_| format!("{done}\n"))
    }

    fn with(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string().into_bytes());
        self
    }
}

type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Manage {
    /// Carries the command out and prints what it answers.
    ///
    /// # Errors
    ///
    /// One sentence for the person at the prompt.
    pub fn run(self, environment: impl Fn(&str) -> Option<String>) -> Result<(), String> {
        let environment: Environment<'_> = &|name| environment(name).filter(|value| !value.is_empty());
        let (options, request) = match self {
            Self::Progress(progress) => return progress.run(environment),
            Self::Drain(drain) => return drain.run(environment),
            Self::Resume(options) => return drain::resume(&options, environment),
            Self::Checkpoint(checkpoint) => return checkpoint.run(environment),
            Self::Account(area) => (area.options, account(area.command)),
            Self::User(area) => (area.options, user(area.command)),
            Self::Group(area) => (area.options, group(area.command)),
            Self::Policy(area) => (area.options, policy(area.command)?),
            Self::Key(area) => (area.options, key(area.command, environment)?),
            Self::Kms(area) => (area.options, kms(area.command)),
            Self::Bucket(area) => (area.options, quota::bucket(&area.command)),
            Self::Quota(area) => (area.options, quota::quota(area.command)),
            Self::LogLevel(LogLevel { options, level }) => (options, log_level(level)),
            Self::Status(options) => (options, Request::new("GET", "status", status::show)),
            Self::Config(options) => (options, Request::new("GET", "config", config::show)),
            Self::Whoami(options) => (options, Request::new("GET", "whoami", show::whoami)),
        };
        let client = Client::of(&options, environment)?;
        let separator = if request.path.contains('?') { '&' } else { '?' };
        let path = match options.account {
            Some(account) => format!("{}{separator}account={}", request.path, encode(account.as_bytes())),
            None => request.path,
        };
        let answer = client.send(request.method, &path, request.body.as_deref())?;
        let text = match (options.json, answer.is_null()) {
            (true, true) => String::new(),
            (true, false) => format!("{answer:#}\n"),
            (false, _) => (request.show)(&answer),
        };
        print(&text)
    }
}

/// Waits a while before the next question.
fn pause(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a command is outside of any simulation")]
    std::thread::sleep(duration);
}

/// Prints what a command answers.
fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("cannot print the answer: {error}"))
        }
        _ => Ok(()),
    }
}

fn account(command: AccountCommand) -> Request {
    match command {
        AccountCommand::Create { name, email } => Request::new("POST", "accounts", show::account)
            .with(&json!({ "name": name, "email": email.unwrap_or_default() })),
        AccountCommand::List => Request::new("GET", "accounts", show::accounts),
        AccountCommand::Show { name } => Request::new("GET", path(&["accounts", &name]), show::account),
        AccountCommand::Delete { name } => {
            Request::silent("DELETE", path(&["accounts", &name]), format!("deleted account {name}"))
        }
    }
}

fn user(command: UserCommand) -> Request {
    match command {
        UserCommand::Create { name, policy, group } => Request::new("POST", "users", show::user)
            .with(&json!({ "name": name, "policies": policy, "groups": group })),
        UserCommand::List => Request::new("GET", "users", show::users),
        UserCommand::Delete { name } => {
            Request::silent("DELETE", path(&["users", &name]), format!("deleted user {name}"))
        }
        UserCommand::Policy(command) => attachment("users", command),
    }
}

fn group(command: GroupCommand) -> Request {
    match command {
        GroupCommand::Create { name, policy } => {
            let done = format!("created group {name}\n");
            Request::new("POST", "groups", move |_| done.clone())
                .with(&json!({ "name": name, "policies": policy }))
        }
        GroupCommand::List => Request::new("GET", "groups", show::groups),
        GroupCommand::Delete { name } => {
            Request::silent("DELETE", path(&["groups", &name]), format!("deleted group {name}"))
        }
        GroupCommand::Add { group, user } => Request::silent(
            "PUT",
            path(&["groups", &group, "members", &user]),
            format!("{user} is a member of {group}"),
        ),
        GroupCommand::Remove { group, user } => Request::silent(
            "DELETE",
            path(&["groups", &group, "members", &user]),
            format!("{user} is no member of {group} any more"),
        ),
        GroupCommand::Policy(command) => attachment("groups", command),
    }
}

fn attachment(kind: &str, command: AttachCommand) -> Request {
    match command {
        AttachCommand::Attach { name, policy } => Request::silent(
            "PUT",
            path(&[kind, &name, "policies", &policy]),
            format!("attached {policy} to {name}"),
        ),
        AttachCommand::Detach { name, policy } => Request::silent(
            "DELETE",
            path(&[kind, &name, "policies", &policy]),
            format!("detached {policy} from {name}"),
        ),
    }
}

fn policy(command: PolicyCommand) -> Result<Request, String> {
    Ok(match command {
        PolicyCommand::Put { name, file } => {
            let document = read_document(&file)?;
            let done = format!("stored policy {name}");
            Request { body: Some(document), ..Request::silent("PUT", path(&["policies", &name]), done) }
        }
        PolicyCommand::Get { name } => Request::new("GET", path(&["policies", &name]), show::document),
        PolicyCommand::List => Request::new("GET", "policies", show::policies),
        PolicyCommand::Delete { name } => {
            Request::silent("DELETE", path(&["policies", &name]), format!("deleted policy {name}"))
        }
    })
}

fn key(command: KeyCommand, environment: Environment<'_>) -> Result<Request, String> {
    Ok(match command {
        KeyCommand::Create { user, id, secret } => {
            let mut body = json!({ "user": user, "accessKeyId": id });
            if let Some(secret) = secret_of(secret, environment)? {
                body["secretAccessKey"] = json!(secret.reveal());
            }
            Request::new("POST", "keys", show::new_key).with(&body)
        }
        KeyCommand::List { user: None } => Request::new("GET", "keys", show::keys),
        KeyCommand::List { user: Some(user) } => {
            Request::new("GET", format!("keys?user={}", encode(user.as_bytes())), show::keys)
        }
        KeyCommand::Delete { id } => {
            Request::silent("DELETE", path(&["keys", &id]), format!("deleted access key {id}"))
        }
        KeyCommand::Deactivate { id } => {
            Request::silent("PUT", path(&["keys", &id]), format!("access key {id} is inactive"))
                .with(&json!({ "active": false }))
        }
        KeyCommand::Activate { id } => {
            Request::silent("PUT", path(&["keys", &id]), format!("access key {id} is active"))
                .with(&json!({ "active": true }))
        }
        KeyCommand::Rotate { id, secret } => {
            let secret = secret_of(secret, environment)?;
            let body = match &secret {
                Some(secret) => json!({ "secretAccessKey": secret.reveal() }),
                None => json!({}),
            };
            Request::new("POST", path(&["keys", &id, "rotate"]), show::new_key).with(&body)
        }
    })
}

fn kms(command: KmsCommand) -> Request {
    match command {
        KmsCommand::Create { name } => {
            let done = format!("made encryption key {name}\n");
            Request::new("POST", "kms/keys", move |_| done.clone()).with(&json!({ "name": name }))
        }
        KmsCommand::List => Request::new("GET", "kms/keys", show::kms_keys),
        KmsCommand::Rotate { name } => {
            let done = format!("rotated encryption key {name}");
            Request::silent("POST", path(&["kms", "keys", &name, "rotate"]), done)
        }
    }
}

fn log_level(level: Option<String>) -> Request {
    match level {
        Some(level) => Request::new("PUT", "log-level", show::log_level).with(&json!({ "level": level })),
        None => Request::new("GET", "log-level", show::log_level),
    }
}

/// A path of encoded segments.
fn path(segments: &[&str]) -> String {
    segments.iter().map(|segment| encode(segment.as_bytes())).collect::<Vec<_>>().join("/")
}

fn secret_of(options: SecretOptions, environment: Environment<'_>) -> Result<Option<Secret>, String> {
    if options.secret.is_some() {
        return Ok(options.secret);
    }
    if !options.secret_stdin {
        return Ok(environment("RINGCASK_NEW_SECRET").map(Secret::new));
    }
    let mut line = String::new();
    let most = ADMIN_BODY_BYTES_MAX as u64;
    std::io::stdin()
        .lock()
        .take(most)
        .read_line(&mut line)
        .map_err(|error| format!("cannot read the secret from standard input: {error}"))?;
    let secret = line.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err("there is no secret on standard input".into());
    }
    Ok(Some(Secret::new(secret)))
}

fn read_document(file: &Path) -> Result<Vec<u8>, String> {
    let shown = file.display();
    let cannot = |error: std::io::Error| format!("cannot read the policy in {shown}: {error}");
    // A byte more than the node takes, so that the node says what is too long.
    let most = ADMIN_BODY_BYTES_MAX as u64 + 1;
    let mut document = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut document).map_err(cannot)?;
    } else {
        let file = std::fs::OpenOptions::new().read(true).open(file).map_err(cannot)?;
        file.take(most).read_to_end(&mut document).map_err(cannot)?;
    }
    Ok(document)
}
