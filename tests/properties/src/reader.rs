//! Any bytes, read in any way, are a data set or refused with a reason; and all ways to the same samples agree.

use std::path::Path;

use tilegrad::data::{Dataset, Encoding, Format, Missing, Reader, Separator};
use tilegrad::{Error, Result};

use crate::{BYTES, file, message};

/// The first two bytes say how the others are read, as a file of any format. What is read holds together, is the same a second
/// time, in blocks and by its encoding, and can be shared between training and test; or it is refused with a reason.
pub fn reader(bytes: &[u8]) {
    let Some((&[ways, more], contents)) = bytes.split_first_chunk::<2>() else { return };
    let path = file(contents);
    let header = ways & 1 == 0;
    let mut reader = asked(Reader::new(&path).header(header), ways, more, &names(contents, header));
    if ways & 16 != 0 {
        reader = reader.separator(Separator::Is([b';', b'\t', b'|', b','][usize::from(ways >> 5 & 3)]));
    }
    agree(&reader, &path, 1 + usize::from(more >> 2 & 3));
}

/// The same of a Parquet file, whose columns are among c1, c2, … and y. It begins and ends as one whatever the bytes are.
pub fn parquet(bytes: &[u8]) {
    /// Rows of a file that says in few bytes that it has many of them are not gone through one by one.
    const SAMPLES: usize = 4096;
    const MAGIC: &[u8; 4] = b"PAR1";
    let Some((&[ways, more], contents)) = bytes.split_first_chunk::<2>() else { return };
    let mut contents = contents.to_vec();
    if let Some(start) = contents.first_chunk_mut() {
        *start = *MAGIC;
    }
    if let Some(end) = contents.last_chunk_mut() {
        *end = *MAGIC;
    }
    let path = file(&contents);
    let reader = asked(Reader::new(&path).format(Format::Parquet), ways, more, &numbered());
    agree(&reader, &path, if more & 4 == 0 { SAMPLES } else { SAMPLES + 1 });
}

/// What the first two bytes ask of a file with these columns.
fn asked(reader: Reader, ways: u8, more: u8, names: &[String]) -> Reader {
    let target = names[usize::from(more >> 4) % names.len()].clone();
    let first = names.iter().find(|name| **name != target);
    let mut reader = reader.target(&target).classes(ways & 2 != 0);
    reader = reader
        .missing([Missing::Refuse, Missing::Drop, Missing::Mean, Missing::Mean][usize::from(ways >> 2 & 3)]);
    if let Some(first) = first.filter(|_| more & 1 != 0) {
        reader = reader.categorical([first]);
    }
    if let Some(first) = first.filter(|_| more & 2 != 0) {
        reader = reader.features([first]);
    }
    reader
}

/// All ways to read a file give the same samples, blocks of `samples` each among them, or the same reason.
fn agree(reader: &Reader, path: &Path, samples: usize) {
    let read = reader.read();
    let blocks = in_blocks(reader, samples);
    match (&read, &blocks) {
        (Ok(read), Ok((blocks, dropped))) => {
            let joined = |part: fn(&Dataset) -> &[f32]| {
                blocks.iter().flat_map(part).map(|value| value.to_bits()).collect()
            };
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
            let (x, y): (Vec<u32>, Vec<u32>) =
                (joined(|block| block.features().values()), joined(Dataset::y));
            assert_eq!((x, y), (bits(read.features().values()), bits(read.y())));
            assert_eq!(*dropped, read.dropped());
            assert!(
                blocks
                    .iter()
                    .all(|block| block.encoding() == read.encoding() && block.classes() == read.classes())
            );
            holds_together(read);
            by_encoding(reader, read, path);
            if let Ok((train, test)) = reader.read_split(0.3, 1) {
                holds_together(&train);
                holds_together(&test);
                assert_eq!(train.samples() + test.samples(), read.samples());
                assert_eq!((train.encoding(), train.classes()), (test.encoding(), test.classes()));
            }
        }
        (Err(error), Err(other)) => assert_eq!(refused(error, path), refused(other, path)),
        (read, blocks) => panic!("{:?}, but in blocks {:?}", read.as_ref().err(), blocks.as_ref().err()),
    }
}

/// Any bytes are an encoding in JSON, which comes back the same, or none.
pub fn encoding(bytes: &[u8]) {
    let Ok(encoding) = serde_json::from_slice::<Encoding>(bytes) else { return };
    let width: usize = encoding.columns().iter().map(tilegrad::data::Column::width).sum();
    assert_eq!(encoding.features().len(), width);
    let again = Encoding::new(encoding.columns().to_vec()).expect("it was one");
    assert_eq!(again, encoding);
    let text = serde_json::to_string(&encoding).expect("text");
    assert_eq!(serde_json::from_str::<Encoding>(&text).expect("what was written"), encoding);
}

/// Names that columns may have: at least one, none empty.
fn names(contents: &[u8], header: bool) -> Vec<String> {
    let text = String::from_utf8_lossy(contents);
    let line =
        text.trim_start_matches('\u{feff}').split(['\n', '\r']).find(|line| !line.is_empty()).unwrap_or("");
    let named = header && !contents.starts_with(b"\x93NUMPY") && !contents.starts_with(b"PK");
    let mut names: Vec<String> = if named {
        line.split([',', ';', '\t', '|'])
            .map(|name| name.trim_ascii().trim_matches('"').trim_ascii().to_owned())
            .collect()
    } else {
        numbered()
    };
    names.retain(|name| !name.is_empty());
    if names.is_empty() {
        names.push("y".to_owned());
    }
    names
}

/// Names as columns have them that a file does not name, and one for a target.
fn numbered() -> Vec<String> {
    (1..9).map(|j| format!("c{j}")).chain(["y".to_owned()]).collect()
}

/// The blocks, and the rows dropped between them.
fn in_blocks(reader: &Reader, samples: usize) -> Result<(Vec<Dataset>, usize)> {
    let blocks = reader.blocks(samples)?;
    let read = blocks.into_iter().collect::<Result<Vec<_>>>()?;
    let again = blocks.into_iter().collect::<Result<Vec<_>>>();
    assert_eq!(again.expect("it was read before"), read);
    let dropped = read.iter().map(Dataset::dropped).sum();
    assert!(read.iter().rev().skip(1).all(|block| block.samples() == samples));
    Ok((read, dropped))
}

fn holds_together(read: &Dataset) {
    let features = read.features();
    assert!(read.samples() > 0 && features.rows() == read.samples());
    assert_eq!(features.values().len(), features.rows() * features.columns().len());
    assert_eq!(read.encoding().features(), features.columns());
    assert!(features.values().iter().chain(read.y()).all(|value| value.is_finite()));
    if let Some(classes) = read.classes() {
        assert!(
            read.y()
                .iter()
                .all(|&class| class.fract() == 0.0 && class >= 0.0 && class < classes.len() as f32)
        );
    }
}

/// By its encoding and its classes the file gives the same samples.
fn by_encoding(reader: &Reader, read: &Dataset, path: &Path) {
    let again = reader.dataset_with(read.encoding(), read.classes());
    let again = again.unwrap_or_else(|error| panic!("{}", refused(&error, path)));
    assert_eq!((again.y(), again.classes()), (read.y(), read.classes()));
    assert_eq!(again.features(), read.features());
    if read.dropped() == 0 {
        let table = reader.read_with(read.encoding()).expect("as above");
        assert_eq!(&table, read.features());
    }
}

/// The message, which is fit to be shown.
fn refused(error: &Error, path: &Path) -> String {
    match error {
        Error::Data(_) | Error::Column(_) | Error::Setting(_) => {}
        other => panic!("bad data is reported as {other:?}"),
    }
    let text = error.to_string();
    let place = path.display().to_string();
    if text.starts_with(&place) {
        message(error, &place)
    } else {
        message(&Error::Data(format!("{BYTES}: {text}")), BYTES)
    }
}
