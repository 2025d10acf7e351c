//! The values of a column, as they are decoded.

use std::borrow::Cow;

use half::f16;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result};

use super::super::cells::Cells;
use super::pages::Pages;
use super::schema::{Column, LARGEST_DECIMAL, Values};

/// A column in a group of rows that is being read.
pub(super) struct Reading {
    reader: ColumnReader,
    values: Values,
    optional: bool,
}

/// Values that are there, in their order.
enum Decoded {
    Signed(Vec<i64>),
    Unsigned(Vec<u64>),
    Single(Vec<f32>),
    Double(Vec<f64>),
    /// Whole numbers, to be divided by ten to this power.
    Decimal(Vec<i128>, usize),
    Text(Vec<ByteArray>),
}

/// The values of some rows.
pub(super) struct Block {
    decoded: Decoded,
    /// Where the value of each row is among those that are there, unless all are.
    places: Option<Vec<Option<u32>>>,
}

fn error(problem: &str) -> ParquetError {
    ParquetError::General(problem.to_owned())
}

impl Reading {
    pub(super) fn new(column: &Column, pages: Pages) -> Self {
        let reader = get_column_reader(pages.column.clone(), Box::new(pages));
        Reading { reader, values: column.values.clone(), optional: column.optional }
    }

    /// The next `rows` values, missing ones among them.
    pub(super) fn read(&mut self, rows: usize) -> Result<Block> {
        let optional = self.optional;
        let (decoded, levels) = match (&mut self.reader, &self.values) {
            (ColumnReader::BoolColumnReader(reader), Values::Boolean) => {
                let (values, levels) = read(reader, rows, optional)?;
                (Decoded::Unsigned(values.into_iter().map(u64::from).collect()), levels)
            }
            (ColumnReader::Int32ColumnReader(reader), values) => {
                let (read, levels) = read(reader, rows, optional)?;
                let decoded = match values {
                    Values::Unsigned => {
                        Decoded::Unsigned(read.into_iter().map(|value| (value as u32).into()).collect())
                    }
                    Values::Decimal(power) => {
                        Decoded::Decimal(read.into_iter().map(i128::from).collect(), *power)
                    }
                    _ => Decoded::Signed(read.into_iter().map(i64::from).collect()),
                };
                (decoded, levels)
            }
            (ColumnReader::Int64ColumnReader(reader), values) => {
                let (read, levels) = read(reader, rows, optional)?;
                let decoded = match values {
                    Values::Unsigned => {
                        Decoded::Unsigned(read.into_iter().map(|value| value as u64).collect())
                    }
                    Values::Decimal(power) => {
                        Decoded::Decimal(read.into_iter().map(i128::from).collect(), *power)
                    }
                    _ => Decoded::Signed(read),
                };
                (decoded, levels)
            }
            (ColumnReader::FloatColumnReader(reader), _) => {
                let (values, levels) = read(reader, rows, optional)?;
                (Decoded::Single(values), levels)
            }
            (ColumnReader::DoubleColumnReader(reader), _) => {
                let (values, levels) = read(reader, rows, optional)?;
                (Decoded::Double(values), levels)
            }
            (ColumnReader::ByteArrayColumnReader(reader), Values::Decimal(power)) => {
                let (values, levels) = read(reader, rows, optional)?;
                let values = values.iter().map(decimal).collect::<Result<_>>()?;
                (Decoded::Decimal(values, *power), levels)
            }
            (ColumnReader::ByteArrayColumnReader(reader), _) => {
                let (values, levels) = read(reader, rows, optional)?;
                // Of one that was never set, this panics: here, where that is caught.
                for value in &values {
                    let _ = value.data();
                }
                (Decoded::Text(values), levels)
            }
            (ColumnReader::FixedLenByteArrayColumnReader(reader), Values::Decimal(power)) => {
                let (values, levels) = read(reader, rows, optional)?;
                let values = values.iter().map(|value| decimal(value)).collect::<Result<_>>()?;
                (Decoded::Decimal(values, *power), levels)
            }
            (ColumnReader::FixedLenByteArrayColumnReader(reader), Values::Half) => {
                let (values, levels) = read(reader, rows, optional)?;
                let half = |value: &[u8]| {
                    let bytes =
                        value.try_into().map_err(|_| error("a value is not as long as it should be"))?;
                    Ok(f16::from_le_bytes(bytes).to_f32())
                };
                (
                    Decoded::Single(values.iter().map(|value| half(value.data())).collect::<Result<_>>()?),
                    levels,
                )
            }
            _ => return Err(error("its values are stored as another type than it says")),
        };
        Ok(Block { places: places(&levels, decoded.len()), decoded })
    }
}

/// The next `rows` values that are there, and of each row whether it has one, if some may be missing.
fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    optional: bool,
) -> Result<(Vec<T::T>, Vec<i16>)> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let (read, ..) = reader.read_records(rows, optional.then_some(&mut levels), None, &mut values)?;
    if read == rows { Ok((values, levels)) } else { Err(error("it ends before its group of rows does")) }
}

fn places(levels: &[i16], there: usize) -> Option<Vec<Option<u32>>> {
    if there == levels.len() || levels.is_empty() {
        return None;
    }
    let mut next = 0;
    let place = |level: &i16| {
        (*level > 0).then(|| {
            next += 1;
            next - 1
        })
    };
    Some(levels.iter().map(place).collect())
}

/// A whole number in two's complement, its first byte first.
fn decimal(value: &ByteArray) -> Result<i128> {
    let value = value.data();
    let negative = value.first().is_some_and(|first| *first >= 0x80);
    let mut bytes = [if negative { 0xff } else { 0 }; LARGEST_DECIMAL];
    let begin = LARGEST_DECIMAL.checked_sub(value.len()).filter(|begin| *begin < LARGEST_DECIMAL);
    let begin = begin.ok_or_else(|| error("a decimal number has no digits or more than 38"))?;
    bytes[begin..].copy_from_slice(value);
    Ok(i128::from_be_bytes(bytes))
}

impl Decoded {
    fn len(&self) -> usize {
        match self {
            Decoded::Signed(values) => values.len(),
            Decoded::Unsigned(values) => values.len(),
            Decoded::Single(values) => values.len(),
            Decoded::Double(values) => values.len(),
            Decoded::Decimal(values, _) => values.len(),
            Decoded::Text(values) => values.len(),
        }
    }
}

/// The number with its decimal point.
pub(super) fn pointed(value: i128, power: usize) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = power + 1);
    let (whole, fraction) = digits.split_at(digits.len() - power);
    let sign = if value < 0 { "-" } else { "" };
    if power == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

impl Block {
    fn place(&self, row: usize) -> Option<usize> {
        match &self.places {
            None => Some(row),
            Some(places) => places[row].map(|place| place as usize),
        }
    }
}

impl Cells for Block {
    const MISSING: &'static str = "null or NaN";

    fn value(&self, row: usize) -> f32 {
        let Some(place) = self.place(row) else { return f32::NAN };
        match &self.decoded {
            Decoded::Signed(values) => values[place] as f32,
            Decoded::Unsigned(values) => values[place] as f32,
            Decoded::Single(values) => values[place],
            Decoded::Double(values) => values[place] as f32,
            // By way of the text, for that is rounded once.
            Decoded::Decimal(values, power) => pointed(values[place], *power).parse().unwrap_or(f32::NAN),
            Decoded::Text(values) if values[place].is_empty() => f32::NAN,
            Decoded::Text(_) => 0.0,
        }
    }

    fn text(&self, row: usize) -> std::result::Result<Cow<'_, str>, String> {
        let Some(place) = self.place(row) else { return Ok(Cow::Borrowed("")) };
        Ok(Cow::Owned(match &self.decoded {
            Decoded::Signed(values) => values[place].to_string(),
            Decoded::Unsigned(values) => values[place].to_string(),
            Decoded::Single(values) => (values[place] + 0.0).to_string(),
            Decoded::Double(values) => (values[place] + 0.0).to_string(),
            Decoded::Decimal(values, power) => pointed(values[place], *power),
            Decoded::Text(values) => {
                return match std::str::from_utf8(values[place].data()) {
                    Ok(text) => Ok(Cow::Borrowed(text)),
                    Err(_) => Err("the text is not UTF-8: write the file with text in UTF-8".to_owned()),
                };
            }
        }))
    }
}
