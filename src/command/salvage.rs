//! `salvage`: everything that verifies of a damaged store, as a store of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ledgerline::service::{json_line, printable};
use ledgerline::{Acceptance, ErrorKind};

use super::output::{Output, Table, counted};
use super::trouble::Trouble;
use super::verify::{DAMAGE, by_status, placed};

/// Copy everything that verifies of a damaged store into a new one: exit 0 if nothing was lost, 1 if something was
///
/// Nothing is written to DIR. It works where the service refuses to start, also without a manifest. What is lost is listed; only once
/// all of it is accepted is DIR2 written, and says so in its log. Events keep ids, data, times, statuses, retries, histories and
/// numbers. An event that may have been finished in lost records has failed in the copy: `replay` it if it was not.
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Salvage {
    /// The damaged store's directory
    #[arg(value_name = "DIR")]
    path: PathBuf,
    /// Where to write what verifies; it must not exist, or be empty
    #[arg(long, value_name = "DIR2")]
    to: PathBuf,
    /// Accept that the record SEQ, and what is lost with it, is lost; repeatable, or `all`
    #[arg(long, value_name = "SEQ")]
    accept_damage: Vec<String>,
    /// Print JSON with stable names instead of text
    #[arg(long)]
    json: bool,
}

const FIELDS: &str = "JSON: store (its id), written, records, last_seq and closed (whether it ends the store in good order), events (a \
    number for each status), lost [{from, to, estimated, accepted}], lost_events [{seq, id (if its reception survives), id_hash, what, \
    at_seq, accepted}], left_out and put_in (numbers of records), uncertain [{seq, id, status, last_seq}], damage and remarks [{path, \
    offset, seq, text, next}], manifest (whether it was read). Where lost is estimated, nothing tells how many records there were: to \
    is the highest number that may have been given, and the copy goes on behind it.";

impl Salvage {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        let report = ledgerline::salvage(&self.path, &self.to, &self.acceptance()?)?;
        let mut output = Output::new();
        if self.json {
            let _ = output.line(json_line(&report)?);
        } else {
            self.print(&report, &mut output);
        }
        output.finish()?;
        Ok(if report.written && report.is_complete() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGE) })
    }

    fn acceptance(&self) -> Result<Acceptance, Trouble> {
        if self.accept_damage.iter().any(|seq| seq == "all") {
            return Ok(Acceptance::All);
        }
        let seq = |text: &String| {
            let wrong = || format!("--accept-damage is {text:?}; it must be the number of a record, or all");
            text.parse().map_err(|_| Trouble::of(ErrorKind::InvalidInput, wrong()))
        };
        let seqs: Vec<u64> = self.accept_damage.iter().map(seq).collect::<Result<_, _>>()?;
        Ok(if seqs.is_empty() { Acceptance::Nothing } else { Acceptance::Seqs(seqs) })
    }

    fn print(&self, report: &ledgerline::Salvage, output: &mut Output) {
        let _ = output.line(format_args!("store   {}", report.store));
        for damage in &report.damage {
            let _ = output.line(format_args!("DAMAGE  {}", printable(&placed(damage))));
        }
        for remark in &report.remarks {
            let _ = output.line(format_args!("dropped {}", printable(&placed(remark))));
        }
        if !report.manifest {
            let _ =
                output.line("there is no manifest to go by: what compaction dropped cannot be told from what is lost");
        }
        for range in &report.lost {
            let at_most = if range.estimated { "at most " } else { "" };
            let estimated = if range.estimated { " (estimated: nothing tells how many there were)" } else { "" };
            let accepted = if range.accepted { ", accepted" } else { "" };
            let (from, to) = (range.from, range.to);
            let _ = output.line(format_args!("LOST    records {from} to {at_most}{to}{estimated}{accepted}"));
        }
        for lost in &report.lost_events {
            let (seq, hash) = (lost.seq, &lost.id_hash);
            let accepted = if lost.accepted { ", accepted" } else { "" };
            let _ = match &lost.id {
                Some(id) => output.line(format_args!(
                    "LOST    event {seq}, id {}: an earlier event has that id, and nothing tells when it was forgotten{accepted}",
                    printable(id)
                )),
                None => output.line(format_args!(
                    "LOST    event {seq} (id hash {hash}); the last that survives of it: {} at {}",
                    lost.what, lost.at_seq
                )),
            };
        }
        if !report.uncertain.is_empty() {
            let _ = output.line("\nuncertain: may have gone on in lost records; failed in the copy until replayed");
            let mut table = Table::new(&["SEQ", "STOOD", "AT", "ID"]);
            for event in &report.uncertain {
                let (seq, status, at) = (event.seq.to_string(), event.status.to_string(), event.last_seq.to_string());
                table.row([seq, status, at, printable(&event.id)]);
            }
            table.print(output);
        }
        let to = printable(&self.to.display().to_string());
        let _ = output.line(format_args!(
            "\n{}; {} left out for want of what came before them, {} put into gaps",
            counted(report.records, "record"),
            report.left_out,
            report.put_in
        ));
        if report.written {
            let _ = output.line(by_status(&report.events).unwrap_or_else(|| "no events".to_owned()));
        }
        let _ = output.line(match (report.written, report.is_complete()) {
            (true, true) if report.closed => format!("nothing was lost; the copy in {to} is verified"),
            (true, true) => format!(
                "nothing is known to be lost after record {}, but the log does not end with a mark that says so; the copy in {to} \
                 is verified",
                report.last_seq
            ),
            (true, false) => format!("the copy in {to} is verified; it names in its log what is lost"),
            (false, _) => {
                "nothing was written: --accept-damage SEQ for each range or event, or --accept-damage all, accepts what is lost"
                    .to_owned()
            }
        });
    }
}
