#![no_main]

dvidfs_fuzz::fuzz!("label_block");
