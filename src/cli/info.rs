//! `dvidfs info`: what a node holds, as a table or as JSON.

use serde_json::{Value, json};

use crate::array::Entry;

use super::args::InfoArgs;
use super::contents::node_json;
use super::failure::Failure;
use super::logs;
use super::open::{Asked, Opened, address, open};
use super::run::print;

/// Prints what a node holds.
pub(super) fn info(args: &InfoArgs) -> Result<(), Failure> {
    let _logged = logs::start(&args.log)?;
    let opened = open(&address(&args.source)?, &args.server, Asked::Server(None))?;
    print(&if args.json { format!("{:#}", as_json(&opened)) } else { as_text(&opened) });
    opened.cache.shut_down();
    Ok(())
}

fn as_json(opened: &Opened) -> Value {
    let arrays: Vec<Value> = opened.catalog.entries.iter().flat_map(descriptions).collect();
    json!({"node": node_json(&opened.node), "arrays": arrays})
}

/// `attrs.json` of each view.
fn descriptions(entry: &Entry) -> Vec<Value> {
    if entry.arrays.is_empty() {
        return vec![entry.described.clone()];
    }
    entry.arrays.iter().map(|array| array.described()).collect()
}

fn as_text(opened: &Opened) -> String {
    let node = &opened.node;
    let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    let mut lines = vec![
        format!("server    {}", node.server),
        format!("repo      {}", or(&node.alias, "(no alias)")),
        format!("node      {}", node.info.uuid),
        format!("branch    {}", or(&node.info.branch, "master")),
        format!("state     {}", if node.info.locked { "locked" } else { "open: data may change" }),
        format!("note      {}", or(&node.info.note, "-")),
        String::new(),
    ];
    let header =
        ["INSTANCE", "TYPE", "DTYPE", "SHAPE z,y,x", "VOXEL nm z,y,x", "OFFSET nm z,y,x", "LEVELS"].map(str::to_owned);
    let rows = opened.catalog.entries.iter().zip(&node.instances).map(|(entry, info)| row(entry, &info.typename));
    lines.extend(table(std::iter::once(header).chain(rows).collect()));
    lines.join("\n")
}

fn row(entry: &Entry, typename: &str) -> [String; 7] {
    let described = entry.arrays.first().map_or_else(|| entry.described.clone(), |array| array.described());
    let levels = described["levels"].as_array().map_or(0, Vec::len);
    [
        entry.name.clone(),
        typename.to_owned(),
        word(&described["dtype"]),
        word(&described["shape"]),
        word(&described["voxel_size"]),
        word(&described["offset"]),
        if levels == 0 { "-".into() } else { levels.to_string() },
    ]
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(word).collect::<Vec<_>>().join(","),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// Columns as wide as their widest word. Names come from a server: their control characters are not printed.
fn table<const N: usize>(rows: Vec<[String; N]>) -> Vec<String> {
    let rows: Vec<[String; N]> =
        rows.into_iter().map(|row| row.map(|word| word.replace(char::is_control, "\u{fffd}"))).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let pad = |(word, width): (&String, usize)| format!("{word}{}", " ".repeat(width - word.chars().count()));
    rows.iter()
        .map(|row| row.iter().zip(widths).map(pad).collect::<Vec<_>>().join("  ").trim_end().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_are_not_printed() {
        let rows = [["a", "bb"], ["ccc\u{1b}", "d"], ["é", ""]];
        let lines = table(rows.map(|row| row.map(str::to_owned)).into());
        assert_eq!(lines, ["a     bb", "ccc\u{fffd}  d", "é"]);
    }

    #[test]
    fn values_are_words() {
        assert_eq!(word(&json!([1, 2.5, null])), "1,2.5,-");
        assert_eq!(word(&json!("uint8")), "uint8");
    }
}
