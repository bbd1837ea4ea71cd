//! From words to an exit code. What went wrong is printed here, once.

use std::process::ExitCode;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

use crate::sys::bound_heap;

use super::args::{Command, DemoArgs, MountArgs, Words, words};
use super::failure::Failure;
use super::{check, daemon, demo, disk_cache, info, mount, umount};

/// Does what the command line says; gives the exit code.
#[must_use]
pub fn run() -> ExitCode {
    bound_heap();
    keep_memory_private();
    let (command, again) = match words() {
        Ok(Words::Do(command, again)) => (command, again),
        Ok(Words::Print(text)) => {
            print(&text);
            return ExitCode::SUCCESS;
        }
        Err(failure) => return told(&failure),
    };
    let is_daemon = match &*command {
        Command::Mount(MountArgs { place, .. }) | Command::Demo(DemoArgs { place, .. }) => {
            place.daemon_child || place.worker
        }
        Command::Umount(_) | Command::Check(_) | Command::Info(_) | Command::Cache(_) => false,
    };
    if is_daemon {
        daemon::begin();
    }
    let done = match &*command {
        Command::Mount(args) => mount::mount(args, &again),
        Command::Umount(args) => umount::umount(args),
        Command::Check(args) => check::check(args),
        Command::Info(args) => info::info(args),
        Command::Cache(args) => disk_cache::cache(args),
        Command::Demo(args) => demo::demo(args, &again),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if is_daemon => daemon::report_failure(&failure),
        Err(failure) => told(&failure),
    }
}

/// No core file, and no look into our memory by other programs of the same user: it may hold a token.
fn keep_memory_private() {
    // A system that refuses either has nothing of the kind.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = prctl::set_dumpable(false);
}

fn told(failure: &Failure) -> ExitCode {
    complain(&failure.line);
    ExitCode::from(failure.code)
}

/// Prints a text for people or for other programs.
pub(super) fn print(text: &str) {
    use std::io::Write;
    // A reader that has gone, such as `head`, is no failure.
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// Prints one line about what went wrong, or goes on.
pub(super) fn complain(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "dvidfs: {line}");
}
