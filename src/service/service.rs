//! The service: a manager that prints its events, the receiver before it, the control socket beside it.

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::banner::Banner;
use super::config::Config;
use super::control::{self, Socket};
use super::named_file::refused;
use super::operations::Operations;
use super::printer::Printer;
use super::receiver::{self, Receiver};
use super::secret::SigningSecret;
use super::server::{self, Limits};
use crate::env::{Clock, Dir};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::manager::EventManager;
use crate::store::{Store, check_unlocked};

/// A service that has recovered its store and is about to take deliveries.
pub struct Service {
    config: Config,
    manager: EventManager,
    store: Store,
    printer: Arc<Printer>,
    secrets: Vec<SigningSecret>,
    listener: TcpListener,
    address: SocketAddr,
    socket: Socket,
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
    /// The receiver's address is bound when this returns; deliveries are answered once [`Service::run`] runs.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] names the process that has the data directory; [`ErrorKind::Io`] if the address is taken; whatever
    /// opening a store may find.
    pub async fn start(config: Config, output: Box<dyn Write + Send>) -> Result<Self, Error> {
        // A secret that cannot be read is found before anything is created.
        let configured = SigningSecret::configured(&config)?;
        // Before workers run: a start that fails processes nothing.
        let bound = bind(&config).await?;
        let printer = Printer::new(output, config.handler_timeout);
        let manager = manager(&config, &printer).await?;
        match Self::assemble(config, configured, printer, manager.clone(), bound) {
            Ok(service) => Ok(service),
            Err(error) => {
                if let Err(also) = manager.shutdown().await {
                    tracing::error!(error = ?also, "the store was not closed in good order either");
                }
                Err(error)
            }
        }
    }

    fn assemble(
        config: Config,
        configured: Vec<SigningSecret>,
        printer: Arc<Printer>,
        manager: EventManager,
        (listener, address): (TcpListener, SocketAddr),
    ) -> Result<Self, Error> {
        // The manager holds the directory's lock from here on, so the secret and the socket are ours to make.
        let secrets = if configured.is_empty() {
            let dir = Dir::open(&config.data).map_err(refused)?;
            vec![SigningSecret::generated(&dir)?]
        } else {
            configured
        };
        let socket = Socket::bind(&config.data)?;
        let store = manager.store();
        Ok(Self { config, manager, store, printer, secrets, listener, address, socket })
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

    /// Takes deliveries and commands until `shutdown`, or until nobody reads the output any more. Then requests and handlers that run
    /// may end, and the store is closed: when this returns its lock is free.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<Ended, Error> {
        let router = receiver::router(Receiver {
            manager: self.manager.clone(),
            secrets: self.secrets.into_iter().map(|secret| secret.secret).collect(),
            body_bytes_max: self.config.body_bytes_max,
            body_timeout: receiver::BODY_TIMEOUT,
            stale_tolerance: self.config.stale_tolerance,
            clock: Clock::system(),
        });
        let operations = Operations::of_manager(self.manager.clone());
        let (stop, _) = watch::channel(false);
        let stopped = || {
            let mut stopping = stop.subscribe();
            async move {
                // The sender lives until all have ended.
                let _ = stopping.wait_for(|stopping| *stopping).await;
            }
        };
        let limits = Limits::connections(self.config.connections_max);
        let received = server::run(self.listener, router, limits, stopped());
        let controlled = control::run(self.socket, operations, &self.store, stopped());
        let ended = async {
            let ended = tokio::select! {
                () = shutdown => Ended::Asked,
                () = self.printer.closed() => Ended::OutputClosed,
            };
            let running = self.manager.stats().processing_events;
            tracing::info!(running, "ending: requests may end within 10 s, and runs within 25 s after that");
            stop.send_replace(true);
            ended
        };
        let (ended, (), ()) = tokio::join!(ended, received, controlled);
        self.manager.shutdown().await?;
        Ok(ended)
    }
}

async fn bind(config: &Config) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = async {
        let listener = TcpListener::bind(&config.listen).await?;
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

async fn manager(config: &Config, printer: &Arc<Printer>) -> Result<EventManager, Error> {
    let printer = Arc::clone(printer);
    EventManager::builder(&config.data)
        .store_options(config.store.clone())
        .queue_size(config.queue_size)
        .batch_size(config.batch_size)
        .batch_processing(config.batch_processing)
        .background_processing(config.background_processing)
        .processing_interval(config.processing_interval)
        .concurrency(config.concurrency)
        .handler_timeout(config.handler_timeout)
        .on("*", move |event: Event| Arc::clone(&printer).print(event))
        .start()
        .await
}
