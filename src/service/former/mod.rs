//! What the former program has left in its file, as events to be kept.
//!
//! ```text
//! the file ──numbers──► JSON ──queue──► each event of the event manager  ─┐
//!         (NaN is null)     └─deliveries──► each delivery that waited     ├─► FormerEvent ──► Operation::Import ──► NewEvent
//!                                                                        ─┘
//! ```
//!
//! Two parts of that program kept a file under one name, `linear_events.json`; which one it is shows in the first character:
//!
//! | | `{`: the event manager's queue | `[`: the webhook processor's list |
//! |---|---|---|
//! | an event | its `id`, `event_type` and `data` as they are | its `payload`, a whole delivery, read as if it came now |
//! | `timestamp` | a header, `former-timestamp`, in UTC where it says nothing else | likewise, though it was local time there |
//! | `pending`, `processing` | is to run | every one is to run |
//! | `retrying`, and `failed` with retries left | is to run, after the last attempt and one retry interval, with the retries that are left | – |
//! | `failed` without | has failed for good, and waits for a person | – |
//! | `completed` | is left out: it has run | – |
//!
//! Promises: a file that cannot be read whole is refused whole, with the place; what is read is kept byte for byte, but for numbers that
//! JSON does not know; an event that is kept or remembered is a duplicate, so a file may be imported again for as long as that is so.
//!
//! Deliberately absent: the counters of that program, which counted another store's life; the file itself, which is only read.
//!
//! Read next: [`FormerFile`] for the way of a file, `queue` and `deliveries` for the shapes.

mod deliveries;
mod event;
mod file;
mod numbers;
mod queue;

pub use event::FormerEvent;
pub use file::FormerFile;
