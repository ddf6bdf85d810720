//! Which handler runs which type.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind};
use crate::event::limits;
use crate::processor::AnyHandler;
use crate::queue::Handled;

/// The name of the handler that runs every type without one of its own.
const ANY_TYPE: &str = "*";

/// The handlers, by the type they run.
#[derive(Default)]
pub(crate) struct Handlers {
    // A std lock: it is held for one look into the map, and never across an await.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_type: HashMap<String, AnyHandler>,
    closed: bool,
}

impl Handlers {
    /// Those of `named`, refusing by name a type that is no type, or that has a handler already.
    pub(crate) fn new(named: Vec<(String, AnyHandler)>) -> Result<Self, Error> {
        let handlers = Self::default();
        for (event_type, handler) in named {
            handlers.add(event_type, handler, |_| ())?;
        }
        Ok(handlers)
    }

    /// Adds one, and tells `engine` which types have a handler now. Two adding at once tell it one after the other.
    pub(crate) fn add(
        &self,
        event_type: String,
        handler: AnyHandler,
        engine: impl FnOnce(Handled),
    ) -> Result<(), Error> {
        check(&event_type)?;
        let mut known = self.lock();
        if known.closed {
            return Err(Error::new(ErrorKind::Closed, "the manager was shut down"));
        }
        if known.by_type.contains_key(&event_type) {
            return Err(Error::invalid(format!("event type {event_type:?} has a handler already")));
        }
        known.by_type.insert(event_type, handler);
        engine(known.handled());
        Ok(())
    }

    /// The handler of this type: its own, or else the one for all.
    pub(crate) fn find(&self, event_type: &str) -> Option<AnyHandler> {
        let known = self.lock();
        known.by_type.get(event_type).or_else(|| known.by_type.get(ANY_TYPE)).cloned()
    }

    /// Which types have a handler.
    pub(crate) fn handled(&self) -> Handled {
        self.lock().handled()
    }

    /// Lets go of all handlers, and of what they hold (a manager, perhaps), and takes no more.
    pub(crate) fn close(&self) {
        let by_type = {
            let mut known = self.lock();
            known.closed = true;
            std::mem::take(&mut known.by_type)
        };
        // Dropped without the lock: what a handler holds may look in here while it goes.
        drop(by_type);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn handled(&self) -> Handled {
        if self.by_type.contains_key(ANY_TYPE) {
            Handled::All
        } else {
            Handled::Only(self.by_type.keys().cloned().collect())
        }
    }
}

fn check(event_type: &str) -> Result<(), Error> {
    match event_type.len() {
        0 => Err(Error::invalid(
            "the event type of a handler is empty; \"*\" stands for every type without one of its own",
        )),
        len if len > limits::TYPE_BYTES_MAX => Err(Error::invalid(format!(
            "the event type of a handler has {len} bytes; at most {} are allowed",
            limits::TYPE_BYTES_MAX
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::processor::any;

    fn handler() -> AnyHandler {
        any(|_: Event| async {})
    }

    fn handlers(types: &[&str]) -> Result<Handlers, Error> {
        Handlers::new(types.iter().map(|event_type| ((*event_type).to_owned(), handler())).collect())
    }

    #[test]
    fn a_type_has_its_own_handler_or_that_for_all() {
        for (types, found, handled) in [
            (&[][..], false, "Only([])"),
            (&["Issue"], true, "Only([\"Issue\"])"),
            (&["Comment"], false, "Only([\"Comment\"])"),
            (&["Comment", "*"], true, "All"),
        ] {
            let handlers = handlers(types).unwrap();
            assert_eq!(handlers.find("Issue").is_some(), found, "{types:?}");
            assert_eq!(format!("{:?}", handlers.handled()), handled);
        }
    }

    #[test]
    fn a_second_handler_and_a_name_that_is_no_type_are_refused_by_name() {
        for (types, says) in [
            (&["Issue", "Issue"][..], "event type \"Issue\" has a handler already"),
            (&["*", "*"], "event type \"*\" has a handler already"),
            (&[""], "is empty"),
            (&["x".repeat(129).as_str()], "has 129 bytes"),
        ] {
            let error = handlers(types).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn closing_lets_go_of_handlers_and_takes_no_more() {
        let handlers = handlers(&["Issue"]).unwrap();
        handlers.close();
        assert!(handlers.find("Issue").is_none());
        let error = handlers.add("Issue".to_owned(), handler(), |_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}
