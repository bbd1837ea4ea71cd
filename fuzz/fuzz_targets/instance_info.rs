#![no_main]

dvidfs_fuzz::fuzz!("instance_info");
