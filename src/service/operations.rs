//! What can be asked of a store, and done to it: the same whether the running service is asked or the directory is opened.
//!
//! Each operation answers in JSON documents, one per line, with names that stay. They are the control socket's answers and, unchanged,
//! what `--json` prints; readable text is made from them.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::former::FormerEvent;
use super::printable::json_line;
use crate::env::Clock;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, NewEvent, Scope, Status, Timestamp};
use crate::manager::EventManager;
use crate::store::{Act, Filter, HistoryEntry, Pass, Receipt, Selected, Selection, Store};

/// Why nothing is healthy where no service runs.
const NOT_RUNNING: &str = "not running: no service answers for this directory";

/// One thing to ask or to do. As JSON it is a request of the control socket.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Operation {
    /// The events that match, oldest first: one event a line. Where damaged ones had to be left out the answer ends with an error.
    List {
        /// Only those that stand here.
        status: Option<Status>,
        /// Only those of this type.
        event_type: Option<String>,
        /// Only those of this key.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Only those that were received at this time or later.
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
        /// Only those that were received before this time.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// Only those whose `seq` is greater.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
        /// At most so many: up to [`Operation::LIST_MAX`].
        limit: usize,
    },
    /// One event, with `headers` and its whole `history`: one line.
    Show {
        /// The event.
        id: String,
    },
    /// How the store is doing: one line.
    Stats {},
    /// Whether all is well (`healthy`), and if not, why (`reasons`): one line.
    Health {},
    /// Runs these events anew: one line each, with `id`, `refused` (null, or why not) and `kind` (of the refusal).
    Replay {
        /// The events.
        ids: Vec<String>,
    },
    /// Runs all events anew that have failed for good: lines as for `Replay`.
    ReplayFailed {},
    /// Runs all selected events anew: lines as for `Replay`, then one with `selected`: `matched`, `done`, `refused`, `dry_run`. If the
    /// command goes away it ends after the present step.
    ReplayAll {
        /// Which.
        selection: Selection,
    },
    /// Calls off all selected events: lines as for `ReplayAll`.
    CancelAll {
        /// Which.
        selection: Selection,
        /// Why.
        reason: String,
    },
    /// Has no run of these events begin until it is resumed, or until a time: one line, with `scope` and `until`.
    Pause {
        /// Which events.
        scope: Scope,
        /// When the pause ends by itself.
        until: Option<Timestamp>,
        /// The same as a distance from now, in milliseconds: 1 to [`Operation::PAUSE_MS_MAX`]. Not beside `until`.
        for_ms: Option<u64>,
        /// Why.
        reason: String,
    },
    /// Ends a pause: one line, with `scope` and `resumed` (false: there was none).
    Resume {
        /// Which events.
        scope: Scope,
    },
    /// The pauses in force, those of types first: one a line, with `scope`, `until`, `since` and `reason`.
    Pauses {},
    /// Forgets what is old enough, and frees the space: one line.
    Compact {},
    /// Has the service run what is claimable until nothing is: one line, with `runs`, `done` and `failed`.
    Process {},
    /// Keeps an event: one line, with `id`, `duplicate` and `seq`.
    Emit {
        /// Its type.
        event_type: String,
        /// Its data: JSON, kept byte for byte.
        data: String,
        /// Its id; made up if there is none.
        id: Option<String>,
        /// The key whose events run one at a time.
        key: Option<String>,
        /// Not to be run earlier.
        #[serde(default)]
        not_before: Option<Timestamp>,
        /// 0 (first) to 9 (last).
        #[serde(default)]
        priority: u8,
    },
    /// Keeps events of the former program, one after the other: one line each, with `id`, `status` (pending, or failed for good;
    /// null of a duplicate), `duplicate` and `seq`. What was kept before one that is refused stays.
    Import {
        /// The events: see [`FormerFile`](super::FormerFile).
        events: Vec<FormerEvent>,
    },
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The data may hold what must not reach a log.
            Self::Emit { event_type, data, id, key, not_before, priority } => f
                .debug_struct("Emit")
                .field("event_type", event_type)
                .field("data_bytes", &data.len())
                .field("id", id)
                .field("key", key)
                .field("not_before", not_before)
                .field("priority", priority)
                .finish(),
            Self::Import { events } => f.debug_struct("Import").field("events", &events.len()).finish(),
            other => f.write_str(&serde_json::to_string(other).map_err(|_| fmt::Error)?),
        }
    }
}

/// What an operation needs where no service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The directory, read-only and without its lock.
    Read,
    /// The store, which must be there.
    Write,
    /// The store, which is created if need be.
    Create,
}

/// Takes one line of an answer; breaks when nobody wants more.
pub(super) type Line<'a> = dyn FnMut(String) -> ControlFlow<()> + 'a;

impl Operation {
    /// Most events that one [`Operation::List`] may ask for. One of them tells whoever shows the others that there are more.
    pub const LIST_MAX: usize = 100_001;

    /// Longest pause that [`Operation::Pause`] takes as a distance, in milliseconds: 100 years of 365 days.
    pub const PAUSE_MS_MAX: u64 = 100 * 365 * 24 * 3_600_000;

    /// Refuses what no store would keep, before one is made for it.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Emit { event_type, data, id, key, not_before, priority } => {
                event(event_type.clone(), data.clone(), id.clone(), key.clone(), *not_before, *priority)?.validate()
            }
            Self::Import { events } => events.iter().try_for_each(|event| event.read()?.0.validate()),
            _ => Ok(()),
        }
    }

    /// Whether it waits neither for a disk nor for runs, so that a service that does not answer soon is stuck.
    pub(super) fn is_quick(&self) -> bool {
        matches!(self, Self::Stats {} | Self::Health {} | Self::Pauses {})
    }

    pub(super) fn access(&self) -> Access {
        match self {
            Self::List { .. }
            | Self::Show { .. }
            | Self::Stats {}
            | Self::Health {}
            | Self::Process {}
            | Self::Pauses {} => Access::Read,
            Self::ReplayAll { selection } | Self::CancelAll { selection, .. } if selection.is_dry_run() => Access::Read,
            Self::ReplayAll { .. }
            | Self::CancelAll { .. }
            | Self::Replay { .. }
            | Self::ReplayFailed {}
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Compact {} => Access::Write,
            Self::Emit { .. } | Self::Import { .. } => Access::Create,
        }
    }
}

/// What the operations are done to.
#[derive(Clone)]
pub(super) struct Operations {
    store: Store,
    /// None where no service runs: then nothing is processed, and nothing is healthy.
    manager: Option<EventManager>,
}

/// An event with all that is known of it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    event: &'a Event,
    headers: Vec<Header<'a>>,
    history: Vec<HistoryEntry>,
}

#[derive(Serialize)]
struct Header<'a> {
    name: &'a str,
    value: &'a str,
}

/// As a manager's health, where there is none.
#[derive(Serialize)]
struct NotRunning<'a> {
    healthy: bool,
    reasons: [&'a str; 1],
}

/// The answer about health where no service runs.
pub(super) fn not_running(line: &mut Line<'_>) -> Result<(), Error> {
    one(&NotRunning { healthy: false, reasons: [NOT_RUNNING] }, line)
}

/// The answer about health where no service answers, but a process holds the store, as `locked` says.
pub(super) fn not_answering(locked: &Error, line: &mut Line<'_>) -> Result<(), Error> {
    // What follows is for whoever wants the store himself.
    let (holder, _) = locked.message().split_once("; ").unwrap_or((locked.message(), ""));
    let reason = format!(
        "no service answers for this directory, but {holder}: it is starting, or a command at work, or a program that opened the \
         store for itself, or its control socket is gone and comes back with a restart"
    );
    one(&NotRunning { healthy: false, reasons: [&reason] }, line)
}

/// The last line about a selection.
#[derive(Serialize)]
struct Totalled {
    selected: Totals,
}

#[derive(Serialize)]
struct Totals {
    matched: u64,
    done: u64,
    refused: u64,
    dry_run: bool,
}

impl From<&Selected> for Totals {
    fn from(selected: &Selected) -> Self {
        let Selected { matched, done, refused, dry_run, .. } = *selected;
        Self { matched, done, refused, dry_run }
    }
}

#[derive(Serialize)]
struct Paused {
    scope: Scope,
    until: Option<Timestamp>,
}

#[derive(Serialize)]
struct Resumed {
    scope: Scope,
    resumed: bool,
}

#[derive(Serialize)]
struct Emitted<'a> {
    id: &'a str,
    duplicate: bool,
    seq: u64,
}

#[derive(Serialize)]
struct Imported<'a> {
    id: &'a str,
    /// None of a duplicate, which has gone its own way since.
    status: Option<Status>,
    duplicate: bool,
    seq: u64,
}

impl Operations {
    /// On a store that no service processes.
    pub(super) fn of_store(store: Store) -> Self {
        Self { store, manager: None }
    }

    /// On the store of a running manager.
    pub(super) fn of_manager(manager: EventManager) -> Self {
        Self { store: manager.store(), manager: Some(manager) }
    }

    /// Does `operation` and gives its answer line by line. What it changed is durable when this returns. It blocks.
    pub(super) fn perform(&self, operation: Operation, line: &mut Line<'_>) -> Result<(), Error> {
        match operation {
            Operation::List { status, event_type, key, since, until, after, limit } => {
                let mut filter = Filter::all().limit(limit);
                (filter.status, filter.event_type, filter.key) = (status, event_type, key);
                (filter.since, filter.until, filter.after) = (since, until, after);
                self.list(&filter, line)
            }
            Operation::Show { id } => self.show(&id, line),
            Operation::Stats {} => {
                let stats = self.manager.as_ref().map_or_else(|| self.store.stats(), EventManager::stats);
                one(&stats, line)
            }
            Operation::Health {} => match &self.manager {
                Some(manager) => one(&manager.health(), line),
                None => not_running(line),
            },
            Operation::Replay { ids } => each(&self.store.replay(&ids)?, line),
            Operation::ReplayFailed {} => each(&self.store.replay_failed()?, line),
            Operation::ReplayAll { selection } => self.go_through(selection, Act::Replay, line),
            Operation::CancelAll { selection, reason } => self.go_through(selection, Act::Cancel(reason), line),
            Operation::Pause { scope, until, for_ms, reason } => {
                let until = end(until, for_ms)?;
                self.store.pause(scope.clone(), until, &reason)?;
                one(&Paused { scope, until }, line)
            }
            Operation::Resume { scope } => {
                let resumed = self.store.resume(&scope)?;
                one(&Resumed { scope, resumed }, line)
            }
            Operation::Pauses {} => each(&self.store.pauses(), line),
            Operation::Compact {} => one(&self.store.compact()?, line),
            Operation::Emit { event_type, data, id, key, not_before, priority } => {
                self.emit(event(event_type, data, id, key, not_before, priority)?, line)
            }
            Operation::Import { events } => self.import(&events, line),
            Operation::Process {} => self.process(line),
        }
    }

    fn go_through(&self, selection: Selection, act: Act, line: &mut Line<'_>) -> Result<(), Error> {
        let (mut failure, mut wanted) = (None, ControlFlow::Continue(()));
        let selected = Pass::begin(&self.store, selection, act)?.run(&mut |pass, one| {
            if let (Some(manager), Some(called_off)) = (&self.manager, one.called_off()) {
                // A service performs on a thread that may block.
                tokio::runtime::Handle::current().block_on(manager.tell_called_off(called_off));
            }
            wanted = match json_line(&pass.answer(one)) {
                // The rest of the step is done, and its handlers are to be told, whether somebody listens or not.
                Ok(document) if wanted.is_continue() => line(document),
                Ok(_) => ControlFlow::Break(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            };
            wanted
        })?;
        match failure {
            Some(error) => Err(error),
            None if wanted.is_break() => Ok(()),
            None => one(&Totalled { selected: Totals::from(&selected) }, line),
        }
    }

    fn process(&self, line: &mut Line<'_>) -> Result<(), Error> {
        let manager = self.manager.as_ref().ok_or_else(|| Error::new(ErrorKind::NotAllowed, NOT_RUNNING))?;
        // A service performs on a thread that may block.
        one(&tokio::runtime::Handle::current().block_on(manager.process_pending())?, line)
    }

    fn list(&self, filter: &Filter, line: &mut Line<'_>) -> Result<(), Error> {
        if let Some(limit) = filter.limit.filter(|limit| *limit > Operation::LIST_MAX) {
            return Err(Error::invalid(format!("limit is {limit}; a list has at most {} events", Operation::LIST_MAX)));
        }
        let mut failure = None;
        // One at a time: a list may be longer than memory, and whoever reads it slow.
        let damaged = self.store.list_each(filter, |event| match json_line(&event) {
            Ok(document) => line(document),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        })?;
        match failure {
            Some(error) => Err(error),
            None if damaged > 0 => Err(Error::new(
                ErrorKind::Corrupt,
                format!("left out because they are damaged: {damaged}; `ledgerline verify` names the places"),
            )
            .at_path(self.store.path())),
            None => Ok(()),
        }
    }

    fn show(&self, id: &str, line: &mut Line<'_>) -> Result<(), Error> {
        let event = self.store.get(id)?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no event {id:?} is kept in {}", self.store.path().display()))
        })?;
        let headers = event.headers().iter().map(|(name, value)| Header { name, value }).collect();
        let history = self.store.history(id)?;
        one(&Shown { event: &event, headers, history }, line)
    }

    fn emit(&self, event: NewEvent, line: &mut Line<'_>) -> Result<(), Error> {
        let receipt = self.store.append(event)?;
        one(&Emitted { id: &receipt.id, duplicate: receipt.duplicate.is_some(), seq: receipt.seq }, line)
    }

    fn import(&self, events: &[FormerEvent], line: &mut Line<'_>) -> Result<(), Error> {
        for event in events {
            let (event, failed) = event.read()?;
            let Receipt { id, seq, duplicate } = self.store.append_as(event, failed)?;
            let status = duplicate.is_none().then(|| if failed.is_some() { Status::Failed } else { Status::Pending });
            let imported = Imported { id: &id, status, duplicate: duplicate.is_some(), seq };
            if line(json_line(&imported)?).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// What [`Operation::Emit`] is to keep.
fn event(
    event_type: String,
    data: String,
    id: Option<String>,
    key: Option<String>,
    not_before: Option<Timestamp>,
    priority: u8,
) -> Result<NewEvent, Error> {
    let mut event = NewEvent::from_json(event_type, data)?.priority(priority);
    event = id.into_iter().fold(event, NewEvent::id);
    event = key.into_iter().fold(event, NewEvent::key);
    Ok(not_before.into_iter().fold(event, NewEvent::not_before))
}

/// When a pause is to end.
fn end(until: Option<Timestamp>, for_ms: Option<u64>) -> Result<Option<Timestamp>, Error> {
    match (until, for_ms) {
        (Some(until), Some(ms)) => {
            Err(Error::invalid(format!("the pause is to end at {until} and after {ms} ms: give one of the two")))
        }
        (None, Some(ms)) if !(1..=Operation::PAUSE_MS_MAX).contains(&ms) => {
            let most = Operation::PAUSE_MS_MAX;
            Err(Error::invalid(format!("the pause is to last {ms} ms; it must be from 1 to {most}")))
        }
        (None, Some(ms)) => {
            let now = Timestamp::from(Clock::system().read().wall);
            Ok(Some(now.saturating_add(Duration::from_millis(ms))))
        }
        (until, None) => Ok(until),
    }
}

fn each(answers: &[impl Serialize], line: &mut Line<'_>) -> Result<(), Error> {
    for answer in answers {
        if line(json_line(answer)?).is_break() {
            break;
        }
    }
    Ok(())
}

fn one(answer: &impl Serialize, line: &mut Line<'_>) -> Result<(), Error> {
    // Nothing follows, so it does not matter whether somebody wants more.
    let _ = line(json_line(answer)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_of_json_and_comes_back() {
        for operation in [
            Operation::List {
                status: Some(Status::Failed),
                event_type: None,
                key: Some("k".into()),
                since: None,
                until: Some(Timestamp::from_unix_micros(1)),
                after: Some(7),
                limit: 5,
            },
            Operation::Stats {},
            Operation::Pauses {},
            Operation::Pause {
                scope: Scope::Type("Issue".into()),
                until: Some(Timestamp::from_unix_micros(1)),
                for_ms: None,
                reason: "r".into(),
            },
            Operation::Resume { scope: Scope::Key("k".into()) },
            Operation::CancelAll { selection: Selection::failed().rate(5), reason: "r".into() },
            Operation::ReplayAll { selection: Selection::ids(["a"]).until(Timestamp::default()).dry_run() },
            Operation::Emit {
                event_type: "Issue".into(),
                data: "{\n}".into(),
                id: None,
                key: Some("k".into()),
                not_before: Some(Timestamp::from_unix_micros(1)),
                priority: 9,
            },
        ] {
            let line = serde_json::to_string(&operation).unwrap();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(serde_json::from_str::<Operation>(&line).unwrap(), operation);
        }
        for foreign in [
            r#"{"operation":"pause","scope":{"id":"a"},"reason":""}"#,
            r#"{"operation":"drop"}"#,
            r#"{"operation":"stats","x":1}"#,
            r#"{"operation":"list","before":1}"#,
            r#"{"id":"x"}"#,
            "[]",
        ] {
            assert!(serde_json::from_str::<Operation>(foreign).is_err(), "{foreign}");
        }
        let earlier = r#"{"operation":"list","status":null,"event_type":null,"limit":5}"#;
        assert!(serde_json::from_str::<Operation>(earlier).is_ok(), "a command of an earlier version");
    }

    #[test]
    fn a_pause_ends_at_a_time_or_after_one_but_not_both() {
        let time = Timestamp::from_unix_micros(1);
        assert_eq!((end(None, None).unwrap(), end(Some(time), None).unwrap()), (None, Some(time)));
        let now = Timestamp::from(Clock::system().read().wall);
        let longest = end(None, Some(Operation::PAUSE_MS_MAX)).unwrap().unwrap();
        assert_eq!(longest.saturating_since(now).as_secs() / 3_600, 876_000);
        for (until, ms, says) in [
            (Some(time), 5, "to end at 1970-01-01T00:00:00.000001Z and after 5 ms"),
            (None, 0, "to last 0 ms; it must be from 1 to"),
            (None, Operation::PAUSE_MS_MAX + 1, "to last 3153600000001 ms"),
        ] {
            let error = end(until, Some(ms)).unwrap_err();
            assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains(says), "{error}");
        }
    }
}
