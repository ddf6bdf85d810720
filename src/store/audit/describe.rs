//! What an entry says, as fields with stable names.

use serde_json::{Map, Value};

use crate::event::Timestamp;
use crate::event::entry::{Begun, Cancelled, Condemned, Entry, Mark, Received, Scoped, Summary};
use crate::store::replay::at_of;

/// What an entry says, as fields with stable names. The data of events is not shown, only its length.
pub(in crate::store) fn describe(entry: &Entry<'_>, says: &mut Map<String, Value>) {
    let mut say = |name: &str, value: Value| says.insert(name.to_owned(), value);
    if let Some(at) = at_of(entry) {
        say("at", time(at));
    }
    if let Some(of) = entry.of() {
        say("of", of.seq.into());
    }
    match entry {
        Entry::Begun(begun) => describe_beginning(begun, says),
        Entry::State(summary) => describe_summary(summary, says),
        Entry::Mark(mark) => {
            say("mark", if *mark == Mark::Close { "close" } else { "idle" }.into());
        }
        Entry::Received(received) => describe_reception(received, says),
        Entry::Started(started) => {
            say("epoch", started.epoch.into());
            say("attempt", started.attempt.into());
            say("alone", started.alone.into());
        }
        Entry::Failed(failed) => {
            say("error", failed.error.into());
            say("retry_at", failed.retry.map_or(Value::Null, |wait| time(wait.due)));
        }
        Entry::Cancelled(Cancelled { reason, .. }) | Entry::Condemned(Condemned { reason, .. }) => {
            say("reason", (*reason).into());
        }
        Entry::Horizon(horizon) => {
            say("finished_before", time(horizon.finished_before));
            say("remembered_before", time(horizon.remembered_before));
        }
        Entry::Remembered(remembered) => {
            say("ids", remembered.ids.len().into());
        }
        Entry::Accepted(accepted) => {
            say("lost_from", accepted.first_seq.into());
            say("lost_to", accepted.last_seq.into());
            say("reason", accepted.reason.into());
        }
        Entry::Snoozed(snoozed) => {
            say("retry_at", time(snoozed.wait.due));
            say("count", snoozed.count.into());
        }
        Entry::Handled(handled) => {
            say("handler", handled.handler.into());
        }
        Entry::Paused(paused) => {
            describe_scope(paused.scope, says);
            says.insert("until".to_owned(), paused.until.map_or(Value::Null, time));
            says.insert("reason".to_owned(), paused.reason.into());
        }
        Entry::Resumed(resumed) => describe_scope(resumed.scope, says),
        Entry::Cursor(cursor) => {
            say("name", cursor.name.into());
            say("seq", cursor.seq.into());
        }
        Entry::Completed(_) | Entry::Released(_) | Entry::Replayed(_) => {}
    }
}

fn describe_beginning(begun: &Begun, says: &mut Map<String, Value>) {
    let mut say = |name: &str, value: Value| says.insert(name.to_owned(), value);
    say("epoch", begun.epoch.into());
    if let Some(end) = begun.predecessor {
        say("predecessor", end.ordinal.into());
        say("predecessor_last_seq", end.last_seq.into());
        say("predecessor_length", end.length.into());
    }
}

fn describe_summary(summary: &Summary<'_>, says: &mut Map<String, Value>) {
    let mut say = |name: &str, value: Value| says.insert(name.to_owned(), value);
    let totals = &summary.totals;
    say("received", totals.received.into());
    say("completed", totals.completed.into());
    say("attempts_failed", totals.attempts_failed.into());
    say("retries_scheduled", totals.retries_scheduled.into());
    say("claims", totals.claims.into());
    say("pauses", summary.pauses.len().into());
    say("cursors", summary.cursors.len().into());
}

fn describe_scope(scope: Scoped<'_>, says: &mut Map<String, Value>) {
    let (name, value) = match scope {
        Scoped::Type(name) => ("event_type", name),
        Scoped::Key(name) => ("key", name),
    };
    says.insert(name.to_owned(), value.into());
}

fn describe_reception(received: &Received<'_>, says: &mut Map<String, Value>) {
    let mut say = |name: &str, value: Value| says.insert(name.to_owned(), value);
    say("event_type", received.event_type.into());
    say("action", received.action.into());
    say("source", received.source.into());
    say("key", received.key.into());
    say("not_before", received.not_before.map_or(Value::Null, time));
    say("priority", received.priority.into());
    say("max_retries", received.max_retries.into());
    say("flags", received.flags.0.into());
    say("headers", received.headers.len().into());
    say("data_bytes", received.body.len().into());
}

fn time(micros: i64) -> Value {
    Timestamp::from_unix_micros(micros).to_string().into()
}
