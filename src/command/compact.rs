//! `compact`: forgets what is old enough, now.

use std::process::ExitCode;

use clap::Args;
use ledgerline::service::{Operation, printable};
use serde::Deserialize;

use super::output::counted;
use super::store::StoreArguments;
use super::trouble::Trouble;

/// Forget finished events that are old enough, and free their space. The running service does it a minute after its start, then every hour
///
/// Beside a service that goes by the service's settings. Without one it goes by those that this command finds: give it the same --config
/// and environment, or events are forgotten at another age than the service's.
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Compact {
    #[command(flatten)]
    store: StoreArguments,
}

const FIELDS: &str = "JSON: events_forgotten, segments_deleted, segments_rewritten (of which what was left was written anew), \
    bytes_freed, suspended (null, or why nothing was forgotten for its age), events_expired (held too long without a \
    handler, and failed now).";

#[derive(Deserialize)]
struct Report {
    events_forgotten: u64,
    segments_deleted: u64,
    segments_rewritten: u64,
    bytes_freed: u64,
    suspended: Option<String>,
}

impl Compact {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        self.store.print(&Operation::Compact {}, |report: Report, output| {
            let Report { events_forgotten, segments_deleted, segments_rewritten, bytes_freed, suspended } = report;
            let _ = output.line(format_args!(
                "{} forgotten, {} deleted, {segments_rewritten} written anew, {} freed",
                counted(events_forgotten, "event"),
                counted(segments_deleted, "segment"),
                counted(bytes_freed, "byte")
            ));
            if let Some(why) = suspended {
                let _ = output.line(format_args!("nothing is forgotten for its age for now: {}", printable(&why)));
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
