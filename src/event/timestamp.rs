//! A moment in UTC, to the microsecond.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::rfc3339;

/// A moment in UTC with microsecond precision, printed as RFC 3339 with six digits of a second (`2026-11-23T09:51:00.000001Z`).
///
/// Any offset is accepted when parsing and converted to UTC. What lies outside the years 0 to 9999 is printed as a number of microseconds
/// (`253402300800000000us`), which serde reads back and [`str::parse`] refuses. Times order nothing in ledgerline (order is by seq); they
/// say when.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    micros: i64,
}

/// The text is not an RFC 3339 time of the years 0 to 9999.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text:?} is not an RFC 3339 time such as 2026-11-23T09:51:00Z")]
pub struct ParseTimestampError {
    text: String,
}

impl Timestamp {
    /// The moment `micros` microseconds after 1970-01-01T00:00:00Z; negative values lie before it.
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self { micros }
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn unix_micros(self) -> i64 {
        self.micros
    }

    /// The moment `millis` milliseconds after 1970-01-01T00:00:00Z, clamped to what a timestamp holds.
    pub const fn from_unix_millis(millis: i64) -> Self {
        Self { micros: millis.saturating_mul(1_000) }
    }

    /// Whole milliseconds since 1970-01-01T00:00:00Z, rounded down.
    pub const fn unix_millis(self) -> i64 {
        self.micros.div_euclid(1_000)
    }

    /// This moment plus `duration`, clamped to what a timestamp holds.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self { micros: self.micros.saturating_add(micros_of(duration)) }
    }

    /// This moment minus `duration`, clamped to what a timestamp holds.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self { micros: self.micros.saturating_sub(micros_of(duration)) }
    }

    /// How much later this moment is than `earlier`; zero if it is not later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        let micros = self.micros.saturating_sub(earlier.micros);
        u64::try_from(micros).map_or(Duration::ZERO, Duration::from_micros)
    }
}

fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self { micros: micros_of(since) },
            Err(before) => Self { micros: -micros_of(before.duration()) },
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let distance = Duration::from_micros(time.micros.unsigned_abs());
        if time.micros >= 0 { UNIX_EPOCH + distance } else { UNIX_EPOCH - distance }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        rfc3339::print(self.micros, f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        rfc3339::parse(text).map(Self::from_unix_micros).ok_or_else(|| refused(text))
    }
}

fn refused(text: &str) -> ParseTimestampError {
    ParseTimestampError { text: text.chars().take(64).collect() }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = rfc3339::read_back(&text).map(Self::from_unix_micros);
        time.ok_or_else(|| serde::de::Error::custom(refused(&text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_rfc_3339() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_795_427_460_000_001, "2026-11-23T09:51:00.000001Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
        ] {
            let time = Timestamp::from_unix_micros(micros);
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse::<Timestamp>().unwrap(), time);
            assert_eq!(Timestamp::from(SystemTime::from(time)), time);
        }
        let offset: Timestamp = "2026-11-23T11:51:00.000001+02:00".parse().unwrap();
        assert_eq!(offset.unix_micros(), 1_795_427_460_000_001);
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn whatever_is_printed_is_read_back_and_only_rfc_3339_is_parsed() {
        for micros in [i64::MIN, -62_167_219_200_000_001, -62_167_219_200_000_000, 0, 253_402_300_800_000_000, i64::MAX]
        {
            let time = Timestamp::from_unix_micros(micros);
            let json = serde_json::to_string(&time).unwrap();
            assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time, "{json}");
            assert_eq!(time.to_string().parse().ok(), Some(time).filter(|_| !json.contains("us")), "{json}");
        }
        for text in ["0us", "us", "253402300800000000", "+9223372036854775808us"] {
            assert!(serde_json::from_value::<Timestamp>(text.into()).is_err(), "{text}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let last = Timestamp::from_unix_micros(i64::MAX);
        assert_eq!(last.saturating_add(Duration::MAX), last);
        assert_eq!(Timestamp::default().saturating_since(last), Duration::ZERO);
        assert_eq!(Timestamp::from_unix_micros(-1).unix_millis(), -1);
    }
}
