//! What runs an event.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::event::{Event, Outcome};
use crate::processor::{BatchHandler, BatchOptions, BlockingHandler, Context, IntoOutcome, batch, blocking, layer};

/// A function that runs an event: an `async fn` or a closure that takes `(Event)` or `(Event, Context)`, may be called from any
/// thread, and returns anything that is [`IntoOutcome`]; or an [`AnyHandler`]. Nothing else is a handler, and nobody needs to
/// implement this.
///
/// `Args` only tells the kinds of function apart; the compiler finds it by itself. Closures need the types of their parameters
/// written out: `|event: Event| async move { … }`.
///
/// A handler runs within a task of the tokio runtime, and so it must not block its thread: give blocking work to
/// `EventManagerBuilder::on_blocking`. It may run more than once for one event ([`Context::idempotency_key`]).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    note = "a handler is an async function or a closure that takes `(Event)` or `(Event, Context)`, with the types written out",
    note = "a function of the event's data in a type of your own is for `on_typed`, and one that is not async for `on_blocking`",
    note = "its future is `Send`: no `Rc`, and no guard of a `std` lock, lives across an `.await`",
    note = "it returns `()`, `Outcome`, or `Result<_, E>` where `E` converts into `Box<dyn Error + Send + Sync>`"
)]
pub trait Handler<Args>: sealed::Handle<Args> {}

impl<Args, H: sealed::Handle<Args>> Handler<Args> for H {}

/// A function that runs an event whose data has the shape `T`: an `async fn` or a closure that takes `(T)`, `(T, Event)`,
/// `(T, Context)` or `(T, Event, Context)`, where `T` is what the whole data decodes to ([`Event::json`]). Else as [`Handler`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a typed handler",
    note = "a typed handler is an async function or a closure that takes `(T)`, `(T, Event)`, `(T, Context)` or `(T, Event, Context)`, \
            with the types written out, where `T` implements `serde::de::DeserializeOwned`",
    note = "its future is `Send`: no `Rc`, and no guard of a `std` lock, lives across an `.await`",
    note = "it returns `()`, `Outcome`, or `Result<_, E>` where `E` converts into `Box<dyn Error + Send + Sync>`"
)]
pub trait TypedHandler<Args>: sealed::HandleTyped<Args> {}

impl<Args, H: sealed::HandleTyped<Args>> TypedHandler<Args> for H {}

/// The future of one run.
pub(crate) type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A handler of any kind, as a value: to give kinds other than the plain one a name
/// (`EventManagerBuilder::on_named`), or to register them while the manager runs. It is a [`Handler`] itself. Cheap to clone.
///
/// ```
/// # fn example(manager: &ledgerline::EventManager) -> Result<(), ledgerline::Error> {
/// use ledgerline::{AnyHandler, Event};
///
/// manager.register("Issue", AnyHandler::blocking(|event: Event| println!("{}", event.id())))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AnyHandler {
    pub(super) kind: Kind,
}

#[derive(Clone)]
pub(super) enum Kind {
    Plain(layer::Function),
    Blocking(blocking::Function),
    Batch(BatchOptions, batch::Function),
}

impl AnyHandler {
    /// A plain handler, as given to `EventManagerBuilder::on`.
    pub fn new<Args>(handler: impl Handler<Args>) -> Self {
        handler.any()
    }

    /// A typed handler, as given to `EventManagerBuilder::on_typed`.
    pub fn typed<Args>(handler: impl TypedHandler<Args>) -> Self {
        handler.any()
    }

    /// A handler that blocks its thread, as given to `EventManagerBuilder::on_blocking`.
    pub fn blocking<Args>(handler: impl BlockingHandler<Args>) -> Self {
        handler.any()
    }

    /// A handler of batches, as given to `EventManagerBuilder::on_batch`.
    pub fn batch<Args>(options: BatchOptions, handler: impl BatchHandler<Args>) -> Self {
        handler.any(options)
    }

    fn plain(run: impl Fn(Event, Context) -> Running + Send + Sync + 'static) -> Self {
        Self { kind: Kind::Plain(Arc::new(run)) }
    }

    /// Decodes the data first; what does not decode fails for good.
    fn decoding<T: DeserializeOwned>(run: impl Fn(T, Event, Context) -> Running + Send + Sync + 'static) -> Self {
        Self::plain(move |event, context| match event.json() {
            Ok(data) => run(data, event, context),
            Err(error) => {
                let outcome =
                    Outcome::Fail(format!("the data does not have the shape that the handler takes: {error}"));
                Box::pin(std::future::ready(outcome))
            }
        })
    }
}

impl fmt::Debug for AnyHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Plain(_) => f.write_str("AnyHandler(Plain)"),
            Kind::Blocking(_) => f.write_str("AnyHandler(Blocking)"),
            Kind::Batch(options, _) => write!(f, "AnyHandler(Batch({options:?}))"),
        }
    }
}

/// Awaits what a handler returns, and takes it for an outcome.
fn running<F>(run: F) -> Running
where
    F: Future + Send + 'static,
    F::Output: IntoOutcome,
{
    Box::pin(async move { run.await.into_outcome() })
}

mod sealed {
    use super::AnyHandler;

    pub trait Handle<Args>: Send + Sync + 'static {
        fn any(self) -> AnyHandler;
    }

    pub trait HandleTyped<Args>: Send + Sync + 'static {
        fn any(self) -> AnyHandler;
    }

    /// The `Args` of a handler that is a value already.
    #[expect(unnameable_types, reason = "it only tells kinds of handlers apart")]
    #[derive(Debug)]
    pub struct Already;
}

impl sealed::Handle<sealed::Already> for AnyHandler {
    fn any(self) -> AnyHandler {
        self
    }
}

/// A function of these arguments is a typed handler.
macro_rules! typed_handler {
    (($($argument:ident),*), |$data:ident, $event:ident, $context:ident| $call:tt) => {
        impl<H, F, T> sealed::HandleTyped<($($argument,)*)> for H
        where
            H: Fn($($argument),*) -> F + Send + Sync + 'static,
            F: Future + Send + 'static,
            F::Output: IntoOutcome,
            T: DeserializeOwned + 'static,
        {
            fn any(self) -> AnyHandler {
                AnyHandler::decoding(move |$data, $event, $context| running(self $call))
            }
        }
    };
}

typed_handler!((T), |data, _event, _context| (data));
typed_handler!((T, Event), |data, event, _context| (data, event));
typed_handler!((T, Context), |data, _event, context| (data, context));
typed_handler!((T, Event, Context), |data, event, context| (data, event, context));

impl<H, F> sealed::Handle<(Event,)> for H
where
    H: Fn(Event) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
    F::Output: IntoOutcome,
{
    fn any(self) -> AnyHandler {
        AnyHandler::plain(move |event, _| running(self(event)))
    }
}

impl<H, F> sealed::Handle<(Event, Context)> for H
where
    H: Fn(Event, Context) -> F + Send + Sync + 'static,
    F: Future + Send + 'static,
    F::Output: IntoOutcome,
{
    fn any(self) -> AnyHandler {
        AnyHandler::plain(move |event, context| running(self(event, context)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn function(_: Event) {}

    async fn function_with_context(_: Event, _: Context) -> Result<Outcome, std::io::Error> {
        Ok(Outcome::Done)
    }

    async fn function_of_data(_: Vec<String>) {}

    #[test]
    fn functions_and_closures_of_all_kinds_are_handlers() {
        AnyHandler::new(function);
        AnyHandler::new(function_with_context);
        AnyHandler::new(|_: Event| async { Err::<(), _>("text") });
        AnyHandler::new(|_: Event, _: Context| async { Outcome::Release });
        AnyHandler::typed(function_of_data);
        AnyHandler::typed(|_: u64, _: Event| async {});
        AnyHandler::typed(|_: u64, _: Context| async {});
        AnyHandler::typed(|_: u64, _: Event, _: Context| async {});
        AnyHandler::new(AnyHandler::blocking(|_: Event| ()));
        AnyHandler::blocking(|_: Event, _: Context| Err::<(), _>("text"));
        AnyHandler::batch(BatchOptions::new(), |_: Vec<Event>| async {});
        AnyHandler::batch(BatchOptions::new(), |_: Vec<Event>, _: Vec<Context>| async { vec![Outcome::Done] });
        AnyHandler::batch(BatchOptions::new(), |_: Vec<Event>| async { Err::<Vec<Result<(), String>>, _>("text") });
    }
}
