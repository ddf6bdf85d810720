//! `ledgerline-dump`: prints every record of a segment or a store, with what its checksums say.
//!
//! It stands on the crate's audit alone: no lock, no mapping, nothing written. Exit 0: sound; 1: acknowledged bytes are damaged; 2: it
//! could not be read, or a newer version wrote it.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ledgerline::audit::{self, Checksum, Item, RecordLine};
use ledgerline::{Error, ErrorKind};
use serde_json::{Value, json};

/// Prints every record of a segment file or of a store's directory: seq, segment, offset, length, checksum verdict, kind, event id, and
/// what the entry says.
///
/// It takes no lock and writes nothing, so it may run beside a service. Prepared space and an unfinished tail that was never
/// acknowledged are named and fine. Control characters of foreign text are escaped.
///
/// With --json each line is an object with an "item": "segment" {segment, generation, path, bytes}, "record" {seq, segment, offset,
/// length, checksum: ok | ok_beyond_damage | ok_in_torn_group | bad, kind, id, says} or "finding" {segment, offset, seq, damage,
/// text}, where segment 0 is the manifest; the last line is {"item": "report", segments, records, damage}. What cannot be read is told on
/// stderr as {error, message}. Without a manifest that can be read all segments are printed.
///
/// It says what the checksums say, and how segments are joined; `ledgerline verify` also says whether the records can follow one another.
///
/// Exit status: 0 sound, 1 damage, 2 trouble, or nobody read to the end.
#[derive(Parser)]
#[command(name = "ledgerline-dump", version)]
struct Arguments {
    /// A segment's file (*.seg) or a store's directory.
    path: PathBuf,
    /// Print NDJSON instead of text.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    // A store has a file for each segment.
    ledgerline::service::use_all_descriptors();
    let arguments = Arguments::parse();
    let mut out = io::BufWriter::new(io::stdout().lock());
    match dump(&arguments, &mut out) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        // Whoever reads along has seen enough.
        Err(error) if is_closed_pipe(&error) => ExitCode::from(2),
        Err(error) => {
            drop(out.flush());
            drop(writeln!(io::stderr(), "{}", trouble(&error, arguments.json)));
            ExitCode::from(2)
        }
    }
}

/// An error and its causes, as text or as a document of JSON.
fn trouble(error: &Error, json: bool) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        write!(text, ": {cause}").unwrap_or_default();
        source = cause.source();
    }
    if json {
        plain(&json!({ "error": error.kind(), "message": text }).to_string())
    } else {
        format!("ledgerline-dump: {}", escaped(&text))
    }
}

/// Prints everything; returns the number of damaged places.
fn dump(arguments: &Arguments, out: &mut impl Write) -> Result<u64, Error> {
    // What cannot be read has no table.
    let mut headed = arguments.json;
    let report = audit::audit(&arguments.path, &mut |item| {
        if !std::mem::replace(&mut headed, true) {
            writeln!(
                out,
                "#{:>9} {:>6} {:>10} {:>8} {:<4} {:<10} id",
                "seq", "seg", "offset", "length", "sum", "kind"
            )?;
        }
        let printed =
            if arguments.json { writeln!(out, "{}", object(&item)) } else { writeln!(out, "{}", text(&item)) };
        Ok(printed?)
    })?;
    if arguments.json {
        let audit::Report { segments, records, damage, .. } = report;
        let last = json!({ "item": "report", "segments": segments, "records": records, "damage": damage });
        writeln!(out, "{last}")?;
    } else {
        let verdict = if report.damage == 0 { "checksums sound" } else { "DAMAGED" };
        writeln!(
            out,
            "{verdict}: {} segments, {} records, {} damaged places",
            report.segments, report.records, report.damage
        )?;
    }
    out.flush()?;
    Ok(report.damage)
}

fn is_closed_pipe(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    error.kind() == ErrorKind::Io && source.is_some_and(|source| source.kind() == io::ErrorKind::BrokenPipe)
}

fn object(item: &Item) -> String {
    plain(&serde_json::to_string(item).unwrap_or_default())
}

/// JSON without anything that a terminal would act upon.
fn plain(json: &str) -> String {
    let mut line = String::new();
    for character in json.chars() {
        // Within texts, which is the only place for them, what is not plain ASCII stays readable as JSON's own escapes.
        match character {
            ' '..='~' => line.push(character),
            _ => character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                write!(line, "\\u{unit:04x}").unwrap_or_default();
            }),
        }
    }
    line
}

fn text(item: &Item) -> String {
    match item {
        Item::Segment { segment, path, bytes, .. } => {
            format!("# segment {segment}: {}, {bytes} bytes", escaped(&path.display().to_string()))
        }
        Item::Record(record) => line(record),
        Item::Finding { segment: 0, offset: 0, damage: true, text, .. } => format!("DAMAGE {}", escaped(text)),
        Item::Finding { segment, offset, damage, text, .. } => {
            let mark = if *damage { "DAMAGE" } else { "#" };
            format!("{mark} segment {segment}, offset {offset}: {}", escaped(text))
        }
        _ => object(item),
    }
}

fn line(record: &RecordLine) -> String {
    let checksum = match record.checksum {
        Checksum::Ok => "ok",
        Checksum::OkBeyondDamage => "ok,beyond-damage",
        Checksum::OkInTornGroup => "ok,torn-group",
        Checksum::Bad => "BAD",
    };
    let mut text = format!(
        "{:>10} {:>6} {:>10} {:>8} {:<4} {:<10} {}",
        record.seq,
        record.segment,
        record.offset,
        record.length,
        checksum,
        record.kind,
        record.id.as_deref().map_or("-".to_owned(), word),
    );
    for (name, value) in &record.says {
        let value = match value {
            Value::String(text) => word(text),
            Value::Null => continue,
            other => escaped(&other.to_string()),
        };
        write!(text, " {name}={value}").unwrap_or_default();
    }
    text
}

/// Foreign text as one word of a line: in quotes if anything in it would be taken for another one.
fn word(text: &str) -> String {
    let told = escaped(&text.replace('\\', "\\\\"));
    if text.is_empty() || text.contains([' ', '"', '=', '\\']) || told.len() != text.len() {
        format!("\"{}\"", told.replace('"', "\\\""))
    } else {
        told
    }
}

/// Foreign text without anything that a terminal would act upon.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' '..='~' => escaped.push(character),
            _ => escaped.extend(character.escape_debug()),
        }
    }
    escaped
}
