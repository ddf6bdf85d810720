//! What a manager is told about its handlers: of every kind, by name, with layers around them, and with options for each type.

use tower_layer::Layer;
use tower_service::Service;

use crate::error::{Error, ErrorKind};
use crate::event::Outcome;
use crate::manager::{EventManager, EventManagerBuilder};
use crate::processor::{
    AnyHandler, BatchHandler, BatchOptions, BlockingHandler, Given, Handler, HandlerService, RetryPolicy, Run,
    TypeOptions, TypedHandler,
};

impl EventManagerBuilder {
    /// As [`EventManagerBuilder::on`], with a name of 1 to 128 bytes for the handler. [`AnyHandler`] makes a handler of any kind.
    ///
    /// All handlers of a type run for each of its events, beside one another within one slot, one task and one timeout. The event is
    /// completed when all have succeeded; a retry runs only those that have not. If they end differently, the gravest counts: `Cancel`,
    /// then `Fail`, then `Retry`, then `Release`, then of `RetryAt` and `Snooze` the one that waits the least; the error names each
    /// handler that failed (`notify: connection lost; audit: …`) or had not returned when the time was over (`timed out after 60s in audit`),
    /// and the event's history each one that succeeded. A handler that had not counts as a `Retry`, whatever it returns later.
    ///
    /// What has succeeded is kept by the handler's name in the log, across restarts, so the name should stay the same from one
    /// start to the next. Handlers without one are numbered in the order in which they are given.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), ledgerline::Error> {
    /// use ledgerline::{Event, EventManager};
    ///
    /// async fn notify(event: Event) -> Result<(), std::io::Error> {
    ///     println!("{}", event.id());
    ///     Ok(())
    /// }
    /// async fn audit(_: Event) {}
    ///
    /// let builder = EventManager::builder("./events").on_named("notify", "Issue", notify).on_named("audit", "Issue", audit);
    /// let manager = builder.start().await?;
    /// # let _ = manager;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_named<Args>(
        self,
        name: impl Into<String>,
        event_type: impl Into<String>,
        handler: impl Handler<Args>,
    ) -> Self {
        self.with_handler(Some(name.into()), event_type.into(), AnyHandler::new(handler))
    }

    /// Runs events of `event_type` with a handler that takes their data as a type of yours: the first parameter of the function. Data
    /// that does not decode to it fails the event for good, with what serde says about it.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), ledgerline::Error> {
    /// use ledgerline::{Context, EventManager};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Issue {
    ///     title: String,
    /// }
    ///
    /// async fn print(issue: Issue, context: Context) {
    ///     println!("{} (run {})", issue.title, context.attempt());
    /// }
    ///
    /// let manager = EventManager::builder("./events").on_typed("Issue", print).start().await?;
    /// # let _ = manager;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_typed<Args>(self, event_type: impl Into<String>, handler: impl TypedHandler<Args>) -> Self {
        self.with_handler(None, event_type.into(), AnyHandler::typed(handler))
    }

    /// Runs events of `event_type` with a handler that blocks its thread: it has threads of its own, at most `concurrency`. Where a type
    /// has several such handlers and no thread is free, one waits for another, and that counts as time of the run.
    pub fn on_blocking<Args>(self, event_type: impl Into<String>, handler: impl BlockingHandler<Args>) -> Self {
        self.with_handler(None, event_type.into(), AnyHandler::blocking(handler))
    }

    /// Runs events of `event_type` with a handler that takes several at once and says for each how it ended. An error, a panic, or a
    /// wrong count of outcomes is a retry for all of them.
    pub fn on_batch<Args>(
        self,
        event_type: impl Into<String>,
        options: BatchOptions,
        handler: impl BatchHandler<Args>,
    ) -> Self {
        self.with_handler(None, event_type.into(), AnyHandler::batch(options, handler))
    }

    /// Puts a [`tower_layer::Layer`] around every handler, of whatever kind and however registered: limits, timeouts, tracing and more
    /// of tower's middleware. The layer that was added first is the outermost.
    ///
    /// Each handler is wrapped on its own when it is added; its service is cloned for each run. Of a batch each event's run is wrapped,
    /// not the one call for all. An `Err` of a layer fails the attempt, and so does a panic within it. What a layer makes wait takes its
    /// slot and its time meanwhile.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), ledgerline::Error> {
    /// use ledgerline::{Event, EventManager};
    ///
    /// let manager = EventManager::builder("./events")
    ///     .layer(tower::limit::GlobalConcurrencyLimitLayer::new(4))
    ///     .on("Issue", |event: Event| async move { println!("{}", event.id()) })
    ///     .start()
    ///     .await?;
    /// # let _ = manager;
    /// # Ok(())
    /// # }
    /// ```
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<HandlerService> + Send + Sync + 'static,
        L::Service: Service<Run, Response = Outcome> + Clone + Send + 'static,
        <L::Service as Service<Run>>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        <L::Service as Service<Run>>::Future: Send + 'static,
    {
        self.layers.add(layer);
        self
    }

    /// What is different for events of `event_type`; `"*"` stands for every type whose own options do not say. A second call for the same
    /// type replaces the first.
    pub fn type_options(mut self, event_type: impl Into<String>, options: TypeOptions) -> Self {
        self.options.per_type.set(event_type.into(), options);
        self
    }

    /// How long events wait after a failure, unless the options of their type say so. Default: [`RetryPolicy::exponential`] from
    /// `retry_interval`, which this overrules.
    pub fn retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.options.retry = Some(policy);
        self
    }

    pub(super) fn with_handler(mut self, name: Option<String>, event_type: String, handler: AnyHandler) -> Self {
        self.handlers.push(Given { name, event_type, handler });
        self
    }
}

impl EventManager {
    /// As [`EventManager::register`], with a name for the handler: see [`EventManagerBuilder::on_named`].
    ///
    /// # Errors
    /// As [`EventManager::register`]; also [`ErrorKind::InvalidInput`] if the type has a handler of that name, or the name is empty or
    /// longer than 128 bytes.
    pub fn register_named<Args>(
        &self,
        name: impl Into<String>,
        event_type: impl Into<String>,
        handler: impl Handler<Args>,
    ) -> Result<(), Error> {
        let handler = AnyHandler::new(handler);
        self.add_handler(Given { name: Some(name.into()), event_type: event_type.into(), handler })
    }

    pub(super) fn add_handler(&self, given: Given) -> Result<(), Error> {
        match &self.inner.workers {
            Some(workers) => workers.register(given),
            None => Err(Error::new(ErrorKind::NotAllowed, "this manager was opened without workers: use start()")),
        }
    }
}
