//! Reading events back: the record of the reception, joined with what the state says of it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};

use crate::error::{Error, ErrorKind};
use crate::event::codec;
use crate::event::entry::{Entry, Flags, Received};
use crate::event::{Event, EventParts, Place, Status, Timestamp, Waiting};
use crate::log::reader::read_record;
use crate::log::scan::{Record, Seqs, Standing, Visitor, scan};
use crate::log::segment::Segment;
use crate::log::source::Source;
use crate::mutants::mutant;
use crate::state::{State, View};
use crate::store::answers::{Filter, HistoryEntry};
use crate::store::commit::Shared;
use crate::store::desk::Level;
use crate::store::failure::{lacks_means, of_env, of_log, of_refusal, of_stopped};
use crate::store::replay::at_of;

impl Shared {
    /// The event that `view` stands for.
    ///
    /// One that is damaged, or that the disk does not give back, is noted, so that health says so (R11).
    pub(crate) fn read_event(&self, view: &View) -> Result<Event, Error> {
        self.read_waiting(view, None)
    }

    /// The same, with why it waits.
    fn read_waiting(&self, view: &View, waiting: Option<Waiting>) -> Result<Event, Error> {
        let read = self.read_reception(view, waiting);
        if read.is_ok() {
            // The disk may have failed for a moment only.
            self.note(|notes, _| _ = notes.damaged.remove(&view.seq));
        }
        if let Err(error) = &read
            && is_damage(error)
            && let Some((place, segment)) = self.whereabouts(view.seq, |view| Some(view.place))
            // Or it was put elsewhere just now, where it may be sound.
            && error.path().is_none_or(|path| path == segment.file.path())
        {
            tracing::error!(%error, seq = view.seq, path = %segment.file.path().display(), "an event is damaged");
            self.note_of(&segment, |notes| {
                notes.damaged.insert(view.seq, (place.segment, u64::from(place.offset)));
            });
        }
        read
    }

    fn read_reception(&self, view: &View, waiting: Option<Waiting>) -> Result<Event, Error> {
        let body = |segment: &Segment, at| read(segment, at, Some(view.seq));
        let bytes = self.read_where_it_is(view, |view| Some(view.place), body)?;
        let entry = codec::decode(&bytes).map_err(|refusal| of_refusal(refusal).at_seq(view.seq))?;
        let Entry::Received(received) = entry else { return Err(no_reception(view.seq)) };
        event(view, &received, self.read_message(view), waiting)
    }

    /// The id of the reception `seq`, where it is still kept.
    pub(crate) fn read_id(&self, seq: u64) -> Result<Option<String>, Error> {
        let Some(view) = self.desk().core.state.view(seq) else { return Ok(None) };
        self.read_event(&view).map(|event| Some(event.id().to_owned()))
    }

    /// Whether the event received as `seq` has just this data.
    pub(crate) fn has_data(&self, seq: u64, data: &[u8]) -> Result<bool, Error> {
        let Some(view) = self.desk().core.state.view(seq) else { return Ok(false) };
        self.read_event(&view).map(|event| event.data().as_bytes() == data)
    }

    /// What the event failed with. A text that rotted is no reason to give up the event that it is about.
    fn read_message(&self, view: &View) -> Option<String> {
        view.error_at?;
        let text = |segment: &Segment, at| {
            let bytes = read(segment, at, None)?;
            let entry = codec::decode(&bytes).map_err(of_refusal)?;
            if entry.of().is_none_or(|of| of.seq != view.seq) {
                return Err(Error::new(ErrorKind::Corrupt, "the record is about another event").at_seq(view.seq));
            }
            Ok(message_of(&entry).unwrap_or_default().to_owned())
        };
        match self.read_where_it_is(view, |view| view.error_at, text) {
            // It stands otherwise by now, and what it has failed with since may be in no file yet.
            Err(_) if self.has_gone_on(view) => None,
            Err(error) => Some(format!("(the message is damaged: {error})")),
            Ok(text) => Some(text),
        }
    }

    /// Whether anything has happened to the event since `view` was taken.
    fn has_gone_on(&self, view: &View) -> bool {
        self.desk().core.state.view(view.seq).is_none_or(|now| now.last_seq != view.last_seq)
    }

    /// What `read` makes of a record that the event names. Since `view` was taken compaction may have put it elsewhere, and another file
    /// may bear the number of the segment where it was.
    fn read_where_it_is<T>(
        &self,
        view: &View,
        place: impl Fn(&View) -> Option<Place>,
        read: impl Fn(&Segment, Place) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let then = place(view).and_then(|at| Some(read(&*self.segment(at.segment)?, at)));
        match then {
            None => {}
            Some(Err(error)) if is_damage(&error) => {}
            Some(done) => return done,
        }
        let gone = || Error::new(ErrorKind::NotFound, "compaction forgot the event meanwhile");
        let (at, segment) = self.whereabouts(view.seq, place).ok_or_else(gone)?;
        read(&segment, at)
    }

    /// Where a record that the event `seq` names lies, and the file: of one moment, since a number comes to stand for another file.
    fn whereabouts(&self, seq: u64, place: impl Fn(&View) -> Option<Place>) -> Option<(Place, Arc<Segment>)> {
        // Under the lock no event is moved, and no file is taken out before all of its events are.
        let desk = self.desk();
        let at = place(&desk.core.state.view(seq)?)?;
        Some((at, self.segment(at.segment)?))
    }

    pub(super) fn segment(&self, key: u32) -> Option<Arc<Segment>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).get(&key).map(Arc::clone)
    }

    /// What the state says of the event `id`, once that is durable.
    pub(crate) fn view_durable(&self, id: &str) -> Result<Option<View>, Error> {
        self.standing_of(id).map(|found| found.map(|(view, _)| view))
    }

    /// The same, and why the event waits.
    fn standing_of(&self, id: &str) -> Result<Option<(View, Option<Waiting>)>, Error> {
        let now = self.now();
        let found = {
            let desk = self.desk();
            let state = &desk.core.state;
            let seq = state.find(self.hasher.id(id));
            seq.and_then(|seq| Some((state.view(seq)?, state.why_waiting(seq, now))))
        };
        if let Some((view, _)) = &found
            && !mutant!("event-shown-before-durable")
        {
            self.wait(view.last_seq, Level::Durable)?;
        }
        Ok(found)
    }

    /// The event `id` as it stands, once that is durable.
    pub(crate) fn get(&self, id: &str) -> Result<Option<Event>, Error> {
        let Some((view, waiting)) = self.standing_of(id)? else { return Ok(None) };
        let waiting = waiting.map(|waiting| self.named(waiting, &mut BTreeMap::new()));
        match self.read_waiting(&view, waiting) {
            // It was forgotten since it was found.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// With the id of the event that it waits for, if it waits for one; `ids` are those that were read.
    fn named(&self, waiting: Waiting, ids: &mut BTreeMap<u64, Option<String>>) -> Waiting {
        let Waiting::Key { id: None, seq } = waiting else { return waiting };
        let id = ids.entry(seq).or_insert_with(|| self.read_id(seq).ok().flatten()).clone();
        Waiting::Key { id, seq }
    }

    /// Every event that matches `filter`: see [`Shared::list_each`].
    pub(crate) fn list(&self, filter: &Filter) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        self.list_each(filter, |event| {
            events.push(event);
            ControlFlow::Continue(())
        })?;
        Ok(events)
    }

    /// Shows every event that matches `filter`, oldest first, once it is durable, until `each` wants no more. Each is as it stood when its
    /// page was looked at; the lock is held for a page at a time. Returns how many were left out because their bytes are damaged.
    pub(crate) fn list_each(
        &self,
        filter: &Filter,
        mut each: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<u64, Error> {
        let selection = filter.selection();
        selection.validate()?;
        let key_hash = selection.key_hash(self.hasher);
        let (now, mut left) = (self.now(), filter.limit.unwrap_or(usize::MAX));
        let (to, shown, is_any) = {
            let desk = self.desk();
            let is_any = filter.status.is_none_or(|status| desk.core.state.counts().may_have(status));
            // After poison, what is above `durable` is unknown and is not shown.
            let is_unknown_hidden = desk.core.poison().is_some() && !mutant!("unknown-listed");
            (desk.core.last_seq(), if is_unknown_hidden { desk.core.durable() } else { u64::MAX }, is_any)
        };
        let (mut damaged, mut ids) = (0, BTreeMap::new());
        let mut from = filter.after.unwrap_or(0).checked_add(1).filter(|_| is_any);
        while let Some(next) = from.filter(|_| left > 0) {
            let wanted = |state: &State, view: View| {
                let is_wanted = selection.matches(&view, key_hash) && view.last_seq <= shown;
                is_wanted.then(|| (state.why_waiting(view.seq, now), view))
            };
            let began = self.clock.steady();
            let (views, after) = self.page((next, to), filter.status, left, wanted);
            let looked_for = self.clock.steady().saturating_sub(began);
            if let Some(last_seq) = views.iter().map(|(_, view)| view.last_seq).max()
                && !mutant!("list-shows-what-is-not-durable")
                && !mutant!("unknown-listed")
            {
                self.wait(last_seq, Level::Durable)?;
            }
            for (waiting, view) in views {
                let waiting = waiting.map(|waiting| self.named(waiting, &mut ids));
                match self.read_waiting(&view, waiting) {
                    // One damaged event hides no other: it was noted, and is left out; so is one that was forgotten meanwhile.
                    Err(error) if is_damage(&error) => damaged += 1,
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    read => {
                        left -= 1;
                        if each(read?).is_break() {
                            return Ok(damaged);
                        }
                    }
                }
            }
            from = after;
            if from.is_some() && left > 0 {
                // As in `rest_since`, but not for what was read from files.
                self.pause(looked_for);
            }
        }
        Ok(damaged)
    }

    /// The receptions of all events that stand at `status`.
    #[cfg(test)]
    pub(crate) fn seqs(&self, status: Status) -> Vec<u64> {
        self.desk().core.state.list(0).filter(|view| view.status == status).map(|view| view.seq).collect()
    }

    /// Every step of the event's life that the log still has, oldest first.
    pub(crate) fn history(&self, id: &str) -> Result<Vec<HistoryEntry>, Error> {
        match self.view_durable(id)? {
            Some(view) => self.history_of(view),
            None => Ok(Vec::new()),
        }
    }

    pub(super) fn history_of(&self, view: View) -> Result<Vec<HistoryEntry>, Error> {
        let (segments, end, durable) = {
            // Of one moment: see `whereabouts`.
            let desk = self.desk();
            let Some(now) = desk.core.state.view(view.seq) else { return Ok(Vec::new()) };
            let end = desk.core.end_of_log();
            let last = end.map_or(u32::MAX, |(key, _)| key);
            let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
            let held = files.range(now.place.segment..=last);
            (held.map(|(key, segment)| (*key, Arc::clone(segment))).collect::<Vec<_>>(), end, desk.core.durable())
        };
        let mut steps = Steps { view: &view, durable, epoch: 0, last_seq: 0, found: Vec::new() };
        for (key, segment) in segments {
            let bytes = segment.file.len().map_err(of_env)?;
            // Behind the end of the log are zeros.
            let bytes = end.filter(|(last, _)| *last == key).map_or(bytes, |(_, end)| end.min(bytes));
            let mut source = Source::windowed(&segment.file);
            scan(&mut source, bytes, &segment.header, Seqs::Any, &mut steps).map_err(of_stopped)?;
            if steps.are_all() {
                break;
            }
        }
        let begins = steps.found.first().is_some_and(|step| step.seq == view.seq);
        if !begins || steps.last_seq != view.last_seq {
            let text = "a part of the event's history is damaged; the dump tool shows what is left of it";
            return Err(Error::new(ErrorKind::Corrupt, text).at_path(self.dir.path()).at_seq(view.last_seq));
        }
        Ok(steps.found)
    }
}

/// The body of a record, verified (R11).
pub(super) fn read(segment: &Segment, at: Place, seq: Option<u64>) -> Result<Vec<u8>, Error> {
    read_record(&segment.file, &segment.header, u64::from(at.offset), at.length, seq).map_err(of_log)
}

/// Whether the bytes are not there as they were written: what the disk does not give back is as good as gone.
fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io) && !lacks_means(error)
}

fn no_reception(seq: u64) -> Error {
    Error::new(ErrorKind::Corrupt, "the record is no reception").at_seq(seq)
}

pub(super) fn event(
    view: &View,
    received: &Received<'_>,
    error_message: Option<String>,
    waiting: Option<Waiting>,
) -> Result<Event, Error> {
    let not_text =
        |cause| Error::new(ErrorKind::Corrupt, "the event's data is no text").at_seq(view.seq).caused_by(cause);
    let data = std::str::from_utf8(received.body).map_err(not_text)?.to_owned();
    let not_before = received.not_before.map(Timestamp::from_unix_micros);
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Ok(Event::new(EventParts {
        seq: view.seq,
        id: received.id.to_owned(),
        event_type: received.event_type.to_owned(),
        action: received.action.map(str::to_owned),
        source: received.source.to_owned(),
        key: received.key.map(str::to_owned),
        headers: received.headers.iter().map(owned).collect(),
        stale: received.flags.contains(Flags::STALE),
        data,
        timestamp: Timestamp::from_unix_micros(received.received_at),
        status: view.status,
        retry_count: view.retry_count,
        max_retries: view.max_retries,
        last_attempt: view.last_attempt.map(Timestamp::from_unix_micros),
        error_message,
        priority: received.priority,
        not_before,
        waiting: waiting.map(|waiting| exactly(waiting, not_before)),
    }))
}

/// What waits for its time waits for just the time that was asked for, unless a clock was set: two clocks are not read in one moment.
fn exactly(waiting: Waiting, not_before: Option<Timestamp>) -> Waiting {
    let Waiting::Time { until } = waiting else { return waiting };
    let is_near = |time: &Timestamp| time.unix_micros().abs_diff(until.unix_micros()) < 1_000;
    Waiting::Time { until: not_before.filter(is_near).unwrap_or(until) }
}

/// The error, the reason or the name that an entry carries.
fn message_of<'a>(entry: &Entry<'a>) -> Option<&'a str> {
    match entry {
        Entry::Failed(failed) => Some(failed.error),
        Entry::Cancelled(cancelled) => Some(cancelled.reason),
        Entry::Condemned(condemned) => Some(condemned.reason),
        Entry::Handled(handled) => Some(handled.handler),
        _ => None,
    }
}

/// Gathers the steps of one event.
struct Steps<'v> {
    /// The event as it was looked up: later records about it were not there yet, but for what its run has done by then.
    view: &'v View,
    durable: u64,
    /// The process start of the last run.
    epoch: u64,
    /// The last record about it.
    last_seq: u64,
    found: Vec<HistoryEntry>,
}

impl Visitor for Steps<'_> {
    type Stop = Error;

    fn record(&mut self, record: &Record<'_>, standing: Standing) -> Result<(), Error> {
        // While compaction puts one segment in place of others, both are there.
        let is_seen = self.found.last().is_some_and(|last| record.seq <= last.seq);
        // What verifies behind a bad place, or in a group that is not whole, tells as much as before.
        if standing == Standing::Damaged || record.seq < self.view.seq || is_seen {
            return Ok(());
        }
        let entry = codec::decode(record.body).map_err(|refusal| of_refusal(refusal).at_seq(record.seq))?;
        let is_interrupted = self.interrupts(record.seq, &entry);
        let is_own = record.seq == self.view.seq || entry.of().is_some_and(|of| of.seq == self.view.seq);
        let is_later = record.seq > self.view.last_seq;
        if !is_interrupted && (!is_own || is_later) && !self.is_of_last_run(record.seq, &entry) {
            return Ok(());
        }
        if is_own && !is_later {
            self.last_seq = record.seq;
        }
        if let Entry::Started(started) = &entry {
            self.epoch = started.epoch;
        }
        let retry = match &entry {
            Entry::Failed(failed) => failed.retry,
            Entry::Snoozed(snoozed) => Some(snoozed.wait),
            _ => None,
        };
        let attempt = if let Entry::Started(started) = &entry { Some(started.attempt) } else { None };
        self.found.push(HistoryEntry {
            seq: record.seq,
            what: if is_interrupted { "interrupted" } else { entry.name() }.to_owned(),
            status: status_after(&entry),
            at: Timestamp::from_unix_micros(at_of(&entry).unwrap_or_default()),
            attempt: attempt.or_else(|| self.attempt_of(&entry)),
            message: message_of(&entry).map(str::to_owned),
            retry_at: retry.map(|wait| Timestamp::from_unix_micros(wait.due)),
        });
        Ok(())
    }
}

/// Where an event stands after an entry about it.
pub(super) fn status_after(entry: &Entry<'_>) -> Status {
    match entry {
        Entry::Started(_) | Entry::Handled(_) => Status::Processing,
        Entry::Snoozed(_) => Status::Retrying,
        Entry::Completed(_) => Status::Completed,
        Entry::Failed(failed) if failed.retry.is_some() => Status::Retrying,
        Entry::Failed(_) | Entry::Condemned(_) => Status::Failed,
        Entry::Cancelled(_) => Status::Cancelled,
        _ => Status::Pending,
    }
}

impl Steps<'_> {
    /// Whether nothing more is to be found: after the last record about an event only a process start tells of it, if it was being run.
    fn are_all(&self) -> bool {
        let runs = self.found.last().is_some_and(|step| step.status == Status::Processing);
        self.last_seq == self.view.last_seq && !runs
    }

    /// Whether a handler of the event's last run has succeeded by it: such a record is no step of the event itself.
    fn is_of_last_run(&self, seq: u64, entry: &Entry<'_>) -> bool {
        let Entry::Handled(handled) = entry else { return false };
        handled.of.seq == self.view.seq && handled.token.started == self.view.last_seq && seq <= self.durable
    }

    /// Whether the entry is a process start that ended the event's run.
    fn interrupts(&self, seq: u64, entry: &Entry<'_>) -> bool {
        let runs = self.found.last().is_some_and(|step| step.status == Status::Processing);
        // After the event's last record it was there only if the event was found to stand elsewhere.
        let was_there = seq <= self.view.last_seq || self.view.status != Status::Processing;
        matches!(entry, Entry::Begun(begun) if runs && was_there && begun.epoch > self.epoch)
    }

    /// The run that an ending, or what one of its handlers did, belongs to: the last that started.
    fn attempt_of(&self, entry: &Entry<'_>) -> Option<u32> {
        let is_of_a_run = matches!(
            entry,
            Entry::Completed(_)
                | Entry::Failed(_)
                | Entry::Released(_)
                | Entry::Snoozed(_)
                | Entry::Handled(_)
                | Entry::Begun(_)
        );
        if is_of_a_run { self.found.iter().rev().find_map(|step| step.attempt) } else { None }
    }
}
