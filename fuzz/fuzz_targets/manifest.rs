//! Feeds arbitrary bytes to the reader of the manifest: see `ledgerline::fuzzing::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledgerline::fuzzing::manifest(bytes));
