//! Short texts that people and other programs write: times, names, places in a log.

use crate::event::{RateLimit, Status, Timestamp};
use crate::log::segment::Name;
use crate::store::Point;

/// A text that is read says the same when it is printed and read again.
pub fn text(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(time) = text.parse::<Timestamp>() {
        assert_eq!(time.to_string().parse().ok(), Some(time), "{text:?} is {time}");
        let (before, after) = (time.saturating_add(std::time::Duration::ZERO), time.saturating_add(WAIT));
        assert!(before == time && after > time, "{time} passes");
    }
    if let Ok(status) = text.parse::<Status>() {
        assert_eq!(status.to_string(), text);
    }
    if let Ok(point) = text.parse::<Point>() {
        let printed = match &point {
            Point::Seq(seq) => seq.to_string(),
            Point::Time(time) => time.to_string(),
        };
        assert_eq!(printed.parse::<Point>().ok(), Some(point), "{text:?}");
    }
    if let Some(name) = Name::parse(text) {
        assert_eq!(name.to_string(), text, "one segment has one name");
        assert!(name.key().is_none_or(|key| u64::from(key >> 1) == name.ordinal));
    }
    let now = Timestamp::from_unix_millis(0);
    if let Some(limit) = RateLimit::from_headers([("Retry-After", text)], now) {
        assert!((now..=now.saturating_add(WAIT)).contains(&limit.until()), "{text:?} is {:?}", limit.until());
    }
}

/// Longest wait that another side may impose.
const WAIT: std::time::Duration = std::time::Duration::from_hours(30 * 24);
