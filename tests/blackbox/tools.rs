//! The clients people use: set up once, run against a node.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use crate::node::Node;

/// The folder into which `tests/clients/setup` installs; the first caller waits for it. Panics with what is
/// missing and how to get it.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    there(FOLDER.get_or_init(|| set_up(&[])))
}

/// Has `mc` and `warp` built, for [`command`]: minutes, the first time.
pub fn programs() -> &'static Path {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    there(FOLDER.get_or_init(|| set_up(&["mc", "warp"])))
}

fn set_up(programs: &[&str]) -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let folder = target.join("clients");
    let output = Command::new("bash")
        .arg(sources().join("setup"))
        .arg(&folder)
        .args(programs)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("bash does not run: {error}"))?;
    if output.status.success() { Ok(folder) } else { Err(text(&output)) }
}

fn there(folder: &'static Result<PathBuf, String>) -> &'static Path {
    match folder {
        Ok(folder) => folder,
        Err(why) => panic!("the clients can't be set up:\n{why}"),
    }
}

/// Where the clients' scripts are.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A command that finds the installed clients, and the node in its environment.
pub fn command(program: &str, node: &Node) -> Command {
    let folder = folder();
    let mut path = folder.join("venv/bin").into_os_string();
    path.push(":");
    path.push(folder.join("bin"));
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let program = ["venv/bin", "bin"]
        .iter()
        .map(|at| folder.join(at).join(program))
        .find(|file| file.exists())
        .unwrap_or_else(|| PathBuf::from(program));
    let credentials = node.credentials();
    let scheme = if node.authority().is_some() { "https" } else { "http" };
    let mut command = Command::new(program);
    // Nothing of the user's own configuration may leak in.
    for (name, _) in std::env::vars_os() {
        if ["AWS_", "RCLONE_", "S3_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
        .current_dir(node.scratch())
        .stdin(Stdio::null())
        .env("PATH", path)
        .env("HOME", node.scratch())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TMPDIR", node.scratch())
        .env("S3_ENDPOINT", node.address().to_string())
        .env("ADMIN_URL", format!("http://{}", node.admin()))
        .env("AWS_ENDPOINT_URL", format!("{scheme}://{}", node.address()))
        .env("AWS_ACCESS_KEY_ID", &credentials.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &credentials.secret_key)
        .env("AWS_REGION", &credentials.region)
        .env("AWS_DEFAULT_REGION", &credentials.region)
        .env("AWS_EC2_METADATA_DISABLED", "true");
    if let Some(authority) = node.authority() {
        // Those of AWS and of Python, and everything in Go or on OpenSSL.
        command.env("AWS_CA_BUNDLE", authority).env("SSL_CERT_FILE", authority);
    }
    command
}

/// Runs a script of `tests/clients` with the Python clients at hand.
#[track_caller]
pub fn python(script: &str, arguments: &[&str], node: &Node) -> String {
    let mut command = command("python3", node);
    command.arg(sources().join(script)).args(arguments);
    run(command)
}

/// Runs a command to its end, and gives its output; panics with all of it unless it succeeds.
#[track_caller]
pub fn run(mut command: Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
    let text = text(&output);
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
