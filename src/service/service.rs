//! The service: a manager that prints its events, the receiver before it, the control socket beside it.

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::banner::Banner;
use super::config::Config;
use super::control::{self, Client, Socket};
use super::descriptors::connections_max;
use super::named_file::refused;
use super::operations::Operations;
use super::patience::{PAUSE, Patience};
use super::printable::printable;
use super::printer::Printer;
use super::receiver::{self, Door, Receiver};
use super::recurrence::Recurrence;
use super::secret::SigningSecret;
use super::server::{self, Limits};
use super::settings;
use crate::env::{Clock, Dir, Lock};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::manager::EventManager;
use crate::store::{Store, check_owner, check_unlocked, lock_without_store};

/// A service that has recovered its store, and takes deliveries.
pub struct Service {
    config: Config,
    manager: EventManager,
    store: Store,
    printer: Arc<Printer>,
    secrets: Vec<SigningSecret>,
    reception: Reception,
    address: SocketAddr,
    socket: Socket,
    /// The directory's lock, where no store in it has taken it.
    lock: Option<Lock>,
}

/// The receiver, which answers from the moment that its address is bound. It ends when this is dropped.
struct Reception {
    door: Arc<Door>,
    stop: watch::Sender<bool>,
    server: JoinHandle<Result<(), Error>>,
}

impl Reception {
    fn begin(listener: TcpListener, connections_max: usize) -> Self {
        let (door, (stop, stopping)) = (Arc::new(Door::default()), watch::channel(false));
        let limits = Limits::connections(connections_max);
        let service = receiver::service(Arc::clone(&door));
        let server = tokio::spawn(server::run(listener, service, limits, stopped(stopping)));
        Self { door, stop, server }
    }

    /// Ends it, and returns once its address is free.
    async fn end(self) -> Result<(), Error> {
        self.stop.send_replace(true);
        server::passed_on(self.server.await)
    }
}

/// Resolves when `stopping` becomes true, or when nobody is left to set it.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Why a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// It was asked to.
    Asked,
    /// Nobody reads the events that it prints any more; those that could not be printed are kept.
    OutputClosed,
}

impl Service {
    /// Opens the store, recovers it, and begins to process what is pending: each event is printed to `output` as one line of JSON.
    /// The receiver answers from the beginning on: `/livez` with 200, and deliveries with 503 until the store is recovered.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] names the process that has the data directory, and goes on having it; [`ErrorKind::Io`] if the address is
    /// taken; whatever opening a store may find.
    pub async fn start(mut config: Config, output: Box<dyn Write + Send>) -> Result<Self, Error> {
        // What does not fit is found before anything is created, and before workers run: a start that fails processes nothing.
        let configured = SigningSecret::configured(&config)?;
        for secret in &configured {
            if let Some(oddity) = secret.oddity() {
                let source = secret.source().to_string();
                tracing::warn!(
                    "the secret in {} {oddity}, which whoever signs hardly has: deliveries may all be refused",
                    printable(&source)
                );
            }
        }
        if configured.is_empty() {
            SigningSecret::generated_before(&config.data)?;
        }
        Socket::check(&config.data)?;
        if !config.in_memory {
            check_owner(&config.data)?;
        }
        config.connections_max = connections_max(config.connections_max);
        let (listener, address) = bind(&config).await?;
        let lock = if config.in_memory { Some(lock_without_store(&config.data)?) } else { None };
        if config.in_memory {
            let switch = settings::PERSISTENCE;
            tracing::warn!(
                "{switch} is false: events are in memory only, and nothing survives the end of this process"
            );
        }
        let reception = Reception::begin(listener, config.connections_max);
        let printer = Printer::new(output, config.handler_timeout, Clock::system());
        match open(&config, configured, &printer).await {
            Ok((manager, secrets, socket)) => {
                reception.door.open(receiver(&config, manager.clone(), &secrets));
                let store = manager.store();
                Ok(Self { config, manager, store, printer, secrets, reception, address, socket, lock })
            }
            Err(error) => {
                if let Err(also) = reception.end().await {
                    tracing::error!(error = ?also, "the receiver did not end in good order either");
                }
                Err(error)
            }
        }
    }

    /// Where the receiver listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to tell the person who started `program`: address, directory, what recovery did, which secrets are active (where they come
    /// from, never what they are), and what to try.
    pub fn banner(&self, program: &str) -> String {
        let banner = Banner {
            program,
            config: &self.config,
            address: self.address,
            store: &self.store.id(),
            epoch: self.store.epoch(),
            recovery: self.store.recovery(),
            secrets: &self.secrets,
        };
        banner.to_string()
    }

    /// Serves commands too, until `shutdown`, or until nobody reads the output any more. Then requests and handlers that run
    /// may end, and the store is closed: when this returns its lock is free.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<Ended, Error> {
        let Reception { stop, server, .. } = self.reception;
        let operations = Operations::of_manager(self.manager.clone());
        let (fail, failed) = oneshot::channel();
        let received = async {
            let received = server::passed_on(server.await);
            // Without the receiver the rest ends too. Nobody listens where it has been asked to.
            let _ = fail.send(());
            received
        };
        let controlled = control::run(self.socket, operations, &self.store, stopped(stop.subscribe()));
        let ended = async {
            let ended = tokio::select! {
                () = shutdown => Ended::Asked,
                () = self.printer.closed() => Ended::OutputClosed,
                _ = failed => Ended::Asked,
            };
            stop.send_replace(true);
            let running = self.store.gauges().processing_events;
            tracing::info!(running, "ending: requests may end within 10 s, and runs within 25 s after that");
            ended
        };
        let (ended, received, ()) = tokio::join!(ended, received, controlled);
        self.manager.shutdown().await.map_err(|error| ended_ill(&self.store, error))?;
        drop(self.lock);
        received.map(|()| ended)
    }
}

/// Says what to do if the store has failed. Whoever runs the service, unlike a program that embeds a store, has nothing to append again.
fn ended_ill(store: &Store, error: Error) -> Error {
    let Some(why) = store.gauges().poisoned else { return error };
    let text = format!(
        "the store has failed ({why}): see to the disk, then start the service again; senders that it did not answer come again"
    );
    Error::new(error.kind(), text).at_path(store.path())
}

fn receiver(config: &Config, manager: EventManager, secrets: &[SigningSecret]) -> Receiver {
    Receiver {
        manager,
        secrets: secrets.iter().map(|secret| secret.secret.clone()).collect(),
        body_bytes_max: config.body_bytes_max,
        bodies: receiver::bodies(),
        body_timeout: receiver::BODY_TIMEOUT,
        stale_tolerance: config.stale_tolerance,
        stale: config.stale,
        clock: Clock::system(),
        unproven: Recurrence::default(),
        unkept: Recurrence::default(),
    }
}

/// What a service needs that only the holder of the directory's lock may make: the manager, which holds it where the service does not, the
/// secrets, and the socket.
async fn open(
    config: &Config,
    configured: Vec<SigningSecret>,
    printer: &Arc<Printer>,
) -> Result<(EventManager, Vec<SigningSecret>, Socket), Error> {
    let manager = manager_once_free(config, printer).await?;
    let made = || {
        let secrets = if configured.is_empty() {
            vec![SigningSecret::generated(&Dir::open(&config.data).map_err(refused)?)?]
        } else {
            configured
        };
        Ok((secrets, Socket::bind(&config.data)?))
    };
    match made() {
        Ok((secrets, socket)) => Ok((manager, secrets, socket)),
        Err(error) => {
            if let Err(also) = manager.shutdown().await {
                tracing::error!(error = ?also, "the store was not closed in good order either");
            }
            Err(error)
        }
    }
}

async fn bind(config: &Config) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = async {
        let listener = listener(&config.listen).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|source: std::io::Error| {
        // Most often the address is taken by the very service that has the directory, and then that is what helps.
        if let Err(locked) = check_unlocked(&config.data) {
            return locked;
        }
        let message = format!("cannot listen on {}: choose another address with --listen ADDR", config.listen);
        Error::new(ErrorKind::Io, message).caused_by(source)
    })
}

/// Connections that the system holds until they are taken, as many as it allows. Where that is less than come at once, their senders try
/// again only a second later.
const BACKLOG: u32 = 4_096;

async fn listener(listen: &str) -> std::io::Result<TcpListener> {
    let listen_at = |address: SocketAddr| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // The connections of the process before may not be over yet.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let mut outcome = Err(std::io::ErrorKind::AddrNotAvailable.into());
    for address in tokio::net::lookup_host(listen).await? {
        outcome = listen_at(address);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Waits for a command that holds the store for its one action, but not for another service.
async fn manager_once_free(config: &Config, printer: &Arc<Printer>) -> Result<EventManager, Error> {
    let patience = Patience::begin();
    loop {
        match manager(config, printer).await {
            Err(error) if patience.is_left(&error) && !Client::has_listener(&config.data) => {
                tokio::time::sleep(PAUSE).await;
            }
            started => return started,
        }
    }
}

async fn manager(config: &Config, printer: &Arc<Printer>) -> Result<EventManager, Error> {
    let (printer, looked_at) = (Arc::clone(printer), Arc::clone(printer));
    let builder = EventManager::builder(&config.data);
    let builder = if config.in_memory { builder.in_memory() } else { builder };
    builder
        .store_options(config.store.clone())
        .queue_size(config.queue_size)
        .batch_size(config.batch_size)
        .batch_processing(config.batch_processing)
        .background_processing(config.background_processing)
        .processing_interval(config.processing_interval)
        .concurrency(config.concurrency)
        .handler_timeout(config.handler_timeout)
        .concern(move || looked_at.concern())
        .on("*", move |event: Event| Arc::clone(&printer).print(event))
        .start()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::reach::perform;
    use crate::service::{Given, Operation, Setting};

    /// A service that keeps its events in memory, or not.
    fn config(directory: &std::path::Path, in_memory: bool) -> Config {
        let listen = Setting::all().iter().find(|setting| setting.flag() == "listen").unwrap();
        let switch = [(settings::PERSISTENCE.into(), (!in_memory).to_string().into())];
        Given::new().environment(switch).data(directory).flag(listen, "127.0.0.1:0").resolve().unwrap()
    }

    async fn start(directory: &std::path::Path, in_memory: bool) -> Result<Service, Error> {
        Service::start(config(directory, in_memory), Box::new(std::io::sink())).await
    }

    fn names(directory: &std::path::Path) -> Vec<String> {
        Dir::open(directory).unwrap().names().unwrap()
    }

    #[tokio::test]
    async fn many_may_connect_at_once_before_any_of_them_is_served() {
        let listener = listener("localhost:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connect =
            |_| std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(900)).unwrap();
        let connections: Vec<_> = (0..300).map(connect).collect();
        drop(connections);
    }

    #[tokio::test]
    async fn without_persistence_nothing_but_lock_socket_and_secret_is_in_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let service = start(directory.path(), true).await.unwrap();
        assert!(service.banner("ledgerline").contains("in memory: nothing survives"));
        let manager = service.manager.clone();
        let id = manager.emit("T", 1).await.unwrap();
        assert!(manager.get(&id).await.unwrap().is_some());
        assert_eq!(names(directory.path()), ["LOCK", "control.sock", "secret"]);
        for in_memory in [true, false] {
            let error = start(directory.path(), in_memory).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        }
        service.run(std::future::ready(())).await.unwrap();
        assert_eq!(names(directory.path()), ["LOCK", "secret"]);
        assert_eq!(manager.emit("T", 1).await.unwrap_err().kind(), ErrorKind::Closed);

        let refused = perform(&config(directory.path(), true), &Operation::ReplayFailed {}, &mut |_| {
            std::ops::ControlFlow::Continue(())
        });
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAllowed);
        assert!(error.to_string().contains("LINEAR_EVENT_PERSISTENCE_ENABLED is false"), "{error}");
    }

    #[tokio::test]
    async fn a_store_in_the_directory_is_not_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        start(directory.path(), false).await.unwrap().run(std::future::ready(())).await.unwrap();
        let error = start(directory.path(), true).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotAllowed);
        assert!(error.to_string().contains("a store is in the directory"), "{error}");
    }
}
