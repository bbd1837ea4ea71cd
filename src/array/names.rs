//! Which name was meant.

/// As many names as this are told all.
const FEW: usize = 20;

/// The names that are nearest to a wrong one, or all if they are few: for people.
pub(super) fn names_like<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    if names.is_empty() {
        return "it has none at all".to_owned();
    }
    let wrong = wrong.to_lowercase();
    names.sort_by_cached_key(|name| distance(&wrong, &name.to_lowercase()));
    let told: Vec<String> =
        names.iter().take(if names.len() > FEW { 3 } else { FEW }).map(|name| format!("{name:?}")).collect();
    match names.len() - told.len() {
        0 => format!("it has {}", told.join(", ")),
        more => format!("it has {} and {more} others: run `dvidfs info SOURCE` to list them", told.join(", ")),
    }
}

/// How many letters must be put in, taken out or changed to come from one name to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (column, &other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_that_differ() {
        for (from, to, letters) in [
            ("", "", 0),
            ("", "ab", 2),
            ("gray", "gray", 0),
            ("grey", "gray", 1),
            ("gay", "gray", 1),
            ("abc", "bcd", 2),
        ] {
            assert_eq!((distance(from, to), distance(to, from)), (letters, letters), "{from} {to}");
        }
    }

    #[test]
    fn few_names_are_all_told_and_of_many_the_nearest() {
        assert_eq!(names_like("Grey", ["seg", "gray"].into_iter()), r#"it has "gray", "seg""#);
        let many: Vec<String> = (0..100).map(|n| format!("instance{n}")).collect();
        let said = names_like("instnce42", many.iter().map(String::as_str));
        assert!(said.starts_with(r#"it has "instance42", "#) && said.contains("97 others"), "{said}");
        assert_eq!(names_like("x", [].into_iter()), "it has none at all");
    }
}
