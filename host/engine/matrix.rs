//! The matrix of the engines that run in the host's own memory.

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::check;
use crate::Result;
use crate::memory::ask_for_huge_pages;

/// A row-major matrix in the host's memory.
#[derive(Debug)]
pub struct HostMatrix<T> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) values: Values<T>, // (rows × columns)
}

/// The values of a matrix: its own, or those that others read too, of which it makes a copy before it changes one.
#[derive(Debug)]
pub(super) enum Values<T> {
    Own(Aligned<T>),
    Shared(Arc<Vec<T>>),
}

impl<T> Deref for Values<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Values::Own(values) => values,
            Values::Shared(values) => values,
        }
    }
}

impl<T: Clone> DerefMut for Values<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Values::Own(values) => values,
            Values::Shared(values) => Arc::make_mut(values).as_mut_slice(),
        }
    }
}

impl<T: Copy + Default> HostMatrix<T> {
    /// `rows` × `columns` of `value`; fails where there is no memory for it, and names `operation`.
    pub(super) fn filled(operation: &'static str, rows: usize, columns: usize, value: T) -> Result<Self> {
        let mut values = reserve(operation, rows, columns)?;
        values.extend(std::iter::repeat_n(value, rows * columns));
        Ok(Self::own(rows, columns, values))
    }

    /// `rows` × `columns` of what `write` puts there; fails as [`HostMatrix::filled`].
    ///
    /// # Safety
    /// `write` initialises every value.
    pub(super) unsafe fn written(
        operation: &'static str,
        rows: usize,
        columns: usize,
        write: impl FnOnce(&mut [MaybeUninit<T>]),
    ) -> Result<Self> {
        let mut values = reserve(operation, rows, columns)?;
        // SAFETY: what the caller promises.
        unsafe { values.write(rows * columns, write) };
        Ok(Self::own(rows, columns, values))
    }

    /// A copy of `given`, each value passed through `convert`.
    pub(super) fn upload<V: Copy>(
        rows: usize,
        columns: usize,
        given: &[V],
        convert: impl Fn(V) -> T,
    ) -> Result<Self> {
        check::upload((rows, columns), given.len(), size_of::<T>())?;
        let mut values = reserve("upload", rows, columns)?;
        values.extend(given.iter().map(|&value| convert(value)));
        Ok(Self::own(rows, columns, values))
    }

    /// A matrix of `values`, which stay where they are.
    pub(super) fn share(rows: usize, columns: usize, values: &Arc<Vec<T>>) -> Result<Self> {
        check::upload((rows, columns), values.len(), size_of::<T>())?;
        ask_for_huge_pages(values);
        Ok(HostMatrix { rows, columns, values: Values::Shared(Arc::clone(values)) })
    }

    fn own(rows: usize, columns: usize, values: Aligned<T>) -> Self {
        HostMatrix { rows, columns, values: Values::Own(values) }
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

    /// The values, row by row, to be changed.
    pub(crate) fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// Row `row`.
    pub(super) fn row(&self, row: usize) -> &[T] {
        &self.values[row * self.columns..][..self.columns]
    }
}

/// Room for `rows` × `columns` values; fails as [`HostMatrix::filled`].
pub(super) fn reserve<T: Copy + Default>(
    operation: &'static str,
    rows: usize,
    columns: usize,
) -> Result<Aligned<T>> {
    let elements = check::elements(operation, (rows, columns), size_of::<T>())?;
    Aligned::reserve(elements).ok_or_else(|| check::no_memory(operation, (rows, columns)))
}

/// Values that begin at a cache line, so that few vectors lie across two, and in huge pages where the system has them
/// and there are many, so that a pass over a large matrix seldom waits for an address to be looked up.
#[derive(Debug)]
pub(super) struct Aligned<T> {
    storage: Vec<T>,
    /// Where the values begin in `storage`.
    start: usize,
}

/// Bytes of a cache line.
const LINE: usize = 64;

impl<T: Copy + Default> Aligned<T> {
    /// Room for `length` values; none if there is no memory.
    fn reserve(length: usize) -> Option<Self> {
        let padding = LINE / size_of::<T>();
        let mut storage = Vec::<T>::new();
        storage.try_reserve_exact(length.checked_add(padding)?).ok()?;
        ask_for_huge_pages(&storage);
        let start = storage.as_ptr().align_offset(LINE).min(padding);
        storage.resize(start, T::default());
        Some(Aligned { storage, start })
    }

    /// `length` zeros, for scratch space of a size that is sure to be there.
    pub(super) fn zeros(length: usize) -> Self {
        let mut storage = vec![T::default(); length + LINE / size_of::<T>()];
        let start = storage.as_ptr().align_offset(LINE).min(storage.len() - length);
        storage.truncate(start + length);
        Aligned { storage, start }
    }

    fn extend(&mut self, values: impl Iterator<Item = T>) {
        self.storage.extend(values);
    }

    /// As `extend`, by the `length` values that `write` puts there.
    ///
    /// # Safety
    /// It initialises every one.
    unsafe fn write(&mut self, length: usize, write: impl FnOnce(&mut [MaybeUninit<T>])) {
        write(&mut self.storage.spare_capacity_mut()[..length]);
        // SAFETY: they are within the capacity, and the caller promises that they are initialised.
        unsafe { self.storage.set_len(self.storage.len() + length) };
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.storage[self.start..]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.storage[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_row_by_row() {
        let matrix = HostMatrix::upload(2, 2, &[1.0, 2.0, 3.0, 4.0], f64::from).unwrap();
        assert_eq!((matrix.shape(), matrix.values()), ((2, 2), &[1.0, 2.0, 3.0, 4.0][..]));
        assert_eq!(matrix.row(1), [3.0, 4.0]);
    }

    #[test]
    fn shared_values_are_there_once_until_one_is_changed() {
        let given = Arc::new(vec![1.0_f32, 2.0, 3.0, 4.0]);
        let mut matrix = HostMatrix::share(2, 2, &given).unwrap();
        assert_eq!(matrix.values().as_ptr(), given.as_ptr());
        matrix.values_mut()[3] = 7.0;
        assert_eq!((matrix.values(), &given[..]), (&[1.0, 2.0, 3.0, 7.0][..], &[1.0, 2.0, 3.0, 4.0][..]));
        assert!(HostMatrix::share(3, 2, &given).unwrap_err().to_string().contains("4 values were given"));
    }

    #[test]
    fn values_begin_at_a_cache_line_and_are_as_many_as_were_asked_for() {
        fn check<T: Copy + Default + PartialEq + From<u8>>(length: usize) {
            let mut reserved = Aligned::<T>::reserve(length).unwrap();
            reserved.extend(std::iter::repeat_n(T::from(7), length));
            assert!(reserved.len() == length && reserved.iter().all(|value| *value == T::from(7)));
            let zeros = Aligned::<T>::zeros(length);
            assert!(zeros.len() == length && zeros.iter().all(|value| *value == T::default()));
            for values in [&*reserved, &*zeros] {
                assert_eq!(values.as_ptr().addr() % LINE, 0, "{length} values of {} bytes", size_of::<T>());
            }
        }
        // Many at once, so that not all happen to begin where they should.
        for length in 0..200 {
            check::<f32>(length);
            check::<f64>(length);
        }
    }
}
