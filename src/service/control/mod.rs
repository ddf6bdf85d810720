//! How commands reach a running service: a Unix socket in its data directory.
//!
//! ```text
//! service                                             command
//!    │ ◄──────────────── connect DATA/control.sock ──── │
//!    │ ── {"ledgerline":1,"store":…,"epoch":…,"pid":…} ► │   hello: whom it has reached
//!    │ ◄──────────── {"operation":"show","id":"…"} ───── │   one request
//!    │ ── {"line":{…}} ────────────────────────────────► │   its answer, line by line
//!    │ ── {"done":true} or {"error":{…}} ──────────────► │   its end; another request may follow
//! ```
//!
//! Everything is one JSON document on one line. The socket is private (0600) and belongs to the holder of the directory's lock: who
//! holds the lock removes a socket that an earlier process left, and binds its own only after recovery. So whoever can connect talks to
//! a service that has read its log, and a socket that nobody answers means that no service runs.
//!
//! Deliberately absent: what the operations do ([`super::operations`]).

mod client;
mod protocol;
mod server;
mod socket;

pub(super) use client::Client;
#[cfg(any(test, fuzzing))]
pub(super) use client::Lines;
#[cfg(any(test, fuzzing))]
pub(super) use protocol::{Failure, Hello, Reply, VERSION, line, request};
pub(super) use server::run;
pub(super) use socket::Socket;
