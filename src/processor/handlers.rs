//! Which handler runs which type.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind};
use crate::event::limits;
use crate::processor::batch::Gathering;
use crate::processor::handler::Kind;
use crate::processor::layer::{HandlerService, Layers};
use crate::processor::team::{Named, Team};
use crate::processor::threads::Threads;
use crate::processor::{AnyHandler, Options, batch, blocking};
use crate::queue::Handled;

/// The type that stands for every type without a handler of its own.
pub(super) const ANY_TYPE: &str = "*";

/// Most handlers of one type.
const HANDLERS_MAX: usize = 64;

/// Longest name of a handler, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// A handler as it was given to a manager.
#[derive(Clone)]
pub(crate) struct Given {
    /// None: it is named after its type and its number.
    pub(crate) name: Option<String>,
    pub(crate) event_type: String,
    pub(crate) handler: AnyHandler,
}

/// The handlers, by the type they run.
pub(crate) struct Handlers {
    options: Options,
    // A std lock: it is held for one look into the map, and never across an await: nobody's layer and no engine is called under it.
    known: Mutex<Known>,
}

struct Known {
    by_type: HashMap<String, Team>,
    layers: Layers,
    threads: Arc<Threads>,
    /// Where runs wait for others.
    gatherings: Vec<Arc<Gathering>>,
    closed: bool,
}

impl Handlers {
    /// Those of `given` with `layers` around each, refusing by name a type that is no type, or a name that is taken.
    pub(crate) fn new(mut given: Vec<Given>, layers: Layers, options: Options) -> Result<Self, Error> {
        // Last, so that it is known which types are left to them.
        given.sort_by_key(|given| given.event_type == ANY_TYPE);
        let threads = Arc::new(Threads::new(options.concurrency, options.holds_clock));
        let known = Known { by_type: HashMap::new(), layers, threads, gatherings: Vec::new(), closed: false };
        let handlers = Self { options, known: Mutex::new(known) };
        for given in given {
            handlers.add(given, |_| ())?;
        }
        Ok(handlers)
    }

    /// Adds one, and tells `engine` for which types it is there.
    pub(crate) fn add(&self, given: Given, engine: impl FnOnce(Handled)) -> Result<(), Error> {
        let Given { name, event_type, handler } = given;
        check_type(&event_type, "a handler")?;
        let batch = if let Kind::Batch(batch, _) = &handler.kind { Some(*batch) } else { None };
        let (service, gathering) = self.service(handler);
        let mut known = self.lock();
        if known.closed {
            return Err(Error::new(ErrorKind::Closed, "the manager was shut down"));
        }
        if let Some(batch) = batch {
            let shortest = self.options.shortest_timeout(&event_type, |other| known.by_type.contains_key(other));
            batch.validate(&event_type, self.options.slots(&event_type), shortest)?;
        }
        let names = known.by_type.get(&event_type).map_or_else(Vec::new, Team::names);
        let name = name.unwrap_or_else(|| numbered(&event_type, names.len() + 1));
        check_name(&event_type, &name, &names)?;
        known.gatherings.extend(gathering);
        let more = handled([&event_type].into_iter());
        let team = Team::with(known.by_type.get(&event_type), Named { name: name.into(), service });
        known.by_type.insert(event_type, team);
        drop(known);
        engine(more);
        Ok(())
    }

    /// The handlers of this type: its own, or else those for all.
    pub(super) fn find(&self, event_type: &str) -> Option<Team> {
        let known = self.lock();
        known.by_type.get(event_type).or_else(|| known.by_type.get(ANY_TYPE)).cloned()
    }

    /// Which types have a handler.
    pub(crate) fn handled(&self) -> Handled {
        handled(self.lock().by_type.keys())
    }

    /// What the workers were told.
    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Nothing more is claimed: no batch waits for others any more.
    pub(super) fn call_last(&self) {
        let gatherings = self.lock().gatherings.clone();
        for gathering in gatherings {
            gathering.call_last();
        }
    }

    /// Lets go of all handlers, and of what they hold (a manager, perhaps), and takes no more.
    pub(crate) fn close(&self) {
        let let_go = {
            let mut known = self.lock();
            known.closed = true;
            let threads = std::mem::replace(&mut known.threads, Arc::new(Threads::new(0, false)));
            let gatherings = std::mem::take(&mut known.gatherings);
            (std::mem::take(&mut known.by_type), std::mem::take(&mut known.layers), threads, gatherings)
        };
        // Dropped without the lock: what a handler holds may look in here while it goes.
        drop(let_go);
    }

    /// A handler with the layers around it, and where its runs wait for others if they do.
    fn service(&self, handler: AnyHandler) -> (HandlerService, Option<Arc<Gathering>>) {
        let (layers, threads) = {
            let known = self.lock();
            (known.layers.clone(), Arc::clone(&known.threads))
        };
        let mut gathering = None;
        let innermost = match handler.kind {
            Kind::Plain(function) => HandlerService::of(function),
            Kind::Blocking(function) => blocking::service(function, threads),
            Kind::Batch(options, function) => {
                batch::service(Arc::clone(gathering.insert(Arc::new(Gathering::new(options, function)))))
            }
        };
        (layers.around(innermost), gathering)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which types have a handler, if there are handlers for these.
fn handled<'t>(types: impl Iterator<Item = &'t String> + Clone) -> Handled {
    let for_all = types.clone().any(|event_type| event_type == ANY_TYPE);
    if for_all { Handled::All } else { Handled::Only(types.cloned().collect()) }
}

/// The name of a handler that was given none.
fn numbered(event_type: &str, number: usize) -> String {
    let end = event_type.floor_char_boundary(NAME_BYTES_MAX - "#64".len());
    format!("{}#{number}", event_type.get(..end).unwrap_or_default())
}

/// Refuses a text that is no event type; `of` says what it was given for.
pub(super) fn check_type(event_type: &str, of: &str) -> Result<(), Error> {
    match event_type.len() {
        0 => Err(Error::invalid(format!(
            "the event type of {of} is empty; \"*\" stands for every type without one of its own"
        ))),
        len if len > limits::TYPE_BYTES_MAX => Err(Error::invalid(format!(
            "the event type of {of} has {len} bytes; at most {} are allowed",
            limits::TYPE_BYTES_MAX
        ))),
        _ => Ok(()),
    }
}

fn check_name(event_type: &str, name: &str, names: &[Arc<str>]) -> Result<(), Error> {
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Err(Error::invalid(format!(
            "the name of a handler of type {event_type:?} has {} bytes; it must have from 1 to {NAME_BYTES_MAX}",
            name.len()
        )));
    }
    if names.iter().any(|other| **other == *name) {
        return Err(Error::invalid(format!("event type {event_type:?} has a handler named {name:?} already")));
    }
    if names.len() >= HANDLERS_MAX {
        return Err(Error::invalid(format!(
            "event type {event_type:?} has {HANDLERS_MAX} handlers; more are not allowed"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use tower_layer::Layer;

    use super::*;
    use crate::event::Event;
    use crate::processor::{BatchOptions, TypeOptions};

    fn given(event_type: &str, name: Option<&str>) -> Given {
        let handler = AnyHandler::new(|_: Event| async {});
        Given { name: name.map(str::to_owned), event_type: event_type.to_owned(), handler }
    }

    fn handlers(given: Vec<Given>) -> Result<Handlers, Error> {
        Handlers::new(given, Layers::default(), Options::default())
    }

    #[test]
    fn a_type_has_its_own_handlers_or_those_for_all() {
        for (types, found, handled) in [
            (&[][..], 0, "Only({})"),
            (&["Issue"], 1, "Only({\"Issue\"})"),
            (&["Issue", "Issue"], 2, "Only({\"Issue\"})"),
            (&["Comment"], 0, "Only({\"Comment\"})"),
            (&["Comment", "*"], 1, "All"),
        ] {
            let handlers = handlers(types.iter().map(|event_type| given(event_type, None)).collect()).unwrap();
            assert_eq!(handlers.find("Issue").map_or(0, |team| team.names().len()), found, "{types:?}");
            assert_eq!(format!("{:?}", handlers.handled()), handled);
        }
    }

    #[test]
    fn the_engine_is_told_of_the_type_that_is_new_alone() {
        let handlers = handlers((0..3).map(|number| given(&format!("T{number}"), None)).collect()).unwrap();
        for (event_type, told) in [("Issue", "Only({\"Issue\"})"), ("*", "All"), ("Comment", "Only({\"Comment\"})")] {
            let mut handled = None;
            handlers.add(given(event_type, None), |more| handled = Some(format!("{more:?}"))).unwrap();
            assert_eq!(handled.as_deref(), Some(told));
        }
    }

    #[test]
    fn handlers_without_a_name_are_named_after_their_type_and_their_number() {
        let handlers =
            handlers(vec![given("Issue", None), given("Issue", Some("notify")), given("Issue", None)]).unwrap();
        let names = handlers.find("Issue").unwrap().names();
        assert_eq!(names, ["Issue#1".into(), "notify".into(), "Issue#3".into()]);
        assert_eq!(numbered(&"ä".repeat(64), 64), format!("{}#64", "ä".repeat(62)));
    }

    #[test]
    fn a_name_that_is_taken_and_a_type_that_is_none_are_refused_by_name() {
        let twice = || vec![given("Issue", Some("notify")), given("Issue", Some("notify"))];
        let long = "x".repeat(129);
        for (given, says) in [
            (twice(), "event type \"Issue\" has a handler named \"notify\" already"),
            (vec![given("Issue", Some(""))], "has 0 bytes; it must have from 1 to 128"),
            (vec![given("Issue", Some(&long))], "has 129 bytes"),
            (vec![given("", None)], "is empty"),
            (vec![given(&long, None)], "has 129 bytes"),
            (vec![given("Issue", None); 65], "event type \"Issue\" has 64 handlers"),
        ] {
            let error = handlers(given).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_batch_for_all_types_lingers_less_long_than_any_run_of_a_type_that_is_left_to_it_may_take() {
        let batch = |event_type: &str| {
            let handler = AnyHandler::batch(BatchOptions::new(), |_: Vec<Event>| async {});
            Given { handler, ..given(event_type, None) }
        };
        let mut options = Options::default();
        options.per_type.set("Short".to_owned(), TypeOptions::new().timeout(Duration::from_millis(100)));
        let refusal =
            |given| Handlers::new(given, Layers::default(), options.clone()).err().map(|error| error.to_string());
        for given in [vec![batch("*")], vec![batch("*"), given("Other", None)], vec![batch("Short")]] {
            let text = refusal(given).unwrap();
            assert!(text.contains("less than the timeout of type \"Short\", 100ms"), "{text}");
        }
        assert_eq!(refusal(vec![batch("*"), given("Short", None)]), None);
    }

    /// A layer that looks, when it is put around a handler, whether the handlers can be asked.
    #[derive(Clone)]
    struct Looks(Arc<OnceLock<Handlers>>, Sender<bool>);

    impl Layer<HandlerService> for Looks {
        type Service = HandlerService;

        fn layer(&self, inner: HandlerService) -> HandlerService {
            let may_ask = self.0.get().is_none_or(|handlers| handlers.known.try_lock().is_ok());
            self.1.send(may_ask).unwrap();
            inner
        }
    }

    #[test]
    fn a_layer_may_ask_for_handlers_while_it_is_put_around_another() {
        let (handlers, (sender, told)) = (Arc::new(OnceLock::new()), channel());
        let mut layers = Layers::default();
        layers.add(Looks(Arc::clone(&handlers), sender));
        let handlers = handlers.get_or_init(|| Handlers::new(Vec::new(), layers, Options::default()).unwrap());
        handlers.add(given("Issue", None), |_| ()).unwrap();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [true]);
        handlers.close();
    }

    #[test]
    fn closing_lets_go_of_handlers_and_takes_no_more() {
        let handlers = handlers(vec![given("Issue", None)]).unwrap();
        handlers.close();
        assert!(handlers.find("Issue").is_none());
        let error = handlers.add(given("Issue", None), |_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}
