#![no_main]

dvidfs_fuzz::fuzz!("cache_entry");
