//! `dvidfs demo`: a built-in server, mounted or only served.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::demo::{Dataset, Demo, DemoOptions, Fault, NpyVolume, lasting_port};

use super::args::DemoArgs;
use super::failure::Failure;
use super::mount::{Order, refuse_own_files, serve};
use super::open::address;
use super::run::print;
use super::supervise::{Kept, keep};
use super::{confine, daemon, logs};

/// Serves the demo data, and mounts them unless `--serve` was given.
pub(super) fn demo(args: &DemoArgs, again: &[OsString]) -> Result<(), Failure> {
    let DemoArgs { dir, serve: port, place, layouts, server, log, .. } = args;
    match dir {
        None => serve_only(args, *port),
        Some(_) if !place.foreground && !place.daemon_child => daemon::start(again),
        Some(dir) => {
            refuse_own_files(dir, server, None, log)?;
            if place.is_kept() && !place.worker {
                // Whoever mounts again serves where the one before it did.
                let port = args.port.or_else(lasting_port).map(|port| OsString::from(format!("--port={port}")));
                let words: Vec<_> = again.iter().cloned().chain(port).collect();
                return keep(Kept { place, dir, log, source: None, words: &words });
            }
            let port = args.port;
            let abi = place.sandbox.then(|| confine::of_demo(args, port)).transpose()?;
            let logged = logs::start(log)?;
            confine::tell(abi);
            let demo = start(args, port)?;
            let address = address(&source(&demo))?;
            let order = Order { address: &address, dir, place, layouts, server, cache: None, log, logged: &logged };
            let served = serve(order);
            drop(demo);
            served
        }
    }
}

/// Serves until it is ended from outside.
fn serve_only(args: &DemoArgs, port: Option<u16>) -> Result<(), Failure> {
    let _logged = logs::start(&args.log)?;
    let demo = start(args, port.filter(|&port| port != 0))?;
    print(&source(&demo));
    loop {
        std::thread::park();
    }
}

fn start(args: &DemoArgs, listen: Option<u16>) -> Result<Demo, Failure> {
    let dataset = match args.dataset.as_str() {
        _ if !args.volumes.is_empty() => own(&args.volumes)?,
        "test" => Dataset::test(),
        "large" => Dataset::large(),
        "petavoxel" => Dataset::petavoxel(),
        _ => Dataset::standard(),
    };
    let faults = match &args.faults {
        None => Vec::new(),
        Some(path) => {
            let text = fs::read(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            serde_json::from_slice::<Vec<Fault>>(&text)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?
        }
    };
    let options = DemoOptions {
        dataset,
        port: listen,
        delay: Duration::from_millis(args.delay),
        faults,
        ..DemoOptions::default()
    };
    Demo::start(options).map_err(|error| Failure::mount(format!("the demo server cannot start: {error}")))
}

/// The user's own arrays.
fn own(volumes: &[(String, PathBuf)]) -> Result<Dataset, Failure> {
    let mut opened = Vec::with_capacity(volumes.len());
    for (name, file) in volumes {
        if opened.iter().any(|(other, _)| other == name) {
            return Err(Failure::usage(format!("--volume: two volumes have the name {name}")));
        }
        let volume =
            NpyVolume::open(file).map_err(|error| Failure::usage(format!("--volume: {}: {error}", file.display())))?;
        opened.push((name.clone(), volume));
    }
    Ok(Dataset::of_volumes(opened))
}

/// The locked root: its data never change.
fn source(demo: &Demo) -> String {
    format!("{}/{}", demo.origin(), demo.dataset().root())
}
