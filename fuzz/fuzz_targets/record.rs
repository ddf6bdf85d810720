//! Feeds arbitrary bytes to the reader of bodies of records: see `ledgerline::fuzzing::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledgerline::fuzzing::record(bytes));
