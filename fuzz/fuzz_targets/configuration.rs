//! Feeds arbitrary bytes to the reader of the configuration file and the environment: see `ledgerline::fuzzing::configuration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledgerline::fuzzing::configuration(bytes));
