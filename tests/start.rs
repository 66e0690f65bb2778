//! Starting and stopping a node, as its owner sees it: what is printed, what is refused, how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// The command with small settings and nothing of this process's environment that would change it.
fn ringcask(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringcask"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RINGCASK_")) {
        command.env_remove(name);
    }
    command.args(arguments);
    let small = [("DATA", data.as_os_str()), ("LISTEN", "127.0.0.1:0".as_ref()), ("CORES", "2".as_ref())];
    for (name, value) in small {
        command.env(format!("RINGCASK_{name}"), value);
    }
    command.env("RINGCASK_ADMIN_LISTEN", "127.0.0.1:0");
    command.env("RINGCASK_ARENA", "8MiB").env("RINGCASK_CACHE", "1MiB");
    // Warnings of the machine (locked memory, say) are no part of what is compared.
    command.env("RINGCASK_LOG_LEVEL", "error");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A node that listens.
struct Node {
    child: Child,
    address: SocketAddr,
    /// What it printed up to the line that it listens.
    printed: String,
}

impl Node {
    fn start(mut command: Command) -> Self {
        let child = command.spawn().unwrap();
        let mut node = Self { child, address: SocketAddr::from(([0; 4], 0)), printed: String::new() };
        let mut out = BufReader::new(node.child.stdout.take().unwrap());
        loop {
            let start = node.printed.len();
            if out.read_line(&mut node.printed).unwrap() == 0 {
                let mut errors = String::new();
                node.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
                panic!("the node did not start: {:?}\n{}\n{errors}", node.child.wait(), node.printed);
            }
            if let Some(address) = node.printed[start..].trim().strip_prefix("listening on http://") {
                node.address = address.parse().unwrap();
                return node;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends the node with SIGTERM; it must do so in order.
    fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }

    /// Sends a request without credentials and returns the whole answer.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// Runs a start that must be refused and returns its one line of explanation.
fn refusal(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let errors = String::from_utf8(stderr).unwrap();
    assert!(matches!(status.code(), Some(1 | 2)), "{status:?} {errors}");
    assert!(!String::from_utf8(stdout).unwrap().contains("listening"));
    let lines: Vec<_> = errors.lines().collect();
    assert_eq!(lines.len(), 1, "{errors}");
    lines[0].strip_prefix("ringcask: ").unwrap_or_else(|| panic!("{errors}")).to_owned()
}

/// The value that `printed` exports under `name`.
fn exported<'a>(printed: &'a str, name: &str) -> &'a str {
    let (_, rest) = printed.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("no {name}: {printed}"));
    rest.split_whitespace().next().unwrap()
}

#[test]
fn the_first_start_shows_what_can_be_pasted_and_the_secret_to_a_terminal_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("it's a drive");
    let node = Node::start(ringcask(&data, &[]));
    assert_eq!(exported(&node.printed, "AWS_ACCESS_KEY_ID").len(), 20);
    assert_eq!(exported(&node.printed, "AWS_DEFAULT_REGION"), "us-east-1");
    assert_eq!(exported(&node.printed, "AWS_ENDPOINT_URL"), format!("http://{}", node.address));
    let pasted: Vec<_> =
        node.printed.lines().filter(|line| line.starts_with("export ") || line.starts_with("aws ")).collect();
    assert_eq!(pasted.len(), 3, "{}", node.printed);

    // What is no terminal is a journal: the secret is not there, and the pasted line finds it.
    let file = data.join("root-credentials.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let script = format!("{}\necho \"$AWS_SECRET_ACCESS_KEY\"", pasted[0]);
    let shell = Command::new("sh").args(["-c", &script]).output().unwrap();
    let secret = String::from_utf8(shell.stdout).unwrap().trim().to_owned();
    assert_eq!(secret.len(), 40, "{}", node.printed);
    assert!(fs::read_to_string(&file).unwrap().contains(&secret));
    assert!(!node.printed.contains(&secret), "{}", node.printed);
    node.stop();

    let node = Node::start(ringcask(&data, &[]));
    assert!(!node.printed.contains(&secret), "{}", node.printed);
    assert!(node.printed.contains("root-credentials.toml"), "{}", node.printed);
    node.stop();
}

#[test]
fn on_a_terminal_the_first_start_shows_the_secret_it_made() {
    let data = tempfile::tempdir().unwrap();
    let ours =
        rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
    rustix::pty::grantpt(&ours).unwrap();
    rustix::pty::unlockpt(&ours).unwrap();
    let name = rustix::pty::ptsname(&ours, Vec::new()).unwrap();
    let theirs = fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = ringcask(data.path(), &[]);
    command.stdout(theirs);
    let child = command.spawn().unwrap();
    // Else a node that does not start would leave its terminal open, and the reader below waiting.
    drop(command);
    let mut node = Node { child, address: SocketAddr::from(([0; 4], 0)), printed: String::new() };
    let mut out = BufReader::new(fs::File::from(ours));
    while !node.printed.contains("listening on ") {
        out.read_line(&mut node.printed).unwrap_or_else(|error| panic!("{error}: {}", node.printed));
    }
    let secret = exported(&node.printed, "AWS_SECRET_ACCESS_KEY");
    assert_eq!(secret.len(), 40, "{}", node.printed);
    assert!(fs::read_to_string(data.path().join("root-credentials.toml")).unwrap().contains(secret));
    node.stop();
}

#[test]
fn credentials_from_the_environment_are_neither_shown_nor_stored() {
    let data = tempfile::tempdir().unwrap();
    let mut command = ringcask(data.path(), &[]);
    command.env("RINGCASK_ROOT_USER", "someone").env("RINGCASK_ROOT_PASSWORD", "a long secret");
    let node = Node::start(command);
    assert!(!node.printed.contains("a long secret"), "{}", node.printed);
    assert!(!data.path().join("root-credentials.toml").exists());
    node.stop();

    let mut command = ringcask(data.path(), &[]);
    command.env("RINGCASK_ROOT_USER", "someone").env("RINGCASK_ROOT_PASSWORD", "short");
    assert!(refusal(command).contains("RINGCASK_ROOT_PASSWORD: a secret access key has 8"));
}

#[test]
fn the_bare_command_and_serve_do_the_same() {
    for arguments in [&[][..], &["serve"]] {
        let data = tempfile::tempdir().unwrap();
        let node = Node::start(ringcask(data.path(), arguments));
        let answer = node.ask("GET / HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("<Code>AccessDenied</Code>"), "{answer}");
        node.stop();
    }
}

#[test]
fn every_core_answers_and_few_connections_are_enough_for_all() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(ringcask(data.path(), &["--cores", "4"]));
    let request = b"GET / HTTP/1.1\r\nHost: node\r\n\r\n";
    // All are open at once, so that each core gets some of them.
    let mut streams: Vec<_> = (0..16).map(|_| TcpStream::connect(node.address).unwrap()).collect();
    for _ in 0..3 {
        for stream in &mut streams {
            stream.write_all(request).unwrap();
        }
        for stream in &mut streams {
            let mut start = [0; 13];
            stream.read_exact(&mut start).unwrap();
            assert_eq!(&start, b"HTTP/1.1 403 ");
            read_rest(stream);
        }
    }
    node.stop();
}

/// Reads what is left of an answer with a Content-Length, its first bytes being read.
fn read_rest(stream: &mut TcpStream) {
    let mut out = BufReader::with_capacity(1, stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    std::io::copy(&mut out.take(length), &mut std::io::sink()).unwrap();
}

#[test]
fn both_signals_end_a_node_in_order_even_with_idle_connections() {
    for signal in [Signal::TERM, Signal::INT] {
        let data = tempfile::tempdir().unwrap();
        let mut node = Node::start(ringcask(data.path(), &[]));
        let _idle: Vec<_> = (0..4).map(|_| TcpStream::connect(node.address).unwrap()).collect();
        node.signal(signal);
        assert_eq!(node.child.wait().unwrap().code(), Some(0));
        assert!(TcpStream::connect(node.address).is_err());
    }
}

/// A connection whose request never becomes whole, and which the node has begun to read.
fn half_a_request(node: &Node) -> TcpStream {
    let mut stream = TcpStream::connect(node.address).unwrap();
    // The answer to the first request shows that the connection is being served.
    stream.write_all(b"GET / HTTP/1.1\r\nHost: node\r\n\r\nGET / HTTP/1.1\r\nHost:").unwrap();
    let mut start = [0; 13];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 403 ");
    read_rest(&mut stream);
    stream
}

#[test]
fn a_request_that_never_ends_is_cut_when_the_time_to_drain_is_over() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::start(ringcask(data.path(), &["--drain-seconds", "0"]));
    let _stream = half_a_request(&node);
    node.signal(Signal::TERM);
    assert_eq!(node.child.wait().unwrap().code(), Some(0));
}

#[test]
fn two_signals_at_once_are_one_order_to_stop() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::start(ringcask(data.path(), &["--drain-seconds", "1"]));
    let _stream = half_a_request(&node);
    // Two of a kind could become one in the kernel.
    node.signal(Signal::TERM);
    node.signal(Signal::INT);
    assert_eq!(node.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_a_node_that_drains_at_once() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::start(ringcask(data.path(), &["--drain-seconds", "3600"]));
    let _stream = half_a_request(&node);
    node.signal(Signal::TERM);
    // Whatever follows at once is the same order, so it is given until it counts as another.
    let status = loop {
        match node.child.try_wait().unwrap() {
            Some(status) => break status,
            None => node.signal(Signal::TERM),
        }
        std::thread::yield_now();
    };
    assert_eq!(status.code(), Some(1));
    Node::start(ringcask(data.path(), &[])).stop();
}

#[test]
fn a_second_node_on_the_same_directory_is_refused_and_told_who_has_it() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(ringcask(data.path(), &[]));
    let error = refusal(ringcask(data.path(), &[]));
    assert!(error.contains(&format!("in use by another node (process {})", node.child.id())), "{error}");
    assert!(error.contains(data.path().to_str().unwrap()), "{error}");
    node.stop();
    Node::start(ringcask(data.path(), &[])).stop();
}

#[test]
fn a_directory_left_locked_by_a_killed_node_opens_again() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::start(ringcask(data.path(), &[]));
    node.child.kill().unwrap();
    node.child.wait().unwrap();
    Node::start(ringcask(data.path(), &[])).stop();
}

#[test]
fn a_directory_that_is_not_ours_is_refused_and_left_alone() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("holiday.jpg"), "x").unwrap();
    let error = refusal(ringcask(data.path(), &[]));
    assert!(error.contains("is not ours") && error.contains("holiday.jpg"), "{error}");
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
}

#[test]
fn a_port_in_use_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let error = refusal(ringcask(data.path(), &["--listen", &address]));
    assert!(error.contains(&address) && error.contains("in use"), "{error}");
}

#[test]
fn an_admin_port_in_use_is_refused_with_its_own_option() {
    let data = tempfile::tempdir().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let error = refusal(ringcask(data.path(), &["--admin-listen", &address]));
    assert!(error.contains(&address) && error.contains("with --admin-listen"), "{error}");
}

#[test]
fn the_admin_api_can_be_off() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(ringcask(data.path(), &[]));
    assert!(node.printed.contains("administration on http://127.0.0.1:"), "{}", node.printed);
    node.stop();
    let node = Node::start(ringcask(data.path(), &["--admin-listen", "off"]));
    assert!(!node.printed.contains("administration"), "{}", node.printed);
    node.stop();
}

#[test]
fn data_sealed_with_another_master_key_is_refused() {
    let data = tempfile::tempdir().unwrap();
    Node::start(ringcask(data.path(), &[])).stop();
    let file = data.path().join("ringcask.master-key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = fs::read_to_string(&file).unwrap();

    let mut other = ringcask(data.path(), &[]);
    other.env("RINGCASK_MASTER_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    let error = refusal(other);
    assert!(error.contains("sealed with another master key"), "{error}");

    // The right key may come from anywhere; where it is missing, none is made in its place.
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("key");
    fs::rename(&file, &moved).unwrap();
    let error = refusal(ringcask(data.path(), &[]));
    assert!(error.contains("put the copy back"), "{error}");
    assert!(!file.exists());
    Node::start(ringcask(data.path(), &["--master-key-file", moved.to_str().unwrap()])).stop();
    let mut given = ringcask(data.path(), &[]);
    given.env("RINGCASK_MASTER_KEY", key.trim());
    Node::start(given).stop();
    assert!(!file.exists());
}

#[test]
fn credentials_that_others_can_read_are_refused_with_the_command_that_mends_it() {
    let data = tempfile::tempdir().unwrap();
    Node::start(ringcask(data.path(), &[])).stop();
    let file = data.path().join("root-credentials.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refusal(ringcask(data.path(), &[])).contains("chmod 600 "));
}

#[test]
fn a_misspelt_key_of_the_configuration_file_is_refused_with_a_suggestion() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("ringcask.toml");
    fs::write(&file, "lisen = '127.0.0.1:0'").unwrap();
    let error = refusal(ringcask(&data.path().join("data"), &["--config", file.to_str().unwrap()]));
    assert!(error.contains("did you mean 'listen'"), "{error}");
}

#[test]
fn several_drives_are_given_by_repeating_the_option() {
    let parent = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| parent.path().join(name));
    let arguments = ["--data", a.to_str().unwrap(), "--data", b.to_str().unwrap()];
    Node::start(ringcask(parent.path(), &arguments)).stop();
    assert!(a.join("ringcask.superblock").exists() && b.join("ringcask.superblock").exists());
    // One of two drives is no node.
    let error = refusal(ringcask(&a, &[]));
    assert!(!error.is_empty(), "{error}");
}
