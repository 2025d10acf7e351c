//! The columns of a Parquet file, and what their values are.
//!
//! By the format's specification (Apache Parquet, `parquet.thrift` and `LogicalTypes.md`). The schema is read here, because
//! the crate `parquet` reserves room for as many children as an element claims and follows them to any depth; it gets
//! one without depth.

use std::sync::Arc;

use parquet::basic::{Repetition, Type as Physical};
use parquet::schema::types::{SchemaDescriptor, Type};

use super::thrift::{Kind, Stop, Thrift};

/// Bytes of the largest decimal number that is read.
pub(super) const LARGEST_DECIMAL: usize = 16;
/// Digits of it.
const DIGITS: i64 = 38;

/// What a column's values are.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Values {
    Boolean,
    Signed,
    Unsigned,
    Single,
    Double,
    Half,
    /// Whole numbers, divided by ten to this power.
    Decimal(usize),
    Text,
    /// None that can be learned from, and why.
    Refused(String),
}

/// A column of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub name: String,
    /// Its number among those that hold values, which nested ones have none or several of.
    pub leaf: usize,
    pub values: Values,
    /// Whether values may be missing.
    pub optional: bool,
}

/// What is said of a column's type beside how it is stored: of the older way to say it and of the newer one.
#[derive(Clone, Copy, Debug, Default)]
enum Meaning {
    #[default]
    None,
    Text,
    Signed,
    Unsigned,
    Half,
    Decimal,
    /// What they are called.
    Other(&'static str),
}

#[derive(Debug, Default)]
struct Element {
    name: String,
    physical: Option<i64>,
    length: i64,
    repetition: Option<i64>,
    children: i64,
    meaning: Meaning,
    /// Of a decimal number.
    scale: i64,
    precision: i64,
}

/// The columns of a footer, and its schema as the crate `parquet` takes it.
pub(super) fn read(footer: &[u8]) -> Result<(Vec<Column>, Arc<SchemaDescriptor>), String> {
    let damaged = || "its list of columns is damaged: get the file again".to_owned();
    let elements = elements(footer).map_err(|_| damaged())?;
    let (root, mut rest) = elements.split_first().ok_or_else(damaged)?;
    let (mut columns, mut leaves) = (Vec::new(), Vec::new());
    for _ in 0..root.children {
        let (element, others) = rest.split_first().ok_or_else(damaged)?;
        let leaf = leaves.len();
        let nested = element.physical.is_none() || element.children > 0;
        let values = if nested {
            Values::Refused("lists or records in each row".to_owned())
        } else if element.repetition == Some(REPEATED) {
            Values::Refused("lists in each row".to_owned())
        } else {
            values(element)
        };
        // The element and what is nested in it.
        let mut left = 1_i64;
        let mut count = 0;
        while left > 0 {
            let inner = rest.get(count).ok_or_else(damaged)?;
            left = left.checked_add(inner.children - 1).ok_or_else(damaged)?;
            if inner.children == 0 && inner.physical.is_some() {
                leaves.push(Arc::new(leaf_type(inner, nested).ok_or_else(damaged)?));
            }
            count += 1;
        }
        let optional = element.repetition == Some(OPTIONAL);
        columns.push(Column { name: element.name.clone(), leaf, values, optional });
        rest = if nested { &rest[count..] } else { others };
    }
    if !rest.is_empty() {
        return Err(damaged());
    }
    let schema = Type::group_type_builder("schema").with_fields(leaves).build().map_err(|_| damaged())?;
    Ok((columns, Arc::new(SchemaDescriptor::new(Arc::new(schema)))))
}

const OPTIONAL: i64 = 1;
const REPEATED: i64 = 2;

fn elements(footer: &[u8]) -> Result<Vec<Element>, Stop> {
    let mut elements = Vec::new();
    Thrift::new(footer).fields(|thrift, number, kind| {
        if number != 2 || !elements.is_empty() {
            return Ok(false);
        }
        thrift.structs(kind, |thrift| {
            elements.push(element(thrift)?);
            Ok(())
        })?;
        Ok(true)
    })?;
    Ok(elements)
}

fn element(thrift: &mut Thrift<'_>) -> Result<Element, Stop> {
    let mut element = Element::default();
    let (mut older, mut newer) = (Meaning::None, Meaning::None);
    thrift.fields(|thrift, number, kind| {
        match number {
            1 => element.physical = Some(thrift.integer(kind)?),
            2 => element.length = thrift.integer(kind)?,
            3 => element.repetition = Some(thrift.integer(kind)?),
            4 => {
                let name = thrift.binary(kind)?;
                element.name = std::str::from_utf8(name).map_err(|_| Stop::Wrong)?.to_owned();
            }
            5 => element.children = thrift.integer(kind)?,
            6 => older = converted(thrift.integer(kind)?),
            7 => element.scale = thrift.integer(kind)?,
            8 => element.precision = thrift.integer(kind)?,
            10 => newer = logical(thrift, kind, &mut element)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if element.children < 0 {
        return Err(Stop::Wrong);
    }
    element.meaning = if matches!(newer, Meaning::None) { older } else { newer };
    Ok(element)
}

/// The enumeration ConvertedType.
fn converted(number: i64) -> Meaning {
    match number {
        0 | 4 | 19 => Meaning::Text,
        5 => Meaning::Decimal,
        6 => Meaning::Other("dates"),
        7 | 8 => Meaning::Other("times of day"),
        9 | 10 => Meaning::Other("points in time"),
        11..=14 => Meaning::Unsigned,
        15..=18 => Meaning::Signed,
        20 => Meaning::Other("BSON documents"),
        21 => Meaning::Other("intervals"),
        _ => Meaning::None,
    }
}

/// The union LogicalType.
fn logical(thrift: &mut Thrift<'_>, kind: Kind, element: &mut Element) -> Result<Meaning, Stop> {
    let mut meaning = Meaning::None;
    thrift.inner(kind, |thrift, number, kind| {
        meaning = match number {
            1 | 4 | 12 => Meaning::Text,
            5 => {
                thrift.inner(kind, |thrift, number, kind| {
                    match number {
                        1 => element.scale = thrift.integer(kind)?,
                        2 => element.precision = thrift.integer(kind)?,
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?;
                meaning = Meaning::Decimal;
                return Ok(true);
            }
            6 => Meaning::Other("dates"),
            7 => Meaning::Other("times of day"),
            8 => Meaning::Other("points in time"),
            10 => {
                let mut signed = true;
                thrift.inner(kind, |_, number, kind| {
                    if number == 2 {
                        signed = Thrift::boolean(kind)?;
                    }
                    Ok(number == 2)
                })?;
                meaning = if signed { Meaning::Signed } else { Meaning::Unsigned };
                return Ok(true);
            }
            13 => Meaning::Other("BSON documents"),
            14 => Meaning::Other("identifiers (UUID)"),
            15 => Meaning::Half,
            16 => Meaning::Other("records of any type"),
            17 | 18 => Meaning::Other("places on a map"),
            19 => Meaning::Other("files"),
            // Nothing but missing values, or what is not known yet.
            _ => Meaning::None,
        };
        Ok(false)
    })?;
    Ok(meaning)
}

fn physical(number: i64) -> Option<Physical> {
    Some(match number {
        0 => Physical::BOOLEAN,
        1 => Physical::INT32,
        2 => Physical::INT64,
        3 => Physical::INT96,
        4 => Physical::FLOAT,
        5 => Physical::DOUBLE,
        6 => Physical::BYTE_ARRAY,
        7 => Physical::FIXED_LEN_BYTE_ARRAY,
        _ => return None,
    })
}

/// A column without what its values mean, and not nested.
fn leaf_type(element: &Element, nested: bool) -> Option<Type> {
    let optional = !nested && element.repetition == Some(OPTIONAL);
    let repetition = if optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let builder = Type::primitive_type_builder("column", physical(element.physical?)?);
    let length = i32::try_from(element.length).ok().filter(|length| *length >= 0)?;
    builder.with_repetition(repetition).with_length(length).build().ok()
}

fn values(element: &Element) -> Values {
    let refused = |what: &str| Values::Refused(what.to_owned());
    let physical = element.physical.and_then(physical);
    match (physical, element.meaning) {
        (_, Meaning::Other(what)) => refused(what),
        (
            Some(Physical::INT32 | Physical::INT64 | Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY),
            Meaning::Decimal,
        ) => {
            let fits = physical != Some(Physical::FIXED_LEN_BYTE_ARRAY)
                || (1..=LARGEST_DECIMAL as i64).contains(&element.length);
            let power = usize::try_from(element.scale);
            match power {
                Ok(power) if fits && element.precision <= DIGITS && element.scale <= DIGITS => {
                    Values::Decimal(power)
                }
                _ => refused("decimal numbers of more than 38 digits"),
            }
        }
        (Some(Physical::BOOLEAN), _) => Values::Boolean,
        (Some(Physical::INT32 | Physical::INT64), Meaning::Unsigned) => Values::Unsigned,
        (Some(Physical::INT32 | Physical::INT64), _) => Values::Signed,
        (Some(Physical::INT96), _) => refused("points in time"),
        (Some(Physical::FLOAT), _) => Values::Single,
        (Some(Physical::DOUBLE), _) => Values::Double,
        // Some programs do not say of text that it is.
        (Some(Physical::BYTE_ARRAY), Meaning::Text | Meaning::None) => Values::Text,
        (Some(Physical::FIXED_LEN_BYTE_ARRAY), Meaning::Half) if element.length == 2 => Values::Half,
        _ => refused("bytes"),
    }
}
