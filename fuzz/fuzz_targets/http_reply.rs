#![no_main]

dvidfs_fuzz::fuzz!("http_reply");
