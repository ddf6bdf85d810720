//! The command `ledgerline`: what a person types, and what is printed for it.
//!
//! ```text
//! arguments ──► serve ──► the service, until a signal
//!           ├─► send ───► one signed delivery a file, over HTTP
//!           ├─► emit, import, list, show, stats, health, replay, cancel, pause, resume, pauses, process, compact
//!           │            ──► the running service, or the directory
//!           └─► verify, salvage, backup, status ──► the directory's files
//! ```
//!
//! Everything is reached through the crate's public path, as any other program would. Results go to stdout, everything else to stderr;
//! `--json` prints the documents as they are answered, readable text is made from the same documents. Exit 0: done; 1: `health`,
//! `verify`, `salvage` or `backup` found that not all is well; 2: trouble, told as `ledgerline: what, where, what next`.
//!
//! Deliberately absent: what an operation does. Read next: `arguments` for the verbs, `output` for what is printed.

mod arguments;
mod backup;
mod cancel;
mod compact;
mod emit;
mod health;
mod import;
mod list;
mod log;
mod output;
mod pause;
mod pauses;
mod process;
mod replay;
mod resume;
mod salvage;
mod selecting;
mod send;
mod serve;
mod show;
mod stats;
mod status;
mod store;
mod trouble;
mod verify;

pub(crate) use arguments::run;
