//! Feeds arbitrary bytes to the reader of requests of the control socket: see `ledgerline::fuzzing::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledgerline::fuzzing::request(bytes));
