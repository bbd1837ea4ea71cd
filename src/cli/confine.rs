//! `--sandbox`: what a worker is left with.

use std::path::PathBuf;

use tracing::info;

use crate::sandbox::{Allowed, confine};

use super::args::{DemoArgs, LogArgs, MountArgs, ServerArgs};
use super::disk_cache;
use super::failure::Failure;
use super::open::address;

/// Confines the worker of a mount, before it has any other thread and before it asks its server for anything.
pub(super) fn of_mount(args: &MountArgs) -> Result<i32, Failure> {
    let MountArgs { source, server, cache, log, .. } = args;
    let connect = if cache.offline { None } else { address(source)?.port() };
    let mut allowed = Allowed { connect, ..of_options(server, log) };
    allowed.read.extend(cache.place.cache_key_file.clone());
    allowed.change.extend(disk_cache::made_directory(cache)?);
    Ok(confine(&allowed)?)
}

/// Confines a demo, which is its own server.
pub(super) fn of_demo(args: &DemoArgs, port: Option<u16>) -> Result<i32, Failure> {
    let mut allowed = Allowed { connect: port, listen: port, ..of_options(&args.server, &args.log) };
    allowed.read.extend(args.volumes.iter().map(|(_, path)| path.clone()).chain(args.faults.clone()));
    Ok(confine(&allowed)?)
}

fn of_options(server: &ServerArgs, log: &LogArgs) -> Allowed {
    let read: [&Option<PathBuf>; 3] = [&server.token_file, &server.metadata, &server.cacert];
    Allowed {
        read: read.into_iter().flatten().cloned().collect(),
        // The keeper has made it.
        write: log.log_file.iter().cloned().collect(),
        ..Allowed::default()
    }
}

/// Logs that this process is confined, and by which version of Landlock's interface.
pub(super) fn tell(abi: Option<i32>) {
    if let Some(abi) = abi {
        info!(target: "dvidfs", code = "sandboxed", op = "mount", abi);
    }
}
