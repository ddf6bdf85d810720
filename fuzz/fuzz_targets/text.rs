//! Feeds arbitrary bytes to the reader of times, names and other short texts: see `ledgerline::fuzzing::text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledgerline::fuzzing::text(bytes));
