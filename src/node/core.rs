//! One core's thread: its runtime, its engine, its connections.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::counts::Counts;
use super::descriptors::Descriptors;
use super::life::Reporter;
use super::mesh::{Delivery, Exchange, Ports};
use super::pace::Pace;
use super::phase::{Life, Phase};
use super::placement::{Loads, Place};
use super::service::Counted;
use crate::auth::directory::Operator;
use crate::base::instruments::Durations;
use crate::base::limits::{ADMIN_CONNECTIONS_MAX, EVENTS_SETTLE_MS_MAX};
use crate::base::local::{Receiver, Semaphore, Signal, oneshot};
use crate::base::secret::Secret;
use crate::control::Settings;
use crate::control::about::About;
use crate::control::admin::AdminService;
use crate::control::audit::CoreAudit;
use crate::control::credentials::Credentials;
use crate::control::delivery::{Mailbox, Webhooks};
use crate::control::drain::Drain;
use crate::control::health::Health;
use crate::control::identities::LiveIdentities;
use crate::control::logging::Log;
use crate::control::metrics::{CoreCounts, Metrics};
use crate::control::tls::Tls;
use crate::crypt::MasterKey;
use crate::engine::{self, BucketId, Engine, EngineError, Message, Reply};
use crate::io::Host;
use crate::net::{self, Connections};
use crate::ring::RingHost;
use crate::ring::runtime;
use crate::ring::socket::into_std;
use crate::s3::audit::Audit;
use crate::s3::journal::Journal;
use crate::s3::notification::{self, Courier};
use crate::s3::{self, S3Service};

/// Pause after an accept that failed for want of descriptors or memory: it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a core's thread starts from.
pub struct CoreStart {
    pub core: usize,
    pub settings: Arc<Settings>,
    pub credentials: Credentials,
    pub master_key: Arc<MasterKey>,
    pub webhooks: Webhooks,
    pub log: Log,
    /// The access log, if one is wanted.
    pub audit: Option<CoreAudit>,
    /// The admin API's listening socket: core 0's alone.
    pub admin: Option<TcpListener>,
    pub descriptors: Descriptors,
    pub shared: Arc<engine::Shared>,
    pub ports: Ports<Question, Answer, Connection>,
    pub listener: TcpListener,
    /// Where plain HTTP is served beside TLS.
    pub plain: Option<TcpListener>,
    /// What connections of `listener` begin with; `None`: nothing, they are plain.
    pub tls: Option<Arc<Tls>>,
    pub loads: Arc<Loads>,
    pub drain: Arc<Drain>,
    pub about: Arc<About>,
    /// What whoever asks for metrics must send.
    pub metrics_token: Option<Secret>,
    pub life: Arc<Life>,
}

/// A connection on its way to the core that will serve it.
pub struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    is_tls: bool,
    place: Place,
    /// When it was accepted.
    accepted: Duration,
}

/// What cores ask each other.
#[expect(clippy::large_enum_variant, reason = "nearly all questions are the engine's, and go without a box")]
pub enum Question {
    Engine(Message),
    /// What have you counted, and what do you own of these buckets?
    Counts(Arc<[BucketId]>),
}

/// The answer to a [`Question`].
pub enum Answer {
    Engine(Reply),
    Counts(Box<CoreCounts>),
}

impl Answer {
    fn stopping() -> Self {
        Self::Engine(Reply::stopping())
    }
}

/// Carries the engine's messages.
struct EngineMesh(Exchange<Question, Answer, Connection>);

impl engine::Mesh for EngineMesh {
    fn cores(&self) -> usize {
        self.0.cores()
    }

    fn me(&self) -> usize {
        self.0.me()
    }

    fn call(&self, to: usize, message: Message) -> std::pin::Pin<Box<dyn Future<Output = Reply>>> {
        let call = self.0.call(to, Question::Engine(message));
        Box::pin(async move {
            match call.await {
                Answer::Engine(reply) => reply,
                Answer::Counts(_) => Reply::stopping(),
            }
        })
    }
}

/// What a core's tasks share.
struct Core {
    core: usize,
    host: RingHost,
    engine: Engine<RingHost>,
    exchange: Exchange<Question, Answer, Connection>,
    counts: Rc<Counts>,
    loads: Arc<Loads>,
    life: Arc<Life>,
    identities: Rc<LiveIdentities<RingHost>>,
    /// Fingerprint of the master key that this start is to forget.
    forgotten_master_key: Option<String>,
    service: Rc<Counted<S3Service<RingHost>, RingHost>>,
    courier: Rc<dyn Courier>,
    /// What webhooks accepted of this core's events.
    mailbox: Arc<Mailbox>,
    /// Raised when the delivery of events can go on.
    delivery_work: Signal,
    admin: Rc<AdminService<RingHost>>,
    is_admin_tls: bool,
    /// Places for connections of the admin API.
    admin_places: Semaphore,
    /// Places for connections that are told that there are too many.
    refusal_places: Semaphore,
    connections: Connections,
    tls: Option<Arc<Tls>>,
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
    let admin = match &start.admin {
        Some(admin) => Some(monoio::net::TcpListener::from_std(admin.try_clone()?)?),
        None => None,
    };
    let plain = match &start.plain {
        Some(plain) => Some(monoio::net::TcpListener::from_std(plain.try_clone()?)?),
        None => None,
    };
    let is_tls = start.tls.is_some();
    let core = Core::connect(host, start);
    let mut done = |result: Result<(), String>| reporter.report(number, result);

    done(core.recover().await);
    core.reach(Phase::Serving).await;
    if let Some(admin) = admin {
        let core = core.clone();
        core.host.clone().spawn(async move { core.accept_admin(&admin).await });
    }
    if let Some(plain) = plain {
        let core = core.clone();
        core.host.clone().spawn(async move { core.accept(&plain, false).await });
    }
    core.spawn_lifecycle();
    let counts = core.counts.clone();
    core.host.spawn(async move { counts.watch_loop().await });
    let delivery = core.spawn_delivery();
    core.accept(&listener, is_tls).await;
    let left = core.connections.drain(drain_max).await;
    if left > 0 {
        tracing::warn!("core {number}: {left} requests did not end in time");
    }
    core.settle(delivery).await;
    done(Ok(()));
    core.reach(Phase::Closing).await;
    done(match core.engine.shutdown().await {
        Err(EngineError::Full) => {
            tracing::warn!(
                "core {number}: the drive has no room for a checkpoint; the next start reads the log"
            );
            Ok(())
        }
        ended => ended.map_err(|error| format!("cannot write the checkpoint: {error}")),
    });
    core.reach(Phase::Closed).await;
    core.exchange.close();
    std::future::pending().await
}

impl Core {
    /// Joins the layers on this core and begins to answer the others.
    fn connect(host: RingHost, start: CoreStart) -> Rc<Self> {
        let CoreStart { core, settings, credentials, master_key, webhooks, metrics_token, .. } = start;
        let CoreStart { descriptors, shared, ports, loads, drain, about, life, tls, log, audit, .. } = start;
        let exchange = Exchange::new(ports, Answer::stopping);
        let options = engine::Options {
            cache_bytes: settings.cache_bytes,
            open_files_max: descriptors.files,
            scrub_bytes_per_second: settings.scrub_bytes_per_second,
            accept_damage: settings.accept_damage,
            ..engine::Options::default()
        };
        let mesh = Rc::new(EngineMesh(exchange.clone()));
        let engine = Engine::new(host.clone(), mesh, shared, options);
        let protocol = s3::Settings {
            region: settings.region.clone(),
            domains: settings.domains.clone(),
            new_buckets: settings.new_buckets,
            lifecycle_day_ms: settings.lifecycle_day.as_millis() as u64,
            notification_targets: settings.notification_targets.clone(),
            sse_c_over_http: settings.sse_c_over_http,
            ..s3::Settings::default()
        };
        let operator = Operator {
            account_id: protocol.account_id.clone(),
            canonical_id: protocol.owner_id.clone(),
            name: protocol.owner_name.clone(),
            access_key_id: credentials.access_key_id,
            secret: credentials.secret_access_key,
        };
        let identities = LiveIdentities::new(engine.clone(), operator, master_key.clone());
        let health = {
            let life = life.clone();
            let is_ending = move || life.reached(Phase::Draining);
            Health::new(engine.clone(), settings.data.clone(), drain.clone(), is_ending)
        };
        let admin =
            AdminService::new(engine.clone(), identities.clone(), settings.region.clone(), health.clone());
        let audit = audit.map(Rc::new);
        let recorder = audit.clone().map(|audit| audit as Rc<dyn Audit>);
        let journal = Journal::new(core, recorder, settings.slow_request);
        let wakeup = host.wakeup();
        let mailbox = Mailbox::new(move || wakeup.wake());
        let courier: Rc<dyn Courier> = Rc::new(webhooks.courier(core, mailbox.clone()));
        let service = S3Service::new(engine.clone(), protocol, identities.clone())
            .with_master_key(master_key)
            .with_courier(courier.clone())
            .with_journal(journal.clone());
        let domains = settings.domains.clone();
        let service = Rc::new(Counted {
            engine: engine.clone(),
            service,
            health,
            domains,
            loads: loads.clone(),
            drain,
            core,
        });
        let connections = Connections::sharing(net::Limits::default(), host.pool().clone())
            .paced(Rc::new(Pace::new(host.clone())));
        let counts = Rc::new(Counts {
            core,
            host: host.clone(),
            engine: engine.clone(),
            service: service.clone(),
            connections: connections.clone(),
            exchange: exchange.clone(),
            loads: loads.clone(),
            accepting: Durations::default(),
            loop_delay: Durations::default(),
            audit,
            log: log.clone(),
        });
        let metrics = Metrics::new(engine.clone(), Box::new(counts.clone()), tls.clone(), metrics_token);
        let this = Rc::new(Self {
            core,
            service,
            counts,
            courier,
            mailbox,
            delivery_work: Signal::default(),
            identities,
            forgotten_master_key: settings.forget_master_key.clone(),
            admin: Rc::new(admin.with_metrics(metrics).with_log(log).with_journal(journal).with_about(about)),
            is_admin_tls: settings.admin_tls,
            admin_places: Semaphore::new(ADMIN_CONNECTIONS_MAX),
            connections,
            refusal_places: Semaphore::new(descriptors.refusals),
            tls,
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
        this.exchange.connect(move || wakeup.wake(), || this.look());
        this
    }

    /// Carries out the lifecycle rules of buckets, beside requests.
    fn spawn_lifecycle(self: &Rc<Self>) {
        let core = self.clone();
        self.host.spawn(async move {
            s3::lifecycle::run(&core.service.service, || core.life.reached(Phase::Draining)).await;
        });
    }

    /// Brings events to their targets. The receiver hears when the node ends and none is under way.
    fn spawn_delivery(self: &Rc<Self>) -> Receiver<()> {
        let (settled, delivery) = oneshot();
        let core = self.clone();
        self.host.spawn(async move {
            let (engine, courier) = (core.engine.clone(), core.courier.clone());
            let is_ending = || core.life.reached(Phase::Draining);
            notification::delivery::run(engine, courier, core.delivery_work.clone(), is_ending).await;
            settled.send(());
        });
        delivery
    }

    /// Waits a while for the end of what [`Core::spawn_delivery`] began.
    async fn settle(&self, delivery: Receiver<()>) {
        let over = Signal::default();
        let waiting = over.wait();
        let end = over.clone();
        self.host.spawn(async move {
            delivery.await;
            end.raise();
        });
        let pause = self.host.sleep(Duration::from_millis(EVENTS_SETTLE_MS_MAX));
        self.host.spawn(async move {
            pause.await;
            over.raise();
        });
        waiting.await;
    }

    /// Reads the data, and checks that its secrets can be opened.
    async fn recover(&self) -> Result<(), String> {
        self.engine.recover().await.map_err(|error| format!("cannot open the data: {error}"))?;
        let forgotten = self.forgotten_master_key.as_deref();
        self.identities.check(forgotten)?;
        if self.core == 0 {
            // It ends when all cores have recovered; nothing is served before.
            self.identities.settle(forgotten).await?;
        }
        Ok(())
    }

    /// Takes what other threads left: calls, replies, connections, a new phase.
    fn look(self: &Rc<Self>) {
        let mut answered = Vec::new();
        self.exchange.receive(|delivery| match delivery {
            Delivery::Request(caller, Question::Engine(message)) => match self.engine.answer_now(&message) {
                Some(reply) => answered.push((caller, reply)),
                None => {
                    let (exchange, answer) = (self.exchange.clone(), self.engine.handle(message));
                    self.host.spawn(async move { exchange.reply(caller, Answer::Engine(answer.await)) });
                }
            },
            Delivery::Request(caller, Question::Counts(buckets)) => {
                let core = self.clone();
                self.host.spawn(async move {
                    let counts = Box::new(core.counts.snapshot(&buckets));
                    core.exchange.reply(caller, Answer::Counts(counts));
                });
            }
            Delivery::Connection(connection) => self.take_over(connection),
        });
        // Not before all queues were emptied: whoever is answered may send more at once.
        for (caller, reply) in answered {
            self.exchange.reply(caller, Answer::Engine(reply));
        }
        self.changed.raise();
        if self.mailbox.has_news() || self.life.reached(Phase::Draining) {
            self.delivery_work.raise();
        }
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
    async fn accept(self: &Rc<Self>, listener: &monoio::net::TcpListener, is_tls: bool) {
        self.accept_on(listener, |stream, peer| self.place(stream, peer, is_tls)).await;
    }

    /// The same for the admin API, whose connections stay on this core.
    async fn accept_admin(self: &Rc<Self>, listener: &monoio::net::TcpListener) {
        self.accept_on(listener, |stream, peer| {
            let core = self.clone();
            self.host.spawn(async move {
                let (service, connections) = (core.admin.clone(), core.connections.clone());
                let tls = core.tls.as_ref().filter(|_| core.is_admin_tls).map(|tls| tls.config());
                match core.admin_places.try_acquire(1) {
                    Some(_place) => net::serve_connection(stream, peer, tls, service, connections).await,
                    None => net::refuse_connection(stream, peer, tls, service, connections).await,
                }
            });
        })
        .await;
    }

    async fn accept_on(
        &self,
        listener: &monoio::net::TcpListener,
        take: impl Fn(monoio::net::TcpStream, SocketAddr),
    ) {
        let mut failing = false;
        while !self.life.reached(Phase::Draining) {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    failing = false;
                    take(stream, peer);
                }
                Err(_) if self.life.reached(Phase::Draining) => return,
                // accept(2): errors of the connection that was to be accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!("cannot accept connections: {error}; trying again until it works");
                    }
                    self.host.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Has the least loaded core serve a new connection, of those whose drives are well. When all are full, this core
    /// refuses it.
    fn place(self: &Rc<Self>, stream: monoio::net::TcpStream, peer: SocketAddr, is_tls: bool) {
        let place = self.loads.place(self.core, |core| self.engine.is_sound(core));
        let accepted = self.host.monotonic();
        if place.core() == self.core {
            return self.serve(stream, peer, is_tls, place, accepted);
        }
        let to = place.core();
        let connection = Connection { stream: into_std(stream), peer, is_tls, place, accepted };
        if let Err(mut connection) = self.exchange.hand_over(to, connection) {
            // Its queue is full: it is busy enough.
            connection.place = connection.place.moved_to(self.core);
            self.take_over(connection);
        }
    }

    /// Serves a connection that came from another core, or nearly went there.
    fn take_over(self: &Rc<Self>, connection: Connection) {
        let Connection { stream, peer, is_tls, place, accepted } = connection;
        match monoio::net::TcpStream::from_std(stream) {
            Ok(stream) => self.serve(stream, peer, is_tls, place, accepted),
            Err(error) => tracing::warn!("a connection of {peer} was lost: {error}"),
        }
    }

    /// Serves a connection that was accepted at `accepted`.
    fn serve(
        self: &Rc<Self>,
        stream: monoio::net::TcpStream,
        peer: SocketAddr,
        is_tls: bool,
        place: Place,
        accepted: Duration,
    ) {
        let core = self.clone();
        self.host.spawn(async move {
            let waited = core.host.monotonic().saturating_sub(accepted);
            core.counts.accepting.observe_duration(waited);
            let (service, connections) = (core.service.clone(), core.connections.clone());
            let tls = core.tls.as_ref().filter(|_| is_tls).map(|tls| tls.config());
            if !place.is_beyond_limit() {
                net::serve_connection(stream, peer, tls, service, connections).await;
            } else if let Some(_place) = core.refusal_places.try_acquire(1) {
                net::refuse_connection(stream, peer, tls, service, connections).await;
            }
            drop(place);
        });
    }
}
