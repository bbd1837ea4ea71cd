//! The words that say in which layouts arrays are shown.

use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::values::{BoxWords, box_words, size};
use crate::layout::LayoutOptions;

/// The longest edge of a chunk: a chunk of uint64 then has 64 GiB.
const LONGEST_EDGE: i64 = 2048;

/// In which layouts arrays are shown.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Layouts")]
pub(in crate::cli) struct LayoutArgs {
    #[arg(
        long = "layouts", value_name = "WORD,...", value_delimiter = ',', value_parser = word,
        help = format!("The layouts of each array, of {} [default: all]", all_words())
    )]
    words: Vec<String>,
    /// Further Zarr v2 trees, by the voxels along an edge of their chunks [default: 256]
    #[arg(
        long, value_name = "N,...", value_delimiter = ',',
        value_parser = clap::value_parser!(u16).range(1..=LONGEST_EDGE)
    )]
    chunks: Vec<u16>,
    /// The largest level that is shown as flat files: NPY, raw, NRRD, MetaImage [default: 64G]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    flat_limit: Option<usize>,
    /// A box of an instance, shown in `boxes/NAME` in all layouts as an array of its own (repeatable)
    #[arg(long = "box", value_name = "NAME=INSTANCE:z0:z1,y0:y1,x0:x1[@SCALE]", value_parser = box_words)]
    pub(in crate::cli) boxes: Vec<BoxWords>,
}

impl LayoutArgs {
    /// Refuses words that mean nothing together.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if !self.chunks.is_empty() && !self.options().words().contains(&"zarr") {
            return Err(Failure::usage("--chunks makes further trees of the layout zarr: name it in --layouts, too"));
        }
        Ok(())
    }

    /// The layouts that are meant.
    pub(in crate::cli) fn options(&self) -> LayoutOptions {
        let mut all = if self.chunks.is_empty() { LayoutOptions::default() } else { LayoutOptions::all(&self.chunks) };
        if let Some(limit) = self.flat_limit {
            all.flat_limit_bytes = limit as u64;
        }
        if self.words.is_empty() { all } else { all.only(&self.words) }
    }
}

/// A word that means a layout.
fn word(text: &str) -> Result<String, String> {
    if LayoutOptions::default().words().contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("the layouts are {}", all_words()))
}

fn all_words() -> String {
    LayoutOptions::default().words().join(", ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        layouts: LayoutArgs,
    }

    fn args(line: &str) -> Result<LayoutArgs, String> {
        let words = std::iter::once("dvidfs").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.layouts).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check_names(line: &str, names: &[&str]) {
        let options = args(line).unwrap().options();
        assert_eq!(options.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>(), names, "{line}");
    }

    #[test]
    fn words_choose_layouts() {
        assert_eq!(args("").unwrap().options(), LayoutOptions::default());
        check_names("--layouts zarr", &["volume.zarr", "volume-c256.zarr"]);
        check_names("--layouts webknossos,zarr3", &["volume-v3.zarr", "datasource-properties.json"]);
        check_names("--layouts zarr3 --layouts zarr3", &["volume-v3.zarr"]);
    }

    #[test]
    fn edges_make_trees_of_large_chunks() {
        check_names("--layouts zarr --chunks 512,128,512", &["volume.zarr", "volume-c128.zarr", "volume-c512.zarr"]);
        check_names("--layouts zarr --chunks 64", &["volume.zarr"]);
        assert!(args("--layouts zarr3 --chunks 512").unwrap().check().is_err());
        assert!(args("--chunks 512").unwrap().check().is_ok());
    }

    #[test]
    fn a_word_that_means_no_layout_is_answered_with_those_that_do() {
        for line in ["--layouts nonsense", "--layouts zarr,", "--layouts Zarr"] {
            let said = args(line).unwrap_err();
            assert!(said.contains("the layouts are zarr, zarr3, "), "{line}: {said}");
        }
        for line in ["--chunks 0", "--chunks 2049", "--chunks many", "--chunks 64,", "--chunks 65600"] {
            let said = args(line).unwrap_err();
            assert!(said.contains("--chunks"), "{line}: {said}");
        }
    }
}
