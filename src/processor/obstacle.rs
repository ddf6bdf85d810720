//! What keeps runs from being settled, as the log tells it.

use crate::error::Error;

/// Why runs that have ended cannot be settled. They are tried again each second, and a disk may be full for days, so this is logged only
/// when it begins, when the reason changes, and when it is over.
#[derive(Default)]
pub(super) struct Obstacle {
    told: Option<String>,
}

impl Obstacle {
    /// Runs were settled, or tried to be: the last was `refused` for this, if one was, and `count` wait to be tried again.
    pub(super) fn tell(&mut self, refused: Option<&Error>, count: usize) {
        if let Some(error) = refused {
            let text = error.to_string();
            if self.told.as_ref() != Some(&text) {
                tracing::warn!(count, ?error, "runs cannot be settled yet; they are tried again until they are");
                self.told = Some(text);
            }
        } else if count == 0 && self.told.take().is_some() {
            tracing::info!("all runs that could not be settled are");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_keeps_runs_from_being_settled_is_told_once_until_it_changes_or_is_over() {
        let error = |text: &str| Error::new(ErrorKind::Full, text);
        let mut obstacle = Obstacle::default();
        for (refused, count, told) in [
            (None, 0, None),
            (Some("full"), 1, Some("full")),
            (Some("full"), 2, Some("full")),
            // Others are settled meanwhile.
            (None, 2, Some("full")),
            (Some("gone"), 2, Some("gone")),
            (None, 0, None),
        ] {
            obstacle.tell(refused.map(error).as_ref(), count);
            assert_eq!(obstacle.told.as_deref(), told);
        }
    }
}
