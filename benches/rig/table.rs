//! The table as a person reads it, in a hundred columns.

use std::fmt::Write as _;

use super::latency::Percentiles;
use super::machine::Machine;
use super::row::{FLOOR_SHARE_MIN, Met, Row, Unit};

/// All rows, with what is to be said of all of them.
pub(crate) fn table(rows: &[Row], machine: &Machine, is_quick: bool) -> String {
    let mut text = String::new();
    let Machine { processor, cores, kernel, file_system, date } = machine;
    line(&mut text, format_args!("{processor}, {cores} cores, {kernel}, {file_system}, {date}"));
    line(&mut text, format_args!(""));
    let heads = ["figure", "floor", "ratio", "least", "aim", "met", "p50 / p99 / p99.9"];
    let [figure, floor, ratio, least, aim, met, latency] = heads;
    let head = format!(
        "{:<40}{figure:>9}{floor:>9}{ratio:>7}{least:>8}{aim:>8}  {met:<11}{latency}",
        "row (per second, unless said)"
    );
    line(&mut text, format_args!("{head}"));
    line(&mut text, format_args!("{}", "-".repeat(head.len() + 8)));
    for row in rows {
        line(&mut text, format_args!("{}", shown(row)));
    }
    line(&mut text, format_args!(""));
    let judged: Vec<Met> = rows.iter().filter_map(Row::met).collect();
    let count = |met: Met| judged.iter().filter(|found| **found == met).count();
    let close: Vec<bool> = rows.iter().filter_map(Row::is_close_to_floor).collect();
    line(
        &mut text,
        format_args!(
            "{} of {} targets met, {} of them as aimed at; {} of {} rows bound by the disk reach {:.0} % of their floor.",
            count(Met::Least) + count(Met::Aim),
            judged.len(),
            count(Met::Aim),
            close.iter().filter(|close| **close).count(),
            close.len(),
            FLOOR_SHARE_MIN * 100.0,
        ),
    );
    if is_quick {
        line(&mut text, format_args!("QUICK: this only shows that it runs; no figure means anything."));
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).and_then(|()| text.write_char('\n')).expect("text takes everything");
}

fn shown(row: &Row) -> String {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let figure = |value| quantity(row.unit, value);
    let met = match (row.met(), row.is_close_to_floor()) {
        (None, None) => "",
        (Some(Met::Missed), None | Some(true)) => "NO",
        (Some(Met::Missed), Some(false)) => "NO, ratio",
        (None | Some(Met::Least | Met::Aim), Some(false)) => "RATIO",
        (Some(Met::Aim), _) => "aim",
        (Some(Met::Least) | None, _) => "yes",
    };
    format!(
        "{:<40}{:>9}{:>9}{:>7}{:>8}{:>8}  {:<11}{}",
        row.work,
        figure(row.figure),
        or_none(row.floor.map(figure)),
        or_none(row.share().map(|share| format!("{:.0} %", share * 100.0))),
        or_none(row.target.map(|target| figure(target.least))),
        or_none(row.target.map(|target| figure(target.aim))),
        met,
        row.percentiles.map(latency).unwrap_or_default(),
    )
    .trim_end()
    .to_owned()
}

fn latency(percentiles: Percentiles) -> String {
    let Percentiles { p50, p99, p999, .. } = percentiles;
    format!("{} / {} / {}", quantity(Unit::Seconds, p50), quantity(Unit::Seconds, p99), quantity(Unit::Seconds, p999))
}

/// Three digits and a unit.
fn quantity(unit: Unit, value: f64) -> String {
    match unit {
        Unit::PerSecond if value >= 1e6 => format!("{}M", digits(value / 1e6)),
        Unit::PerSecond if value >= 1e3 => format!("{}k", digits(value / 1e3)),
        Unit::PerSecond => digits(value),
        Unit::Seconds if value < 1e-6 => format!("{} ns", digits(value * 1e9)),
        Unit::Seconds if value < 1e-3 => format!("{} us", digits(value * 1e6)),
        Unit::Seconds if value < 1.0 => format!("{} ms", digits(value * 1e3)),
        Unit::Seconds => format!("{} s", digits(value)),
        Unit::Bytes => format!("{value:.0} B"),
        Unit::Count => format!("{value:.0}"),
    }
}

fn digits(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
