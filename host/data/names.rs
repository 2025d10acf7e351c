//! Names and fields of a file, as messages show them.

/// Names that a message lists before it only counts the rest.
const NAMES_LISTED: usize = 20;
/// Characters of a field that a message quotes.
const CHARACTERS_QUOTED: usize = 40;
/// Characters of a name that is compared with others: what that takes grows with their product.
const CHARACTERS_COMPARED: usize = 200;

/// A text in quotation marks on one line, cut if it is long.
pub(super) fn quoted(text: &str) -> String {
    if text.chars().count() <= CHARACTERS_QUOTED {
        return format!("{text:?}");
    }
    let beginning: String = text.chars().take(CHARACTERS_QUOTED).collect();
    format!("{:?}", beginning + "…")
}

/// The names, with commas between them.
pub(super) fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(NAMES_LISTED).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_LISTED {
        text += &format!(", … ({} in all)", names.len());
    }
    text
}

/// A name as it is, or in quotation marks if it would not be clear where it ends.
fn shown(name: &str) -> String {
    let plain = !name.is_empty()
        && name.chars().count() <= CHARACTERS_QUOTED
        && name.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"\",".contains(c));
    if plain { name.to_owned() } else { quoted(name) }
}

/// The name among `names` that `name` may have been meant to be.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    const LIKENESS: f64 = 0.6;
    let short = |name: &str| name.chars().nth(CHARACTERS_COMPARED).is_none();
    let lower = name.to_lowercase();
    names
        .filter(|other| short(name) && short(other))
        .map(|other| (strsim::normalized_damerau_levenshtein(&lower, &other.to_lowercase()), other))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|one, other| one.0.total_cmp(&other.0).then(other.1.cmp(one.1)))
        .map(|(_, other)| other)
}
