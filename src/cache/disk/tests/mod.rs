mod damage;
mod entries;
mod sharing;
mod support;
