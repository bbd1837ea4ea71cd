//! The command `dvidfs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dvidfs::cli::run()
}
