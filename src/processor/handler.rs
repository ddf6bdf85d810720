//! What runs an event.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::event::{Event, Outcome};
use crate::processor::{Context, IntoOutcome};

/// A function that runs an event: an `async fn` or a closure that takes `(Event)` or `(Event, Context)`, may be called from any
/// thread, and returns anything that is [`IntoOutcome`]. Nothing else is a handler, and nobody needs to implement this.
///
/// `Args` only tells the two kinds of function apart; the compiler finds it by itself. Closures need the types of their parameters
/// written out: `|event: Event| async move { … }`.
///
/// A handler runs as a task of the tokio runtime, and so it must not block its thread: give blocking work to
/// `tokio::task::spawn_blocking`. It may run more than once for one event ([`Context::idempotency_key`]).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    note = "a handler is an async function or a closure that takes `(Event)` or `(Event, Context)`, with the types written out",
    note = "it returns `()`, `Outcome`, or `Result<_, E>` where `E` converts into `Box<dyn Error + Send + Sync>`"
)]
pub trait Handler<Args>: sealed::Call<Args> {}

impl<Args, H: sealed::Call<Args>> Handler<Args> for H {}

/// The future of one run.
pub(crate) type Run = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A handler whose type is forgotten.
pub(crate) type AnyHandler = Arc<dyn Fn(Event, Context) -> Run + Send + Sync>;

/// Forgets a handler's type.
pub(crate) fn any<Args>(handler: impl Handler<Args>) -> AnyHandler {
    Arc::new(move |event, context| handler.call(event, context))
}

mod sealed {
    use super::{Context, Event, Run};

    pub trait Call<Args>: Send + Sync + 'static {
        fn call(&self, event: Event, context: Context) -> Run;
    }
}

impl<H, F> sealed::Call<(Event,)> for H
where
    H: Fn(Event) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
    F::Output: IntoOutcome,
{
    fn call(&self, event: Event, _: Context) -> Run {
        let run = self(event);
        Box::pin(async move { run.await.into_outcome() })
    }
}

impl<H, F> sealed::Call<(Event, Context)> for H
where
    H: Fn(Event, Context) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
    F::Output: IntoOutcome,
{
    fn call(&self, event: Event, context: Context) -> Run {
        let run = self(event, context);
        Box::pin(async move { run.await.into_outcome() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn function(_: Event) {}

    async fn function_with_context(_: Event, _: Context) -> Result<Outcome, std::io::Error> {
        Ok(Outcome::Done)
    }

    #[test]
    fn functions_and_closures_of_both_kinds_are_handlers() {
        any(function);
        any(function_with_context);
        any(|_: Event| async { Err::<(), _>("text") });
        any(|_: Event, _: Context| async { Outcome::Release });
    }
}
