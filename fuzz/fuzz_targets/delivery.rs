//! Feeds arbitrary bytes to the reader of headers and bodies of deliveries: see `ledgerline::fuzzing::delivery`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledgerline::fuzzing::delivery(bytes));
