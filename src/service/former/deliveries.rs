//! The webhook processor's list of deliveries that waited.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::FormerEvent;
use super::file::{Place, time, unreadable};
use crate::error::Error;

/// What else it says of one is of no use: its id is not unique, and what its type is stands in the payload.
#[derive(Deserialize)]
struct Listed<'f> {
    event_id: String,
    #[serde(borrow)]
    payload: &'f RawValue,
    timestamp: String,
}

/// Reads the list.
pub(super) fn read(json: &str) -> Result<Vec<FormerEvent>, Error> {
    let list: Vec<Listed<'_>> = serde_json::from_str(json).map_err(unreadable)?;
    let deliveries = list.iter().enumerate().map(|(index, listed)| {
        let place = Place { list: "the list", index, id: &listed.event_id };
        let timestamp = time(&listed.timestamp, &place, "timestamp")?;
        place.checked(FormerEvent::Delivery { body: listed.payload.get().to_owned(), timestamp })
    });
    deliveries.collect()
}
