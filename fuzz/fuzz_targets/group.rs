//! Feeds arbitrary bytes to the reader of the log's groups: see `ledgerline::fuzzing::group`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledgerline::fuzzing::group(bytes));
