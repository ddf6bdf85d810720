//! What comes from outside: events, pauses and limits.

use super::facts::{Arrival, Fact};
use super::life::{Done, Life, TYPES};
use super::rules::Case;
use crate::error::ErrorKind;
use crate::event::entry::Wait;
use crate::event::{NewEvent, Scope, Timestamp};

/// Most retries of an event.
const RETRIES_MAX: usize = 3;

impl Life {
    pub(super) fn append(&mut self) -> Done {
        let arrivals: Vec<Arrival> = (0..=self.pick(3)).map(|_| self.arrival()).collect();
        for arrival in arrivals {
            self.append_one(arrival)?;
        }
        Ok(())
    }

    fn arrival(&mut self) -> Arrival {
        let id = format!("e{}", self.pick(60));
        // Now and then the same id comes with other data.
        let text = if self.pick(12) == 0 { "other".to_owned() } else { "x".repeat(self.pick(300)) };
        let key = self.pick(5);
        Arrival {
            text: format!("{id} {}", if text == "other" { &text } else { "one" }),
            id,
            event_type: TYPES[self.pick(TYPES.len())].to_owned(),
            key: (key < 4).then(|| format!("k{key}")),
            received_at: self.now().wall,
            not_before: self.not_before(),
            max_retries: u32::try_from(self.pick(RETRIES_MAX + 1)).unwrap(),
        }
    }

    /// Mostly none; or a time, past or to come.
    fn not_before(&mut self) -> Option<i64> {
        let (far, way) = (self.pick(20_000_000), self.pick(10));
        let far = i64::try_from(far).unwrap();
        match way {
            0 => Some(self.now().wall - far),
            1..3 => Some(self.now().wall + far),
            _ => None,
        }
    }

    fn scope(&mut self) -> Scope {
        if self.pick(2) == 0 {
            Scope::Type(TYPES[self.pick(TYPES.len())].to_owned())
        } else {
            Scope::Key(format!("k{}", self.pick(4)))
        }
    }

    /// Pauses a type or a key, or ends a pause.
    pub(super) fn pause(&mut self) -> Done {
        let (scope, now) = (self.scope(), self.now());
        self.rules.wake(now);
        if self.pick(3) > 0 {
            let was_paused = self.rules.pauses.contains_key(&scope);
            let before = self.store().shared().desk().core.last_seq();
            let resumed = self.store().resume(&scope).map_err(|error| error.to_string())?;
            let last = self.store().shared().desk().core.last_seq();
            return match (resumed, was_paused) {
                (true, true) => {
                    self.note(last, Fact::Resumed { scope });
                    Ok(())
                }
                (false, false) if last == before => Ok(()),
                // One that ended by itself may still be noted.
                (true, false) => Ok(()),
                _ => Err(format!("{scope:?} was paused: {was_paused}, resumed: {resumed}")),
            };
        }
        let delay = [0, 1_000_000, 40_000_000][self.pick(3)];
        let wait = (delay > 0).then(|| Wait { due: now.wall + i64::try_from(delay).unwrap(), delay });
        let until = wait.map(|wait| Timestamp::from_unix_micros(wait.due));
        self.store().pause(scope.clone(), until, "for a while").map_err(|error| error.to_string())?;
        let last = self.store().shared().desk().core.last_seq();
        self.note(last, Fact::Paused { scope, wait });
        self.promise(last);
        Ok(())
    }

    /// Sets how many of a type may run at once.
    pub(super) fn limit(&mut self) {
        let (event_type, limit) = (TYPES[self.pick(TYPES.len())].to_owned(), self.pick(3));
        self.rules.limits.clear();
        self.rules.limits.extend((limit > 0).then(|| (event_type, u32::try_from(limit).unwrap())));
        self.store().shared().desk().core.state.set_limits(self.rules.limits.clone());
        self.tell(format!("limits: {:?}", self.rules.limits));
    }

    fn append_one(&mut self, arrival: Arrival) -> Done {
        let mut event = NewEvent::new(arrival.event_type.as_str(), &arrival.text).map_err(|error| error.to_string())?;
        event = event.id(arrival.id.as_str()).max_retries(arrival.max_retries);
        if let Some(key) = &arrival.key {
            event = event.key(key.as_str());
        }
        if let Some(time) = arrival.not_before {
            event = event.not_before(Timestamp::from_unix_micros(time));
        }
        let kept = self.rules.cases.values().find(|case| case.arrival.id == arrival.id);
        // Of what is only remembered nobody knows the type.
        let is_same = |case: &Case| case.arrival.text == arrival.text && case.arrival.event_type == arrival.event_type;
        let known = kept.map(|case| (is_same(case), Some(case.seq)));
        let remembered = || self.rules.remembered.get(&arrival.id).map(|(text, _)| (*text == arrival.text, None));
        match (self.store().append(event), known.or_else(remembered)) {
            (Ok(receipt), None) if receipt.duplicate.is_none() && receipt.id == arrival.id => {
                self.note(receipt.seq, Fact::Received(arrival));
                self.promise(receipt.seq);
                Ok(())
            }
            (Ok(receipt), Some((true, seq))) if receipt.duplicate.is_some() => {
                let same = seq.is_none_or(|seq| receipt.seq == seq);
                // What is answered with is durable.
                self.promise(seq.unwrap_or(0));
                if same { Ok(()) } else { Err(format!("{arrival:?} was answered with {receipt:?}")) }
            }
            (Err(error), Some((false, _))) if error.kind() == ErrorKind::IdConflict => Ok(()),
            (answer, known) => Err(format!("{arrival:?} was answered with {answer:?}, and is the same: {known:?}")),
        }
    }
}
