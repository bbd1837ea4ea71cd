//! `dvidfs mount`: the stack is built, mounted and served.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use tracing::info;

use crate::dvid::{Address, Head};
use crate::fuse::{self, Ending, MountOptions, Mounter, Stopper};
use crate::logging::Chain;
use crate::vfs::VirtualFs;

use super::args::{CacheArgs, LayoutArgs, LogArgs, MountArgs, PlaceArgs, ServerArgs};
use super::boxes::boxes;
use super::contents::{Told, contents};
use super::failure::Failure;
use super::logs::Logged;
use super::open::{Asked, Opened, address, open};
use super::run::complain;
use super::supervise::{Kept, keep};
use super::{confine, daemon, disk_cache, likeness, logs, offline};

/// How often it is looked whether a branch has moved on.
const HEAD_LOOKS: Duration = Duration::from_secs(60);

/// What a mount is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order<'a> {
    pub(super) address: &'a Address,
    pub(super) dir: &'a Path,
    pub(super) place: &'a PlaceArgs,
    pub(super) layouts: &'a LayoutArgs,
    pub(super) server: &'a ServerArgs,
    /// What is kept on disk, if anything may be.
    pub(super) cache: Option<&'a CacheArgs>,
    pub(super) log: &'a LogArgs,
    pub(super) logged: &'a Logged,
}

/// Mounts: in front, or by a daemon that is started here.
pub(super) fn mount(args: &MountArgs, again: &[OsString]) -> Result<(), Failure> {
    let MountArgs { source, dir, place, layouts, server, cache, log } = args;
    if !place.foreground && !place.daemon_child {
        address(source)?;
        return daemon::start(again);
    }
    refuse_own_files(dir, server, Some(cache), log)?;
    if place.is_kept() && !place.worker {
        return keep(Kept { place, dir, log, source: Some(source), words: again });
    }
    let abi = place.sandbox.then(|| confine::of_mount(args)).transpose()?;
    let logged = logs::start(log)?;
    confine::tell(abi);
    let address = address(source)?;
    serve(Order { address: &address, dir, place, layouts, server, cache: Some(cache), log, logged: &logged })
}

/// Mounts, and serves until the mount ends. Logging has been started.
pub(super) fn serve(order: Order<'_>) -> Result<(), Failure> {
    let Order { address, dir, place, server, cache, log, .. } = order;
    let mounter = if place.worker && place.sandbox { Mounter::Keeper(daemon::keeper()?) } else { Mounter::Ourselves };
    mounter.check(dir, place.replace || place.died.is_some())?;
    if place.daemon_child {
        daemon::detach_from_session()?;
    }
    let disk = cache.map(|cache| disk_cache::open(cache, server.time_scale())).transpose()?.flatten();
    let is_offline = cache.is_some_and(|cache| cache.offline);
    let opened = open(address, server, if is_offline { offline::alone(disk)? } else { Asked::Server(disk) })?;
    let head = opened.node.head().map(Arc::new);
    let (tree, arrays) = tree(&opened, &order, head.clone())?;
    let options = MountOptions { over_dead: place.died.is_some(), ..mount_options(place, &address.to_string()) };
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])
        .map_err(|error| Failure::mount(format!("cannot listen to signals: {error}")))?;
    let mounted = fuse::mount_by(mounter, tree, (dir, &options), Arc::clone(&opened.metrics))?;
    let heard = stop_on_signals(signals, mounted.stopper(), place.foreground);
    if let Some(head) = head {
        watch(head, HEAD_LOOKS.mul_f64(server.time_scale()));
    }
    if let Err(failure) = heard.and_then(|()| announce(place, log, &opened, (mounted.mountpoint(), &arrays))) {
        mounted.stopper().stop();
        let _ = mounted.run();
        return Err(failure);
    }
    let ending = mounted.run();
    info!(target: "dvidfs", code = "counters", counters = %json!(opened.metrics.to_json()));
    match ending {
        // Dead mounts of those before lie below this one. A keeper that mounts takes them away itself.
        Ending::Stopped | Ending::Unmounted if place.worker && !place.sandbox => Ok(fuse::clear_dead_mount(dir)?),
        Ending::Stopped | Ending::Unmounted => Ok(()),
        // Not an end in order: the supervisor mounts again over what is left.
        Ending::Aborted if place.worker && place.supervise => Err(Failure::mount("the mount was aborted")),
        Ending::Aborted => {
            complain(&format!("the mount was aborted: clear it with `dvidfs umount {}`", dir.display()));
            Ok(())
        }
        Ending::Failed(why) => {
            let words = format!("{why}: clear it with `dvidfs umount {}`", dir.display());
            if place.worker {
                // Its parent does not listen any more.
                complain(&words);
            }
            Err(Failure::mount(words))
        }
    }
}

/// How a mount is made, by whoever makes it.
pub(super) fn mount_options(place: &PlaceArgs, fallback: &str) -> MountOptions {
    MountOptions {
        fsname: fsname(place.fsname.as_deref().unwrap_or(fallback)),
        allow_other: place.allow_other,
        umask: place.umask,
        threads: place.threads.into(),
        read_ahead_kb: u32::try_from(place.read_ahead / 1024).ok(),
        replace: place.replace,
        over_dead: false,
    }
}

/// The files of a node, and the words of its arrays. They are as before, if it is mounted again.
fn tree(opened: &Opened, order: &Order<'_>, head: Option<Arc<Head>>) -> Result<(Arc<VirtualFs>, Vec<String>), Failure> {
    let Opened { node, catalog, .. } = opened;
    let layouts = order.layouts;
    let shown = (layouts.options(), boxes(&layouts.boxes, node, catalog)?);
    let told = Told { died: order.place.died, lost_lines: order.logged.lost_lines(), head };
    let contents = contents(opened, config(order), shown, told);
    let arrays = likeness::arrays(&contents);
    if order.place.died.is_some() {
        let before: Vec<_> = daemon::keeper()?.words()?.split_whitespace().map(str::to_owned).collect();
        likeness::check(&before, &arrays)?;
    }
    let tree = VirtualFs::new(contents).map_err(|error| Failure::mount(Chain(&error).to_string()))?;
    Ok((Arc::new(tree), arrays))
}

/// Looks now and then whether the branch has moved on. Looks as long as the process lives; there is nothing to join.
fn watch(head: Arc<Head>, every: Duration) {
    thread::spawn(move || {
        loop {
            thread::sleep(every);
            // A server that does not answer now is asked again.
            let _ = head.look();
        }
    });
}

/// Says that the mount can be read, once it can.
fn announce(
    place: &PlaceArgs,
    log: &LogArgs,
    opened: &Opened,
    (mountpoint, arrays): (&Path, &[String]),
) -> Result<(), Failure> {
    std::fs::metadata(mountpoint)
        .map_err(|error| Failure::mount(format!("{} is mounted and cannot be read: {error}", mountpoint.display())))?;
    if !place.daemon_child && !log.quiet && place.died.is_none() {
        let n_instances = opened.node.instances.len();
        complain(&format!("{n_instances} instances at {}; Ctrl-C unmounts", mountpoint.display()));
    }
    if place.daemon_child || place.worker { daemon::report_ready(place, arrays) } else { Ok(()) }
}

/// SIGTERM and SIGINT unmount in order, a second one at once. SIGHUP does so in front, where it means that the
/// terminal was closed; a daemon ignores it, and both ignore SIGUSR1 and SIGUSR2.
fn stop_on_signals(mut signals: Signals, stopper: Stopper, foreground: bool) -> Result<(), Failure> {
    // Listens as long as the process lives; there is nothing to join.
    let listen = move || {
        for signal in signals.forever() {
            if matches!(signal, SIGTERM | SIGINT) || (signal == SIGHUP && foreground) {
                stopper.stop();
            }
        }
    };
    let started = thread::Builder::new().name("signals".into()).spawn(listen);
    started.map(drop).map_err(|error| Failure::mount(format!("cannot listen to signals: {error}")))
}

/// A daemon that opened a file of its own mount would wait for itself. To be called before any of them is opened.
pub(super) fn refuse_own_files(
    dir: &Path,
    server: &ServerArgs,
    cache: Option<&CacheArgs>,
    log: &LogArgs,
) -> Result<(), Failure> {
    for (option, path) in [
        ("--token-file", server.token_file.as_deref()),
        ("--metadata", server.metadata.as_deref()),
        ("--cacert", server.cacert.as_deref()),
        ("--log-file", log.log_file.as_deref()),
        ("--cache-dir", cache.and_then(|cache| cache.place.cache_dir.as_deref())),
        ("--cache-key-file", cache.and_then(|cache| cache.place.cache_key_file.as_deref())),
        (
            "XDG_CACHE_HOME",
            cache
                .filter(|cache| !cache.no_cache && cache.place.cache_dir.is_none())
                .and_then(|cache| cache.place.caches.as_deref()),
        ),
    ] {
        if let Some(path) = path.filter(|path| fuse::lies_below(path, dir)) {
            let (path, dir) = (path.display(), dir.display());
            return Err(Failure::usage(format!("{option} {path} lies below the mountpoint {dir}: keep it elsewhere")));
        }
    }
    Ok(())
}

/// `.dvidfs/config.json`.
fn config(order: &Order<'_>) -> Value {
    let Order { address, dir, place, layouts, server, cache, log: _, logged: _ } = order;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "source": address.to_string(),
        "mountpoint": dir.to_string_lossy(),
        "allow_other": place.allow_other,
        "umask": format!("{:03o}", place.umask),
        "layouts": layouts.options().kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
        "flat_limit_bytes": layouts.options().flat_limit_bytes,
        "boxes": layouts.boxes.iter().map(|shown| shown.name.as_str()).collect::<Vec<_>>(),
        "threads": place.threads,
        "read_ahead_bytes": place.read_ahead,
        "memory_bytes": server.memory_bytes(),
        "max_connections": server.max_connections,
        "patience_s": server.patience.as_secs_f64(),
        "ttl_s": server.ttl.as_secs_f64(),
        "settle_s": server.settle.as_secs_f64(),
        "prefetch": !server.no_prefetch,
        "verify_every": server.verify,
        "supervised": place.supervise,
        "sandbox": place.sandbox,
        "offline": cache.is_some_and(|cache| cache.offline),
        "cache_bytes": cache.filter(|cache| !cache.no_cache).map(|cache| cache.cache_size),
    })
}

/// The name in the list of mounts: nothing that would end a word or a list there.
fn fsname(name: &str) -> String {
    name.chars().map(|char| if char.is_control() || char.is_whitespace() || char == ',' { '_' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_the_list_of_mounts_is_one_word() {
        assert_eq!(fsname("http://h:1/a b,c\nd"), "http://h:1/a_b_c_d");
    }
}
