//! Feeds arbitrary bytes to the reader of what a service says on its control socket: see `ledgerline::fuzzing::answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledgerline::fuzzing::answer(bytes));
