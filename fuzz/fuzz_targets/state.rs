//! Feeds arbitrary bytes to the state, as entries: see `ledgerline::fuzzing::state`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledgerline::fuzzing::state(bytes));
