//! Results for people: tables of text, numbers and times in few digits, pictures, a page with all of it.
//!
//! | item | what |
//! |---|---|
//! | [`TextTable`], [`significant`], [`duration`] | text |
//! | [`Picture`] of [`Plot`]s | as a file of a [`Format`] |
//! | [`Page`] | one HTML file that needs no other |

mod axis;
pub(crate) mod canvas;
mod contours;
mod page;
mod plot;

pub use canvas::Format;
pub use contours::{Contours, Panel};
pub use page::Page;
pub use plot::{Picture, Plot};

use std::fmt;
use std::time::Duration;

/// A table of text: the first column aligned left, the others right.
///
/// ```
/// let mut table = tilegrad::report::TextTable::new(["engine", "ms"]);
/// table.row(["cpu", "12.5"]);
/// assert_eq!(table.to_string(), "engine    ms\ncpu     12.5\n");
/// ```
#[derive(Clone, Debug)]
pub struct TextTable {
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// A table with these titles over its columns.
    pub fn new<S: Into<String>>(titles: impl IntoIterator<Item = S>) -> Self {
        let mut table = TextTable { rows: Vec::new() };
        table.row(titles);
        table
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |j: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(j));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(j, (cell, &width))| match j {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// `value` in `digits` significant digits, with an exponent only where it would be long without.
///
/// ```
/// use tilegrad::report::significant;
///
/// assert_eq!(significant(-22.266_730_5, 4), "-22.27");
/// assert_eq!(significant(1431.866_7, 3), "1432");
/// assert_eq!(significant(0.000_012_34, 3), "1.23e-5");
/// ```
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    // The exponent after rounding: 9.99 in two digits is 10.
    let scientific = format!("{:.*e}", digits.saturating_sub(1), value);
    let exponent = scientific.split_once('e').and_then(|(_, e)| e.parse::<i32>().ok()).unwrap_or(0);
    if (-4..10).contains(&exponent) {
        let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
        format!("{value:.decimals$}")
    } else {
        scientific
    }
}

/// A time in its natural unit: "1.25 s", "12.5 ms", "3.10 µs".
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 1.0 {
        format!("{} s", significant(seconds, 3))
    } else if seconds >= 1e-3 {
        format!("{} ms", significant(1e3 * seconds, 3))
    } else {
        format!("{} µs", significant(1e6 * seconds, 3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        for (value, digits, text) in [
            (0.0, 3, "0"),
            (9.999, 2, "10"),
            (99.96, 3, "100"),
            (123_456_789.0, 3, "123456789"),
            (1e10, 3, "1.00e10"),
            (-0.000_123_4, 3, "-0.000123"),
            (f64::NAN, 3, "NaN"),
        ] {
            assert_eq!(significant(value, digits), text);
        }
    }

    #[test]
    fn times_have_units() {
        for (seconds, text) in [(83.25, "83.2 s"), (1.0, "1.00 s"), (0.0125, "12.5 ms"), (3.1e-6, "3.10 µs")]
        {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = TextTable::new(["a", "bcd"]);
        table.row(["é", "1"]);
        table.row(["xyz", ""]);
        assert_eq!(table.to_string(), "a    bcd\né      1\nxyz\n");
    }
}
