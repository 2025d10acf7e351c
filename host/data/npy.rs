//! NumPy's files: an array in `.npy`, several by their names in `.npz`.
//!
//! The format is that of NumPy Enhancement Proposal 1: a magic string, a version, the length of a header, and the header: a
//! Python dictionary of the type, the order and the shape. Nothing of the length that it promises is allocated before it is
//! known that the file has as much. The header is read here: the crates that do read any Python literal, to any depth.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::DeflateDecoder;
use half::f16;
use zip::{CompressionMethod, ZipArchive};

use super::cells::{Cells, parts};
use super::names::{Header, listed, quoted};
use super::plan::{Part, Plan, Source};
use crate::{Error, Result};

/// What a file of one array begins with.
pub(super) const NPY: &[u8] = b"\x93NUMPY";
/// What a file of several begins with, and one of none.
pub(super) const ZIP: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
/// Bytes of an array that are read at a time.
const BLOCK: u64 = 4 << 20;
/// The longest header: one of version 1 cannot be longer.
const LONGEST_HEADER: usize = 1 << 16;
/// The name of the array in `.npz` whose columns are numbered.
const FEATURES: &str = "X";

/// A type of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Float,
    Signed,
    Unsigned,
}

/// A number as it is in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Integer(i128),
    Single(f32),
    Double(f64),
}

impl Number {
    /// The nearest `f32`.
    fn value(self) -> f32 {
        match self {
            Number::Integer(value) => value as f32,
            Number::Single(value) => value,
            Number::Double(value) => value as f32,
        }
    }

    fn text(self) -> String {
        match self {
            Number::Integer(value) => value.to_string(),
            Number::Single(value) => (value + 0.0).to_string(),
            Number::Double(value) => (value + 0.0).to_string(),
        }
    }
}

/// What the header of an array says.
#[derive(Clone, Debug, PartialEq)]
struct About {
    kind: Kind,
    /// Bytes of a number.
    size: usize,
    big_endian: bool,
    by_column: bool,
    rows: u64,
    columns: usize,
    /// The shape has one number.
    flat: bool,
}

impl About {
    /// Bytes of the numbers.
    fn bytes(&self) -> Option<u64> {
        self.rows.checked_mul(self.columns as u64)?.checked_mul(self.size as u64)
    }

    fn number(&self, cell: &[u8]) -> Number {
        let mut little = [0; 8];
        little[..self.size].copy_from_slice(cell);
        if self.big_endian {
            little[..self.size].reverse();
        }
        let bits = u64::from_le_bytes(little);
        match (self.kind, self.size) {
            (Kind::Float, 2) => Number::Single(f16::from_bits(bits as u16).to_f32()),
            (Kind::Float, 4) => Number::Single(f32::from_bits(bits as u32)),
            (Kind::Float, _) => Number::Double(f64::from_bits(bits)),
            (Kind::Unsigned, _) => Number::Integer(bits.into()),
            (Kind::Signed, size) => {
                let unused = 64 - 8 * size as u32;
                Number::Integer((((bits << unused) as i64) >> unused).into())
            }
        }
    }
}

/// Where the numbers of an array are.
enum Data {
    /// In the file as they are, from this byte on.
    Stored(u64),
    /// Compressed, so that they can only be read from the first to the last.
    Packed(DeflateDecoder<std::io::Take<File>>),
}

struct Array {
    about: About,
    data: Data,
}

/// An open file of arrays.
pub(super) struct Arrays {
    header: Header,
    file: File,
    arrays: Vec<Array>,
    /// The array and its column that each column of the file is.
    columns: Vec<(usize, usize)>,
    rows: u64,
    /// Rows that are read.
    at: u64,
}

impl Arrays {
    /// Opens a file of one array, whose columns are `c1`, `c2`, ….
    pub(super) fn open_npy(path: &Path, mut file: File) -> Result<Self> {
        let nowhere = Header::numbered(path, 0, "row");
        let length = length(path, &file, &nowhere)?;
        file.seek(SeekFrom::Start(0)).map_err(|source| Error::unreadable(path, source))?;
        let (about, begin) = read_header(&mut file).map_err(|problem| nowhere.error(&problem))?;
        check_length(&about, length.saturating_sub(begin)).map_err(|problem| nowhere.error(&problem))?;
        let header = Header::numbered(path, about.columns, "row");
        let columns = (0..about.columns).map(|j| (0, j)).collect();
        let rows = about.rows;
        let arrays = vec![Array { about, data: Data::Stored(begin) }];
        Ok(Arrays { header, file, arrays, columns, rows, at: 0 })
    }

    /// Opens a file of several arrays: the columns of `X` are `c1`, `c2`, …, and each array with one number for each row
    /// is a column of its name.
    pub(super) fn open_npz(path: &Path, file: File) -> Result<Self> {
        let nowhere = Header::numbered(path, 0, "row");
        let unreadable = |source| Error::unreadable(path, source);
        let length = length(path, &file, &nowhere)?;
        let damaged = |error: zip::result::ZipError| {
            nowhere.error(&format!(
                "the file is no archive of arrays that can be read ({error}): save it with numpy.savez"
            ))
        };
        let mut archive = ZipArchive::new(file.try_clone().map_err(unreadable)?).map_err(damaged)?;
        let (mut names, mut arrays) = (Vec::new(), Vec::new());
        for index in 0..archive.len() {
            let mut member = archive.by_index(index).map_err(damaged)?;
            let name = member.name().map_err(damaged)?.into_owned();
            let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else { continue };
            let wrong = |problem: &str| nowhere.error(&format!("array {}: {problem}", quoted(&name)));
            let (about, begin) = read_header(&mut member).map_err(|problem| wrong(&problem))?;
            // To the end, where the checksum is compared.
            let there = std::io::copy(&mut member, &mut std::io::sink())
                .map_err(|error| wrong(&format!("the file is damaged ({error}): get it again")))?;
            check_length(&about, there).map_err(|problem| wrong(&problem))?;
            let start = member.data_start().ok_or_else(|| wrong("there is no saying where it begins"))?;
            let data = match member.compression() {
                CompressionMethod::Stored => {
                    check_length(&about, length.saturating_sub(start.saturating_add(begin)))
                        .map_err(|problem| wrong(&problem))?;
                    Data::Stored(start + begin)
                }
                CompressionMethod::Deflated => {
                    if about.by_column {
                        return Err(wrong(
                            "it is compressed column by column, and read row by row: save it with numpy.savez, or take \
                             numpy.ascontiguousarray of it first",
                        ));
                    }
                    let mut own = File::open(path).map_err(unreadable)?;
                    own.seek(SeekFrom::Start(start)).map_err(unreadable)?;
                    let mut packed = DeflateDecoder::new(own.take(member.compressed_size()));
                    std::io::copy(&mut packed.by_ref().take(begin), &mut std::io::sink())
                        .map_err(unreadable)?;
                    Data::Packed(packed)
                }
                other => {
                    return Err(wrong(&format!("it is compressed by {other}: save it with numpy.savez")));
                }
            };
            names.push(name);
            arrays.push(Array { about, data });
        }
        let (columns, names, rows) = columns(&names, &arrays).map_err(|problem| nowhere.error(&problem))?;
        let header = Header::new(path, names, "row").map_err(|(.., name)| {
            nowhere.error(&format!("two columns are named {}: rename an array", quoted(&name)))
        })?;
        Ok(Arrays { header, file, arrays, columns, rows, at: 0 })
    }

    /// The bytes of the rows from `self.at` on of the columns of array `index` that are among `picked`: row by row, or
    /// column by column as the file has them.
    fn read(&mut self, index: usize, picked: &[usize], rows: u64) -> Result<Vec<u8>> {
        let path = &self.header.path;
        let Array { about, data } = &mut self.arrays[index];
        let damaged = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidInput => self
                .header
                .error("the file is damaged, or has become shorter while it was read: get it again"),
            _ => Error::unreadable(path, source),
        };
        let (size, width) = (about.size as u64, about.columns as u64);
        let mut bytes = Vec::new();
        match data {
            Data::Packed(packed) => {
                bytes.resize((rows * width * size) as usize, 0);
                packed
                    .read_exact(&mut bytes)
                    .map_err(|_| damaged(std::io::ErrorKind::UnexpectedEof.into()))?;
            }
            Data::Stored(begin) if about.by_column => {
                let span = (rows * size) as usize;
                bytes.resize(picked.len() * span, 0);
                for (&column, bytes) in picked.iter().zip(bytes.chunks_exact_mut(span)) {
                    let from = *begin + (column as u64 * about.rows + self.at) * size;
                    self.file.seek(SeekFrom::Start(from)).map_err(damaged)?;
                    self.file.read_exact(bytes).map_err(damaged)?;
                }
            }
            Data::Stored(begin) => {
                bytes.resize((rows * width * size) as usize, 0);
                self.file.seek(SeekFrom::Start(*begin + self.at * width * size)).map_err(damaged)?;
                self.file.read_exact(&mut bytes).map_err(damaged)?;
            }
        }
        Ok(bytes)
    }
}

/// Where the numbers of a picked column are in the bytes that were read of its array.
struct Place<'a> {
    about: &'a About,
    bytes: &'a [u8],
    first: usize,
    stride: usize,
}

impl Place<'_> {
    fn number(&self, row: usize) -> Number {
        self.about.number(&self.bytes[self.first + row * self.stride..][..self.about.size])
    }
}

impl Cells for Place<'_> {
    const MISSING: &'static str = "NaN";

    fn value(&self, row: usize) -> f32 {
        self.number(row).value()
    }

    fn text(&self, row: usize) -> Result<Cow<'_, str>, String> {
        Ok(Cow::Owned(self.number(row).text()))
    }
}

impl Source for Arrays {
    fn header(&self) -> &Header {
        &self.header
    }

    fn parts(&mut self, plan: &Plan) -> Result<Vec<Part>> {
        let places: Vec<(usize, usize)> =
            plan.picked.iter().map(|picked| self.columns[picked.column]).collect();
        let picked: Vec<Vec<usize>> = (0..self.arrays.len())
            .map(|index| places.iter().filter(|place| place.0 == index).map(|place| place.1).collect())
            .collect();
        let row_bytes: u64 =
            self.arrays.iter().map(|array| (array.about.columns * array.about.size) as u64).sum();
        let rows = (BLOCK / row_bytes.max(1)).max(1).min(self.rows - self.at);
        if rows == 0 {
            return Ok(Vec::new());
        }
        let mut blocks = Vec::with_capacity(self.arrays.len());
        for (index, picked) in picked.iter().enumerate() {
            blocks.push(if picked.is_empty() { Vec::new() } else { self.read(index, picked, rows)? });
        }
        let rows = rows as usize;
        let cells: Vec<Place<'_>> = places
            .iter()
            .map(|&(index, column)| {
                let about = &self.arrays[index].about;
                let (first, stride) = if about.by_column {
                    let place = picked[index].iter().position(|other| *other == column).unwrap_or_default();
                    (place * rows * about.size, about.size)
                } else {
                    (column * about.size, about.columns * about.size)
                };
                Place { about, bytes: &blocks[index], first, stride }
            })
            .collect();
        let parts = parts(plan, &cells, rows, self.at + 1);
        self.at += rows as u64;
        Ok(parts)
    }

    fn left(&self) -> f64 {
        (self.rows - self.at) as f64 / self.at.max(1) as f64
    }
}

/// The bytes of a file, which is read from more than one place.
fn length(path: &Path, file: &File, nowhere: &Header) -> Result<u64> {
    let about = file.metadata().map_err(|source| Error::unreadable(path, source))?;
    match about.is_file() {
        true => Ok(about.len()),
        false => Err(nowhere.error(
            "an array is read at more than one place, and this only from first to last: write what comes from there to a file first",
        )),
    }
}

/// Fails unless `there` bytes hold the numbers that were promised.
fn check_length(about: &About, there: u64) -> Result<(), String> {
    if about.rows == 0 || about.columns == 0 {
        return Err("there are no rows: one for each sample is needed".to_owned());
    }
    match about.bytes() {
        Some(bytes) if bytes <= there => Ok(()),
        _ => Err(format!(
            "the file is cut off: its header promises {} × {} numbers of {} bytes, but {there} bytes are there: get it \
             again",
            about.rows, about.columns, about.size
        )),
    }
}

/// The columns that arrays by their names give: where each is, its name, and the rows of all.
#[expect(clippy::type_complexity, reason = "three lists that one caller takes apart at once")]
fn columns(names: &[String], arrays: &[Array]) -> Result<(Vec<(usize, usize)>, Vec<String>, u64), String> {
    let wide: Vec<usize> = (0..arrays.len()).filter(|&index| arrays[index].about.columns > 1).collect();
    let features = names.iter().position(|name| name == FEATURES).or(match wide[..] {
        [] => None,
        [one] => Some(one),
        _ => {
            return Err(format!(
                "there are several arrays with columns, and none is named {FEATURES}: {}",
                listed(names)
            ));
        }
    });
    let (mut places, mut columns) = (Vec::new(), Vec::new());
    let Some(first) = features.or((!arrays.is_empty()).then_some(0)) else {
        return Err("there are no arrays in it: save them with numpy.savez(file, X=…, y=…)".to_owned());
    };
    let rows = arrays[first].about.rows;
    for (index, (name, array)) in names.iter().zip(arrays).enumerate() {
        if Some(index) == features && !(array.about.flat && name != FEATURES) {
            columns.extend((1..=array.about.columns).map(|j| format!("c{j}")));
            places.extend((0..array.about.columns).map(|j| (index, j)));
        } else if array.about.columns == 1 && array.about.rows == rows {
            columns.push(name.clone());
            places.push((index, 0));
        } else {
            return Err(format!(
                "array {} is {} × {}, but {} has {rows} rows: each array but {FEATURES} needs one number for each row",
                quoted(name),
                array.about.rows,
                array.about.columns,
                quoted(&names[first])
            ));
        }
    }
    Ok((places, columns, rows))
}

/// What the header at the beginning of `input` says, and its length.
fn read_header(input: &mut impl Read) -> Result<(About, u64), String> {
    let cut = |_| "the file is cut off in its header: get it again".to_owned();
    let mut start = [0; 8];
    input.read_exact(&mut start).map_err(cut)?;
    if !start.starts_with(NPY) {
        return Err("this is no array of NumPy: it does not begin as one".to_owned());
    }
    let (length, before) = match start[6] {
        1 => {
            let mut length = [0; 2];
            input.read_exact(&mut length).map_err(cut)?;
            (usize::from(u16::from_le_bytes(length)), 10)
        }
        2 | 3 => {
            let mut length = [0; 4];
            input.read_exact(&mut length).map_err(cut)?;
            (u32::from_le_bytes(length) as usize, 12)
        }
        version => {
            return Err(format!("version {version} of NumPy's format is not known: save it with numpy.save"));
        }
    };
    if length > LONGEST_HEADER {
        return Err(format!("its header is {length} bytes long: an array of numbers needs far less"));
    }
    let mut text = vec![0; length];
    input.read_exact(&mut text).map_err(cut)?;
    let text = std::str::from_utf8(&text).map_err(|_| "its header is no text".to_owned())?;
    Ok((parse_header(text)?, before + length as u64))
}

/// Reads a Python dictionary such as `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }`.
fn parse_header(text: &str) -> Result<About, String> {
    let odd = || format!("its header is not one of an array of numbers: {}", quoted(text.trim()));
    let inside = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(odd)?;
    let (mut descr, mut by_column, mut shape) = (None, None, None);
    let mut rest = inside.trim_start();
    while !rest.is_empty() {
        let (key, after) = python_string(rest).ok_or_else(odd)?;
        rest = after.trim_start().strip_prefix(':').ok_or_else(odd)?.trim_start();
        rest = match key {
            "descr" => {
                let (value, after) = python_string(rest).ok_or_else(|| {
                    format!("it is an array of records, not of numbers: {}", quoted(text.trim()))
                })?;
                descr = Some(value);
                after
            }
            "fortran_order" => {
                let (value, after) = if let Some(after) = rest.strip_prefix("True") {
                    (true, after)
                } else {
                    (false, rest.strip_prefix("False").ok_or_else(odd)?)
                };
                by_column = Some(value);
                after
            }
            "shape" => {
                let (inside, after) =
                    rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or_else(odd)?;
                let numbers = inside.split(',').map(str::trim).filter(|number| !number.is_empty());
                shape =
                    Some(numbers.map(str::parse::<u64>).collect::<Result<Vec<_>, _>>().map_err(|_| odd())?);
                after
            }
            _ => return Err(odd()),
        };
        rest = rest.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    let (descr, by_column, shape) =
        (descr.ok_or_else(odd)?, by_column.ok_or_else(odd)?, shape.ok_or_else(odd)?);
    let (kind, size, big_endian) = number_type(descr).ok_or_else(|| {
        format!(
            "it holds {}, which is no type of real numbers of up to 8 bytes: save X.astype('float32')",
            quoted(descr)
        )
    })?;
    let (rows, columns, flat) = match shape[..] {
        [rows] => (rows, 1, true),
        [rows, columns] => (rows, columns, false),
        _ => {
            return Err(format!(
                "its shape is {shape:?}: an array needs two dimensions, samples and features, or one"
            ));
        }
    };
    let columns = usize::try_from(columns).map_err(|_| odd())?;
    // One column is the same by column and by row.
    Ok(About { kind, size, big_endian, by_column: by_column && columns > 1, rows, columns, flat })
}

/// A string in quotation marks, and what follows it.
fn python_string(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// The type that NumPy writes as `text`, such as `<f8`.
fn number_type(text: &str) -> Option<(Kind, usize, bool)> {
    let (order, rest) = text.split_at_checked(1)?;
    let (kind, size) = match rest {
        "f2" | "f4" | "f8" => (Kind::Float, rest),
        "i1" | "i2" | "i4" | "i8" => (Kind::Signed, rest),
        "u1" | "u2" | "u4" | "u8" | "b1" => (Kind::Unsigned, rest),
        _ => return None,
    };
    let size = size[1..].parse().ok()?;
    match order {
        "<" => Some((kind, size, false)),
        ">" => Some((kind, size, true)),
        "=" => Some((kind, size, cfg!(target_endian = "big"))),
        "|" if size == 1 => Some((kind, size, false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::{Encoding, Format, Missing, Reader};

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
        let order = if fortran { "True" } else { "False" };
        let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn npz(members: &[(&str, Vec<u8>)], method: zip::CompressionMethod) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        for (name, bytes) in members {
            writer.start_file(format!("{name}.npy"), options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// The message without the path.
    fn problem(bytes: &[u8], target: &str) -> String {
        let file = file(bytes);
        let text = Reader::new(file.path()).target(target).read().unwrap_err().to_string();
        text.replace(&format!("{}: ", file.path().display()), "")
    }

    #[test]
    fn all_types_orders_and_byte_orders_are_the_same_numbers() {
        let values = [1, 2, 3, 4, 5, 100_i8]; // 2 × 3
        let by_column = [1, 4, 2, 5, 3, 100_i8];
        let mut count = 0;
        for (fortran, values) in [(false, values), (true, by_column)] {
            macro_rules! check {
                ($($kind:ty => $name:expr),*) => {$(
                    for (order, bytes) in [
                        ("<", values.iter().flat_map(|&value| <$kind>::from(value as i8 as u8 as $kind).to_le_bytes()).collect::<Vec<u8>>()),
                        (">", values.iter().flat_map(|&value| <$kind>::from(value as i8 as u8 as $kind).to_be_bytes()).collect()),
                    ] {
                        let file = file(&npy(&format!("{order}{}", $name), fortran, "(2, 3)", &bytes));
                        let read = Reader::new(file.path()).target("c2").read().unwrap();
                        assert_eq!(read.features().columns(), ["c1", "c3"]);
                        assert_eq!((read.features().values(), read.y()), (&[1.0, 3.0, 4.0, 100.0][..], &[2.0, 5.0][..]));
                        count += 1;
                    }
                )*};
            }
            check!(f32 => "f4", f64 => "f8", i8 => "i1", i16 => "i2", i32 => "i4", i64 => "i8", u8 => "u1", u16 => "u2", u32 => "u4", u64 => "u8");
        }
        assert_eq!(count, 40);
        let half: Vec<u8> = [0x3c00_u16, 0xc000, 0x7bff].iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let file = file(&npy("<f2", false, "(1, 3)", &half));
        let read = Reader::new(file.path()).target("c3").read().unwrap();
        assert_eq!((read.features().values(), read.y()), (&[1.0, -2.0][..], &[65504.0][..]));
    }

    #[test]
    fn archives_name_features_and_target() {
        let x = npy("<f4", false, "(3, 2)", &floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let by_column = npy("<f4", true, "(3, 2)", &floats(&[1.0, 3.0, 5.0, 2.0, 4.0, 6.0]));
        let y = npy("<i8", false, "(3,)", &[7_i64, 8, 7].map(i64::to_le_bytes).concat());
        let flag = npy("|b1", false, "(3, 1)", &[1, 0, 1]);
        for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
            let all = [("y", y.clone()), ("X", x.clone()), ("flag", flag.clone())];
            let file = file(&npz(&all, method));
            let reader = Reader::new(file.path()).target("y");
            let read = reader.read().unwrap();
            assert_eq!(read.features().columns(), ["c1", "c2", "flag"]);
            assert_eq!(read.features().values(), [1.0, 2.0, 1.0, 3.0, 4.0, 0.0, 5.0, 6.0, 1.0]);
            assert_eq!(read.y(), [7.0, 8.0, 7.0]);
            let classes = reader.clone().classes(true).read().unwrap();
            assert_eq!(
                (classes.classes().unwrap(), classes.y()),
                (&["7".to_owned(), "8".to_owned()][..], &[0.0, 1.0, 0.0][..])
            );
            let blocks = reader.blocks(2).unwrap();
            let sizes: Vec<usize> = blocks.into_iter().map(|block| block.unwrap().samples()).collect();
            assert_eq!(sizes, [2, 1]);
        }
        let file = file(&npz(&[("data", by_column.clone()), ("y", y)], zip::CompressionMethod::Stored));
        let read = Reader::new(file.path()).target("y").read().unwrap();
        assert_eq!(read.features().values(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let text = problem(&npz(&[("X", by_column)], zip::CompressionMethod::Deflated), "c1");
        assert!(text.contains("compressed column by column"), "{text}");
    }

    #[test]
    fn missing_values_are_those_that_are_not_numbers() {
        let nan = f32::NAN;
        let bytes = npy("<f4", false, "(4, 2)", &floats(&[1.0, 1.0, nan, 2.0, 5.0, 3.0, 6.0, nan]));
        assert_eq!(
            problem(&bytes, "c2"),
            "row 2, column \"c1\": the value is missing (NaN): remove the row or fill in a value, or have such samples dropped or the mean taken"
        );
        let read =
            |bytes: &[u8], missing| Reader::new(file(bytes).path()).target("c2").missing(missing).read();
        let dropped = read(&bytes, Missing::Drop).unwrap();
        assert_eq!((dropped.features().values(), dropped.dropped()), (&[1.0, 5.0][..], 2));
        let filled = read(&bytes[..bytes.len() - 8], Missing::Mean);
        assert!(filled.unwrap_err().to_string().contains("cut off"));
        let bytes = npy("<f4", false, "(3, 2)", &floats(&[1.0, 1.0, nan, 2.0, 5.0, 3.0]));
        assert_eq!(read(&bytes, Missing::Mean).unwrap().features().values(), [1.0, 3.0, 5.0]);
        let large = npy("<f8", false, "(1, 2)", &[1.0_f64, 1e39].map(f64::to_le_bytes).concat());
        assert!(problem(&large, "c1").contains("is not a finite number of 32-bit floating point"));
    }

    #[test]
    fn what_is_no_array_of_numbers_is_refused() {
        let long = "9".repeat(30);
        for (bytes, message) in [
            (b"\x93NUMPY".to_vec(), "cut off in its header"),
            (b"\x93NUMPY\x01\x00\xff\xff{".to_vec(), "cut off in its header"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), "bytes long"),
            (b"\x93NUMPY\x09\x00\x00\x00".to_vec(), "version 9"),
            (
                npy("<f4", false, "(3, 2)", &[0; 23]),
                "the file is cut off: its header promises 3 × 2 numbers of 4 bytes",
            ),
            (npy("<f4", false, "(4611686018427387904, 4)", &[0; 24]), "the file is cut off"),
            (npy("<f4", false, "(0, 4611686018427387904)", &[]), "there are no rows"),
            (npy("<f4", false, "(1, 0)", &[]), "there are no rows"),
            (npy("<f4", false, &format!("({long}, 1)"), &[]), "its header is not one"),
            (npy("<f4", false, "(2, 2, 2)", &[0; 32]), "its shape is [2, 2, 2]"),
            (npy("<c8", false, "(1, 1)", &[0; 8]), "it holds \"<c8\""),
            (npy("|O", false, "(1, 1)", &[0; 8]), "it holds \"|O\""),
            (b"\x93NUMPY\x01\x00\x10\x00{'descr': [('a',".to_vec(), "its header is not one"),
            (b"PK\x03\x04 no archive".to_vec(), "no archive of arrays"),
            (npz(&[], zip::CompressionMethod::Stored), "there are no arrays"),
            (
                npz(
                    &[("X", npy("<f4", false, "(1, 2)", &[0; 8])), ("y", npy("<f4", false, "(2,)", &[0; 8]))],
                    zip::CompressionMethod::Stored,
                ),
                "array \"y\" is 2 × 1, but \"X\" has 1 rows",
            ),
        ] {
            let text = problem(&bytes, "c1");
            assert!(text.contains(message), "{text}");
        }
        let mut damaged = npz(
            &[("X", npy("<f4", false, "(2, 2)", &floats(&[1.0, 2.0, 3.0, 4.0])))],
            zip::CompressionMethod::Stored,
        );
        let place = damaged.windows(4).position(|bytes| bytes == 3.0_f32.to_le_bytes()).unwrap();
        damaged[place] ^= 1;
        let text = problem(&damaged, "c1");
        assert!(text.contains("the file is damaged"), "{text}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn pipes_are_refused_with_what_to_do() {
        use std::io::Write;
        use std::os::fd::AsRawFd;
        let array = npy("<f4", false, "(1, 2)", &floats(&[1.0, 2.0]));
        let archive = npz(&[("X", array.clone())], zip::CompressionMethod::Stored);
        for bytes in [array, archive] {
            let (reader, mut writer) = std::io::pipe().unwrap();
            writer.write_all(&bytes).unwrap();
            drop(writer);
            let path = format!("/dev/fd/{}", reader.as_raw_fd());
            let text = Reader::new(path).target("c2").read().unwrap_err().to_string();
            assert!(text.contains("write what comes from there to a file first"), "{text}");
        }
    }

    #[test]
    fn contents_decide_and_what_they_are_not_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let array = npy("<f4", false, "(1, 2)", &floats(&[1.0, 2.0]));
        let named = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let read = |name: &str, bytes: &[u8], format| {
            Reader::new(named(name, bytes))
                .format(format)
                .target("c2")
                .read()
                .map_err(|error| error.to_string())
        };
        assert_eq!(read("data.csv", &array, Format::Auto).unwrap().y(), [2.0]);
        let text = read("data.npy", b"c1,c2\n1,2\n", Format::Auto).unwrap_err();
        assert!(text.contains("it is named as NPY, but its contents are not"), "{text}");
        assert_eq!(read("data.npy", b"c1,c2\n1,2\n", Format::Csv).unwrap().y(), [2.0]);
        let text = read("data.csv", &array, Format::Csv).unwrap_err();
        assert!(text.contains("it is to be read as CSV, but is NPY"), "{text}");
        let text = read("data.csv", b"c1,c2\n1,2\n", Format::Npz).unwrap_err();
        assert!(text.contains("it is to be read as NPZ, but is CSV"), "{text}");
        let table = Reader::new(named("data.csv", &array)).read_with(&Encoding::numbers(&["c2".to_owned()]));
        assert_eq!(table.unwrap().values(), [2.0]);
    }
}
