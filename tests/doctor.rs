//! `ringcask doctor` as its user sees it: exit codes, screens, and that nothing is changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use serde_json::Value;

fn doctor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringcask")).arg("doctor").args(arguments).env_clear().output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A host of which only these files can be read.
fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root
}

/// All that is in a directory, with the times of the last changes.
fn tree(root: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            found.insert(path.clone(), metadata.modified().unwrap());
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

#[test]
fn the_exit_code_is_the_severity() {
    let good = ("proc/sys/net/core/somaxconn", "4096");
    let warning = ("proc/sys/net/core/somaxconn", "128");
    let error = ("proc/sys/kernel/osrelease", "5.4.0");
    for (files, code) in [(&[][..], 0), (&[good], 0), (&[warning], 1), (&[warning, error], 2)] {
        let root = host(files);
        let before = tree(root.path());
        let output = doctor(&["--root", root.path().to_str().unwrap(), "--data", "/srv/a"]);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert_eq!(tree(root.path()), before);
    }
    for misspelt in
        [&["--cores", "0"][..], &["--cores", "many"], &["--dta", "x"], &["--config", "/no such file"]]
    {
        let output = doctor(misspelt);
        assert_eq!(output.status.code(), Some(2), "{misspelt:?}: {}", text(&output));
        assert!(output.stdout.is_empty(), "{misspelt:?}");
    }
}

#[test]
fn a_finding_shows_what_is_what_should_be_why_and_both_commands() {
    let root = host(&[("proc/sys/net/core/somaxconn", "128")]);
    let shown = text(&doctor(&["--root", root.path().to_str().unwrap()]));
    let (_, finding) = shown.split_once("WARNING  somaxconn").unwrap_or_else(|| panic!("{shown}"));
    let lines: Vec<&str> = finding.lines().map(str::trim).collect();
    assert_eq!(lines[0], "128");
    let wanted =
        ["should be", "why", "effect    not measured", "fix       sysctl -w net.core.somaxconn=4096"];
    for wanted in wanted.into_iter().chain(["undo      sysctl -w net.core.somaxconn=128"]) {
        assert!(lines.iter().any(|line| line.starts_with(wanted)), "{wanted}: {shown}");
    }
    assert!(shown.contains("0 errors, 1 warning, 0 notes"), "{shown}");
}

#[test]
fn this_machine_can_be_looked_at_and_stays_as_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let (there, not_yet) = (scratch.path().join("there"), scratch.path().join("not/yet"));
    fs::create_dir(&there).unwrap();
    let before = tree(scratch.path());
    let data = ["--data", there.to_str().unwrap(), "--data", not_yet.to_str().unwrap()];
    let output = doctor(&[&data[..], &["--json"]].concat());
    assert!(matches!(output.status.code(), Some(0..=2)), "{}", text(&output));
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    let points = report["points"].as_array().unwrap();
    let point =
        |name: &str| points.iter().find(|point| point["name"] == name).unwrap_or_else(|| panic!("{name}"));
    // The tests of nodes run here, so a node can.
    assert_eq!(point("kernel")["status"], "ok");
    assert_eq!(point("io_uring")["status"], "ok");
    assert_eq!(points.iter().filter(|point| point["name"] == "file_system").count(), 2);
    assert!(point("free_space")["found"].as_str().unwrap().contains("GiB"));
    let expected = match report["status"].as_str().unwrap() {
        "error" => 2,
        "warning" => 1,
        _ => 0,
    };
    assert_eq!(output.status.code(), Some(expected));
    let shown = text(&doctor(&data));
    assert!(shown.lines().all(|line| line.chars().count() <= 80 || line.contains("/tmp")), "{shown}");
    assert_eq!(tree(scratch.path()), before);
}
