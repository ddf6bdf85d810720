#![doc = include_str!("FORMAT.md")]
//! # The code
//!
//! | file | noun |
//! |---|---|
//! | [`mod@format`] | headers of segments, groups and records, byte by byte |
//! | [`segment`], [`manifest`], [`survey`] | the files of a store |
//! | [`scan`], [`source`], [`verdict`] | reading: one scan reports, one table decides |
//! | [`writer`], `group`, [`draft`] | writing: draft, stage, take, write, sync |
//! | [`fill`] | zeros written ahead of the writer |
//! | [`rewriter`] | writing what compaction keeps, in place of others |
//! | [`reader`], [`cut`] | one record read again; a torn tail kept aside |
//!
//! Promises: what was synced is found again or its damage is seen (R7, R8, R9); foreign bytes never panic, never allocate more than
//! twice the record limit, never loop (R14). Deliberately absent: what a record says, when to sync, threads, clocks.

pub(crate) mod cut;
pub(crate) mod draft;
mod error;
pub(crate) mod fill;
#[cfg(test)]
mod forged;
pub(crate) mod format;
mod group;
pub(crate) mod manifest;
pub(crate) mod reader;
pub(crate) mod rewriter;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod source;
pub(crate) mod survey;
pub(crate) mod verdict;
pub(crate) mod writer;

pub(crate) use error::Error;
