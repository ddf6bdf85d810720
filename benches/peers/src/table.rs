//! The results: kept as JSON, printed as the Markdown that the README quotes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cell::{Cell, Measurement, Pace};
use crate::machine;
use crate::peer::{PEERS, Peer};
use crate::row::Row;

/// The rows that tell how often a peer syncs.
const SYNCS_TOLD: [(usize, &str); 2] = [(1, "1 at once"), (64, "64 at once")];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Table {
    pace: Pace,
    date: String,
    machine: String,
    /// By peer.
    versions: BTreeMap<String, String>,
    rows: BTreeMap<String, Measurement>,
}

impl Table {
    /// The table of earlier runs of this pace on this machine, or an empty one.
    pub(crate) fn load(results: &Path, pace: Pace) -> Self {
        let machine = machine::describe(results.parent().unwrap_or(results));
        let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        let versions = PEERS.iter().filter_map(|peer| Some((peer.name.to_owned(), peer.version()?))).collect();
        let earlier = fs::read_to_string(results).ok().and_then(|text| serde_json::from_str::<Self>(&text).ok());
        let earlier = earlier.filter(|table| table.pace == pace && table.machine == machine);
        let rows = earlier.map(|table| table.rows).unwrap_or_default();
        Self { pace, date, machine, versions, rows }
    }

    /// Replaces a row as a whole, because only figures of one run compare.
    pub(crate) fn put(&mut self, row: Row, measured: Measurement) {
        self.rows.insert(row.name(), measured);
    }

    /// Writes the JSON, and the Markdown beside it.
    pub(crate) fn save(&self, results: &Path) {
        let json = serde_json::to_string_pretty(self).expect("it is JSON");
        fs::write(results, json).expect("the results are written");
        fs::write(results.with_extension("md"), self.markdown()).expect("the table is written");
    }

    /// Two tables, what the peers were told, and where they are ahead.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        for is_of_logs in [true, false] {
            self.part(&mut text, is_of_logs);
        }
        let quick = if self.pace == Pace::Quick { ", a quick run that says nothing but that it runs" } else { "" };
        let micros = self.rows.values().flat_map(|row| row.sync_micros.iter().copied());
        let (least, most) = micros.fold((u64::MAX, 0), |(least, most), took| (took.min(least), took.max(most)));
        let _ = write!(text, "{}; {}{quick}. Payloads of 1 KiB. ", self.date, self.machine);
        let _ = writeln!(text, "A sync of one small write took {least} to {most} µs meanwhile.\n");
        for peer in PEERS {
            let version = self.versions.get(peer.name).map_or("not installed", String::as_str);
            let _ = writeln!(text, "- {} {version}: {}.", peer.name, peer.how);
        }
        text.push('\n');
        text.push_str(&self.remarks());
        text
    }

    fn rows(&self) -> impl Iterator<Item = (Row, &BTreeMap<String, Cell>)> {
        Row::all().into_iter().filter_map(|row| Some((row, &self.rows.get(&row.name())?.cells)))
    }

    fn part(&self, text: &mut String, is_of_logs: bool) {
        let peers: Vec<&Peer> = PEERS
            .iter()
            .filter(|peer| if is_of_logs { peer.log.is_some() } else { peer.queue.is_some() })
            .filter(|peer| self.versions.contains_key(peer.name))
            .collect();
        let names: Vec<&str> = peers.iter().map(|peer| peer.name).collect();
        let _ = writeln!(text, "| | {} |\n|---{}|", names.join(" | "), "|--:".repeat(names.len()));
        for (row, cells) in self.rows().filter(|(row, _)| row.is_of_logs() == is_of_logs) {
            let told: Vec<String> = names.iter().map(|name| told(row, cells, name)).collect();
            let _ = writeln!(text, "| {} | {} |", row.title(), told.join(" | "));
        }
        for (crowd, at_once) in SYNCS_TOLD {
            let row = if is_of_logs { Row::Commit { callers: crowd } } else { Row::Emit { producers: crowd } };
            if let Some(measured) = self.rows.get(&row.name()) {
                let told: Vec<String> = names.iter().map(|name| syncs_told(measured.cells.get(*name))).collect();
                let _ = writeln!(text, "| syncs per acknowledgement, {at_once} | {} |", told.join(" | "));
            }
        }
        text.push('\n');
    }

    /// What else a reader must know: who is ahead, who did not sync, what failed.
    fn remarks(&self) -> String {
        let (mut text, mut rest) = (String::new(), String::new());
        for (row, cells) in self.rows() {
            let mut ahead = Vec::new();
            for peer in PEERS {
                let Some(cell) = cells.get(peer.name) else { continue };
                if let Some(ratio) = ratio(cells, peer.name).filter(|ratio| *ratio < 1.0) {
                    ahead.push(format!("{} {}", peer.name, times(1.0 / ratio)));
                }
                if cell.syncs.as_ref().is_some_and(|syncs| !syncs.suffice_for(row)) {
                    let _ =
                        writeln!(rest, "\n{} acknowledged more than it had synced at \"{}\".", peer.name, row.title());
                }
                if let Some(failure) = &cell.failure {
                    let _ = writeln!(rest, "\n{} failed at \"{}\": {failure}.", peer.name, row.title());
                }
            }
            if !ahead.is_empty() {
                let _ = writeln!(text, "- {}: {}.", row.title(), ahead.join(", "));
            }
        }
        let head = if text.is_empty() { "No peer is ahead.\n" } else { "Where peers are ahead:\n\n" };
        format!("{head}{text}{rest}")
    }
}

/// ledgerline's figure by the peer's; none for itself.
fn ratio(cells: &BTreeMap<String, Cell>, peer: &str) -> Option<f64> {
    let ours = &PEERS.first()?.name;
    if peer == *ours {
        return None;
    }
    Some(cells.get(*ours)?.figure()? / cells.get(peer)?.figure()?)
}

fn told(row: Row, cells: &BTreeMap<String, Cell>, peer: &str) -> String {
    let Some(cell) = cells.get(peer) else { return "–".to_owned() };
    let Some(figure) = cell.figure() else { return "failed".to_owned() };
    let figure = rounded(figure);
    let mark = if cell.syncs.as_ref().is_some_and(|syncs| !syncs.suffice_for(row)) { " (not synced)" } else { "" };
    match ratio(cells, peer) {
        None => format!("{figure}{mark}"),
        Some(ratio) if ratio < 1.0 => format!("**{figure}** ({}){mark}", times(ratio)),
        Some(ratio) => format!("{figure} ({}){mark}", times(ratio)),
    }
}

fn syncs_told(cell: Option<&Cell>) -> String {
    match cell.and_then(|cell| cell.syncs.as_ref()) {
        None => "not counted".to_owned(),
        Some(syncs) if syncs.writes_are_durable => format!("{:.2}, and O_DSYNC", syncs.per_operation()),
        Some(syncs) => format!("{:.2}", syncs.per_operation()),
    }
}

/// Three digits that count.
fn rounded(figure: f64) -> String {
    let (scaled, unit) = match figure {
        _ if figure >= 1e6 => (figure / 1e6, " M"),
        _ if figure >= 1e3 => (figure / 1e3, " k"),
        _ => (figure, ""),
    };
    let digits = if scaled >= 100.0 { 0 } else { 1 + usize::from(scaled < 10.0) };
    format!("{scaled:.digits$}{unit}")
}

fn times(ratio: f64) -> String {
    let digits = if ratio >= 10.0 { 0 } else { 1 + usize::from(ratio < 2.0) };
    format!("{ratio:.digits$} ×")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits() {
        let cases =
            [(7.123, "7.12"), (9_640.0, "9.64 k"), (52_140.0, "52.1 k"), (213_400.0, "213 k"), (1.312e6, "1.31 M")];
        for (figure, text) in cases {
            assert_eq!(rounded(figure), text);
        }
    }

    #[test]
    fn a_peer_that_is_ahead_stands_out_and_is_named_below() {
        let cell = |figure: f64| Cell { rounds: vec![figure], ..Cell::default() };
        let cells = [("ledgerline", 2e3), ("redb", 4e3), ("fjall", 1e3)];
        let mut table = Table::load(Path::new("/nowhere/peers.json"), Pace::Full);
        let row = Row::Commit { callers: 1 };
        let cells = cells.map(|(peer, figure)| (peer.to_owned(), cell(figure))).into();
        table.put(row, Measurement { sync_micros: vec![104, 99], cells });
        let text = table.markdown();
        assert!(text.contains("| 2.00 k | – | – | – | **4.00 k** (0.50 ×) | 1.00 k (2.0 ×) | – |"), "{text}");
        assert!(text.contains("A sync of one small write took 99 to 104 µs meanwhile."), "{text}");
        assert!(text.contains("\n- durable append, 1 caller, records/s: redb 2.0 ×.\n"), "{text}");
    }
}
