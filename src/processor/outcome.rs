//! From what a handler returns, or how else it ended, to the outcome of a run.

use std::any::Any;
use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::event::{Outcome, bounded};

/// What a handler may return.
///
/// | returned | outcome |
/// |---|---|
/// | `()`, `Ok(())` | [`Outcome::Done`] |
/// | an [`Outcome`], or `Ok` of one | itself |
/// | `Err(error)` | [`Outcome::Retry`], with the error's text and its causes', joined by `: ` |
/// | `Err` of a [`Permanent`](crate::Permanent) error, or of one that it caused | [`Outcome::Fail`], with the same text |
///
/// The error may be anything that the `?` operator turns into a `Box<dyn Error + Send + Sync>`: an error type, a boxed error, text.
/// Of its text 4 KiB are kept.
pub trait IntoOutcome {
    /// Says how the run ended.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Outcome::Done
    }
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

impl<T: IntoOutcome, E: Into<Box<dyn StdError + Send + Sync>>> IntoOutcome for Result<T, E> {
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(value) => value.into_outcome(),
            Err(error) => Outcome::of_error(error.into()),
        }
    }
}

/// Awaits the future that `make` gives, or the panic that it ends with. It is made where it stays: one that is handed over takes its space
/// twice.
pub(super) async fn caught<F: Future>(make: impl FnOnce() -> F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(make());
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(polled) => polled.map(Ok),
        Err(payload) => Poll::Ready(Err(payload)),
    })
    .await
}

/// The text of a panic, if it is one.
pub(super) fn panic_said(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

/// What a panic said, if it said something.
pub(super) fn panic_text(payload: &(dyn Any + Send)) -> String {
    bounded(panic_said(payload).map_or_else(|| "panicked".to_owned(), |said| format!("panicked: {said}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Permanent, limits};

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn boxed_layers() -> Layer {
        Layer { text: "a", source: Some(Layer { text: "b", source: None }.into()) }
    }

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Through(Permanent);

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] Permanent);

    #[test]
    fn whatever_a_handler_returns_is_an_outcome() {
        let layers = Layer {
            text: "cannot post",
            source: Some(Box::new(Layer {
                text: "connection lost",
                source: Some(Layer { text: "reset", source: None }.into()),
            })),
        };
        let boxed: Box<dyn StdError + Send + Sync> = "boxed".into();
        for (outcome, expected) in [
            (().into_outcome(), Outcome::Done),
            (Outcome::Release.into_outcome(), Outcome::Release),
            (Ok::<_, std::io::Error>(()).into_outcome(), Outcome::Done),
            (Ok::<_, String>(Outcome::Fail("no".into())).into_outcome(), Outcome::Fail("no".into())),
            (Err::<(), _>("text").into_outcome(), Outcome::Retry("text".into())),
            (Err::<(), _>(Permanent::new("gone")).into_outcome(), Outcome::Fail("gone".into())),
            (Err::<(), _>(Permanent::new(boxed_layers())).into_outcome(), Outcome::Fail("a: b".into())),
            (Err::<(), _>(Wrapped(Permanent::new("gone"))).into_outcome(), Outcome::Fail("wrapped: gone".into())),
            (Err::<(), _>(Through(Permanent::new(boxed_layers()))).into_outcome(), Outcome::Fail("a: b".into())),
            (Err::<(), _>(boxed).into_outcome(), Outcome::Retry("boxed".into())),
            (Err::<(), _>(layers).into_outcome(), Outcome::Retry("cannot post: connection lost: reset".into())),
        ] {
            assert_eq!(outcome, expected);
        }
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let text = format!("{}ä", "x".repeat(limits::MESSAGE_BYTES_MAX - 1));
        let Outcome::Retry(kept) = Err::<(), _>(text).into_outcome() else { panic!("an error is a retry") };
        assert_eq!(kept, "x".repeat(limits::MESSAGE_BYTES_MAX - 1));
    }

    #[test]
    fn a_panic_says_what_it_said() {
        for (payload, expected) in [
            (Box::new("plain") as Box<dyn Any + Send>, "panicked: plain"),
            (Box::new("formatted".to_owned()), "panicked: formatted"),
            (Box::new(7), "panicked"),
        ] {
            assert_eq!(panic_text(&*payload), expected);
        }
    }
}
