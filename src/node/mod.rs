//! Starts the cores and joins the layers.
//!
//! The main thread checks everything that can be refused, opens what all cores share, starts one pinned
//! thread for each core and then waits: for the cores, which take the phases of [`phase`] together, and for
//! signals. It touches no request.

pub mod core;
pub mod counts;
pub mod descriptors;
pub mod life;
pub mod listener;
pub mod mesh;
pub mod pace;
pub mod phase;
pub mod placement;
pub mod service;
pub mod sync;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use crate::base::limits::NEW_DIRECTORY_BYTES_FREE_MIN;
use crate::control::about::{About, note_of_idle_drives};
use crate::control::audit::AuditLog;
use crate::control::data_directory::{self, DataDirectory};
use crate::control::delivery::Webhooks;
use crate::control::drain::Drain;
use crate::control::logging::Log;
use crate::control::origin::Setting;
use crate::control::tls::Tls;
use crate::control::{Settings, cli, config, credentials, logging, master_key, private_file};
use crate::engine::{self, SUPERBLOCK_NAMES};
use crate::ring::runtime;

use self::core::CoreStart;
use self::descriptors::Descriptors;
use self::life::{Event, Events};
use self::phase::{Life, Phase};
use self::placement::Loads;

/// Exit status after a panic, as Rust's own of a main thread that panicked.
const PANIC_STATUS: i32 = 101;

/// Runs a node until a signal ends it. `origins` says where each setting came from, `environment` looks a variable
/// up.
///
/// The process should end when this returns: cores may still have operations in flight.
///
/// # Errors
///
/// One sentence for the person at the prompt: why the node did not start, or had to stop.
pub fn run(
    settings: Settings,
    origins: Vec<Setting>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(), String> {
    let log = logging::start(&settings).map_err(|error| format!("cannot start the log: {error}"))?;
    let result = serve(settings, origins, environment, &log);
    log.flush();
    result
}

/// Runs a node whose log is open.
fn serve(
    settings: Settings,
    origins: Vec<Setting>,
    environment: impl Fn(&str) -> Option<String>,
    log: &Log,
) -> Result<(), String> {
    let events = Events::new().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let directories = data_directory::open_all(&settings.data, &SUPERBLOCK_NAMES, bytes_free_min(&settings))?;
    let listener = listener::bind(settings.listen, "--listen")?;
    let plain = settings.listen_http.map(|address| listener::bind(address, "--listen-http")).transpose()?;
    let admin = settings.admin_listen.map(|address| listener::bind(address, "--admin-listen")).transpose()?;
    let address = |listener: &TcpListener| {
        listener.local_addr().map_err(|error| format!("the socket has no address: {error}"))
    };
    let bound = address(&listener)?;
    let tls = Tls::start(&settings, &directories)?;
    let metrics_token = settings.metrics_token_file.as_ref();
    let metrics_token = metrics_token
        .map(|path| private_file::read_token("--metrics-token-file", path, "metrics"))
        .transpose()?;
    let endpoint_of = |listener: &Option<TcpListener>, is_tls| {
        let bound = listener.as_ref().map(address).transpose()?;
        Ok::<_, String>(bound.map(|bound| listener::endpoint(bound, is_tls)))
    };
    let admin_endpoint = endpoint_of(&admin, settings.admin_tls)?;
    let plain_endpoint = endpoint_of(&plain, false)?;
    let endpoint = listener::endpoint(bound, tls.is_some());
    let descriptors = Descriptors::obtain(settings.cores)?;
    end_process_on_panic(log.clone());

    let cores = settings.cores;
    tracing::info!(
        version = cli::VERSION,
        cores,
        region = settings.region,
        data = ?settings.data,
        "starting on {bound}",
    );
    let settings = Arc::new(settings);
    let shared = prepare(&settings, &directories)?;
    // Only now: what is shown once must not be lost among the messages of a start that was refused.
    let master_key_file = settings.master_key_file.as_deref();
    let (master_key, master_origin) = master_key::obtain(&environment, master_key_file, &directories)?;
    let master_key = Arc::new(master_key);
    let (credentials, origin) = credentials::obtain(&environment, directories[0].path())?;
    if let master_key::Origin::Made(path) = master_origin {
        show(&format!(
            "made the master key, kept in {};\nkeep a copy elsewhere: without it, access keys and encrypted \
             objects are lost\n\n",
            path.display()
        ));
    }
    let is_terminal = std::io::stdout().is_terminal();
    show(&credentials::instructions(&credentials, &origin, &settings.region, &endpoint, is_terminal));
    show(tls.as_ref().map_or("", |tls| tls.instructions()));
    let mut audit = AuditLog::start(&settings)?;
    let webhooks = Webhooks::start(&settings.notification_targets, cores)
        .map_err(|error| format!("cannot start the threads of webhooks: {error}"))?;
    let ports = mesh::ports(cores);
    let life = Life::new(ports[0].bells());
    let loads = Loads::new(cores, descriptors.connections);
    let drain = Drain::new(cores);
    let listeners = [
        Some(("S3", endpoint.clone())),
        plain_endpoint.clone().map(|endpoint| ("S3 without TLS", endpoint)),
        admin_endpoint.clone().map(|endpoint| ("administration", endpoint)),
    ];
    let listeners = listeners.into_iter().flatten().collect();
    let notes: Vec<String> = note_of_idle_drives(&settings.data, cores).into_iter().collect();
    notes.iter().for_each(|note| tracing::warn!("{note}"));
    let about = Arc::new(About { settings: origins, listeners, tls: tls.clone(), notes });
    for (core, ports) in ports.into_iter().enumerate() {
        let failed = |error: std::io::Error| format!("cannot start core {core}: {error}");
        let start = CoreStart {
            core,
            settings: settings.clone(),
            credentials: credentials.clone(),
            master_key: master_key.clone(),
            webhooks: webhooks.clone(),
            log: log.clone(),
            audit: audit.core(core),
            admin: match (&admin, core) {
                (Some(admin), 0) => Some(admin.try_clone().map_err(failed)?),
                _ => None,
            },
            descriptors,
            shared: shared.clone(),
            ports,
            listener: listener.try_clone().map_err(failed)?,
            plain: plain.as_ref().map(TcpListener::try_clone).transpose().map_err(failed)?,
            tls: tls.clone(),
            loads: loads.clone(),
            drain: drain.clone(),
            about: about.clone(),
            metrics_token: metrics_token.clone(),
            life: life.clone(),
        };
        let thread = thread::Builder::new().name(format!("core-{core}"));
        let config = runtime_config(&settings, &directories, Some(core));
        let reporter = events.reporter().map_err(failed)?;
        thread.spawn(move || core::run(start, config, reporter)).map_err(failed)?;
    }
    drop(shared);
    let listeners: Vec<TcpListener> = [Some(listener), plain, admin].into_iter().flatten().collect();
    let mut greeting = format!("listening on {endpoint}\n");
    if let Some(endpoint) = plain_endpoint {
        greeting.insert_str(0, &format!("without TLS on {endpoint}\n"));
    }
    if let Some(endpoint) = admin_endpoint {
        greeting.insert_str(0, &format!("administration on {endpoint}\n"));
    }
    let reload = || {
        audit.reopen();
        match &tls {
            Some(tls) => tls.reload(),
            None => tracing::info!("SIGHUP: there are no certificates to read again"),
        }
    };
    let mut events = Heeded { events, reload };
    let greet = || {
        // Who reads the greeting has what the start had to say.
        log.flush();
        show(&greeting);
    };
    let result = supervise(&mut events, &life, &listeners, cores, greet);
    audit.finish();
    result
}

/// What a new drive must have left: each of its cores begins with a log segment that is written once.
fn bytes_free_min(settings: &Settings) -> u64 {
    let cores_of_drive = settings.cores.div_ceil(settings.data.len()) as u64;
    NEW_DIRECTORY_BYTES_FREE_MIN + cores_of_drive * engine::Options::default().log_segment_bytes
}

/// Follows the cores through the phases. The data directories stay locked until the process ends.
fn supervise(
    events: &mut Heeded<impl Fn()>,
    life: &Life,
    listeners: &[TcpListener],
    cores: usize,
    greet: impl FnOnce(),
) -> Result<(), String> {
    // Nothing was acknowledged yet, so there is nothing to finish.
    if wait_for_cores(events, cores)? == Heard::Signal {
        tracing::info!("stopped while recovering");
        return Ok(());
    }
    life.advance(Phase::Serving);
    greet();
    wait_for_signal(events)?;

    tracing::info!("stopping: finishing requests under way");
    life.advance(Phase::Draining);
    for listener in listeners {
        listener::shut(listener).map_err(|error| format!("cannot stop listening: {error}"))?;
    }
    for phase in [Phase::Closing, Phase::Closed] {
        if wait_for_cores(events, cores)? == Heard::Signal {
            return Err("stopped at once by a second signal; the next start will replay the log".into());
        }
        life.advance(phase);
    }
    tracing::info!("stopped");
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    AllCores,
    Signal,
}

/// Waits until each core has reported, or a signal comes.
fn wait_for_cores(events: &mut Heeded<impl Fn()>, cores: usize) -> Result<Heard, String> {
    for _ in 0..cores {
        match events.next()? {
            News::Signal => return Ok(Heard::Signal),
            News::Core(core, report) => report.map_err(|why| format!("core {core}: {why}"))?,
        }
    }
    Ok(Heard::AllCores)
}

fn wait_for_signal(events: &mut Heeded<impl Fn()>) -> Result<(), String> {
    match events.next()? {
        News::Signal => Ok(()),
        News::Core(core, Err(why)) => Err(format!("core {core}: {why}")),
        News::Core(core, Ok(())) => Err(format!("core {core} stopped without a reason")),
    }
}

/// Events of which those that change no phase are dealt with on the way.
struct Heeded<F> {
    events: Events,
    reload: F,
}

/// An event that may change the phase.
enum News {
    Signal,
    Core(usize, Result<(), String>),
}

impl<F: Fn()> Heeded<F> {
    fn next(&mut self) -> Result<News, String> {
        loop {
            match self.events.wait().map_err(|error| format!("cannot wait for signals: {error}"))? {
                Event::Signal => return Ok(News::Signal),
                Event::Core(core, report) => return Ok(News::Core(core, report)),
                Event::Reload => (self.reload)(),
            }
        }
    }
}

fn prepare(settings: &Settings, directories: &[DataDirectory]) -> Result<Arc<engine::Shared>, String> {
    let (cores, accepts_damage) = (settings.cores, settings.accept_damage);
    let config = runtime_config(settings, directories, None);
    runtime::run(config, move |host| async move { engine::prepare(&host, cores, accepts_damage).await })
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("cannot open the data: {error}{}", legend(directories)))
}

/// Which numbers the drives have, where there are several.
fn legend(directories: &[DataDirectory]) -> String {
    if directories.len() < 2 {
        return String::new();
    }
    let named = directories.iter().enumerate();
    let named: Vec<String> =
        named.map(|(drive, directory)| format!("{drive} is {}", directory.path().display())).collect();
    format!(" (of the drives, {})", named.join(", "))
}

/// The runtime of a core, on its CPU; or one on no particular CPU.
fn runtime_config(
    settings: &Settings,
    directories: &[DataDirectory],
    core: Option<usize>,
) -> runtime::Config {
    let cpus = config::cpus();
    runtime::Config {
        arena_bytes: settings.arena_bytes,
        directories: directories.iter().map(|directory| directory.path().to_owned()).collect(),
        // More cores than CPUs share them.
        cores: settings.cores,
        cpu: core.map(|core| cpus[core % cpus.len()]),
        ..runtime::Config::default()
    }
}

/// Prints to standard output. Nobody may listen there, which is no reason to fail.
fn show(text: &str) {
    let mut out = std::io::stdout();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        tracing::debug!("standard output is closed");
    }
}

/// A panic on any thread ends the process before it unwinds: a node with a core less would answer for a part
/// of its keys only, and buffers of operations in flight must not be freed.
fn end_process_on_panic(log: Log) {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        log.flush();
        show(panic);
        let name = thread::current().name().unwrap_or("?").to_owned();
        eprintln!("ringcask: thread {name} failed by a defect of ringcask; the node stops");
        std::process::exit(PANIC_STATUS);
    }));
}
