//! Layers around handlers: tower's middleware.
//!
//! ```text
//! run ──► [ first layer [ second layer [ … [ handler ] ] ] ] ──► outcome
//!          added first: outermost
//! ```

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task;

use tower_layer::Layer;
use tower_service::Service;

use crate::event::{Event, Outcome};
use crate::processor::attempt::Ending;
use crate::processor::handler::Running;
use crate::processor::outcome::{caught, panic_text};
use crate::processor::{Context, IntoOutcome};

type BoxError = Box<dyn StdError + Send + Sync>;

type Responding = Pin<Box<dyn Future<Output = Result<Outcome, BoxError>> + Send>>;

/// One run of one handler, as layers see it: the request of [`HandlerService`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Run {
    event: Event,
    context: Context,
    handler: Arc<str>,
}

impl Run {
    pub(super) fn new(event: Event, context: Context, handler: Arc<str>) -> Self {
        Self { event, context, handler }
    }

    /// The event that is run.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// What the handler will know about the run.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The handler's name.
    pub fn handler(&self) -> &str {
        &self.handler
    }

    /// What it consists of.
    pub(super) fn into_parts(self) -> (Event, Context) {
        (self.event, self.context)
    }
}

/// A handler, perhaps with layers around it already: what a [`Layer`] given to `EventManagerBuilder::layer` wraps. Cheap to clone.
///
/// Its response is the [`Outcome`] of the run: a handler's own error is `Ok(Outcome::Retry(…))` here. An `Err` comes from layers, and
/// fails the attempt as if the handler had returned it.
pub struct HandlerService {
    inner: Inner,
}

/// The function of a handler.
pub(super) type Function = Arc<dyn Fn(Event, Context) -> Running + Send + Sync>;

/// Most handlers have no layers: what these cost is for the others to pay.
enum Inner {
    Handler(Function),
    Layered(Box<dyn Erased>),
}

/// What is left of a service when its type is forgotten.
trait Erased: Send {
    fn clone_erased(&self) -> Box<dyn Erased>;
    fn ready(&mut self, context: &mut task::Context<'_>) -> task::Poll<Result<(), BoxError>>;
    fn respond(&mut self, run: Run) -> Responding;
}

impl<S> Erased for S
where
    S: Service<Run> + Clone + Send + 'static,
    S::Response: IntoOutcome,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    fn clone_erased(&self) -> Box<dyn Erased> {
        Box::new(self.clone())
    }

    fn ready(&mut self, context: &mut task::Context<'_>) -> task::Poll<Result<(), BoxError>> {
        self.poll_ready(context).map_err(Into::into)
    }

    fn respond(&mut self, run: Run) -> Responding {
        let responding = self.call(run);
        Box::pin(async move { responding.await.map(IntoOutcome::into_outcome).map_err(Into::into) })
    }
}

impl HandlerService {
    /// A handler with no layer around it.
    pub(super) fn innermost(run: impl Fn(Event, Context) -> Running + Send + Sync + 'static) -> Self {
        Self::of(Arc::new(run))
    }

    /// As [`HandlerService::innermost`], of a function that is shared already.
    pub(super) const fn of(function: Function) -> Self {
        Self { inner: Inner::Handler(function) }
    }

    /// Runs it to its end. A panic in it or in a layer is caught: it is the error of this attempt.
    pub(super) async fn run(mut self, run: Run) -> Ending {
        let outcome = caught(|| async move {
            match &mut self.inner {
                Inner::Handler(function) => {
                    let (event, context) = run.into_parts();
                    function(event, context).await
                }
                // Telling an error is up to the layer it comes from, and may panic as well.
                Inner::Layered(service) => respond(&mut **service, run).await.unwrap_or_else(Outcome::of_error),
            }
        });
        match outcome.await {
            Ok(outcome) => Ending::Returned(outcome),
            Err(payload) => Ending::Panicked(panic_text(&*payload)),
        }
    }
}

async fn respond(service: &mut dyn Erased, run: Run) -> Result<Outcome, BoxError> {
    poll_fn(|context| service.ready(context)).await?;
    service.respond(run).await
}

impl Clone for HandlerService {
    fn clone(&self) -> Self {
        let inner = match &self.inner {
            Inner::Handler(function) => Inner::Handler(Arc::clone(function)),
            Inner::Layered(service) => Inner::Layered(service.clone_erased()),
        };
        Self { inner }
    }
}

impl Service<Run> for HandlerService {
    type Response = Outcome;
    type Error = BoxError;
    type Future = Responding;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> task::Poll<Result<(), BoxError>> {
        match &mut self.inner {
            Inner::Handler(_) => task::Poll::Ready(Ok(())),
            Inner::Layered(service) => service.ready(context),
        }
    }

    fn call(&mut self, run: Run) -> Responding {
        match &mut self.inner {
            Inner::Handler(function) => {
                let (event, context) = run.into_parts();
                let running = function(event, context);
                Box::pin(async move { Ok(running.await) })
            }
            Inner::Layered(service) => service.respond(run),
        }
    }
}

impl fmt::Debug for HandlerService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerService").finish_non_exhaustive()
    }
}

/// Layers in the order in which they were added. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Layers {
    layers: Vec<Arc<dyn Fn(HandlerService) -> HandlerService + Send + Sync>>,
}

impl Layers {
    /// Adds one, within those that are there.
    pub(crate) fn add<L>(&mut self, layer: L)
    where
        L: Layer<HandlerService> + Send + Sync + 'static,
        L::Service: Service<Run, Response = Outcome> + Clone + Send + 'static,
        <L::Service as Service<Run>>::Error: Into<BoxError>,
        <L::Service as Service<Run>>::Future: Send + 'static,
    {
        self.layers
            .push(Arc::new(move |service| HandlerService { inner: Inner::Layered(Box::new(layer.layer(service))) }));
    }

    /// The handler with all of them around it.
    pub(super) fn around(&self, innermost: HandlerService) -> HandlerService {
        self.layers.iter().rev().fold(innermost, |service, layer| layer(service))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::event::NewEvent;
    use crate::queue::{Intake, Queue};
    use crate::store::{Store, StoreOptions};

    /// An error that panics when it is told.
    #[derive(Debug)]
    struct Untold;

    impl fmt::Display for Untold {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("cannot be told");
        }
    }

    impl StdError for Untold {}

    /// A layer that refuses with it, and its service.
    #[derive(Clone)]
    struct Refusing;

    impl Layer<HandlerService> for Refusing {
        type Service = Self;

        fn layer(&self, _: HandlerService) -> Self {
            Self
        }
    }

    impl Service<Run> for Refusing {
        type Response = Outcome;
        type Error = Untold;
        type Future = std::future::Ready<Result<Outcome, Untold>>;

        fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Untold>> {
            task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Run) -> Self::Future {
            std::future::ready(Err(Untold))
        }
    }

    #[tokio::test]
    async fn an_error_of_a_layer_that_panics_when_it_is_told_is_a_panic_of_that_handler() {
        let store = Store::in_memory(StoreOptions::default()).unwrap();
        store.append(NewEvent::new("Issue", &1).unwrap()).unwrap();
        let claim = store.claim(1).unwrap().remove(0);
        let intake = Intake::new(Queue::embedded(store), 1, Arc::new(|_| None));
        let context = Context::new(&claim, &intake, &"store".into(), Instant::now(), Duration::from_secs(1));
        let mut layers = Layers::default();
        layers.add(Refusing);
        let service = layers.around(HandlerService::innermost(|_, _| Box::pin(std::future::ready(Outcome::Done))));
        let ending = service.run(Run::new(claim.event().clone(), context, "Issue#1".into())).await;
        assert_eq!(ending, Ending::Panicked("panicked: cannot be told".to_owned()));
    }
}
