//! Handlers that block their thread.

use std::sync::Arc;

use crate::event::{Event, Outcome};
use crate::processor::handler::{AnyHandler, Kind};
use crate::processor::layer::HandlerService;
use crate::processor::threads::Threads;
use crate::processor::{Context, IntoOutcome};

/// A function that runs an event and may block its thread: it takes `(Event)` or `(Event, Context)`, is not async, and returns anything
/// that is [`IntoOutcome`]. Nothing else is a blocking handler, and nobody needs to implement this.
///
/// It runs on a thread of its own kind (`ledgerline-blocking`), of which there are at most as many as the builder's `concurrency`, beside
/// those whose runs were given up. When it is called off ([`Context::is_cancelled`]) it has to end by itself: nothing can abort it. One
/// that does not end gives up its slot after the grace, keeps its event's key, and holds up neither a shutdown nor the runtime. Within
/// it, `tokio::runtime::Handle::current()` is the manager's runtime.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a blocking handler",
    note = "a blocking handler is a function or a closure that takes `(Event)` or `(Event, Context)`, with the types written out",
    note = "it is not async (an async one is for `on`), and what it captures is `Send`, `Sync` and `'static`",
    note = "it returns `()`, `Outcome`, or `Result<_, E>` where `E` converts into `Box<dyn Error + Send + Sync>`"
)]
pub trait BlockingHandler<Args>: sealed::HandleBlocking<Args> {}

impl<Args, H: sealed::HandleBlocking<Args>> BlockingHandler<Args> for H {}

/// The function of a blocking handler.
pub(super) type Function = Arc<dyn Fn(Event, Context) -> Outcome + Send + Sync>;

mod sealed {
    use super::AnyHandler;

    pub trait HandleBlocking<Args>: Send + Sync + 'static {
        fn any(self) -> AnyHandler;
    }
}

impl<H, R> sealed::HandleBlocking<(Event,)> for H
where
    H: Fn(Event) -> R + Send + Sync + 'static,
    R: IntoOutcome,
{
    fn any(self) -> AnyHandler {
        AnyHandler { kind: Kind::Blocking(Arc::new(move |event, _| self(event).into_outcome())) }
    }
}

impl<H, R> sealed::HandleBlocking<(Event, Context)> for H
where
    H: Fn(Event, Context) -> R + Send + Sync + 'static,
    R: IntoOutcome,
{
    fn any(self) -> AnyHandler {
        AnyHandler { kind: Kind::Blocking(Arc::new(move |event, context| self(event, context).into_outcome())) }
    }
}

/// The service that runs `function` on one of `threads`.
pub(super) fn service(function: Function, threads: Arc<Threads>) -> HandlerService {
    HandlerService::innermost(move |event, context| {
        let function = Arc::clone(&function);
        let linger = context.linger();
        let running = threads.run(move || {
            // The run has not ended before this thread has left it.
            let _linger = linger;
            function(event, context)
        });
        Box::pin(running)
    })
}
