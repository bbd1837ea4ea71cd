mod damage;
mod entries;
#[path = "../../../../tests/reports/mod.rs"]
mod reports;
mod sharing;
mod support;
