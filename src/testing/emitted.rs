//! What was emitted, and assertions about it whose messages show it.

use std::fmt::Write as _;

use super::Bench;
use crate::event::{Event, Status};

/// Asserts that events of a type were emitted: `assert_emitted!(bench, "Issue")` at least one, `count = 2` exactly two. Only those count
/// that also have the `key`, the `action`, the `status` or the `data` (JSON, compared as such) that is named:
///
/// ```
/// # use ledgerline::{Status, assert_emitted, testing::Bench};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), ledgerline::Error> {
/// # let bench = Bench::start(|manager| manager).await?;
/// bench.manager().emit("Issue", serde_json::json!({"title": "New"})).key("ISS-1").await?;
/// assert_emitted!(bench, "Issue");
/// assert_emitted!(bench, "Issue", count = 1, key = "ISS-1", status = Status::Pending);
/// assert_emitted!(bench, "Issue", data = serde_json::json!({"title": "New"}));
/// assert_emitted!(bench, "Comment", count = 0);
/// # Ok(())
/// # }
/// ```
///
/// It looks at the events that the store holds, finished ones included until they are forgotten. If it fails, it panics and lists them.
#[macro_export]
macro_rules! assert_emitted {
    ($bench:expr, $event_type:expr $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::testing::Wanted::new($event_type)$(.$name($value))*.check(&$bench)
    };
}

/// What [`assert_emitted!`](crate::assert_emitted) looks for.
#[derive(Debug)]
#[must_use]
pub struct Wanted {
    event_type: String,
    count: Option<usize>,
    key: Option<String>,
    action: Option<String>,
    status: Option<Status>,
    data: Option<serde_json::Value>,
}

impl Wanted {
    /// Events of this type.
    pub fn new(event_type: impl Into<String>) -> Self {
        Self { event_type: event_type.into(), count: None, key: None, action: None, status: None, data: None }
    }

    /// Exactly this many; without it at least one.
    pub fn count(self, count: usize) -> Self {
        Self { count: Some(count), ..self }
    }

    /// Those of this key.
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Those with this action.
    pub fn action(self, action: impl Into<String>) -> Self {
        Self { action: Some(action.into()), ..self }
    }

    /// Those that stand here.
    pub fn status(self, status: Status) -> Self {
        Self { status: Some(status), ..self }
    }

    /// Those that carry this.
    pub fn data(self, data: impl Into<serde_json::Value>) -> Self {
        Self { data: Some(data.into()), ..self }
    }

    /// Panics unless the bench has what is wanted.
    #[track_caller]
    #[expect(clippy::panic, reason = "it is an assertion")]
    pub fn check(&self, bench: &Bench) {
        let events = bench.emitted().unwrap_or_else(|error| panic!("what was emitted cannot be read: {error}"));
        if let Err(message) = self.judge(&events) {
            panic!("{message}");
        }
    }

    fn matches(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        event.event_type() == self.event_type
            && is(&self.key, event.key())
            && is(&self.action, event.action())
            && self.status.is_none_or(|status| event.status() == status)
            && self.data.as_ref().is_none_or(|data| event.json::<serde_json::Value>().is_ok_and(|found| found == *data))
    }

    /// What is wrong, with all that was emitted, so that nobody need run it again to see.
    fn judge(&self, events: &[Event]) -> Result<(), String> {
        let found = events.iter().filter(|event| self.matches(event)).count();
        if self.count.map_or(found > 0, |count| found == count) {
            return Ok(());
        }
        let wanted = self.count.map_or("at least 1 event".to_owned(), |count| format!("{count} events"));
        let mut message = format!("expected {wanted} of type {:?}", self.event_type);
        // Writing to a String does not fail.
        let mut also = |name: &str, value: Option<String>| _ = value.map(|value| write!(message, ", {name} {value}"));
        also("key", self.key.as_ref().map(|key| format!("{key:?}")));
        also("action", self.action.as_ref().map(|action| format!("{action:?}")));
        also("status", self.status.map(|status| status.to_string()));
        also("data", self.data.as_ref().map(ToString::to_string));
        let _ = write!(message, "; found {found} among the {} that were emitted:", events.len());
        for event in events {
            let _ = write!(message, "\n  {} {:?} {}", event.event_type(), event.id(), event.status());
            let _ = event.key().map(|key| write!(message, ", key {key:?}"));
            let _ = event.action().map(|action| write!(message, ", action {action:?}"));
            let _ = write!(message, ": {}", shortened(event.data()));
        }
        Err(message)
    }
}

/// The first characters of a text that may be long.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 200;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
