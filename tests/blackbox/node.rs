//! One `ringcask` process on a folder of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::Client;
use crate::process::Process;
use crate::sign::Credentials;

/// Bounds every start and stop: generous, because the machine may be busy; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Options {
    pub cores: usize,
    /// Folders given with `--data`, made beside each other.
    pub drives: usize,
    /// Folders given with `--data` instead of those.
    pub folders: Vec<PathBuf>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Whom clients trust: with it they speak https.
    pub authority: Option<PathBuf>,
    /// Limits of the process, as arguments of the shell's `ulimit`.
    pub limits: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cores: 2,
            drives: 1,
            folders: Vec::new(),
            arguments: Vec::new(),
            authority: None,
            limits: Vec::new(),
        }
    }
}

pub struct Node {
    options: Options,
    process: Option<Child>,
    address: SocketAddr,
    admin: SocketAddr,
    /// Where plain HTTP is served beside TLS.
    plain: Option<SocketAddr>,
    folder: TempDir,
    credentials: Credentials,
}

impl Node {
    /// A node with two cores on an empty folder.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    pub fn start_with(options: Options) -> Self {
        let folder =
            tempfile::Builder::new().prefix("node-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut node = Self {
            options,
            process: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            plain: None,
            folder,
            credentials: Credentials {
                access_key_id: "AKIATESTTESTTESTTEST".to_owned(),
                secret_key: "secret/of+the=tests0123456789012345678901".to_owned(),
                region: "us-east-1".to_owned(),
            },
        };
        node.launch();
        node
    }

    fn command(&self) -> Command {
        let mut command = if self.options.limits.is_empty() {
            Command::new(binary())
        } else {
            let limits: String =
                self.options.limits.iter().map(|limit| format!("ulimit {limit} && ")).collect();
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("{limits}exec \"$0\" \"$@\"")).arg(binary());
            shell
        };
        for drive in 0..self.drives() {
            command.arg("--data").arg(self.data(drive));
        }
        for (name, _) in std::env::vars_os() {
            // Those of the tests would be refused as settings that are none.
            if name.to_string_lossy().starts_with("RINGCASK_") {
                command.env_remove(name);
            }
        }
        command
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--cores", &self.options.cores.to_string()])
            .args(&self.options.arguments)
            .env("RINGCASK_ROOT_USER", &self.credentials.access_key_id)
            .env("RINGCASK_ROOT_PASSWORD", &self.credentials.secret_key)
            .stdin(Stdio::null());
        command
    }

    fn drives(&self) -> usize {
        if self.options.folders.is_empty() { self.options.drives } else { self.options.folders.len() }
    }

    /// Folder of a drive.
    pub fn data(&self, drive: usize) -> PathBuf {
        match self.options.folders.get(drive) {
            Some(folder) => folder.clone(),
            None => self.folder.path().join(format!("data{drive}")),
        }
    }

    /// A folder beside the node's data, for clients.
    pub fn scratch(&self) -> PathBuf {
        let path = self.folder.path().join("scratch");
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process as the kernel sees it.
    pub fn process(&self) -> Process {
        Process::new(self.process.as_ref().expect("the node runs").id())
    }

    /// Where plain HTTP is served beside TLS.
    pub fn plain(&self) -> SocketAddr {
        self.plain.expect("a node with --listen-http")
    }

    /// Whom clients trust, if they speak https.
    pub fn authority(&self) -> Option<&Path> {
        self.options.authority.as_deref()
    }

    /// Sends the process SIGHUP.
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// Where the admin API listens.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    #[track_caller]
    pub fn client(&self) -> Client {
        Client::new(self.address, self.credentials.clone())
    }

    /// A client, and a bucket made with it.
    #[track_caller]
    pub fn client_with_bucket(&self, bucket: &str) -> Client {
        let mut client = self.client();
        client.put_bucket(bucket);
        client
    }

    /// Whether the process ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().expect("the node was started").try_wait().unwrap().is_some()
    }

    /// SIGKILL: the process gets no chance to write anything more.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the node runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// SIGTERM, and SIGKILL so much later: while the node ends, or after.
    pub fn kill_while_ending(&mut self, after: Duration) {
        self.ask_to_end();
        std::thread::sleep(after);
        self.kill();
    }

    fn ask_to_end(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(self.process.as_ref().expect("the node runs"));
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// SIGTERM, and the exit status.
    pub fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        self.wait()
    }

    /// Waits until the node has ended.
    fn wait(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the node runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                process.kill().unwrap();
                process.wait().unwrap();
                panic!("the node did not end within {PATIENCE:?}\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts a stopped node again on the same folder.
    pub fn restart(&mut self, cores: usize) {
        assert!(self.process.is_none(), "the node still runs");
        self.options.cores = cores;
        self.launch();
    }

    /// Starts a stopped node and kills it so much later: while it recovers, or after.
    pub fn kill_while_starting(&mut self, cores: usize, after: Duration) {
        assert!(self.process.is_none(), "the node still runs");
        self.options.cores = cores;
        self.spawn();
        std::thread::sleep(after);
        self.kill();
    }

    /// Starts a stopped node that must refuse to start; what it says.
    pub fn refuse(&mut self, cores: usize) -> String {
        assert!(self.process.is_none(), "the node still runs");
        self.options.cores = cores;
        let said = self.log_whole().len();
        self.spawn();
        let status = self.wait();
        let text = self.log_whole().split_off(said);
        assert!(!status.success(), "it did not refuse to start:\n{text}");
        text
    }

    /// The end of what the node wrote to stderr.
    pub fn log(&self) -> String {
        let text = self.log_whole();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// All that the node wrote to stderr.
    pub fn log_whole(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// What the node wrote to stderr after its first `since` bytes, once it says what it must: a thread of the node
    /// writes it, which may be later than an answer.
    #[track_caller]
    pub fn log_with(&self, since: usize, says: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.log_whole().split_off(since);
            if says(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "the log does not say it:\n{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("stderr")
    }

    fn spawn(&mut self) -> ChildStdout {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut process = self.command().stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdout = process.stdout.take().unwrap();
        self.process = Some(process);
        stdout
    }

    fn launch(&mut self) {
        let stdout = self.spawn();
        let (sender, receiver) = mpsc::channel();
        // Reads on to the end, so that the node never waits for a full pipe.
        std::thread::spawn(move || {
            let (mut admin, mut plain) = (String::new(), String::new());
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = line.trim().strip_prefix("administration on ") {
                    admin = address.split("://").nth(1).unwrap_or_default().to_owned();
                }
                if let Some(address) = line.trim().strip_prefix("without TLS on http://") {
                    plain = address.to_owned();
                }
                if let Some(url) = line.trim().strip_prefix("listening on ") {
                    let address = url.split("://").nth(1).unwrap_or_default();
                    let _ = sender.send((address.to_owned(), admin.clone(), plain.clone()));
                }
            }
        });
        match receiver.recv_timeout(PATIENCE) {
            Ok((address, admin, plain)) => {
                self.plain = plain.parse().ok();
                self.address = address.parse().unwrap();
                self.admin = admin.parse().unwrap();
            }
            Err(_) => panic!("the node did not say that it listens\n{}", self.log()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the node's stderr ends:\n{}\n---", self.log());
        }
    }
}

/// The binary under test.
pub fn binary() -> PathBuf {
    std::env::var_os("RINGCASK_BINARY")
        .map_or_else(|| Path::new(env!("CARGO_BIN_EXE_ringcask")).to_owned(), PathBuf::from)
}
