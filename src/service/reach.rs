//! From a command to the store: through the service that runs on the directory, or by opening the directory.
//!
//! | | a service runs | none runs | another program holds the lock |
//! |---|---|---|---|
//! | reading | asks the service | reads the directory, without the lock | reads the directory, without the lock |
//! | writing | asks the service | opens the store | tries again for 5 s, then refused: [`ErrorKind::Locked`] names the holder |
//!
//! Only an operation that keeps an event creates a store.

use std::ops::ControlFlow;

use super::config::Config;
use super::control::Client;
use super::operations::{Access, Operation, Operations, not_answering, not_running};
use super::patience::{PAUSE, Patience};
use super::settings;
use crate::error::{Error, ErrorKind};
use crate::store::{Store, check_owner, check_unlocked};

/// Does `operation` and gives its answer line by line, each a JSON document that is safe to print; `each` breaks when it wants no
/// more. What was changed is durable when this returns. It blocks.
///
/// Returns what is damaged, where the directory was read in spite of it: then the answer may lack something.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] if the operation could not be done anywhere; [`ErrorKind::NotFound`] if there is no store, or no such
/// event; [`ErrorKind::Locked`] if a program without a control socket goes on holding the store and the operation writes;
/// [`ErrorKind::NotAllowed`] if no service runs, the operation writes, and the store belongs to another user.
pub fn perform(
    config: &Config,
    operation: &Operation,
    each: &mut dyn FnMut(String) -> ControlFlow<()>,
) -> Result<Vec<String>, Error> {
    operation.check()?;
    let patience = Patience::begin();
    let store = loop {
        if let Some(service) = Client::connect(config.data())? {
            return service.perform(operation, each).map(|()| Vec::new());
        }
        if *operation == (Operation::Health {})
            && let Err(locked) = check_unlocked(config.data())
        {
            return not_answering(&locked, each).map(|()| Vec::new());
        }
        match open(config, operation.access()) {
            // A command may hold it, or a service that has started in between: then that can be asked.
            Err(error) if patience.is_left(&error) => std::thread::sleep(PAUSE),
            // It does not run, whether there is a store or not yet.
            Err(error) if error.kind() == ErrorKind::NotFound && *operation == (Operation::Health {}) => {
                return not_running(each).map(|()| Vec::new());
            }
            opened => break opened?,
        }
    };
    let performed = Operations::of_store(store.clone()).perform(operation.clone(), each);
    // What is durable is durable; closing only spares the next start the search for a torn end.
    let closed = store.close();
    performed.and(closed).map(|()| store.recovery().damage.clone())
}

fn open(config: &Config, access: Access) -> Result<Store, Error> {
    if config.in_memory && access != Access::Read {
        let switch = settings::PERSISTENCE;
        let message =
            format!("no service runs, and {switch} is false, so nothing could be kept: start one, or unset it");
        return Err(Error::new(ErrorKind::NotAllowed, message));
    }
    if access != Access::Read {
        check_owner(config.data())?;
    }
    let opened = match access {
        Access::Read => Store::open_read_only(config.data()),
        Access::Write => Store::open_existing(config.data(), config.store.clone().without_retention()),
        Access::Create => Store::open(config.data(), config.store.clone().without_retention()),
    };
    opened.map_err(|error| if error.kind() == ErrorKind::NotFound { no_store(config) } else { error })
}

fn no_store(config: &Config) -> Error {
    let path = config.data().display();
    let message = format!(
        "no store at {path}: name its directory with --data DIR, or start one with `ledgerline serve --data {path}`"
    );
    Error::new(ErrorKind::NotFound, message)
}
