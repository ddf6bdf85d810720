//! Feeds arbitrary bytes to the reader of whole segments: see `ledgerline::fuzzing::segment`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledgerline::fuzzing::segment(bytes));
