//! `backup`: a copy of a store, in service or not.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ledgerline::service::{json_line, printable};

use super::output::Output;
use super::store::StoreArguments;
use super::trouble::Trouble;

/// Copy a store, in service or not, into a directory that opens as the same store: exit 0 if all that counted is in it, 1 if not
///
/// It takes no lock and asks no service; everything that was acknowledged before it began is in the copy. All of it is read and
/// verified; damage is trouble. Files that never change are linked where the file system allows it: what rots in one rots in both, so
/// keep a copy on another disk. A copy without a MANIFEST was cut short. One that ends at an earlier record lacks the events that counted
/// then, if they were forgotten and dropped since.
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Backup {
    /// Where to; it must not exist, or be empty
    #[arg(value_name = "DIR2")]
    to: PathBuf,
    /// End the copy with the last group at or before this record
    #[arg(long, value_name = "SEQ")]
    to_seq: Option<u64>,
    #[command(flatten)]
    store: StoreArguments,
}

/// The exit code where events are missing that counted at the record that the copy ends with.
const INCOMPLETE: u8 = 1;

const FIELDS: &str = "JSON: store (its id), last_seq (the last record in the copy), complete (false: events that counted then may be \
    missing, forgotten and dropped since), end_proven (false: nothing shows whether there was more, as after a crash), segments, \
    segments_linked, bytes_copied.";

impl Backup {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        let config = self.store.config()?;
        let backup = ledgerline::backup(config.data(), &self.to, self.to_seq)?;
        let mut output = Output::new();
        if self.store.json {
            let _ = output.line(json_line(&backup)?);
        } else {
            let to = printable(&self.to.display().to_string());
            let _ = output.line(format_args!(
                "store {} up to record {} is in {to}: segments {}, linked {}, bytes copied {}",
                backup.store, backup.last_seq, backup.segments, backup.segments_linked, backup.bytes_copied
            ));
            if !backup.end_proven {
                let _ = output.line(
                    "the log does not end with a mark, and nobody has it in use: nothing shows whether there was more, nor does the copy",
                );
            }
            if !backup.complete {
                let _ = output.line(format_args!(
                    "MAY LACK events that counted at record {}, and were forgotten and dropped since: only a backup that was made \
                     before has them; what is in the copy stands as it stood",
                    backup.last_seq
                ));
            }
        }
        output.finish()?;
        Ok(if backup.complete { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
    }
}
