//! Times as RFC 3339 has them, in UTC: `2026-11-23T09:51:00.000001Z`.
//!
//! Two functions between microseconds since 1970 and text, without time zones, locales or formats to choose from; a library of times costs
//! whoever builds the crate more than all else that it reads and prints.

use std::fmt;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// The calendar repeats itself after 400 years, of which the first begins here with March, so that a leap day is the last of its year.
const DAYS_PER_CYCLE: i64 = 146_097;
/// From the 1st of March of the year 0 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;
/// The years that four digits print.
const FIRST_MICROS: i64 = -62_167_219_200 * MICROS_PER_SECOND;
const END_MICROS: i64 = 253_402_300_800 * MICROS_PER_SECOND;

/// Prints with six digits of a second what lies in the years 0 to 9999, and all else as a number of microseconds.
pub(super) fn print(micros: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !(FIRST_MICROS..END_MICROS).contains(&micros) {
        return write!(f, "{micros}us");
    }
    let (seconds, micros) = (micros.div_euclid(MICROS_PER_SECOND), micros.rem_euclid(MICROS_PER_SECOND));
    let (days, second) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Reads a time with any offset. What lies between two microseconds is rounded down, and a leap second is the one before it.
pub(super) fn parse(text: &str) -> Option<i64> {
    let mut text = Text(text.as_bytes());
    let (year, _, month, _, day) =
        (text.number(4)?, text.one_of(b"-")?, text.number(2)?, text.one_of(b"-")?, text.number(2)?);
    text.one_of(b"Tt ")?;
    let (hour, _, minute, _, second) =
        (text.number(2)?, text.one_of(b":")?, text.number(2)?, text.one_of(b":")?, text.number(2)?);
    let micros = if text.one_of(b".").is_some() { text.fraction()? } else { 0 };
    let sign = match text.one_of(b"Zz+-")? {
        b'+' => 1,
        b'-' => -1,
        _ => 0,
    };
    let (offset_hour, offset_minute) = match sign {
        0 => (0, 0),
        _ => (text.number(2)?, text.one_of(b":").and_then(|_| text.number(2))?),
    };
    let is_date = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    let is_time = |hour: i64, minute: i64| hour < 24 && minute < 60;
    let is_sound = is_date && is_time(hour, minute) && second <= 60 && is_time(offset_hour, offset_minute);
    if !is_sound || !text.0.is_empty() {
        return None;
    }
    let minutes = (hour - sign * offset_hour) * 60 + minute - sign * offset_minute;
    let seconds = day_of(year, month, day) * SECONDS_PER_DAY + minutes * 60 + second.min(59);
    // An offset may lead out of the years that are printed, and what was read must be readable when it is printed.
    Some(seconds * MICROS_PER_SECOND + micros).filter(|micros| (FIRST_MICROS..END_MICROS).contains(micros))
}

/// Reads whatever [`print()`] has printed, and other times as [`parse`] does.
pub(super) fn read_back(text: &str) -> Option<i64> {
    let outside = || text.strip_suffix("us")?.parse().ok();
    parse(text).or_else(|| outside().filter(|micros| !(FIRST_MICROS..END_MICROS).contains(micros)))
}

/// Year, month and day of the day that is so many days after 1970-01-01.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_1970;
    let (cycle, day_of_cycle) = (days.div_euclid(DAYS_PER_CYCLE), days.rem_euclid(DAYS_PER_CYCLE));
    // Without its leap days a cycle would have 365 days a year: one in 4 years, none in 100 and one again in 400.
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / (DAYS_PER_CYCLE - 1)) / 365;
    let day_of_year = day_of_cycle - days_before(year_of_cycle);
    // From March on every five months have 153 days, in the same order.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (cycle * 400 + year_of_cycle + i64::from(month <= 2), month, day)
}

/// The inverse of [`date_of`].
fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (cycle, year_of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    cycle * DAYS_PER_CYCLE + days_before(year_of_cycle) + day_of_year - DAYS_TO_1970
}

/// Days of a cycle before one of its years.
const fn days_before(year_of_cycle: i64) -> i64 {
    year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// What is left of a text.
struct Text<'t>(&'t [u8]);

impl Text<'_> {
    /// Takes a number of just so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        (0..digits).try_fold(0, |number, _| Some(number * 10 + self.digit()?))
    }

    /// Takes the digits of a fraction, as microseconds.
    fn fraction(&mut self) -> Option<i64> {
        let mut micros = self.digit()? * (MICROS_PER_SECOND / 10);
        let mut worth = MICROS_PER_SECOND / 100;
        while let Some(digit) = self.digit() {
            micros += digit * worth;
            worth /= 10;
        }
        Some(micros)
    }

    fn digit(&mut self) -> Option<i64> {
        self.one_of(b"0123456789").map(|digit| i64::from(digit - b'0'))
    }

    fn one_of(&mut self, any: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first().filter(|(first, _)| any.contains(first))?;
        self.0 = rest;
        Some(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Printed(i64);

    impl fmt::Display for Printed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            print(self.0, f)
        }
    }

    #[test]
    fn every_day_of_ten_thousand_years_has_its_date() {
        let mut days = FIRST_MICROS / MICROS_PER_SECOND / SECONDS_PER_DAY;
        for year in 0..10_000 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    assert_eq!((date_of(days), day_of(year, month, day)), ((year, month, day), days));
                    days += 1;
                }
            }
        }
        assert_eq!(days * SECONDS_PER_DAY * MICROS_PER_SECOND, END_MICROS);
    }

    #[test]
    fn what_is_printed_is_read() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (FIRST_MICROS, "0000-01-01T00:00:00.000000Z"),
            (END_MICROS - 1, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!((Printed(micros).to_string().as_str(), parse(text)), (text, Some(micros)));
        }
        assert_eq!(Printed(END_MICROS).to_string(), "253402300800000000us");
        assert_eq!(Printed(i64::MIN).to_string(), "-9223372036854775808us");
    }

    /// It came back from a service as a number of microseconds, which no command reads.
    #[test]
    fn a_time_whose_offset_leads_out_of_the_years_that_are_printed_is_refused() {
        for (text, expected) in [
            ("0000-01-01T00:00:00Z", Some(FIRST_MICROS)),
            ("0000-01-01T00:00:00+00:01", None),
            ("0000-01-01T00:01:00+00:01", Some(FIRST_MICROS)),
            ("9999-12-31T23:59:59.999999Z", Some(END_MICROS - 1)),
            ("9999-12-31T23:59:59-00:01", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn rfc_3339_and_nothing_else_is_read() {
        let noon = 1_795_435_200_000_000;
        for (text, expected) in [
            ("2026-11-23T12:00:00Z", Some(noon)),
            ("2026-11-23t12:00:00z", Some(noon)),
            ("2026-11-23 12:00:00+00:00", Some(noon)),
            ("2026-11-23T14:30:00+02:30", Some(noon)),
            ("2026-11-22T23:59:00-12:01", Some(noon)),
            ("2026-11-23T12:00:00.5Z", Some(noon + 500_000)),
            ("2026-11-23T12:00:00.0000019999999999999999999999Z", Some(noon + 1)),
            ("2026-11-23T12:00:60Z", Some(noon + 59_000_000)),
            ("2024-02-29T12:00:00Z", Some(1_709_208_000_000_000)),
            ("2025-02-29T12:00:00Z", None),
            ("1900-02-29T12:00:00Z", None),
            ("2026-00-23T12:00:00Z", None),
            ("2026-13-23T12:00:00Z", None),
            ("2026-11-00T12:00:00Z", None),
            ("2026-11-31T12:00:00Z", None),
            ("2026-11-23T24:00:00Z", None),
            ("2026-11-23T12:60:00Z", None),
            ("2026-11-23T12:00:61Z", None),
            ("2026-11-23T12:00:00", None),
            ("2026-11-23T12:00:00.Z", None),
            ("2026-11-23T12:00:00+2:00", None),
            ("2026-11-23T12:00:00+0200", None),
            ("2026-11-23T12:00:00+24:00", None),
            ("2026-11-23T12:00:00+00:60", None),
            ("2026-11-23T12:00:00ZZ", None),
            ("26-11-23T12:00:00Z", None),
            ("2026-1-23T12:00:00Z", None),
            ("+2026-11-23T12:00:00Z", None),
            ("２026-11-23T12:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }
}
