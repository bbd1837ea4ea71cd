#![no_main]

dvidfs_fuzz::fuzz!("block_stream");
