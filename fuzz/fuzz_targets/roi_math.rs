#![no_main]

dvidfs_fuzz::fuzz!("roi_math");
