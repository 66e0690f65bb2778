//! Puts the version together that `ringcask --version` prints: that of the package, and for release builds the
//! commit they were made from. Nothing of it depends on when or where the build runs.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let version = std::env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    // In other builds every commit would have everything compiled again.
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = is_release.then(commit).flatten();
    let version = commit.map_or(version.clone(), |commit| format!("{version} ({commit})"));
    // Not by a name like those of settings: cargo gives it to what it runs, and the node refuses settings it does not know.
    println!("cargo:rustc-env=VERSION_WITH_COMMIT={version}");
}

/// The first twelve digits of the commit: of the checkout, or of what the package was made from.
fn commit() -> Option<String> {
    let hash = checked_out().or_else(packaged)?;
    let is_hash = hash.len() >= 12 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| hash[..12].to_owned())
}

/// Of the repository whose root is this folder. Sources that lie unpacked in another repository are not its.
fn checked_out() -> Option<String> {
    let root = std::fs::canonicalize(git(&["rev-parse", "--show-toplevel"])?).ok()?;
    if root != std::fs::canonicalize(std::env::var("CARGO_MANIFEST_DIR").ok()?).ok()? {
        return None;
    }
    // What changes with another commit: HEAD, the branch that it names, and the file that branches are packed in.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"])
}

/// `cargo package` writes the commit down.
fn packaged() -> Option<String> {
    let text = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
