//! Says in the log when a manager's health changes.

use crate::manager::Health;

/// Remembers how the manager was, and says once that it is not well, and once that it is well again.
#[derive(Debug, Default)]
pub(super) struct Watch {
    is_ill: bool,
}

impl Watch {
    pub(super) fn observe(&mut self, health: &Health) {
        if self.is_ill != health.healthy {
            return;
        }
        self.is_ill = !health.healthy;
        if self.is_ill {
            tracing::warn!(reasons = health.reasons.join("; "), "the manager is not well");
        } else {
            tracing::info!("the manager is well again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;

    /// Keeps the levels of what is said.
    #[derive(Clone, Default)]
    struct Levels(Arc<Mutex<Vec<Level>>>);

    impl Subscriber for Levels {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push(*event.metadata().level());
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn each_change_is_said_once() {
        let levels = Levels::default();
        let mut watch = Watch::default();
        tracing::subscriber::with_default(levels.clone(), || {
            for (healthy, said) in [
                (true, vec![]),
                (false, vec![Level::WARN]),
                (false, vec![]),
                (true, vec![Level::INFO]),
                (true, vec![]),
                (false, vec![Level::WARN]),
            ] {
                watch.observe(&Health { healthy, reasons: Vec::new() });
                assert_eq!(std::mem::take(&mut *levels.0.lock().unwrap()), said);
            }
        });
    }
}
