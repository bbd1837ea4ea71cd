#![no_main]

dvidfs_fuzz::fuzz!("name_codec");
