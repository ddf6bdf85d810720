//! The service's end of the control socket.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::protocol::{self, Failure, Hello, REQUEST_BYTES_MAX, Reply, VERSION, line};
use super::socket::Socket;
use crate::env;
use crate::service::operations::{Access, Operations};
use crate::store::Store;

/// Commands that are served at once; further ones wait.
const CONNECTIONS_MAX: usize = 64;

/// How long a command may be connected without asking for anything.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// How long a command may leave its answer unread. Then it is let go, because there are only [`CONNECTIONS_MAX`] places.
const UNREAD_MAX: Duration = Duration::from_mins(5);

/// How long operations may still take once the service ends.
const GRACE: Duration = Duration::from_secs(5);

/// Lines of an answer that may wait for a slow command.
const LINES_WAITING_MAX: usize = 16;

/// What one connection needs.
#[derive(Clone)]
struct Desk {
    operations: Operations,
    hello: Hello,
    closing: watch::Receiver<bool>,
}

/// Serves commands until `shutdown`; then what runs may end within a grace, and the socket's name goes.
pub(in crate::service) async fn run(
    socket: Socket,
    operations: Operations,
    store: &Store,
    shutdown: impl Future<Output = ()>,
) {
    let (close, closing) = watch::channel(false);
    let hello = Hello { ledgerline: VERSION, store: store.id(), epoch: store.epoch(), pid: env::process_id() };
    let desk = Desk { operations, hello, closing };
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, socket.listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let desk = desk.clone();
                connections.spawn(async move {
                    if let Err(error) = desk.serve(stream).await {
                        tracing::debug!(%error, "a command went away");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a command");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    close.send_replace(true);
    drop(socket);
    let _ = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
}

impl Desk {
    async fn serve(mut self, stream: UnixStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        say(&self.hello, &mut stream, UNREAD_MAX).await?;
        while let Some(request) = self.next_request(&mut stream).await? {
            self.answer(request, &mut stream).await?;
        }
        Ok(())
    }

    /// The next request; none when the command has no more, or the service ends.
    async fn next_request(&mut self, stream: &mut BufReader<UnixStream>) -> io::Result<Option<Vec<u8>>> {
        let mut request = Vec::new();
        let mut limited = stream.take(REQUEST_BYTES_MAX);
        tokio::select! {
            read = tokio::time::timeout(IDLE_MAX, limited.read_until(b'\n', &mut request)) => { read??; }
            _ = self.closing.wait_for(|closing| *closing) => return Ok(None),
        }
        Ok(if request.ends_with(b"\n") { Some(request) } else { None })
    }

    async fn answer(&self, request: Vec<u8>, stream: &mut BufReader<UnixStream>) -> io::Result<()> {
        let operation = match protocol::request(&request) {
            Ok(operation) => operation,
            Err(error) => return say(&Reply::Error(Failure::from(&error)), stream, UNREAD_MAX).await,
        };
        // What changes events goes on when somebody reads on: let go, it would end half way.
        let patience = if operation.access() == Access::Read { UNREAD_MAX } else { Duration::MAX };
        let (lines, mut answer) = mpsc::channel(LINES_WAITING_MAX);
        let operations = self.operations.clone();
        // The store blocks its caller until the disk has answered.
        let performed = tokio::task::spawn_blocking(move || {
            operations.perform(operation, &mut |document| match lines.blocking_send(document) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            })
        });
        while let Some(document) = answer.recv().await {
            let line = RawValue::from_string(document).map(Reply::Line).map_err(io::Error::other)?;
            say(&line, stream, patience).await?;
        }
        let reply = match performed.await.map_err(io::Error::other)? {
            Ok(()) => Reply::Done(true),
            Err(error) => Reply::Error(Failure::from(&error)),
        };
        // All is done by now.
        say(&reply, stream, UNREAD_MAX).await
    }
}

/// Says it to a command, unless that leaves it unread for longer than `patience`.
async fn say(what: &impl Serialize, stream: &mut BufReader<UnixStream>, patience: Duration) -> io::Result<()> {
    let line = line(what).map_err(io::Error::other)?;
    tokio::time::timeout(patience, stream.write_all(line.as_bytes())).await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    #[tokio::test(start_paused = true)]
    async fn a_command_that_leaves_its_answers_unread_is_let_go() {
        let store = Store::in_memory(StoreOptions::default()).unwrap();
        let hello = Hello { ledgerline: VERSION, store: store.id(), epoch: 1, pid: 1 };
        let (_close, closing) = watch::channel(false);
        let desk = Desk { operations: Operations::of_store(store), hello, closing };
        let (service, mut command) = UnixStream::pair().unwrap();
        let asking = tokio::spawn(async move { while command.write_all(b"?\n").await.is_ok() {} });
        assert_eq!(desk.serve(service).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        asking.await.unwrap();
    }
}
