//! Any bytes are read as CSV, or refused with a reason. What is read is what a reader by hand finds.

use std::collections::HashSet;
use std::path::Path;

use tilegrad::Error;
use tilegrad::data::{Column, Dataset, Encoding, Format, Reader, Separator, Table};

use crate::{file, message};

/// A file of these bytes gives a data set and a table that hold together, come back from a file that they are
/// written to, and are what a reader by hand finds; or it is refused with the line that it finds.
pub fn csv(bytes: &[u8]) {
    let names = guessed_names(bytes);
    let (first, last) = (&names[0], &names[names.len() - 1]);
    let path = file(bytes);
    let read = dataset(&path, last).map_err(|error| refusal(&error, &path));
    let column = table(&path, first).map_err(|error| refusal(&error, &path));
    // A name like another, which is looked for to be suggested. (Of quotation marks the names know too little to say
    // that it is none of them.)
    let other = table(&path, &format!("{last}?"));
    if !bytes.contains(&b'?') {
        refusal(&other.expect_err("there is no such column"), &path);
    }
    // What begins as gzip does is text that is packed.
    if let Some(lines) = lines(bytes).filter(|_| !bytes.starts_with(b"\x1f\x8b")) {
        agree(&read, &by_hand(&lines, last, None), |read| {
            [&bits(read.features().values())[..], &bits(read.y())].concat()
        });
        agree(&column, &by_hand(&lines, first, Some(&[])), |column| bits(column.values()));
    }
    if let Ok(read) = read {
        let (features, y) = (read.features(), read.y());
        assert!(read.samples() > 0 && y.len() == read.samples() && features.rows() == read.samples());
        assert_eq!(features.values().len(), features.rows() * features.columns().len());
        assert!(features.values().iter().chain(y).all(|value| value.is_finite()));
        let again = dataset(&file(written(&read).as_bytes()), last);
        assert_eq!(again.expect("what was read can be written and read"), read);
    }
}

/// Values between commas, whatever the first line has more of.
fn reader(path: &Path) -> Reader {
    Reader::new(path).format(Format::Csv).separator(Separator::Is(b','))
}

fn dataset(path: &Path, target: &str) -> tilegrad::Result<Dataset> {
    reader(path).target(target).read()
}

fn table(path: &Path, column: &str) -> tilegrad::Result<Table> {
    let name = if column.is_empty() { " " } else { column };
    let column = Column::Number { name: name.to_owned(), fill: None };
    reader(path).read_with(&Encoding::new(vec![column]).expect("a name"))
}

/// Why a file was refused, and the line, where the message says one.
type Refusal = (Kind, Option<u64>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Data,
    Column,
}

fn refusal(error: &Error, path: &Path) -> Refusal {
    let kind = match error {
        Error::Data(_) => Kind::Data,
        Error::Column(_) => Kind::Column,
        other => panic!("bad data is reported as {other:?}"),
    };
    let text = message(error, &path.display().to_string());
    let line = text.strip_prefix("line ").map(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next().expect("a first part");
        digits.parse().unwrap_or_else(|_| panic!("no line number: {text}"))
    });
    (kind, line)
}

/// Names that the file's columns may have: at least one.
fn guessed_names(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    let header = text.split(['\n', '\r']).find(|line| !line.is_empty()).unwrap_or("");
    header.split(',').map(|name| name.trim_ascii().trim_matches('"').trim_ascii().to_owned()).collect()
}

/// The data set as a CSV file, everything in quotation marks.
fn written(data: &Dataset) -> String {
    let row = |fields: &mut dyn Iterator<Item = String>| {
        fields.map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect::<Vec<_>>().join(",") + "\n"
    };
    let columns = data.features().columns();
    let mut text = row(&mut columns.iter().cloned().chain([data.target().to_owned()]));
    for (x, y) in data.features().values().chunks(columns.len()).zip(data.y()) {
        text += &row(&mut x.iter().chain([y]).map(f32::to_string));
    }
    text
}

/// A line's number from 1, and its fields.
type Line<'a> = (u64, Vec<&'a [u8]>);

/// The lines that are not empty; `None` if there are quotation marks, which are beyond
/// splitting at line ends and commas.
fn lines(bytes: &[u8]) -> Option<Vec<Line<'_>>> {
    if bytes.contains(&b'"') {
        return None;
    }
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (mut lines, mut number) = (Vec::new(), 0);
    while !rest.is_empty() {
        number += 1;
        let end = rest.iter().position(|byte| b"\r\n".contains(byte)).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after.strip_prefix(b"\r\n").unwrap_or(after.get(1..).unwrap_or_default());
        if !line.is_empty() {
            lines.push((number, line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect()));
        }
    }
    Some(lines)
}

/// The bits of the values that a file holds: of the features (all columns but `target`, if `None`) and then of the
/// target.
fn by_hand(lines: &[Line<'_>], target: &str, features: Option<&[usize]>) -> Result<Vec<u32>, Refusal> {
    let nowhere = (Kind::Data, None);
    let Some((at, header)) = lines.first().filter(|(_, header)| **header != [b""]) else {
        return Err(nowhere);
    };
    let header: Vec<&str> = header
        .iter()
        .map(|name| std::str::from_utf8(name))
        .collect::<Result<_, _>>()
        .map_err(|_| (Kind::Data, Some(*at)))?;
    let mut seen = HashSet::new();
    if header.iter().any(|name| !name.is_empty() && !seen.insert(name)) {
        return Err((Kind::Data, Some(*at)));
    }
    let named = |name: &str| !name.is_empty() && name == target;
    let target = header.iter().position(|name| named(name)).ok_or((Kind::Column, None))?;
    let features = match features {
        Some(features) => features.to_vec(),
        None => {
            let others: Vec<usize> = (0..header.len()).filter(|column| *column != target).collect();
            if others.is_empty() || others.iter().any(|column| header[*column].is_empty()) {
                return Err(nowhere);
            }
            others
        }
    };
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for (at, fields) in &lines[1..] {
        let here = (Kind::Data, Some(*at));
        let number = |column: usize| {
            let text = std::str::from_utf8(fields[column]).ok();
            text.and_then(|text| text.parse::<f32>().ok()).filter(|value| value.is_finite()).ok_or(here)
        };
        if fields.len() != header.len() {
            return Err(here);
        }
        for column in &features {
            x.push(number(*column)?.to_bits());
        }
        y.push(number(target)?.to_bits());
    }
    if y.is_empty() { Err(nowhere) } else { Ok([x, y].concat()) }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn agree<T>(read: &Result<T, Refusal>, by_hand: &Result<Vec<u32>, Refusal>, bits: impl Fn(&T) -> Vec<u32>) {
    assert_eq!(&read.as_ref().map(bits).map_err(|refusal| *refusal), by_hand, "read, and by hand");
}
