//! CSV files: a line of names, then numbers. Errors say which line and which column.

use std::collections::{HashMap, TryReserveError};
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ReaderBuilder, Trim};

use super::names::{listed, nearest, quoted};
use crate::memory::ask_for_huge_pages;
use crate::{Error, Result};

/// Values up to which room for them is doubled: so little is no burden.
const LITTLE: usize = 1 << 18;
/// Beyond that, room grows by one part in so many at least.
const GROWTH: usize = 32;
/// Bytes without a whole line at which reading ends: what has no lines might have no end either.
const LONGEST_LINE: usize = 64 << 20;
/// What some programs begin a file of UTF-8 with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// What people write where a value is missing.
const MISSING: [&str; 7] = ["na", "n/a", "null", "none", "?", "-", "missing"];

/// An open CSV file whose header has been read.
pub(super) struct File {
    path: PathBuf,
    header: Vec<String>,
    by_name: HashMap<String, usize>,
    records: csv::Reader<Bounded>,
    /// Its length in bytes, if it has one.
    length: Option<u64>,
}

/// A file of which only so many bytes may be read until more are allowed.
struct Bounded {
    file: std::fs::File,
    allowed: usize,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.allowed == 0 {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        let room = buffer.len().min(self.allowed);
        let count = self.file.read(&mut buffer[..room])?;
        self.allowed -= count;
        Ok(count)
    }
}

impl File {
    /// Opens `path` and reads its first line, the names of the columns.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(|source| Error::unreadable(path, source))?;
        let length = file.metadata().ok().filter(|about| about.is_file()).map(|about| about.len());
        let file = Bounded { file, allowed: 0 };
        let records =
            ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(file);
        let mut file =
            File { path: path.to_owned(), header: Vec::new(), by_name: HashMap::new(), records, length };
        let mut record = ByteRecord::new();
        if !file.next(&mut record)? || (record.len() == 1 && record[0].is_empty()) {
            return Err(file.error(
                "the file is empty: a line with the columns' names must come first, then a line for each sample",
            ));
        }
        for (j, field) in record.iter().enumerate() {
            let name = std::str::from_utf8(field).map_err(|_| file.not_utf8(&record, j))?;
            // Columns without a name may be there, but cannot be asked for.
            if !name.is_empty()
                && let Some(first) = file.by_name.insert(name.to_owned(), j)
            {
                return Err(file.error(&format!(
                    "line {}: columns {} and {} are both named {}: rename one of them",
                    file.line(&record),
                    first + 1,
                    j + 1,
                    quoted(name)
                )));
            }
            file.header.push(name.to_owned());
        }
        Ok(file)
    }

    /// The number of the column named `name`, from 0.
    pub(super) fn column(&self, name: &str) -> Result<usize> {
        self.by_name.get(name).copied().ok_or_else(|| {
            let mut text = format!("there is no column {}", quoted(name));
            if let Some(near) = nearest(name, self.by_name.keys()) {
                text += &format!(" (did you mean {}?)", quoted(near));
            }
            text += &format!("; the columns are: {}", listed(&self.header));
            let first = &self.header[0];
            if self.header.len() == 1
                && let Some(separator) = [';', '\t', '|'].into_iter().find(|c| first.contains(*c))
            {
                text += &format!("; they are separated by {separator:?}, but must be by commas");
            } else if self.header.iter().all(|name| name.parse::<f64>().is_ok()) {
                text += "; the first line holds numbers, but must hold the columns' names";
            }
            Error::Column(format!("{}: {text}", self.path.display()))
        })
    }

    /// The names of all columns but number `column`.
    pub(super) fn all_names_but(&self, column: usize) -> Result<Vec<String>> {
        let others = || self.header.iter().enumerate().filter(|(j, _)| *j != column);
        if let Some((j, _)) = others().find(|(_, name)| name.is_empty()) {
            return Err(self.error(&format!(
                "column {} has no name (an index that was written with the data?): name it, or list the features \
                 to learn from",
                j + 1
            )));
        }
        Ok(others().map(|(_, name)| name.clone()).collect())
    }

    /// Reads all rows: the columns `picked`, row by row, and the column `target`, if any.
    pub(super) fn read(&mut self, picked: &[usize], target: Option<usize>) -> Result<(Vec<f32>, Vec<f32>)> {
        let (mut values, mut y) = (Vec::new(), Vec::new());
        let mut record = ByteRecord::new();
        let mut rows = 0_usize;
        let start = self.records.position().byte();
        while self.next(&mut record)? {
            if record.len() != self.header.len() {
                let (fields, columns) = (record.len(), self.header.len());
                return Err(self.error(&format!(
                    "line {} has {fields} {}, but the header has {columns}: each line needs one value for each \
                     column, separated by commas",
                    self.line(&record),
                    if fields == 1 { "field" } else { "fields" },
                )));
            }
            let more = self.rows_left(rows, values.len(), start);
            let made = make_room(&mut values, picked.len(), more);
            made.and_then(|()| make_room(&mut y, target.iter().len(), more)).map_err(|_| {
                self.error(&format!(
                    "line {}: there is no memory for more: take fewer samples or features",
                    self.line(&record)
                ))
            })?;
            for &j in picked {
                values.push(self.number(&record, j)?);
            }
            if let Some(j) = target {
                y.push(self.number(&record, j)?);
            }
            rows += 1;
        }
        if rows == 0 {
            return Err(self.error("there is a header but no data: a line for each sample must follow it"));
        }
        values.shrink_to_fit();
        y.shrink_to_fit();
        Ok((values, y))
    }

    /// Rows to make room for at once after `rows` rows of `values` values, read from byte `start` on: as many as the
    /// rest of the file has if they are as long as those so far, and a little more.
    fn rows_left(&self, rows: usize, values: usize, start: u64) -> usize {
        if values <= LITTLE {
            return rows + 1;
        }
        let read = self.records.position().byte();
        let left = self.length.map_or(0.0, |length| length.saturating_sub(read) as f64);
        let estimate = left * rows as f64 / read.saturating_sub(start).max(1) as f64;
        (estimate * 1.005) as usize + rows / GROWTH + 1
    }

    /// Reads the next line that is not blank; `false` at the end of the file.
    fn next(&mut self, record: &mut ByteRecord) -> Result<bool> {
        self.records.get_mut().allowed = LONGEST_LINE;
        let begin = self.records.position().clone();
        self.records.read_byte_record(record).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(_) if self.records.get_ref().allowed == 0 => self.error(&format!(
                "line {}: there is no end of the line within {} MiB: a quotation mark that is not closed, or no CSV file",
                self.line_from(&begin),
                LONGEST_LINE >> 20
            )),
            csv::ErrorKind::Io(source) => Error::unreadable(&self.path, source),
            other => self.error(&format!("{other:?}")),
        })
    }

    /// The number in column `j` of `record`.
    fn number(&self, record: &ByteRecord, j: usize) -> Result<f32> {
        let field = std::str::from_utf8(&record[j]).map_err(|_| self.not_utf8(record, j))?;
        match field.parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(value),
            parsed => Err(self.error(&format!(
                "line {}, column {}: {}",
                self.line(record),
                quoted(&self.header[j]),
                no_number(field, parsed.is_ok())
            ))),
        }
    }

    fn not_utf8(&self, record: &ByteRecord, j: usize) -> Error {
        self.error(&format!(
            "line {}, column {}: this is not UTF-8 text: save the file as CSV in UTF-8",
            self.line(record),
            j + 1
        ))
    }

    fn error(&self, problem: &str) -> Error {
        Error::Data(format!("{}: {problem}", self.path.display()))
    }

    /// The line that `record` begins at, from 1.
    ///
    /// The reader's own count is off after `\r\n` and blank lines, so lines are counted again in the file, which is
    /// only done for a message. What cannot be read twice (a pipe) gets the reader's count.
    fn line(&self, record: &ByteRecord) -> u64 {
        record.position().map_or(1, |position| self.line_from(position))
    }

    /// The line that is at `position` or, after line ends, behind it.
    fn line_from(&self, position: &csv::Position) -> u64 {
        lines_before(&self.path, position.byte()).map_or(position.line(), |lines| lines + 1)
    }
}

/// Room in `values` for `width` more, made for `rows` times as many. A vector that doubles has up to twice the memory that
/// its values take.
fn make_room(values: &mut Vec<f32>, width: usize, rows: usize) -> Result<(), TryReserveError> {
    if values.capacity() - values.len() >= width {
        return Ok(());
    }
    let made = values.try_reserve_exact(width.saturating_mul(rows));
    // What the length of a file promises need not be there.
    made.or_else(|_| values.try_reserve_exact(width + values.len() / GROWTH))?;
    ask_for_huge_pages(values);
    Ok(())
}

/// Line ends in the regular file `path` before the record that begins at or, after line ends, behind `byte`.
fn lines_before(path: &Path, byte: u64) -> Option<u64> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let (mut lines, mut after_return) = (0, false);
    let mut file = std::io::BufReader::new(std::fs::File::open(path).ok()?);
    // The mark is no part of the first record, which may begin behind more line ends.
    let mark = if file.fill_buf().ok()?.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let byte = byte.max(mark as u64);
    for (i, next) in file.bytes().enumerate() {
        let next = next.ok()?;
        if i as u64 >= byte && next != b'\r' && next != b'\n' {
            break;
        }
        lines += u64::from(next == b'\r' || (next == b'\n' && !after_return));
        after_return = next == b'\r';
    }
    Some(lines)
}

/// Why `field` is not a number that can be used; `parses` if it is one for Rust (`inf`, `nan`, `1e99`).
fn no_number(field: &str, parses: bool) -> String {
    let remedy = "remove the line or fill in a value";
    let shown = quoted(field);
    if field.is_empty() {
        format!("the value is missing: {remedy}")
    } else if MISSING.contains(&field.to_lowercase().as_str()) {
        format!("the value is missing ({shown}): {remedy}")
    } else if parses && field.contains(|c: char| c.is_ascii_digit()) {
        format!(
            "{shown} is beyond the largest number of 32-bit floating point ({:e}): use a larger unit",
            f32::MAX
        )
    } else if parses {
        format!("{shown} is not a finite number: {remedy}")
    } else if field.replacen(',', ".", 1).parse::<f32>().is_ok() {
        format!("{shown} is not a number: write a point before the decimals, and nothing between thousands")
    } else {
        format!("{shown} is not a number: write it as one, or leave the column out of the features")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::{Dataset, Table};

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn table(bytes: &[u8], columns: &[&str]) -> crate::Result<Table> {
        let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
        Table::read_csv(file(bytes).path(), &columns)
    }

    /// The message for a table with columns a and b, without the path.
    fn refusal(bytes: &[u8]) -> String {
        let file = file(bytes);
        let text = Table::read_csv(file.path(), &["a".to_owned(), "b".to_owned()]).unwrap_err().to_string();
        text.strip_prefix(&format!("{}: ", file.path().display())).expect("the path comes first").to_owned()
    }

    #[test]
    fn columns_are_picked_by_name_in_the_order_asked_for() {
        let read = table(b"a,name,b\n1,x,2\n3,y,4\n", &["b", "a"]).unwrap();
        assert_eq!((read.rows(), read.values()), (2, &[2.0, 1.0, 4.0, 3.0][..]));
    }

    #[test]
    fn byte_order_marks_line_ends_blanks_spaces_and_quotes_are_read() {
        for bytes in [
            &b"\xef\xbb\xbfa,b\r\n1,2\r\n3,4\r\n"[..],
            b"a,b\r1,2\r3,4",
            b"\n\na , b\n\n 1,\t2 \n\n3,4\n\n",
            b"\"a\",\"b\"\n\"1\",\"2\"\n+3,4e0\n",
        ] {
            assert_eq!(table(bytes, &["a", "b"]).unwrap().values(), [1.0, 2.0, 3.0, 4.0]);
        }
    }

    #[test]
    fn every_line_end_gives_the_same_line_number() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["a,b", "1,2", "", "", "3,4", "", "5,x", ""].join(end);
            assert!(
                refusal(text.as_bytes()).starts_with("line 7, column \"b\": \"x\" is not a number"),
                "{end:?}"
            );
        }
    }

    #[test]
    fn messages_say_where_and_what_to_do() {
        for (bytes, message) in [
            (&b""[..], "the file is empty"),
            (b"\n \n", "the file is empty"),
            (b"\xef\xbb\xbf", "the file is empty"),
            (b"a,b\n", "there is a header but no data"),
            (b"a,b,a\n1,2,3\n", "line 1: columns 1 and 3 are both named \"a\": rename one"),
            (b"a,b\n1,2\n3\n", "line 3 has 1 field, but the header has 2"),
            (b"a,b\n1,2,3\n", "line 2 has 3 fields, but the header has 2"),
            (b"a,b\n1,\n", "line 2, column \"b\": the value is missing: remove the line"),
            (b"a,b\nNA,1\n", "line 2, column \"a\": the value is missing (\"NA\")"),
            (b"a,b\n1,NaN\n", "line 2, column \"b\": \"NaN\" is not a finite number"),
            (b"a,b\n1,-inf\n", "line 2, column \"b\": \"-inf\" is not a finite number"),
            (b"a,b\n1,1e39\n", "line 2, column \"b\": \"1e39\" is beyond the largest number"),
            (b"a,b\n1,\"2,5\"\n", "line 2, column \"b\": \"2,5\" is not a number: write a point"),
            (b"a,b\n1,\xff\n", "line 2, column 2: this is not UTF-8 text"),
            (b"\xff\xfea\0,\0b\0\n\0", "line 1, column 1: this is not UTF-8 text"),
            (b"\xef\xbb\xbf\n\na,\xff\n", "line 3, column 2: this is not UTF-8 text"),
            (b"\xef\xbb\xbf\na,b\n1,x\n", "line 3, column \"b\": \"x\" is not a number"),
            (b"a,B\n1,2\n", "there is no column \"b\" (did you mean \"B\"?); the columns are: a, B"),
            (b"a;b\n1;2\n", "there is no column \"a\"; the columns are: a;b; they are separated by ';', but"),
            (
                b"1,2\n3,4\n",
                "there is no column \"a\"; the columns are: 1, 2; the first line holds numbers, but",
            ),
        ] {
            let text = refusal(bytes);
            assert!(text.starts_with(message), "{text}");
        }
    }

    #[test]
    fn an_open_quotation_mark_does_not_flood_the_screen() {
        let text = refusal(format!("a,b\n1,\"{}", "2,3\n".repeat(1000)).as_bytes());
        assert!(text.starts_with("line 2, column \"b\": ") && text.len() < 250, "{text}");
    }

    #[test]
    fn what_has_no_lines_is_given_up_on() {
        let zeros = file(b"a,b\n1,2\n\n3,");
        zeros.as_file().set_len(1 << 30).unwrap();
        let end =
            "there is no end of the line within 64 MiB: a quotation mark that is not closed, or no CSV file";
        for (path, line) in [(zeros.path(), 4), (std::path::Path::new("/dev/zero"), 1)] {
            if path.exists() {
                let text = Table::read_csv(path, &["a".to_owned()]).unwrap_err().to_string();
                assert_eq!(text, format!("{}: line {line}: {end}", path.display()));
            }
        }
    }

    /// Where lines are of one length, and where those at the end are shorter or longer than those before.
    #[test]
    fn room_is_made_for_what_the_file_holds_and_little_more() {
        let (rows, half) = (600_000, 300_000);
        let long = "0.1234567,0.25\n";
        for (first, then) in [(long, long), (long, "1,2\n"), ("1,2\n", long)] {
            let text = format!("a,b\n{}{}", first.repeat(half), then.repeat(rows - half));
            let file = file(text.as_bytes());
            let mut open = super::File::open(file.path()).unwrap();
            let (mut room, mut grown) = (0, 0);
            let (mut record, mut values) = (csv::ByteRecord::new(), Vec::new());
            let start = open.records.position().byte();
            for row in 0..rows {
                assert!(open.next(&mut record).unwrap());
                let more = open.rows_left(row, values.len(), start);
                super::make_room(&mut values, 2, more).unwrap();
                values.extend([1.0, 2.0]);
                if values.capacity() > room {
                    (room, grown) = (values.capacity(), grown + 1);
                }
            }
            assert!(grown < 60, "{grown} times");
            assert!(first != then || room <= 2 * rows / 20 * 21, "{room} values");
            assert_eq!(Table::read_csv(file.path(), &["b".to_owned()]).unwrap().rows(), rows);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn pipes_are_read() {
        use std::os::fd::AsRawFd;
        let read = |text: &[u8]| {
            let (reader, mut writer) = std::io::pipe().unwrap();
            writer.write_all(text).unwrap();
            drop(writer);
            Table::read_csv(format!("/dev/fd/{}", reader.as_raw_fd()), &["b".to_owned()])
        };
        assert_eq!(read(b"a,b\n1,2\n3,4\n").unwrap().values(), [2.0, 4.0]);
        assert!(read(b"a,b\n1,2\n3,x\n").unwrap_err().to_string().contains("line 3, column \"b\""));
    }

    #[test]
    fn names_as_long_as_a_file_are_not_compared() {
        let long = "a".repeat(1 << 20);
        let text = table(format!("{long},b\n1,2\n").as_bytes(), &[&long[1..]]).unwrap_err().to_string();
        assert!(text.contains("there is no column \"aaa") && !text.contains("did you mean"), "{text:.300}");
        assert!(text.len() < 400, "{}", text.len());
    }

    #[test]
    fn columns_without_names_are_only_refused_as_features() {
        let file = file(b",a,b\n0,1,2\n1,3,4\n");
        assert!(Dataset::read_csv(file.path(), "b", Some(&["a".to_owned()])).is_ok());
        let text = Dataset::read_csv(file.path(), "b", None).unwrap_err().to_string();
        assert!(text.contains("column 1 has no name"), "{text}");
    }
}
