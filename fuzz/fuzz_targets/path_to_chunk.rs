#![no_main]

dvidfs_fuzz::fuzz!("path_to_chunk");
