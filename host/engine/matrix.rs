//! The matrix of the engines that run in the host's own memory.

use super::check;
use crate::Result;

/// A row-major matrix in the host's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct HostMatrix<T> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) values: Vec<T>, // (rows × columns)
}

impl<T: Copy> HostMatrix<T> {
    /// `rows` × `columns` of `value`; fails where there is no memory for it, and names `operation`.
    pub(super) fn filled(operation: &'static str, rows: usize, columns: usize, value: T) -> Result<Self> {
        let mut values = reserve(operation, rows, columns)?;
        values.resize(rows * columns, value);
        Ok(HostMatrix { rows, columns, values })
    }

    /// `rows` copies of `row`.
    pub(super) fn repeated(operation: &'static str, rows: usize, row: &[T]) -> Result<Self> {
        let mut values = reserve(operation, rows, row.len())?;
        for _ in 0..rows {
            values.extend_from_slice(row);
        }
        Ok(HostMatrix { rows, columns: row.len(), values })
    }

    /// A copy of `given`, each value passed through `convert`.
    pub(super) fn upload(
        rows: usize,
        columns: usize,
        given: &[f32],
        convert: impl Fn(f32) -> T,
    ) -> Result<Self> {
        check::upload((rows, columns), given.len(), size_of::<T>())?;
        let mut values = reserve("upload", rows, columns)?;
        values.extend(given.iter().map(|&value| convert(value)));
        Ok(HostMatrix { rows, columns, values })
    }

    /// Rows and columns.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// The values, row by row.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Row `row`.
    pub(super) fn row(&self, row: usize) -> &[T] {
        &self.values[row * self.columns..][..self.columns]
    }
}

fn reserve<T>(operation: &'static str, rows: usize, columns: usize) -> Result<Vec<T>> {
    let elements = check::elements(operation, (rows, columns), size_of::<T>())?;
    let mut values = Vec::new();
    values.try_reserve_exact(elements).map_err(|_| check::no_memory(operation, (rows, columns)))?;
    Ok(values)
}
