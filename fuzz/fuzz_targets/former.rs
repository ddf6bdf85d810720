//! Feeds arbitrary bytes to the reader of the former program's file: see `ledgerline::fuzzing::former`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledgerline::fuzzing::former(bytes));
