//! The service: webhooks received, commands answered, events printed. It is what `ledgerline serve` runs, and what the other commands
//! reach a store through.
//!
//! In the order in which the bytes of a delivery travel:
//!
//! ```text
//! Linear ──► server ──► receiver ──► webhook ──► EventManager ──► store      200 once it is durable
//!            how many,  limits,      signature,   ▲       │
//!            how slow   answers      envelope     │       └─► printer ──► stdout, one line of JSON
//!                                                 │
//! ledgerline list, show, … ──► reach ──► control socket ──► operations
//!                                  └── no service runs: the directory itself ──► operations
//! ```
//!
//! What `import` keeps is read by `former`, from the file that the former program has left. What the service is told comes from [`Given`]:
//! flags, environment and a file, judged against one table of settings ([`Setting`]) and joined into a [`Config`]. Nothing here reads the
//! environment, installs a signal handler or prints by itself: values, a shutdown future and an output come in.
//!
//! Promises: nothing of a body is looked at before its signature is proven; 200 means durable; the published listener serves the
//! webhook and bare codes of health and nothing else; a secret never shows itself; what came from outside is escaped before it is
//! printed.
//!
//! Deliberately absent: what a signature or an envelope is (`webhook`), what an event may become (`store`).
//!
//! Read next: `receiver` for a delivery's way, `control` for a command's, [`Service`] for how they are joined.

mod answer;
mod banner;
mod config;
mod config_file;
mod control;
mod descriptors;
mod former;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod given;
mod named_file;
mod operations;
mod own_thread;
mod patience;
mod printable;
mod printer;
mod reach;
mod receiver;
mod recurrence;
mod sample;
mod secret;
mod server;
#[expect(clippy::module_inception, reason = "the service is the noun that this stratum is named after")]
mod service;
mod setting;
mod settings;
#[cfg(test)]
mod told;
mod values;

pub use config::Config;
pub use descriptors::use_all_descriptors;
pub use former::{FormerEvent, FormerFile};
pub use given::Given;
pub use operations::Operation;
pub use printable::{json_line, printable};
pub use reach::perform;
pub use sample::Sample;
pub use secret::{SecretSource, SigningSecret};
pub use service::{Ended, Service};
pub use setting::Setting;
