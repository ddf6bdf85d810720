//! `pause`: events of a type or a key are kept, but not run.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ledgerline::service::{Operation, printable};
use ledgerline::{Scope, Timestamp};
use serde::Deserialize;

use super::store::StoreArguments;
use super::trouble::Trouble;

/// Let no event of a type or a key run until it is resumed, or until a time
///
/// Events are kept meanwhile, and what runs already goes on. The pause outlives the service; an earlier one of the same type or key is
/// replaced. It works without a service too.
#[derive(Args)]
#[command(after_help = FIELDS)]
pub(super) struct Pause {
    #[command(flatten)]
    scope: ScopeArguments,
    /// When it ends by itself: an RFC 3339 time
    #[arg(long, value_name = "TIME", conflicts_with = "duration")]
    until: Option<Timestamp>,
    /// How long it lasts from now, if it is not ended before: a whole number of s, m, h or d, such as 90s or 2h
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Why, for whoever finds it: up to 4 KiB are kept
    #[arg(long, value_name = "TEXT", default_value = "paused by hand")]
    reason: String,
    #[command(flatten)]
    store: StoreArguments,
}

const FIELDS: &str = "JSON: scope ({type} or {key}), until (null: until it is resumed). Times are RFC 3339 in UTC.";

/// Which events: those of one type, or those of one key.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct ScopeArguments {
    /// All events of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// All events of this key
    #[arg(long)]
    key: Option<String>,
}

#[derive(Deserialize)]
struct Paused {
    scope: Scope,
    until: Option<Timestamp>,
}

impl Pause {
    pub(super) fn run(self) -> Result<ExitCode, Trouble> {
        let for_ms = self.duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        let operation = Operation::Pause { scope: self.scope.scope(), until: self.until, for_ms, reason: self.reason };
        self.store.print(&operation, |Paused { scope, until }, output| {
            let until = until.map_or_else(|| "it is resumed".to_owned(), |until| until.to_string());
            let _ = output.line(format_args!("{} is paused until {until}", printable(&scope.to_string())));
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl ScopeArguments {
    pub(super) fn scope(self) -> Scope {
        match self.event_type {
            Some(event_type) => Scope::Type(event_type),
            // One of the two was given.
            None => Scope::Key(self.key.unwrap_or_default()),
        }
    }
}

/// Units are told, so that nobody pauses for 30 seconds who meant minutes.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration such as 90s, 30m, 2h or 1d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 24 * 3_600,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let number: u64 = number.and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_its_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("2h", 7_200), ("1d", 86_400), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "s",
            "30",
            "1.5h",
            "+2h",
            "-2h",
            "2 h",
            "2w",
            "1h30m",
            "ß",
            "99999999999999999999s",
            "18446744073709551615m",
        ] {
            assert_eq!(parse_duration(text), Err(format!("{text:?} is no duration such as 90s, 30m, 2h or 1d")));
        }
    }
}
