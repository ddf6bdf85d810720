//! What survives: a store on a simulated disk that loses power at any call, fails and fills up.
//!
//! Here the store is a pure function of (seed, operations, faults): no thread, no clock, no randomness of the machine.

mod determinism;
mod opening;
