//! Targets that are one of several classes.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::names::{listed, quoted};
use crate::{Error, Result};

/// Classes, or levels of a category, beyond which a column is taken for something else. All up to it are whole numbers
/// in `f32`.
pub(super) const MOST: usize = 10_000;

/// What two spellings of a class have in common: of a number its shortest decimal form, of other text the text.
pub(super) fn label(text: &str) -> Cow<'_, str> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Cow::Owned((number + 0.0).to_string()),
        _ => Cow::Borrowed(text),
    }
}

/// Classes in their order: by number if all are numbers, else as text.
pub(super) fn sorted(labels: BTreeSet<String>) -> Vec<String> {
    let mut numbers: Vec<(f64, String)> = Vec::new();
    for label in &labels {
        match label.parse::<f64>() {
            Ok(number) if number.is_finite() => numbers.push((number, label.clone())),
            _ => return labels.into_iter().collect(),
        }
    }
    numbers.sort_by(|one, other| one.0.total_cmp(&other.0));
    numbers.into_iter().map(|(_, label)| label).collect()
}

/// The class that `text` is.
pub(super) fn class_of(text: &str, classes: &[String]) -> Option<usize> {
    let label = label(text);
    classes.iter().position(|class| *class == label)
}

/// The number of each label's class, and the classes.
pub(super) fn numbered<'a>(labels: impl Iterator<Item = &'a str> + Clone) -> Result<(Vec<f32>, Vec<String>)> {
    let mut distinct = BTreeSet::new();
    for text in labels.clone() {
        let label = label(text);
        if !distinct.contains(&*label) {
            distinct.insert(label.into_owned());
        }
        if distinct.len() > MOST {
            return Err(too_many());
        }
    }
    let classes = sorted(distinct);
    let numbers: std::collections::HashMap<&str, usize> =
        classes.iter().enumerate().map(|(k, class)| (class.as_str(), k)).collect();
    let y = labels.map(|text| numbers[&*label(text)] as f32).collect();
    Ok((y, classes))
}

/// Fails unless `y` holds numbers of `classes`.
pub(super) fn check(y: &[f32], classes: &[String]) -> Result<()> {
    let mut sorted_classes = BTreeSet::new();
    if let Some(class) = classes.iter().find(|class| !sorted_classes.insert(class.as_str())) {
        return Err(Error::Data(format!("there are two classes named {}", quoted(class))));
    }
    if let Some(i) =
        y.iter().position(|&value| value.fract() != 0.0 || value < 0.0 || value >= classes.len() as f32)
    {
        return Err(Error::Data(format!(
            "row {}: {} is the number of no class: there are {}, counted from 0 ({})",
            i + 1,
            y[i],
            classes.len(),
            listed(classes)
        )));
    }
    Ok(())
}

/// What is said of a column of too many different texts.
pub(super) const TOO_MANY: &str = "there are more than 10000 different values so far: numbers to predict or to learn from are \
                                   no classes, and what names each sample says nothing of others; take the column as \
                                   a number, or leave it out";

fn too_many() -> Error {
    Error::Data(format!("the target: {TOO_MANY}"))
}

/// The number of each value's class, and the classes.
pub(super) fn of_numbers(y: &[f32]) -> Result<(Vec<f32>, Vec<String>)> {
    // In their order: a sign bit turns the order of the others around, and 0 is the same with either.
    let mut distinct: Vec<f32> = Vec::new();
    for &value in y {
        if let Err(at) = distinct.binary_search_by(|other| other.total_cmp(&(value + 0.0))) {
            distinct.insert(at, value + 0.0);
        }
        if distinct.len() > MOST {
            return Err(too_many());
        }
    }
    let number = |value: &f32| {
        distinct.binary_search_by(|other| other.total_cmp(&(value + 0.0))).unwrap_or_default() as f32
    };
    Ok((y.iter().map(number).collect(), distinct.iter().map(f32::to_string).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_sorted_by_number_if_all_are_numbers() {
        let classes = |labels: &[&str]| numbered(labels.iter().copied()).unwrap().1;
        assert_eq!(classes(&["10", "9", "-1", "9.0", "1e1"]), ["-1", "9", "10"]);
        assert_eq!(classes(&["10", "9", "b", "a"]), ["10", "9", "a", "b"]);
        assert_eq!(numbered(["b", "a", "b"].into_iter()).unwrap().0, [1.0, 0.0, 1.0]);
        assert_eq!(
            of_numbers(&[2.5, -0.0, 0.0, -3.0]).unwrap(),
            (vec![2.0, 1.0, 1.0, 0.0], ["-3", "0", "2.5"].map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn what_has_a_value_for_each_sample_is_no_class() {
        let names: Vec<String> = (0..=MOST).map(|i| format!("sample {i}")).collect();
        let numbers: Vec<f32> = (0..=MOST).map(|i| i as f32).collect();
        for refused in [numbered(names.iter().map(String::as_str)), of_numbers(&numbers)] {
            assert!(refused.unwrap_err().to_string().contains("more than 10000 different values"));
        }
        assert!(of_numbers(&numbers[..MOST]).is_ok());
    }

    #[test]
    fn numbers_of_no_class_are_refused() {
        let classes = ["a", "b"].map(str::to_owned);
        for y in [&[0.0, 2.0][..], &[-1.0], &[0.5]] {
            assert!(check(y, &classes).unwrap_err().to_string().contains("the number of no class"));
        }
        assert!(check(&[1.0, 0.0], &classes).is_ok());
        assert!(check(&[0.0], &["a".to_owned(), "a".to_owned()]).is_err());
    }
}
