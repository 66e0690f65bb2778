//! One core's thread: its runtime, its engine, its connections.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::life::{Life, Phase, Reporter};
use super::mesh::{Delivery, Exchange, Ports};
use super::placement::{Loads, Place};
use super::service::Counted;
use crate::auth::Keys;
use crate::base::local::Signal;
use crate::control::Settings;
use crate::control::credentials::Credentials;
use crate::engine::{self, Engine, Message, Reply};
use crate::io::Host;
use crate::net::{self, Connections};
use crate::ring::RingHost;
use crate::ring::runtime;
use crate::ring::socket::into_std;
use crate::s3::{self, S3Service};

/// Pause after an accept that failed for want of descriptors or memory: it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a core's thread starts from.
pub struct CoreStart {
    pub core: usize,
    pub settings: Arc<Settings>,
    pub credentials: Credentials,
    pub shared: Arc<engine::Shared>,
    pub ports: Ports<Message, Reply, Connection>,
    pub listener: TcpListener,
    pub loads: Arc<Loads>,
    pub life: Arc<Life>,
}

/// A connection on its way to the core that will serve it.
pub struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
}

/// Carries the engine's messages.
struct EngineMesh(Exchange<Message, Reply, Connection>);

impl engine::Mesh for EngineMesh {
    fn cores(&self) -> usize {
        self.0.cores()
    }

    fn me(&self) -> usize {
        self.0.me()
    }

    fn call(&self, to: usize, message: Message) -> std::pin::Pin<Box<dyn Future<Output = Reply>>> {
        Box::pin(self.0.call(to, message))
    }
}

/// The root account's key.
struct RootKey(Credentials);

impl Keys for RootKey {
    fn secret(&self, access_key_id: &str) -> Option<String> {
        let known = access_key_id == self.0.access_key_id;
        known.then(|| self.0.secret_access_key.reveal().to_owned())
    }
}

/// What a core's tasks share.
struct Core {
    core: usize,
    host: RingHost,
    engine: Engine<RingHost>,
    exchange: Exchange<Message, Reply, Connection>,
    loads: Arc<Loads>,
    life: Arc<Life>,
    service: Rc<Counted<S3Service<RingHost>>>,
    connections: Connections,
    /// Raised when the phase may have changed.
    changed: Signal,
}

/// Runs a core until the process ends.
pub fn run(start: CoreStart, config: runtime::Config, mut reporter: Reporter) {
    let number = start.core;
    let live = |host| live(host, start, &mut reporter);
    // It only ends by failing.
    let Err(error) = runtime::run(config, live).and_then(|result| result);
    reporter.report(number, Err(error.to_string()));
}

/// Takes a core through the phases. It never ends by itself: the runtime must not be dropped while the
/// kernel may write into buffers of connections that were cut, so the process ends instead.
async fn live(host: RingHost, start: CoreStart, reporter: &mut Reporter) -> io::Result<Infallible> {
    let number = start.core;
    let drain_max = start.settings.drain;
    let listener = monoio::net::TcpListener::from_std(start.listener.try_clone()?)?;
    let core = Core::connect(host, start);
    let mut done = |result: Result<(), String>| reporter.report(number, result);

    done(core.engine.recover().await.map_err(|error| format!("cannot open the data: {error}")));
    core.reach(Phase::Serving).await;
    core.accept(&listener).await;
    let left = core.connections.drain(drain_max).await;
    if left > 0 {
        tracing::warn!("core {number}: {left} requests did not end in time");
    }
    done(Ok(()));
    core.reach(Phase::Closing).await;
    done(core.engine.shutdown().await.map_err(|error| format!("cannot write the checkpoint: {error}")));
    core.reach(Phase::Closed).await;
    core.exchange.close();
    std::future::pending().await
}

impl Core {
    /// Joins the layers on this core and begins to answer the others.
    fn connect(host: RingHost, start: CoreStart) -> Rc<Self> {
        let CoreStart { core, settings, credentials, shared, ports, loads, life, .. } = start;
        let exchange = Exchange::new(ports, Reply::stopping);
        let options = engine::Options { cache_bytes: settings.cache_bytes, ..engine::Options::default() };
        let mesh = Rc::new(EngineMesh(exchange.clone()));
        let engine = Engine::new(host.clone(), mesh, shared, options);
        let protocol = s3::Settings {
            region: settings.region.clone(),
            domains: settings.domains.clone(),
            new_buckets: settings.new_buckets,
            lifecycle_day_ms: settings.lifecycle_day.as_millis() as u64,
            notification_targets: settings.notification_targets.clone(),
            ..s3::Settings::default()
        };
        let service = S3Service::new(engine.clone(), protocol, Rc::new(RootKey(credentials)));
        let this = Rc::new(Self {
            core,
            service: Rc::new(Counted { service, loads: loads.clone(), core }),
            connections: Connections::new(net::Limits::default()),
            changed: Signal::default(),
            host,
            engine,
            exchange,
            loads,
            life,
        });
        let woken = this.clone();
        this.host.on_wake(Rc::new(move || woken.look()));
        let wakeup = this.host.wakeup();
        this.exchange.connect(move || wakeup.wake());
        this.look();
        this
    }

    /// Takes what other threads left: calls, replies, connections, a new phase.
    fn look(self: &Rc<Self>) {
        self.exchange.receive(|delivery| match delivery {
            Delivery::Request(caller, message) => {
                let answer = self.engine.handle(message);
                let exchange = self.exchange.clone();
                self.host.spawn(async move { exchange.reply(caller, answer.await) });
            }
            Delivery::Connection(connection) => self.take_over(connection),
        });
        self.changed.raise();
    }

    /// Waits until the node has come to `phase`.
    async fn reach(&self, phase: Phase) {
        loop {
            // Asked for before looking, so that no change falls in between.
            let changed = self.changed.wait();
            if self.life.reached(phase) {
                return;
            }
            changed.await;
        }
    }

    /// Accepts connections until the listening socket is shut, which is how draining begins.
    async fn accept(self: &Rc<Self>, listener: &monoio::net::TcpListener) {
        while !self.life.reached(Phase::Draining) {
            match listener.accept().await {
                Ok((stream, peer)) => self.place(stream, peer),
                Err(_) if self.life.reached(Phase::Draining) => return,
                // accept(2): errors of the connection that was to be accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!("cannot accept connections: {error}");
                    self.host.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Has the least loaded core serve a new connection. When all are full, this core refuses it.
    fn place(self: &Rc<Self>, stream: monoio::net::TcpStream, peer: SocketAddr) {
        let place = self.loads.place(self.core);
        if place.core() == self.core {
            return self.serve(stream, peer, place);
        }
        let to = place.core();
        let connection = Connection { stream: into_std(stream), peer, place };
        if let Err(mut connection) = self.exchange.hand_over(to, connection) {
            // Its queue is full: it is busy enough.
            connection.place = connection.place.moved_to(self.core);
            self.take_over(connection);
        }
    }

    /// Serves a connection that came from another core, or nearly went there.
    fn take_over(self: &Rc<Self>, Connection { stream, peer, place }: Connection) {
        match monoio::net::TcpStream::from_std(stream) {
            Ok(stream) => self.serve(stream, peer, place),
            Err(error) => tracing::warn!("a connection of {peer} was lost: {error}"),
        }
    }

    fn serve(self: &Rc<Self>, stream: monoio::net::TcpStream, peer: SocketAddr, place: Place) {
        let core = self.clone();
        self.host.spawn(async move {
            net::serve_connection(stream, peer, core.service.clone(), core.connections.clone()).await;
            drop(place);
        });
    }
}
