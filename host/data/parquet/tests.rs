//! Files that other programs have written (tests/data/parquet), that the crate `parquet` writes, and that nobody would.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::data_type::{DoubleType, Int32Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::super::{Column, Dataset, Encoding, Format, Missing, Reader};
use super::schema;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn read(reader: Reader) -> Result<Dataset, String> {
    reader.read().map_err(|error| error.to_string())
}

/// How the columns of types.csv are read.
fn of_types(path: &Path, missing: Missing) -> Reader {
    let reader = Reader::new(path).target("answer").classes(true).missing(missing);
    reader.categorical(["colour", "word"])
}

#[test]
fn all_types_compressions_and_encodings_are_what_the_same_csv_is() {
    let folder = folder().join("parquet");
    let csv = folder.join("types.csv");
    let header = std::fs::read_to_string(&csv).unwrap();
    let names: Vec<&str> = header.lines().next().unwrap().split(',').collect();
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("types-") {
            continue;
        }
        files += 1;
        // polars has no half precision in Parquet.
        let of = |target: &str| -> Vec<&str> {
            let there = |other: &&str| *other != target && !(name.contains("polars") && *other == "half");
            names.iter().copied().filter(there).collect()
        };
        let number = |path: &Path, target: &str| {
            let numbers: Vec<&str> =
                of(target).into_iter().filter(|name| !["colour", "word", "answer"].contains(name)).collect();
            read(Reader::new(path).target(target).features(numbers).missing(Missing::Mean)).unwrap()
        };
        for (missing, features) in
            [(Missing::Mean, of("answer")), (Missing::Drop, vec!["i8", "u8", "colour", "word"])]
        {
            let [is, expected] =
                [&path, &csv].map(|path| read(of_types(path, missing).features(features.clone())).unwrap());
            assert_eq!(is, expected, "{name}");
            assert_eq!(is.dropped(), if missing == Missing::Drop { 3 } else { 0 });
        }
        for target in ["i64", "u64", "long", "u16"] {
            assert_eq!(number(&path, target), number(&csv, target), "{name}: {target}");
        }
        // Columns of numbers as categories and classes.
        let [is, expected] = [&path, &csv].map(|path| {
            let reader = Reader::new(path).target("u16").classes(true).missing(Missing::Mean);
            read(reader.features(["i8", "flag", "long"]).categorical(["i8", "flag", "long"])).unwrap()
        });
        assert_eq!(is, expected, "{name}");
        assert_eq!(is.encoding().features()[0], "i8=-11");
        let text = read(of_types(&path, Missing::Refuse)).unwrap_err();
        let expected = "row 1, column \"single\": the value is missing (null or NaN): remove the row or fill in a value, or \
                        have such samples dropped or the mean taken";
        assert!(text.ends_with(expected), "{text}");
    }
    assert_eq!(files, 8);
}

#[test]
fn a_data_set_is_the_same_bit_for_bit_and_in_blocks() {
    for (name, target, classes) in [("diabetes", "progression", false), ("digits", "digit", true)] {
        let reader = |path: PathBuf| Reader::new(path).target(target).classes(classes);
        let csv = read(reader(folder().join(format!("{name}.csv")))).unwrap();
        let parquet = reader(folder().join(format!("parquet/{name}.parquet")));
        assert_eq!(read(parquet.clone()).unwrap(), csv);
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(one.install(|| read(parquet.clone())).unwrap(), csv);
        // Blocks are shorter than a group of rows, and end within it.
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for block in &parquet.blocks(300).unwrap() {
            let block = block.unwrap();
            x.extend_from_slice(block.features().values());
            y.extend_from_slice(block.y());
        }
        assert_eq!((&x[..], &y[..]), (csv.features().values(), csv.y()));
        let by_encoding = parquet.dataset_with(csv.encoding(), csv.classes()).unwrap();
        assert_eq!(by_encoding.features(), csv.features());
    }
}

#[test]
fn what_holds_no_numbers_is_refused_only_where_it_is_asked_for() {
    let path = folder().join("parquet/refused.parquet");
    let reader = Reader::new(&path).target("target");
    assert_eq!(read(reader.clone().features(["number"])).unwrap().features().values(), [1.0, 2.0]);
    for (column, problem) in [
        ("list", "it holds lists or records in each row, which are no numbers: leave it out"),
        ("record", "it holds lists or records in each row"),
        ("date", "it holds dates"),
        ("time", "it holds times of day"),
        ("moment", "it holds points in time"),
        ("text", "it holds text, where numbers are needed: leave it out, or take it as a category"),
        ("bytes", "it holds bytes"),
        ("huge", "it holds decimal numbers of more than 38 digits"),
        ("large", "row 2, column \"large\": 1000000000"),
        ("nothing", "row 1, column \"nothing\": the value is missing (null or NaN)"),
    ] {
        let text = read(reader.clone().features([column])).unwrap_err();
        assert!(text.contains(&format!("column {column:?}")) && text.contains(problem), "{text}");
        if !["large", "nothing", "text"].contains(&column) {
            let text = read(reader.clone().features([column]).categorical([column])).unwrap_err();
            assert!(text.contains(problem), "{text}");
        }
    }
    let text = read(reader.clone()).unwrap_err();
    assert!(text.contains("column \"list\": it holds lists"), "{text}");
    let text = read(reader.clone().features(["not_utf8"]).categorical(["not_utf8"])).unwrap_err();
    assert!(text.contains("row 1, column \"not_utf8\": the text is not UTF-8"), "{text}");
    let text = read(reader.features(["numbr"])).unwrap_err();
    assert!(text.contains("there is no column \"numbr\" (did you mean \"number\"?)"), "{text}");
    for (name, column, problem) in [
        ("brotli", "text", "its compression, BROTLI"),
        ("delta-byte-array", "text", "its encoding DELTA_BYTE_ARRAY is not read: write it with another"),
        ("int96", "moment", "it holds points in time"),
    ] {
        let reader = Reader::new(folder().join(format!("parquet/{name}.parquet"))).target("target");
        let text = read(reader.features([column]).categorical([column])).unwrap_err();
        assert!(text.contains(problem), "{text}");
    }
    let text = read(Reader::new(folder().join("parquet/index.parquet")).target("y")).unwrap_err();
    assert!(text.contains("column 3 has no name (an index that was written with the data?)"), "{text}");
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn problem(bytes: &[u8]) -> String {
    let file = file(bytes);
    let text =
        Reader::new(file.path()).read_with(&Encoding::numbers(&["x".to_owned()])).unwrap_err().to_string();
    text.replace(&format!("{}: ", file.path().display()), "")
}

/// Groups of rows of `x`, a double that may be missing, and `y`, a whole number.
fn written(groups: &[&[Option<f64>]]) -> Vec<u8> {
    let schema = parse_message_type("message m { optional double x; required int32 y; }").unwrap();
    let properties = Arc::new(WriterProperties::default());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), properties).unwrap();
    for group in groups {
        let mut rows = writer.next_row_group().unwrap();
        let values: Vec<f64> = group.iter().copied().flatten().collect();
        let levels: Vec<i16> = group.iter().map(|value| value.is_some().into()).collect();
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&values, Some(&levels), None).unwrap();
        column.close().unwrap();
        let y: Vec<i32> = (0..group.len() as i32).collect();
        let mut column = rows.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&y, None, None).unwrap();
        column.close().unwrap();
        rows.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

#[test]
fn places_are_those_of_the_file_whatever_its_groups() {
    let good = [Some(1.5), Some(-2.0), Some(3.0)];
    let bytes = written(&[&good, &good, &[], &[Some(0.0), None]]);
    assert!(
        problem(&bytes).starts_with("row 8, column \"x\": the value is missing (null or NaN)"),
        "{}",
        problem(&bytes)
    );
    for value in [f64::INFINITY, -1e39] {
        let bytes = written(&[&good, &[Some(value)]]);
        let text = problem(&bytes);
        assert!(
            text.starts_with("row 4, column \"x\": ") && text.contains("is not a finite number"),
            "{text}"
        );
    }
    let bytes = written(&[&good, &[Some(f64::NAN)], &good]);
    assert!(problem(&bytes).starts_with("row 4, column \"x\": the value is missing"));
    let file = file(&bytes);
    let read = read(Reader::new(file.path()).target("y").missing(Missing::Drop)).unwrap();
    assert_eq!(read.features().values(), [1.5, -2.0, 3.0, 1.5, -2.0, 3.0]);
    assert_eq!((read.y(), read.dropped()), (&[0.0, 1.0, 2.0, 0.0, 1.0, 2.0][..], 1));
    assert!(problem(&written(&[])).contains("there are no rows"));
}

#[test]
fn contents_decide_and_what_they_are_not_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = written(&[&[Some(1.0)]]);
    let read = |name: &str, bytes: &[u8], format| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        self::read(Reader::new(path).format(format).target("y"))
    };
    assert_eq!(read("data.csv", &bytes, Format::Auto).unwrap().y(), [0.0]);
    assert_eq!(read("data", &bytes, Format::Parquet).unwrap().y(), [0.0]);
    let text = read("data.parquet", b"x,y\n1,2\n", Format::Auto).unwrap_err();
    assert!(text.contains("it is named as Parquet, but its contents are not"), "{text}");
    let text = read("data.csv", &bytes, Format::Csv).unwrap_err();
    assert!(text.contains("it is to be read as CSV, but is Parquet"), "{text}");
    let text = read("data.csv", b"x,y\n1,2\n", Format::Parquet).unwrap_err();
    assert!(text.contains("it is to be read as Parquet, but is CSV"), "{text}");
    let text = read("data.parquet", b"PARE\0\0\0\0\0\0\0\0PARE", Format::Auto).unwrap_err();
    assert!(text.contains("the file is encrypted, which is not read: write it without"), "{text}");
}

#[test]
fn no_length_and_no_flipped_bit_is_a_panic() {
    let values = [Some(1.5), None, Some(3.0), Some(3.0)];
    let bytes = written(&[&values, &values]);
    let read = |bytes: &[u8]| {
        let file = file(bytes);
        let reader = Reader::new(file.path()).target("y").missing(Missing::Mean);
        if let Err(text) = self::read(reader.clone()) {
            assert!(text.len() < 2000 && !text.contains(char::is_control), "{text:?}");
            return false;
        }
        let blocks = reader.blocks(3).unwrap();
        assert!(blocks.into_iter().all(|block| block.is_ok()));
        true
    };
    assert!(read(&bytes));
    for length in 0..bytes.len() {
        assert!(!read(&bytes[..length]), "{length}");
    }
    let mut refused = 0;
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            refused += usize::from(!read(&flipped));
        }
    }
    assert!(refused > 0);
}

/// Thrift's compact protocol, written by hand.
mod by_hand {
    pub(super) fn integer(value: i64) -> Vec<u8> {
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        let mut bytes = Vec::new();
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    }

    /// A struct of fields: a number, a kind, and the value's bytes.
    pub(super) fn record(fields: &[(u8, u8, Vec<u8>)]) -> Vec<u8> {
        let (mut bytes, mut last) = (Vec::new(), 0);
        for (number, kind, value) in fields {
            bytes.push((number - last) << 4 | kind);
            bytes.extend(value);
            last = *number;
        }
        bytes.push(0);
        bytes
    }

    pub(super) fn list(kind: u8, elements: &[Vec<u8>]) -> Vec<u8> {
        let mut count = Vec::new();
        let mut rest = elements.len();
        while rest >= 0x80 {
            count.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        count.push(rest as u8);
        [vec![0xf0 | kind], count, elements.concat()].concat()
    }

    pub(super) fn text(text: &str) -> Vec<u8> {
        [&[text.len() as u8], text.as_bytes()].concat()
    }

    pub(super) const I32: u8 = 5;
    pub(super) const I64: u8 = 6;
    pub(super) const TEXT: u8 = 8;
    pub(super) const LIST: u8 = 9;
    pub(super) const STRUCT: u8 = 12;
}

use by_hand::*;

/// A group of columns.
fn group(children: i64) -> Vec<u8> {
    record(&[(4, TEXT, text("g")), (5, I32, integer(children))])
}

/// The required column `x` of a physical type.
fn column(physical: i64) -> Vec<u8> {
    record(&[(1, I32, integer(physical)), (3, I32, integer(0)), (4, TEXT, text("x"))])
}

const INT64: i64 = 2;
const BYTE_ARRAY: i64 = 6;
const SNAPPY: i64 = 1;

/// A file of these pages of one column, with the rows that it promises.
fn by_hand(schema: &[Vec<u8>], physical: i64, compression: i64, pages: &[u8], rows: i64) -> Vec<u8> {
    let chunk = record(&[
        (1, I32, integer(physical)),
        (2, LIST, list(I32, &[integer(0)])),
        (3, LIST, list(TEXT, &[text("x")])),
        (4, I32, integer(compression)),
        (5, I64, integer(rows)),
        (6, I64, integer(pages.len() as i64)),
        (7, I64, integer(pages.len() as i64)),
        (9, I64, integer(4)),
    ]);
    let chunk = record(&[(2, I64, integer(4)), (3, STRUCT, chunk)]);
    let group = record(&[
        (1, LIST, list(STRUCT, &[chunk])),
        (2, I64, integer(pages.len() as i64)),
        (3, I64, integer(rows)),
    ]);
    let footer = record(&[
        (1, I32, integer(1)),
        (2, LIST, list(STRUCT, schema)),
        (3, I64, integer(rows)),
        (4, LIST, list(STRUCT, &[group])),
    ]);
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1", pages, &footer, &length, b"PAR1"].concat()
}

/// A page: of a dictionary (2), or of values (0) in an encoding, in so many bytes as it claims.
fn page(kind: u8, encoding: i64, values: i64, size: i64, bytes: &[u8]) -> Vec<u8> {
    let inner = if kind == 2 {
        record(&[(1, I32, integer(values)), (2, I32, integer(encoding))])
    } else {
        record(&[
            (1, I32, integer(values)),
            (2, I32, integer(encoding)),
            (3, I32, integer(3)),
            (4, I32, integer(3)),
        ])
    };
    let header = record(&[
        (1, I32, integer(kind.into())),
        (2, I32, integer(size)),
        (3, I32, integer(bytes.len() as i64)),
        (if kind == 2 { 7 } else { 5 }, STRUCT, inner),
    ]);
    [&header, bytes].concat()
}

#[test]
fn lengths_are_not_taken_on_trust() {
    const MOST: i64 = i32::MAX as i64;
    let number = [group(1), column(INT64)];
    let text = [group(1), column(BYTE_ARRAY)];
    let numbers = |pages: &[u8], rows| by_hand(&number, INT64, 0, pages, rows);
    let two = page(0, 0, 2, 16, &[3_i64.to_le_bytes(), (-7_i64).to_le_bytes()].concat());
    let file = file(&numbers(&two, 2));
    let table = Reader::new(file.path()).read_with(&Encoding::numbers(&["x".to_owned()])).unwrap();
    assert_eq!(table.values(), [3.0, -7.0]);

    let large = page(0, 0, 2, MOST, &[0; 16]);
    let by_snappy = by_hand(&number, INT64, SNAPPY, &large, 2);
    let dictionary = [page(2, 0, MOST, 8, &[0; 8]), page(0, 8, 2, 3, &[1, 4, 0])].concat();
    let no_dictionary = page(0, 8, 2, 3, &[1, 4, 0]);
    let lengths = page(0, 6, 2, 9, &[0x80, 0x01, 0x04, 0xff, 0xff, 0xff, 0xff, 0x07, 0]);
    let lengths = by_hand(&text, BYTE_ARRAY, 0, &lengths, 2);
    let mut deep = vec![group(1); 200_000];
    deep.push(column(INT64));
    for (bytes, message) in [
        (by_snappy, "so little cannot become so much"),
        (numbers(&dictionary, 2), "a dictionary is shorter than it claims"),
        (numbers(&no_dictionary, 2), "a page is not what it should be"),
        (numbers(&two, 3), "it ends before its group of rows does"),
        (numbers(&two, 1 << 50), "the file promises 1125899906842624 rows, but has"),
        (numbers(&two, -1), "the numbers of rows that the file gives make no sense"),
        (numbers(&two[..5], 2), "a page's header is damaged"),
        (numbers(&two[..30], 2), "a page is longer than what is there"),
        (by_hand(&[group(MOST), column(INT64)], INT64, 0, &two, 2), "its list of columns is damaged"),
        (by_hand(&[group(0), column(INT64)], INT64, 0, &two, 2), "its list of columns is damaged"),
        (by_hand(&deep, INT64, 0, &two, 2), "there is no column \"x\""),
        (b"PAR1".to_vec(), "the file is cut off"),
        (b"PAR1\xff\xff\xff\xffPAR1".to_vec(), "the file is cut off"),
        (b"PAR1\x00\x00\x00\x00PAR1".to_vec(), "its list of columns is damaged"),
    ] {
        let text = problem(&bytes);
        assert!(text.contains(message), "{message}: {text}");
    }
    let file = self::file(&lengths);
    let levels = Column::Category { name: "x".to_owned(), levels: vec!["a".to_owned()], fill: None };
    let text =
        Reader::new(file.path()).read_with(&Encoding::new(vec![levels]).unwrap()).unwrap_err().to_string();
    assert!(text.contains("a page holds fewer lengths than it claims"), "{text}");
}

#[test]
fn decimal_points_stand_where_they_should() {
    use super::column::pointed;

    for (value, power, text) in
        [(12345, 2, "123.45"), (-5, 3, "-0.005"), (0, 2, "0.00"), (7, 0, "7"), (-70, 1, "-7.0")]
    {
        assert_eq!(pointed(value, power), text);
    }
    assert_eq!(pointed(i128::MIN, 38), "-1.70141183460469231731687303715884105728");
}

#[test]
fn nested_columns_take_their_place_among_the_others() {
    let record_of = [group(3), group(2), column(INT64), group(1), column(INT64), column(BYTE_ARRAY)];
    let last = record(&[(1, I32, integer(4)), (3, I32, integer(1)), (4, TEXT, text("last"))]);
    let footer =
        record(&[(1, I32, integer(1)), (2, LIST, list(STRUCT, &[&record_of[..], &[last]].concat()))]);
    let (columns, schema) = schema::read(&footer).unwrap();
    let found: Vec<_> =
        columns.iter().map(|column| (column.name.as_str(), column.leaf, column.optional)).collect();
    assert_eq!(found, [("g", 0, false), ("x", 2, false), ("last", 3, true)]);
    assert_eq!(schema.num_columns(), 4);
}
