//! Fuzz targets over what a server sends: blocks, streams of them, gzip, JSON.

mod label_block;
mod metadata;
mod mutation;
mod streams;

pub(crate) use super::http::fuzz::{CLI_REF, HTTP_REPLY};
pub(crate) use label_block::LABEL_BLOCK;
#[cfg(test)]
pub(super) use label_block::naive;
pub(crate) use metadata::{INSTANCE_INFO, REPO_INFO};
pub(crate) use streams::{BLOCK_STREAM, INFLATE};
