//! What Linear's API says about how much it takes, for handlers that call it.

use crate::event::{RateLimit, Timestamp};

/// What is counted, each with three headers: `X-RateLimit-Requests-Limit`, `…-Remaining`, and `…-Reset`.
const COUNTED: &[&str] = &["x-ratelimit-requests", "x-ratelimit-complexity", "x-ratelimit-endpoint-requests"];

/// A reset below this is in seconds since 1970 (until the year 5138), and else in milliseconds, as Linear gives it.
const SECONDS_MAX: i64 = 100_000_000_000;

/// When Linear's API takes requests again, by the headers of one of its answers: after the time in `Retry-After`
/// ([`RateLimit::from_headers`]), and after the reset of everything of which nothing remains (`X-RateLimit-Requests-*`,
/// `X-RateLimit-Complexity-*`, `X-RateLimit-Endpoint-Requests-*`). None if it takes them now. Upper and lower case of names are the same.
pub fn rate_limit<'h>(headers: impl IntoIterator<Item = (&'h str, &'h str)>, now: Timestamp) -> Option<RateLimit> {
    let headers: Vec<(String, &str)> =
        headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim())).collect();
    let number = |counted: &str, part: &str| {
        let (_, value) = headers.iter().find(|(name, _)| {
            name.strip_prefix(counted).and_then(|rest| rest.strip_prefix('-')).is_some_and(|rest| rest == part)
        })?;
        value.parse::<i64>().ok()
    };
    let spent = COUNTED.iter().filter(|counted| number(counted, "remaining").is_some_and(|remaining| remaining <= 0));
    let resets =
        spent.filter_map(|counted| number(counted, "reset")).map(|reset| RateLimit::until_at(time(reset), now));
    let after = RateLimit::from_headers(headers.iter().map(|(name, value)| (name.as_str(), *value)), now);
    resets.chain(after).reduce(RateLimit::max)
}

fn time(reset: i64) -> Timestamp {
    Timestamp::from_unix_millis(if reset < SECONDS_MAX { reset.saturating_mul(1_000) } else { reset })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_spent_last_until_its_reset_and_retry_after_counts_too() {
        let now = Timestamp::from_unix_millis(1_800_000_000_000);
        let requests =
            |remaining, reset| [("X-RateLimit-Requests-Remaining", remaining), ("X-RateLimit-Requests-Reset", reset)];
        let complexity = [("x-ratelimit-complexity-remaining", "0"), ("x-ratelimit-complexity-reset", "1800000009000")];
        for (headers, seconds) in [
            (vec![], None),
            (requests("1", "1800000005000").to_vec(), None),
            (requests("0", "1800000005000").to_vec(), Some(5)),
            (requests("0", "1800000005").to_vec(), Some(5)),
            (requests("0", "1700000000000").to_vec(), Some(0)),
            (requests("0", "soon").to_vec(), None),
            ([&requests("0", "1800000005000")[..], &complexity].concat(), Some(9)),
            ([&complexity[..], &[("Retry-After", "30")]].concat(), Some(30)),
            (vec![("retry-after", "2")], Some(2)),
        ] {
            let until = rate_limit(headers.iter().copied(), now).map(RateLimit::until);
            let expected = seconds.map(|seconds| now.saturating_add(std::time::Duration::from_secs(seconds)));
            assert_eq!(until, expected, "{headers:?}");
        }
    }
}
