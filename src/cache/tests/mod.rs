//! The cache over a scripted source.

mod failures;
mod fake;
mod memory;
mod sharing;
mod views;
