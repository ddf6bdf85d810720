//! The peers, each behind one of two small traits: a log that appends records, or a queue that handles events.
//!
//! Whatever a peer can be told in favour of speed it is told, short of acknowledging what is not synced. What it was told stands in
//! `how` and is printed below the table.

mod beanstalkd;
mod effectum;
mod fjall;
mod ledgerline;
mod logdb;
mod okaywal;
mod raft_engine;
mod redb;
mod redis;
mod rusqlite;

use std::any::Any;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::load::{Extent, Measured, Tally};
use crate::row::Row;

/// In the order of the table's columns; the first is the one that the others are compared with.
pub(crate) const PEERS: &[Peer] = &[
    ledgerline::PEER,
    raft_engine::PEER,
    okaywal::PEER,
    logdb::PEER,
    redb::PEER,
    fjall::PEER,
    rusqlite::PEER,
    effectum::PEER,
    beanstalkd::PEER,
    redis::PEER,
];

/// A log of records. All failures panic: the cell is lost then, and says why.
pub(crate) trait Log: Send + Sync {
    /// Appends one record, durable once this returns. Callers have numbers below 256.
    fn append(&self, caller: usize, payload: &str);

    /// Appends a batch, durable once this returns, by one caller.
    fn append_batch(&self, payload: &str, records: usize);

    /// Closes in good order.
    fn close(self: Box<Self>) {}
}

/// What opening a log anew gave.
pub(crate) struct Reopened {
    pub(crate) records: u64,
    /// The open log, so that closing it is not part of the time.
    pub(crate) _log: Box<dyn Any>,
}

/// A queue of events.
pub(crate) trait Queue {
    /// Emits by so many producers at once; each event is durable before its producer goes on.
    fn emit(&mut self, producers: usize, extent: Extent) -> Measured;

    /// Emits up to so many events the quickest way that there is, durable or not, and no longer than `time`; says how many.
    fn fill(&mut self, events: u64, time: Duration) -> u64;

    /// Runs the tally's handler on every event from now on, so many at once.
    fn handle(&mut self, handlers: usize, tally: &Arc<Tally>);

    /// Waits until so many events are completed, as far as the queue itself is concerned.
    fn finish(&mut self, tally: &Tally, events: u64);
}

type CreateQueue = fn(&Path) -> Box<dyn Queue>;

#[derive(Clone, Copy)]
pub(crate) struct LogPeer {
    /// Creates a log in an empty directory.
    pub(crate) create: fn(&Path) -> Box<dyn Log>,
    /// Opens a log that was closed and sees every record: by its index if opening builds one, else by reading it.
    pub(crate) reopen: fn(&Path) -> Reopened,
}

#[derive(Clone, Copy)]
pub(crate) enum Made {
    /// A crate, of the version in this crate's lock file.
    Crate,
    /// A program, which may be missing; the argument that makes it print its version.
    Program(&'static str, &'static str),
}

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) made: Made,
    /// What it was told.
    pub(crate) how: &'static str,
    pub(crate) log: Option<LogPeer>,
    /// Creates a queue in an empty directory.
    pub(crate) queue: Option<CreateQueue>,
}

impl Peer {
    pub(crate) fn of_name(name: &str) -> Option<&'static Self> {
        PEERS.iter().find(|peer| peer.name == name)
    }

    pub(crate) fn does(&self, row: Row) -> bool {
        if row.is_of_logs() { self.log.is_some() } else { self.queue.is_some() }
    }

    /// None if it is not installed.
    pub(crate) fn version(&self) -> Option<String> {
        match self.made {
            Made::Crate => locked_version(self.name),
            Made::Program(program, argument) => {
                let said = Command::new(program).arg(argument).output().ok()?.stdout;
                let said = String::from_utf8_lossy(&said).into_owned();
                let version =
                    said.split([' ', '=', '\n']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
                Some(version.to_owned())
            }
        }
    }
}

/// The version of a crate in the lock file.
fn locked_version(name: &str) -> Option<String> {
    let lock = include_str!("../Cargo.lock");
    let after = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?.1;
    after.split_once('"').map(|(version, _)| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_have_a_version_and_every_peer_work() {
        for peer in PEERS {
            assert!(matches!(peer.made, Made::Program(..)) || peer.version().is_some(), "{}", peer.name);
            assert!(Row::all().iter().any(|row| peer.does(*row)), "{}", peer.name);
        }
    }
}
