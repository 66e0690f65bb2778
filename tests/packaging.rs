//! What goes into packages: it agrees with the command line, and it is sound.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::{CommandFactory, Parser};
use ringcask::control::cli::{Cli, Order, VERSION};
use ringcask::control::config::Layer;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn ringcask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringcask")).args(arguments).env_clear().output().unwrap()
}

#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = ringcask(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program over a text, if the program is there.
#[track_caller]
fn accepted(program: &str, arguments: &[&str], text: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("text");
    fs::write(&path, text).unwrap();
    match Command::new(program).args(arguments).arg(&path).output() {
        Ok(output) => {
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr))
        }
        Err(_) => eprintln!("left out: there is no {program} here"),
    }
}

/// The configuration file with its settings uncommented.
fn uncommented() -> String {
    let text = read("packaging/ringcask.toml");
    let is_setting = |line: &&str| !line.is_empty() && !line.starts_with("# ") && *line != "#";
    text.lines().filter(is_setting).map(|line| line.trim_start_matches('#').to_owned() + "\n").collect()
}

#[test]
fn the_configuration_file_explains_every_setting_and_no_other() {
    let text = uncommented();
    let settings = text.split("[[webhook]]").next().unwrap();
    let named: BTreeSet<String> =
        settings.lines().filter_map(|line| Some(line.split_once(" = ")?.0.to_owned())).collect();
    let known: BTreeSet<String> = Layer::keys().collect();
    assert_eq!(named, known);
    // Each has a comment above it.
    let file = read("packaging/ringcask.toml");
    let lines: Vec<&str> = file.lines().collect();
    for key in &known {
        let at = lines
            .iter()
            .position(|line| line.trim_start_matches('#').starts_with(&format!("{key} = ")))
            .unwrap();
        assert!(lines[at - 1].starts_with("# "), "{key} is not explained");
    }
}

#[test]
fn the_configuration_file_can_be_read_as_it_is_and_with_all_of_it() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("ringcask.toml");
    for text in [read("packaging/ringcask.toml"), uncommented()] {
        fs::write(&path, &text).unwrap();
        let cli = Cli::try_parse_from(["ringcask", "--config", path.to_str().unwrap()]).unwrap();
        let order = cli.order(|_| None);
        assert!(
            matches!(&order, Ok(Order::Serve(settings, _)) if settings.data == [Path::new("/var/lib/ringcask/data")]),
            "{order:?}"
        );
    }
}

#[test]
fn defaults_in_the_configuration_file_are_those_of_the_node() {
    // Values of these are examples: there is no default, or it depends on the machine.
    let examples = [
        "data",
        "tls-certificate",
        "tls-key",
        "listen-http",
        "metrics-token-file",
        "master-key-file",
        "cores",
        "domain",
        "access-log",
        "audit-webhook",
        "audit-webhook-token-file",
        "forget-master-key",
    ];
    let help = Cli::command().render_long_help().to_string();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let settings = uncommented();
    for line in settings.split("[[webhook]]").next().unwrap().lines() {
        let (key, value) = line.split_once(" = ").unwrap();
        if examples.contains(&key) {
            continue;
        }
        let (_, rest) = help.split_once(&Layer::variable(key)).unwrap_or_else(|| panic!("{key}"));
        let (_, rest) = rest.split_once("[default: ").unwrap();
        let (default, _) = rest.split_once(']').unwrap();
        assert_eq!(value.trim_matches('"'), default, "{key}");
    }
}

#[test]
fn every_command_and_option_is_in_the_manual() {
    let directory = tempfile::tempdir().unwrap();
    printed(&["man", "--directory", directory.path().to_str().unwrap()]);
    let page = fs::read_to_string(directory.path().join("ringcask.1")).unwrap();
    assert_eq!(page, printed(&["man"]));
    for key in Layer::keys() {
        assert!(page.contains(&key.replace('-', "\\-")), "{key}");
    }
    let mut rest = vec![("ringcask".to_owned(), Cli::command())];
    let mut pages = 0;
    while let Some((name, command)) = rest.pop() {
        let path = directory.path().join(format!("{name}.1"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}.1: {error}"));
        for option in command.get_arguments().filter_map(|argument| argument.get_long()) {
            assert!(text.contains(&option.replace('-', "\\-")), "{name}.1: {option}");
        }
        accepted("mandoc", &["-W", "error"], &text);
        rest.extend(command.get_subcommands().map(|one| (format!("{name}-{}", one.get_name()), one.clone())));
        pages += 1;
    }
    assert!(pages > 20, "{pages}");
    let output = ringcask(&["man", "--directory", "/proc/no such place"]);
    assert!(!output.status.success());
}

#[test]
fn completions_know_every_command_and_shells_take_them() {
    let commands: Vec<String> =
        Cli::command().get_subcommands().map(|one| one.get_name().to_owned()).collect();
    for (shell, arguments) in [("bash", &["-n"][..]), ("zsh", &["-n"]), ("fish", &["--no-execute"])] {
        let script = printed(&["completions", shell]);
        for command in &commands {
            assert!(script.contains(command.as_str()), "{shell}: {command}");
        }
        assert!(script.contains("scrub-bytes-per-second"), "{shell}");
        accepted(shell, arguments, &script);
    }
    assert!(!ringcask(&["completions", "cmd.exe"]).status.success());
}

#[test]
fn the_version_names_the_package_and_nothing_of_the_build() {
    let text = printed(&["--version"]);
    assert_eq!(text, format!("ringcask {VERSION}\n"));
    let rest = VERSION.strip_prefix(env!("CARGO_PKG_VERSION")).unwrap();
    // A commit, of release builds from a checkout.
    let commit = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')')).unwrap_or_default();
    assert!(rest.is_empty() || commit.len() == 12, "{VERSION}");
    assert!(commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{VERSION}");
}

#[test]
fn whatever_the_package_takes_along_is_there() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let package = &manifest["package"]["metadata"]["deb"];
    for asset in package["assets"].as_array().unwrap() {
        let source = asset[0].as_str().unwrap();
        // Built and generated by packaging/build-deb.
        if source.starts_with("target/") {
            continue;
        }
        match source.split_once('*') {
            Some((folder, _)) => assert!(fs::read_dir(root().join(folder)).unwrap().count() > 0, "{source}"),
            None => assert!(root().join(source).is_file(), "{source}"),
        }
    }
    let build = read("packaging/build-deb");
    assert!(build.contains("made=target/packaging") && build.contains("\"$made/completions/_ringcask\""));
    for place in package["conf-files"].as_array().unwrap() {
        let place = place.as_str().unwrap().trim_start_matches('/');
        let is_target = |asset: &&toml::Value| asset[1].as_str() == Some(place);
        assert_eq!(package["assets"].as_array().unwrap().iter().filter(is_target).count(), 1, "{place}");
    }
}

#[test]
fn the_debian_changelog_begins_with_this_version() {
    let wanted = format!("ringcask ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(
        read("packaging/changelog").starts_with(&wanted),
        "packaging/changelog does not begin with {wanted}"
    );
}

#[test]
fn the_scripts_of_the_package_are_clean() {
    for script in ["packaging/postinst", "packaging/postrm", "packaging/build-deb"] {
        accepted("shellcheck", &[], &read(script));
    }
}

#[test]
fn the_environment_file_names_variables_that_the_node_reads() {
    let text = read("packaging/default");
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("#RINGCASK_")?.strip_suffix('=')).collect();
    assert_eq!(names, ["ROOT_USER", "ROOT_PASSWORD", "MASTER_KEY"]);
    // systemd reads it as a list of assignments: nothing is one until somebody makes it one.
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')));
}

/// Of Cyberduck's profile: a property list whose dictionary pairs keys with values.
#[test]
fn the_profile_of_cyberduck_is_a_property_list() {
    let text = read("docs/clients/ringcask.cyberduckprofile");
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(&text, options).unwrap();
    let plist = document.root_element();
    assert!(plist.has_tag_name("plist"));
    let dictionary = plist.first_element_child().filter(|element| element.has_tag_name("dict")).unwrap();
    let entries: Vec<_> = dictionary.children().filter(roxmltree::Node::is_element).collect();
    let value_of = |wanted: &str| {
        let pair = entries.chunks_exact(2).find(|pair| pair[0].text() == Some(wanted));
        pair.and_then(|pair| pair[1].text()).unwrap_or_else(|| panic!("no {wanted}"))
    };
    assert_eq!(entries.len() % 2, 0);
    for (at, entry) in entries.iter().enumerate() {
        assert_eq!(entry.has_tag_name("key"), at % 2 == 0, "{entry:?}");
    }
    assert_eq!((value_of("Protocol"), value_of("Region")), ("s3", "us-east-1"));
}
