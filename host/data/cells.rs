//! Rows of numbers and texts from columns that are read already, whatever file they are from.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::Missing;
use super::names::quoted;
use super::plan::{Bad, Part, Picked, Plan};

/// Parts that a block is taken apart in.
const PARTS: usize = 16;

/// The values of a column that is picked, by their rows in a block.
pub(super) trait Cells: Sync {
    /// What a missing value is called.
    const MISSING: &'static str;

    /// The nearest `f32`: NaN where the value is missing, infinite where it is beyond `f32`. Of text, 0.
    fn value(&self, row: usize) -> f32;

    /// The value as text, where it is not missing.
    ///
    /// # Errors
    /// What is wrong with it: bytes that are no text.
    fn text(&self, row: usize) -> Result<Cow<'_, str>, String>;
}

/// The rows of a block, of which the first is row `first` of the file, in parts that all cores make.
pub(super) fn parts<C: Cells>(plan: &Plan, cells: &[C], rows: usize, first: u64) -> Vec<Part> {
    let span = rows.div_ceil(PARTS).max(1);
    let part = |part: usize| {
        let mut part = take_apart(plan, cells, part * span..((part + 1) * span).min(rows));
        part.move_on(first);
        part
    };
    (0..rows.div_ceil(span)).into_par_iter().map(part).collect()
}

/// The rows as a part, with their numbers in the block as places.
fn take_apart<C: Cells>(plan: &Plan, cells: &[C], rows: Range<usize>) -> Part {
    let mut part = Part::new(plan);
    let mut row = vec![0.0; plan.picked.len()];
    for at in rows {
        match values(plan, cells, at, &mut row) {
            Ok(true) => {}
            Ok(false) => {
                part.dropped += 1;
                continue;
            }
            Err(bad) => {
                part.bad = Some(bad);
                return part;
            }
        }
        for (j, (picked, cells)) in plan.picked.iter().zip(cells).enumerate() {
            if picked.text && !row[j].is_nan() {
                match cells.text(at) {
                    Ok(text) => row[j] = part.texts[j].number_or_new(&text, at as u64) as f32,
                    Err(problem) => {
                        part.bad = Some(bad(at, picked, &problem));
                        return part;
                    }
                }
            }
        }
        let (x, y) = row.split_at(plan.features());
        part.values.extend_from_slice(x);
        part.y.extend_from_slice(y);
    }
    part
}

/// Puts the values of row `at` into `row`; `false` if it is dropped.
fn values<C: Cells>(plan: &Plan, cells: &[C], at: usize, row: &mut [f32]) -> Result<bool, Bad> {
    let mut kept = true;
    for ((picked, cells), value) in plan.picked.iter().zip(cells).zip(row) {
        *value = cells.value(at);
        if value.is_nan() {
            match picked.missing {
                Missing::Mean => {}
                Missing::Drop => kept = false,
                Missing::Refuse => {
                    let remedy = picked.remedy_for_missing("row");
                    let problem = format!("the value is missing ({}): {remedy}", C::MISSING);
                    return Err(bad(at, picked, &problem));
                }
            }
        } else if value.is_infinite() {
            let text = cells.text(at).unwrap_or_default();
            let problem = format!(
                "{text} is not a finite number of 32-bit floating point: remove the row, write the number that it stands for, or \
                 use a larger unit"
            );
            return Err(bad(at, picked, &problem));
        }
    }
    Ok(kept)
}

fn bad(at: usize, picked: &Picked, problem: &str) -> Bad {
    Bad { at: at as u64, problem: format!(", column {}: {problem}", quoted(&picked.name)) }
}
