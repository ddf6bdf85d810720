//! What one record costs the processor, without any disk: JSON, encoding, checksums, decoding, signatures. A floor copies the same
//! bytes, checks them by CRC-32, or hashes them, whatever cannot be left out.
//!
//! ```text
//! JSON     text that becomes an event, data that becomes text
//! append   in memory, a thousand at once: encoded, checked, indexed
//! audit    a log on disk, from the cache: verified and decoded, record by record
//! read     the same log by `Store::read_from`
//! ```
#![expect(clippy::disallowed_methods, reason = "a bench reads clocks and files")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures have three digits"
)]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use ledgerline::audit::audit;
use ledgerline::{NewEvent, Store, StoreOptions};

use rig::directory::directory;
use rig::log::segments;
use rig::mode::full_or_quick;
use rig::payload::{Payload, TYPE, event};
use rig::row::{Row, Unit};
use rig::run::Run;
use rig::writing::open;

#[expect(dead_code, reason = "each bench uses a part")]
mod rig;

/// Events that are appended together.
const BATCH_COUNT: usize = 1_000;
/// About what a reception takes in the log beside its payload.
const RECEPTION_BYTES: usize = 112;

/// The time for doing `work` in `rounds`, one after the other.
fn time<T>(rounds: u64, mut work: impl FnMut() -> T) -> Duration {
    let began = Instant::now();
    for _ in 0..rounds {
        black_box(work());
    }
    began.elapsed()
}

/// One row: `elements` by each call of `work`, and by each of `floor`.
fn row<T, F>(run: &mut Run, name: &str, elements: u64, mut work: impl FnMut() -> T, mut floor: impl FnMut() -> F) {
    if !run.wants(name) {
        return;
    }
    let rate = run.rate(name, elements, |rounds| time(rounds, &mut work));
    let floor = run.rate(&format!("{name}, floor"), elements, |rounds| time(rounds, &mut floor));
    run.tell(Row::new(name, Unit::Seconds, 1.0 / rate).floor(1.0 / floor));
}

fn json(run: &mut Run, bytes: usize) {
    let payload = Payload::of(bytes);
    let text = serde_json::to_string(&payload).expect("it is JSON");
    let copy = || text.clone();
    row(run, &format!("{bytes} B of JSON to an event"), 1, || NewEvent::from_json(TYPE, text.clone()), copy);
    row(run, &format!("{bytes} B of data to an event"), 1, || NewEvent::new(TYPE, &payload), copy);
}

fn append(run: &mut Run, bytes: usize) {
    let name = format!("append in memory, {bytes} B records");
    if !run.wants(&name) {
        return;
    }
    let batch = vec![event(bytes - RECEPTION_BYTES); BATCH_COUNT];
    let rate = run.rate(&name, BATCH_COUNT as u64, |rounds| {
        let store = Store::in_memory(StoreOptions::default()).expect("a store opens");
        time(rounds, || store.append_many(&batch).expect("a batch succeeds"))
    });
    let record = vec![0x5a; bytes];
    let floor = run.rate(&format!("{name}, floor"), 1, |rounds| time(rounds, || crc32fast::hash(&record.clone())));
    run.tell(Row::new(name, Unit::Seconds, 1.0 / rate).floor(1.0 / floor));
}

/// Writes a log, and counts its records.
fn write(dir: &Path, bytes: usize) -> u64 {
    let store = open(dir);
    let batch = vec![event(bytes - RECEPTION_BYTES); BATCH_COUNT];
    for _ in 0..full_or_quick(100, 4) {
        store.append_many(&batch).expect("a batch succeeds");
    }
    store.close().expect("the store closes");
    audited(dir)
}

fn audited(dir: &Path) -> u64 {
    let report = audit(dir, &mut |item| {
        black_box(item);
        Ok(())
    });
    report.expect("the log is sound").records
}

fn checksums(dir: &Path) -> u32 {
    let hash = |path| crc32fast::hash(&std::fs::read(path).expect("the segment is read"));
    segments(dir).into_iter().map(hash).fold(0, u32::wrapping_add)
}

fn log(run: &mut Run, bytes: usize) {
    let dir = directory();
    let records = write(dir.path(), bytes);
    let checked = || checksums(dir.path());
    row(run, &format!("audit, {bytes} B records"), records, || audited(dir.path()), checked);
    let store = Store::open_read_only(dir.path()).expect("the store opens");
    let read = || store.read_from(1).take(records as usize).flatten().count();
    row(run, &format!("read, {bytes} B records"), records, read, checked);
}

#[cfg(feature = "webhook")]
fn signature(run: &mut Run, bytes: usize) {
    use sha2::{Digest as _, Sha256};

    let secret = ledgerline::webhook::Secret::new(b"the secret of this bench").expect("it is long enough");
    let body = vec![0x5a; bytes];
    let signed = secret.sign(&body);
    let secrets = [secret];
    let verify = || ledgerline::webhook::verify(&secrets, &body, Some(signed.as_bytes())).expect("it is signed");
    row(run, &format!("signature of {bytes} B proven"), 1, verify, || Sha256::digest(&body));
}

fn main() {
    let Some(mut run) = Run::begin("codec") else { return };
    for bytes in [256, 1_024] {
        json(&mut run, bytes);
        append(&mut run, bytes);
    }
    log(&mut run, 256);
    #[cfg(feature = "webhook")]
    signature(&mut run, 2_048);
    run.end();
}
