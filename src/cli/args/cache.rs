//! The words that say what is kept on disk, and where.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::values::{share, size};

/// What is kept on disk, and where.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Disk cache")]
pub(in crate::cli) struct CacheArgs {
    #[command(flatten)]
    pub(in crate::cli) place: CachePlace,
    /// Keep nothing on disk
    #[arg(long, conflicts_with = "cache_dir")]
    pub(in crate::cli) no_cache: bool,
    /// The most that is kept on disk, by all mounts together
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "10G")]
    pub(in crate::cli) cache_size: usize,
    /// Ask no server at all: mount what an earlier mount of this SOURCE has left on disk. What is not there cannot be
    /// read, and fails at once
    #[arg(long, conflicts_with = "no_cache")]
    pub(in crate::cli) offline: bool,
    /// The part of the disk that is left free, whoever fills it
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "5%")]
    pub(in crate::cli) cache_free: f64,
}

/// Where a disk cache lies.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct CachePlace {
    /// Keep blocks of locked nodes below this directory [default: $XDG_CACHE_HOME/dvidfs, or ~/.cache/dvidfs]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) cache_dir: Option<PathBuf>,
    /// A file whose text seals what is kept, for a directory that others can write; readable by its owner alone
    #[arg(long, value_name = "FILE", requires = "cache_dir")]
    pub(in crate::cli) cache_key_file: Option<PathBuf>,
    /// The user's directory of caches, as the environment has it.
    #[arg(skip)]
    pub(in crate::cli) caches: Option<PathBuf>,
}

/// `dvidfs cache`.
#[derive(Debug, Args)]
pub(in crate::cli) struct CacheCommand {
    #[command(subcommand)]
    pub(in crate::cli) what: CacheWhat,
}

/// What is to be done about a disk cache.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CacheWhat {
    /// Print what is kept on disk
    Ls(CachePlace),
    /// Read all that is kept, and remove what is damaged; exit code 1 if anything was
    Verify(CachePlace),
    /// Remove all that is kept
    Clear(CachePlace),
}

impl CachePlace {
    pub(super) fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        [&mut self.cache_dir, &mut self.cache_key_file, &mut self.caches].into_iter().flatten().collect()
    }
}

impl CacheCommand {
    pub(super) fn place_mut(&mut self) -> &mut CachePlace {
        match &mut self.what {
            CacheWhat::Ls(place) | CacheWhat::Verify(place) | CacheWhat::Clear(place) => place,
        }
    }
}
