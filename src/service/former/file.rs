//! One file of the former program, read whole or refused.

use std::path::Path;
use std::time::Duration;

use super::event::FormerEvent;
use super::numbers::finite;
use super::{deliveries, queue};
use crate::env::Clock;
use crate::error::Error;
use crate::event::Timestamp;
use crate::service::config::Config;
use crate::service::named_file;
use crate::service::operations::Operation;

/// Longest file. That program wrote the whole of it anew for every event, so none ever came near.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// What is asked for at once: so many events, or about so many bytes of data and at least one event.
const EVENTS_AT_ONCE: usize = 5_000;
const BYTES_AT_ONCE: usize = 8 * 1024 * 1024;

/// What a record takes beside an event that is imported.
const HEAD_BYTES_MAX: usize = 1_024;

/// What a file of the former program holds.
#[derive(Debug, PartialEq, Eq)]
pub struct FormerFile {
    events: Vec<FormerEvent>,
    completed: u64,
    numbers: u64,
}

/// Where in the file an event stands.
pub(super) struct Place<'f> {
    pub(super) list: &'static str,
    pub(super) index: usize,
    pub(super) id: &'f str,
}

impl Place<'_> {
    pub(super) fn refused(&self, why: &str) -> Error {
        let Self { list, index, id } = self;
        Error::invalid(format!("number {} of {list}, {id:?}, {why}", index + 1))
    }

    /// Gives back an event that could be kept.
    pub(super) fn checked(&self, event: FormerEvent) -> Result<FormerEvent, Error> {
        let kept = event.read().and_then(|(event, _)| event.validate());
        kept.map(|()| event).map_err(|cause| self.refused("cannot be kept").caused_by(cause))
    }
}

impl FormerFile {
    /// Reads the file at `path`; what waited for a retry there goes on to wait by the retry interval of `config`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`], [`crate::ErrorKind::Io`]; [`crate::ErrorKind::InvalidInput`] names the place of what is no event
    /// of that program, or none that could be kept.
    pub fn read(path: &Path, config: &Config) -> Result<Self, Error> {
        let bytes = named_file::read(path, FILE_BYTES_MAX)?;
        let now = Timestamp::from(Clock::system().read().wall);
        let read = Self::parse(&bytes, now, config.store.retry_interval);
        let read = read.and_then(|file| file.check_lengths(config.store.record_bytes_max()).map(|()| file));
        read.map_err(|cause| Error::invalid(format!("nothing of {} was kept", path.display())).caused_by(cause))
    }

    /// Reads what such a file holds.
    pub(in crate::service) fn parse(bytes: &[u8], now: Timestamp, retry_interval: Duration) -> Result<Self, Error> {
        let text = str::from_utf8(bytes)
            .map_err(|cause| Error::invalid("it is not UTF-8, and no file of the former program").caused_by(cause))?;
        let (json, numbers) = finite(text);
        let (events, completed) = if json.trim_start().starts_with('[') {
            (deliveries::read(&json)?, 0)
        } else {
            let held = queue::read(&json, now, retry_interval)?;
            (held.events, held.completed)
        };
        Ok(Self { events, completed, numbers })
    }

    /// Refuses an event that is too long for a record of so many bytes.
    fn check_lengths(&self, record_bytes_max: usize) -> Result<(), Error> {
        let longest = record_bytes_max.saturating_sub(HEAD_BYTES_MAX);
        match self.events.iter().find(|event| event.bytes() > longest) {
            Some(event) => Err(Error::invalid(format!("{event:?} is longer than the {longest} bytes that are kept"))),
            None => Ok(()),
        }
    }

    /// How many events are to be run.
    pub fn to_run(&self) -> u64 {
        self.events.iter().filter(|event| event.is_to_run()).count() as u64
    }

    /// How many have failed for good.
    pub fn failed(&self) -> u64 {
        self.events.len() as u64 - self.to_run()
    }

    /// How many are left out because they have completed.
    pub fn completed(&self) -> u64 {
        self.completed
    }

    /// How many numbers are null now because JSON does not know them: NaN, Infinity, -Infinity.
    pub fn numbers(&self) -> u64 {
        self.numbers
    }

    /// What keeps the events, to be performed one after the other.
    pub fn into_operations(self) -> impl Iterator<Item = Operation> {
        let mut events = self.events.into_iter().peekable();
        std::iter::from_fn(move || {
            let first = events.next()?;
            let (mut bytes, mut some) = (first.bytes(), vec![first]);
            while let Some(event) = events.next_if(|event| {
                bytes += event.bytes();
                some.len() < EVENTS_AT_ONCE && bytes <= BYTES_AT_ONCE
            }) {
                some.push(event);
            }
            Some(Operation::Import { events: some })
        })
    }
}

/// What is no file of that program. Where the text ends or goes wrong stands in what `serde_json` says.
pub(super) fn unreadable(cause: serde_json::Error) -> Error {
    Error::invalid("it is cut short, or damaged, or no file of the former program").caused_by(cause)
}

/// A time as Python writes it: in UTC unless it says otherwise.
pub(super) fn time(text: &str, place: &Place<'_>, name: &str) -> Result<Timestamp, Error> {
    let read = text.parse().or_else(|_| format!("{text}Z").parse::<Timestamp>());
    read.map_err(|_| place.refused(&format!("has no time for {name}: {:?}", text.chars().take(64).collect::<String>())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::event::NewEvent;

    const QUEUE: &str = include_str!("../../../tests/fixtures/former/queue.json");
    const DELIVERIES: &str = include_str!("../../../tests/fixtures/former/deliveries.json");
    const MINUTE: Duration = Duration::from_mins(1);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Half a minute after the last attempt that the queue has.
    fn now() -> Timestamp {
        at("2026-11-20T08:06:00Z")
    }

    fn parse(text: &str) -> Result<FormerFile, Error> {
        FormerFile::parse(text.as_bytes(), now(), MINUTE)
    }

    fn read(event: &FormerEvent) -> (NewEvent, Option<&str>) {
        let (event, failed) = event.read().unwrap();
        event.validate().unwrap();
        (event, failed)
    }

    /// A queue of one event with these members beside id, type, data and timestamp.
    fn one(members: &str) -> Result<FormerEvent, Error> {
        let event = format!(r#"{{"id":"a","event_type":"T","data":1,"timestamp":"2026-11-20T08:00:00",{members}}}"#);
        let file = parse(&format!(r#"{{"pending_events":[{event}]}}"#))?;
        Ok(file.events.into_iter().next().unwrap())
    }

    #[test]
    fn a_queue_becomes_what_is_to_run_and_what_has_failed() {
        let file = parse(QUEUE).unwrap();
        assert_eq!((file.to_run(), file.failed(), file.completed(), file.numbers()), (4, 1, 1, 3));
        let events: Vec<_> = file.events.iter().map(read).collect();
        let ends: Vec<_> = events.iter().map(|(event, _)| event.id.as_deref().unwrap().get(35..).unwrap()).collect();
        assert_eq!(ends, ["1", "2", "4", "5", "6"], "in the order of the file, each once, without the completed one");
        for (event, timestamp) in events.iter().zip([
            "2026-11-20T08:00:00Z",
            "2026-11-20T08:00:00.25Z",
            "2026-11-20T08:00:02Z",
            "2026-11-20T08:00:03Z",
            "2026-11-20T08:00:04Z",
        ]) {
            let kept = ("former-timestamp".to_owned(), at(timestamp).to_string());
            assert_eq!((event.0.headers.as_slice(), &*event.0.source), ([kept].as_slice(), "import"));
        }
        let retries: Vec<_> = events.iter().map(|(event, _)| event.max_retries.unwrap()).collect();
        assert_eq!(retries, [3, 3, 3, 2, 3], "those that are left, and all for the one that failed");
        let due: Vec<_> = events.iter().map(|(event, _)| event.starts_at(now())).collect();
        assert_eq!(due, [None, None, None, Some(now()), Some(at("2026-11-20T08:06:30Z"))]);
        let failed: Vec<_> = events.iter().filter_map(|(_, failed)| *failed).collect();
        assert_eq!(
            failed,
            ["given up by the former program after 3 failures: the other side said “no”, then \u{fffd}"]
        );
    }

    #[test]
    fn data_is_kept_byte_for_byte_but_for_numbers_that_json_does_not_know() {
        let bodies: Vec<_> = parse(QUEUE).unwrap().events.iter().map(|event| read(event).0.body).collect();
        let [first, second, ..] = bodies.as_slice() else { panic!("{bodies:?}") };
        assert!(
            QUEUE.contains(first) && first.contains(r#""half \ud83d""#) && first.contains("na\\u00efve"),
            "{first}"
        );
        assert!(first.contains("123456789012345678901234567890"), "{first}");
        let expected = r#"{
        "ratio": null,
        "bounds": [null, null, -1.5],
        "text": "NaN \"NaN\" \\"
      }"#;
        assert_eq!(second, expected);
    }

    #[test]
    fn a_list_becomes_the_deliveries_that_waited() {
        let file = parse(DELIVERIES).unwrap();
        assert_eq!((file.to_run(), file.failed(), file.completed(), file.numbers()), (3, 0, 0, 0));
        let events: Vec<_> = file.events.iter().map(|event| read(event).0).collect();
        let told: Vec<_> = events.iter().map(|event| (event.event_type.as_str(), event.action.as_deref())).collect();
        let create = Some("create");
        assert_eq!(told, [("Issue", create), ("Comment", create), ("Issue", create)]);
        assert_eq!(events[0].key.as_deref(), Some("539068e2-ae88-4d09-bd75-22eb4a59612f"));
        assert!(events.iter().all(|event| !event.stale && event.source == "linear"));
        assert_eq!((&events[0].id, events[0].body_hash), (&events[2].id, events[2].body_hash), "the same delivery");
        assert_ne!(events[0].id, events[1].id);
        assert!(DELIVERIES.contains(&events[1].body));
        assert_eq!((events[1].received_at, events[1].headers.len()), (None, 1));
    }

    #[test]
    fn retries_and_waits_are_what_is_left_of_them() {
        let interval_later = at("2026-11-20T08:07:00Z");
        for (members, left, due, fails) in [
            (r#""status":"pending""#, 3, None, false),
            (r#""status":"pending","retry_count":null,"max_retries":null"#, 3, None, false),
            (
                r#""status":"pending","retry_count":2,"max_retries":3,"last_attempt":"2026-11-20T08:05:59""#,
                1,
                None,
                false,
            ),
            (r#""status":"retrying","retry_count":1"#, 2, None, false),
            (
                r#""status":"retrying","retry_count":9,"last_attempt":"2026-11-20 08:06:00.000""#,
                0,
                Some(interval_later),
                false,
            ),
            (r#""status":"retrying","last_attempt":"2031-01-01T00:00:00""#, 3, Some(interval_later), false),
            (r#""status":"failed","retry_count":3"#, 3, None, true),
            (r#""status":"failed","max_retries":0"#, 0, None, true),
            (r#""status":"pending","max_retries":18446744073709551615"#, 1_000, None, false),
        ] {
            let event = one(members).unwrap();
            let (event, failed) = read(&event);
            assert_eq!(
                (event.max_retries, event.starts_at(now()), failed.is_some()),
                (Some(left), due, fails),
                "{members}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_whole_is_refused_with_its_place() {
        let cut = |text: &str, bytes: usize| text.get(..bytes).unwrap().to_owned();
        let twice = QUEUE.replacen("\"emoji\": \"eyes\"", "\"emoji\": \"ears\"", 1);
        let longest =
            format!(r#"{{"pending_events":[{}]}}"#, QUEUE_EVENT.replace("\"T0\"", &format!("\"{}\"", "T".repeat(129))));
        for (text, says) in [
            (String::new(), "EOF while parsing a value at line 1"),
            ("  \n".to_owned(), "EOF while parsing a value at line 2"),
            (cut(QUEUE, 700), "EOF while parsing"),
            (cut(QUEUE, QUEUE.len() - 3), "EOF while parsing"),
            (cut(DELIVERIES, 900), "EOF while parsing"),
            ("{}".to_owned(), "missing field `pending_events`"),
            (QUEUE.replace("processing", "unheard of"), "unknown variant `unheard of`"),
            (QUEUE.replace("T08:00:04\"", " yesterday\""), "number 6 of pending_events, \"0b7e1f6a-0006-"),
            (twice, "number 1 of failed_events, \"0b7e1f6a-0006-4c3d-8e5f-000000000006\", stands there twice"),
            (longest, "number 1 of pending_events, \"a\", cannot be kept: event_type has 129 bytes"),
            (
                DELIVERIES.replace("\"type\": \"Comment\",", ""),
                "number 2 of the list, \"Issue_1795422875386\", cannot be kept",
            ),
            ("[1]".to_owned(), "line 1 column 2"),
            ("7".to_owned(), "line 1 column 1"),
        ] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let (mut told, mut source) = (error.to_string(), std::error::Error::source(&error));
            while let Some(cause) = source {
                told = format!("{told}: {cause}");
                source = cause.source();
            }
            assert!(told.contains(says), "{told}");
        }
        assert!(FormerFile::parse(b"{\"a\":\"\xff\"}", now(), MINUTE).is_err());
    }

    /// An event of a queue, but for its type.
    const QUEUE_EVENT: &str =
        r#"{"id":"a","event_type":"T0","data":1,"timestamp":"2026-11-20T08:00:00","status":"pending"}"#;

    #[test]
    fn an_event_that_no_record_takes_is_refused_before_anything_is_kept() {
        let file = |bytes: usize| {
            let event = QUEUE_EVENT.replace(":1,", &format!(":\"{}\",", "x".repeat(bytes)));
            parse(&format!(r#"{{"pending_events":[{event}]}}"#)).unwrap()
        };
        file(14_000).check_lengths(16_000).unwrap();
        let error = file(15_000).check_lengths(16_000).unwrap_err().to_string();
        assert!(error.contains("\"a\"") && error.contains("14976 bytes"), "{error}");
    }

    #[test]
    fn what_keeps_them_is_asked_for_in_parts() {
        let events = |count: usize, bytes: usize| {
            let data = format!("\"{}\"", "x".repeat(bytes));
            let events: Vec<_> = (0..count)
                .map(|number| {
                    QUEUE_EVENT
                        .replace(r#""id":"a""#, &format!(r#""id":"{number}""#))
                        .replace(":1,", &format!(":{data},"))
                })
                .collect();
            parse(&format!(r#"{{"pending_events":[{}]}}"#, events.join(","))).unwrap()
        };
        let parts = |file: FormerFile| -> Vec<usize> {
            file.into_operations()
                .map(|operation| {
                    assert!(!format!("{operation:?}").contains('x'), "data reaches a log");
                    let Operation::Import { events } = operation else { panic!("{operation:?}") };
                    events.len()
                })
                .collect()
        };
        assert_eq!(parts(events(EVENTS_AT_ONCE + 1, 1)), [EVENTS_AT_ONCE, 1]);
        assert_eq!(parts(events(5, BYTES_AT_ONCE / 2 - 9)), [2, 2, 1]);
        assert_eq!(parts(events(2, BYTES_AT_ONCE)), [1, 1]);
        assert_eq!(parts(events(0, 0)), [0_usize; 0]);
    }
}
