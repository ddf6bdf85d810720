//! When another side takes requests again.

use std::time::Duration;

use crate::event::Timestamp;

/// Longest wait that another side may impose; a longer one is cut to it.
const WAIT_MAX: Duration = Duration::from_hours(30 * 24);

/// Another side wants to be left alone until a time. It reads answers of HTTP, and knows of no client: give it the headers.
///
/// ```
/// use ledgerline::{RateLimit, Timestamp};
///
/// let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
/// let limit = RateLimit::from_headers([("retry-after", "90")], now).unwrap();
/// assert_eq!(limit.until(), "2026-11-23T10:01:30Z".parse().unwrap());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    until: Timestamp,
}

impl RateLimit {
    /// What an answer's `Retry-After` says, in seconds or as the date of an HTTP header (`Sun, 06 Nov 1994 08:49:37 GMT`): a time not
    /// before `now`, and at most 30 days after it. None if there is no such header, or nobody can read it. Upper and lower case of names
    /// are the same; of several the latest time counts.
    ///
    /// Look here when the status is 429 or 503: with others the header means something else.
    pub fn from_headers<'h>(headers: impl IntoIterator<Item = (&'h str, &'h str)>, now: Timestamp) -> Option<Self> {
        let after = headers.into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
        after.filter_map(|(_, value)| retry_after(value.trim(), now)).max().map(|until| Self::until_at(until, now))
    }

    /// Until `until`, moved into what is said at [`RateLimit::from_headers`].
    pub(crate) fn until_at(until: Timestamp, now: Timestamp) -> Self {
        Self { until: until.clamp(now, now.saturating_add(WAIT_MAX)) }
    }

    /// When to try again.
    pub fn until(self) -> Timestamp {
        self.until
    }

    /// The later of the two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { until: self.until.max(other.until) }
    }
}

fn retry_after(value: &str, now: Timestamp) -> Option<Timestamp> {
    if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        // More digits than a number has say no more than the longest wait does.
        return Some(now.saturating_add(Duration::from_secs(value.parse().unwrap_or(u64::MAX))));
    }
    httpdate::parse_http_date(value).ok().map(Timestamp::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_time_from_seconds_or_a_date() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        for (value, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(30 * 24 * 3_600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(30 * 24 * 3_600)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ] {
            let limit = RateLimit::from_headers([("x-other", "7"), ("Retry-After", value)], now);
            let expected = seconds.map(|seconds| now.saturating_add(Duration::from_secs(seconds)));
            assert_eq!(limit.map(RateLimit::until), expected, "{value:?}");
        }
        assert_eq!(RateLimit::from_headers([], now), None);
        let twice = RateLimit::from_headers([("retry-after", "9"), ("retry-after", "5")], now).unwrap();
        assert_eq!(twice.until(), now.saturating_add(Duration::from_secs(9)));
    }
}
