#![no_main]

dvidfs_fuzz::fuzz!("cli_ref");
