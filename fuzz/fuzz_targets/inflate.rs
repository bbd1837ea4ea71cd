#![no_main]

dvidfs_fuzz::fuzz!("inflate");
