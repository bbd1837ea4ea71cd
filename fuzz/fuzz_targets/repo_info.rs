#![no_main]

dvidfs_fuzz::fuzz!("repo_info");
