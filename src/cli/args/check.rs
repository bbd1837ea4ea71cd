//! The words of `dvidfs check`.

use std::path::PathBuf;

use clap::Args;

use super::super::values::{Since, since};

/// `dvidfs check`.
#[derive(Debug, Args)]
pub(in super::super) struct CheckArgs {
    /// A dvidfs mount, or a directory or file in it
    pub(in super::super) dir: PathBuf,
    /// Only what happened since then: 2026-11-25T05:00:00Z, 30m (before now), or seconds since 1970 (`date +%s`)
    /// [default: the mount]
    #[arg(long, value_name = "TIME", value_parser = since, allow_hyphen_values = true)]
    pub(in super::super) since: Option<Since>,
}
