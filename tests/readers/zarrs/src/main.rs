//! `zarrs-read GROUP LEVEL [B:E,B:E,…]`: opens one array of a group by zarrs, and writes what it is, and the voxels of a box.
//!
//! The first line is JSON: shape, data type and attributes; after it come the voxels, as bytes of this machine.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use zarrs::array::Array;
use zarrs::array_subset::ArraySubset;
use zarrs::filesystem::FilesystemStore;

fn subset(words: &str) -> Result<ArraySubset, Box<dyn Error>> {
    let range = |word: &str| -> Result<std::ops::Range<u64>, Box<dyn Error>> {
        let (begin, end) = word.split_once(':').ok_or("a range is B:E")?;
        Ok(begin.parse()?..end.parse()?)
    };
    let ranges = words.split(',').map(range).collect::<Result<Vec<_>, _>>()?;
    Ok(ArraySubset::new_with_ranges(&ranges))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (group, level) = words.next().zip(words.next()).ok_or("usage: zarrs-read GROUP LEVEL [B:E,B:E,…]")?;
    let store = Arc::new(FilesystemStore::new(group)?);
    let array = Array::open(store, &format!("/{level}"))?;
    let head = serde_json::json!({
        "shape": array.shape(),
        "dtype": array.data_type().to_string(),
        "attributes": array.attributes(),
    });
    let mut out = std::io::stdout().lock();
    writeln!(out, "{head}")?;
    if let Some(words) = words.next() {
        out.write_all(&array.retrieve_array_subset(&subset(&words)?)?.into_fixed()?)?;
    }
    Ok(())
}
