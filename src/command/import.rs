//! `import`: keeps what the former program has left.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ledgerline::service::{Config, FormerFile, Given, json_line, printable};
use serde::{Deserialize, Serialize};

use super::output::{Output, counted};
use super::store::{StoreArguments, perform_by, resolve};
use super::trouble::Trouble;

/// Keep the events of the former program's file, linear_events.json. It is only read, whole or not at all
///
/// Stop that program before. What waits there or is running runs here, what waits for a retry has the retries that are left, what has failed
/// for good waits for a person, and what has completed is left out. An event that is kept or remembered is a duplicate, so a file may be
/// imported again for as long as that is so. Of a list of the webhook processor each payload is kept as if it were delivered now. When an
/// event came to that program is told by a header, former-timestamp.
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Import {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only say what the file holds, and keep nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    store: StoreArguments,
}

const FIELDS: &str = "JSON: for each event id, status (pending, or failed for good; null of a duplicate), duplicate (whether the event \
    was there before) and seq, then imported: to_run and failed (of what the file holds), kept, duplicates, completed (left out), numbers \
    (NaN and the like, null now), dry_run, data (the data directory).
A data directory that is not there is created.";

#[derive(Deserialize)]
struct Kept {
    duplicate: bool,
}

/// The last line.
#[derive(Serialize)]
struct Totalled {
    imported: Totals,
}

/// What the file holds, and what became of it.
#[derive(Default, Serialize)]
struct Totals {
    to_run: u64,
    failed: u64,
    kept: u64,
    duplicates: u64,
    completed: u64,
    numbers: u64,
    dry_run: bool,
    data: String,
}

impl Totals {
    /// Counts an event that was kept, or was there before; false if `line` does not say which.
    fn count(&mut self, line: &str) -> bool {
        let Ok(Kept { duplicate }) = serde_json::from_str(line) else { return false };
        *(if duplicate { &mut self.duplicates } else { &mut self.kept }) += 1;
        true
    }
}

impl Import {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        let StoreArguments { data, config, .. } = &self.store;
        let config = resolve(data.as_ref(), config.as_ref(), Given::new().for_import())?;
        let file = FormerFile::read(&self.file, &config)?;
        let mut totals = Totals {
            to_run: file.to_run(),
            failed: file.failed(),
            completed: file.completed(),
            numbers: file.numbers(),
            dry_run: self.dry_run,
            data: config.data().to_string_lossy().into_owned(),
            ..Totals::default()
        };
        let mut output = Output::new();
        let kept = if self.dry_run { Ok(()) } else { self.keep(&config, file, &mut totals, &mut output) };
        if kept.is_ok() {
            self.tell(totals, &mut output)?;
        }
        // What was kept before a failure is kept, and printed.
        output.finish()?;
        kept.map(|()| ExitCode::SUCCESS)
    }

    /// Keeps what the file holds, part by part.
    fn keep(&self, config: &Config, file: FormerFile, totals: &mut Totals, output: &mut Output) -> Result<(), Trouble> {
        for operation in file.into_operations() {
            let mut is_understood = true;
            let performed = perform_by(config, &operation, |line| {
                is_understood = totals.count(&line);
                if !is_understood {
                    return ControlFlow::Break(());
                }
                // The rest is kept whether somebody reads on or not.
                let _ = if self.store.json { output.line(line) } else { ControlFlow::Continue(()) };
                ControlFlow::Continue(())
            });
            let understood = if is_understood { Ok(()) } else { Err(Trouble::not_understood()) };
            performed.and(understood).map_err(|trouble| {
                let (kept, duplicates) = (counted(totals.kept, "event"), totals.duplicates);
                trouble.and(&format!(
                    "; before that {kept} had been kept, and {duplicates} were there before: once this is mended, import the file again"
                ))
            })?;
        }
        Ok(())
    }

    fn tell(&self, totals: Totals, output: &mut Output) -> Result<(), Trouble> {
        if self.store.json {
            let _ = output.line(json_line(&Totalled { imported: totals })?);
            return Ok(());
        }
        let Totals { to_run, failed, kept, duplicates, completed, numbers, dry_run, data } = totals;
        let file = printable(&self.file.to_string_lossy());
        let _ = output.line(format_args!(
            "{file} holds {} to run, {failed} that failed for good, and {completed} that completed and are left out",
            counted(to_run, "event")
        ));
        if numbers > 0 {
            let _ = output.line(format_args!(
                "{} (NaN, Infinity) that JSON does not know became null",
                counted(numbers, "number")
            ));
        }
        let data = printable(&data);
        let _ = if dry_run {
            output.line(format_args!("nothing was kept, because this was a dry run; it would be in {data}"))
        } else {
            let kept = counted(kept, "event");
            output.line(format_args!("{kept} kept in {data}, {duplicates} there before; now move {file} away"))
        };
        Ok(())
    }
}
