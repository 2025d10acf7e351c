//! CSV files: a line for each sample. Errors say which line and which column.
//!
//! The file is read in chunks that end with a line. Each thread reads a chunk, one thread at a time, and takes its lines apart
//! while the others read. A line whose fields are plain goes the short way, number by number; any other (quoted, with a value
//! missing or wrong) goes the long way, which knows all there is to know of CSV and says what is wrong with a line.

use std::path::Path;
use std::sync::Mutex;

use csv_core::{ReadRecordResult, ReaderBuilder};
use rayon::prelude::*;

use super::Missing;
use super::chunks::{Chunks, Stop, blank_lines, line_ends};
use super::decimal::{Ends, Instructions, Work, best, number};
use super::names::{Header, quoted};
use super::plan::{Bad, Part, Picked, Plan, Source, Texts};
use super::reader::Separator;
use crate::Result;

/// Bytes of a chunk, if no line is longer.
const CHUNK: usize = 64 << 10;
/// Chunks that are read at a time, at most, and for each thread where there are many: so many that it matters little when one
/// thread is done before the others.
const CHUNKS: [usize; 2] = [64, 16];
/// Numbers after which no more chunks are read at that time, and for each thread: little memory beside all of them.
const NUMBERS: [usize; 2] = [1 << 18, 1 << 15];
/// What some programs begin a file of UTF-8 with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Separators that are looked for, the first of those that are there as often.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// What people write where a number is missing.
const NO_NUMBER: [&str; 8] = ["na", "n/a", "nan", "null", "none", "?", "-", "missing"];
/// What people write where a text is missing, and do not mean as one.
const NO_TEXT: [&str; 4] = ["na", "n/a", "nan", "null"];

/// How a file's lines are made up.
struct Layout {
    header: Header,
    separator: u8,
    /// The line that says how many columns there are.
    counts: &'static str,
}

/// An open CSV file whose header has been read.
pub(super) struct File {
    layout: Layout,
    chunks: Chunks,
    /// The chunk that is read and not yet taken apart.
    ahead: Option<Vec<u8>>,
    /// Why there are no more.
    stop: Option<Stop>,
    /// Lines that are taken apart, and bytes.
    lines: u64,
    taken: u64,
}

/// The chunks of a round, handed out one by one.
struct Round<'a> {
    chunks: &'a mut Chunks,
    separator: u8,
    ahead: Option<Vec<u8>>,
    stop: Option<Stop>,
    /// Chunks handed out, and the numbers that came of those that are done.
    count: usize,
    numbers: usize,
    threads: usize,
}

impl Round<'_> {
    /// The next chunk and its place; `used` is one that is done with, of which so many numbers came.
    fn next(&mut self, used: Vec<u8>, numbers: usize) -> Option<(usize, Vec<u8>)> {
        self.numbers += numbers;
        let most = |[least, each]: [usize; 2]| least.max(each * self.threads);
        let full = self.count == most(CHUNKS) || self.numbers >= most(NUMBERS);
        if full || self.stop.is_some() {
            return None;
        }
        let chunk = match self.ahead.take() {
            Some(chunk) => chunk,
            None => match self.chunks.next(CHUNK, self.separator, used) {
                Ok(chunk) => chunk?,
                Err(stop) => {
                    self.stop = Some(stop);
                    return None;
                }
            },
        };
        self.count += 1;
        Some((self.count, chunk))
    }
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug)]
enum Take {
    Skip,
    /// A number, in this place of the row.
    Number(usize),
    /// A text.
    Text(usize),
}

impl File {
    /// Takes a file that is open: finds what separates its values and reads its first line, the names of the columns if it is
    /// `named`.
    pub(super) fn open(path: &Path, mut chunks: Chunks, separator: Separator, named: bool) -> Result<Self> {
        let nowhere = Header::numbered(path, 0, "line");
        let beginning = chunks.beginning(CHUNK).map_err(|stop| stop.after(0, path))?;
        let mark = if beginning.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let separator = match separator {
            Separator::Is(separator) => separator,
            Separator::Auto => most_frequent(&beginning[mark..]),
        };
        chunks.leave_out(mark);
        let (mut lines, mut taken, mut record) = (0, 0, Record::new(separator));
        loop {
            let chunk = chunks.next(CHUNK, separator, Vec::new()).map_err(|stop| stop.after(lines, path))?;
            let Some(mut chunk) = chunk else { return Err(nowhere.error(EMPTY)) };
            let (blank, begin) = blank_lines(&chunk, 0);
            lines += blank;
            let (count, end) = record.read(&chunk, begin);
            if count == 0 {
                continue;
            }
            if count == 1 && record.field(0).is_empty() && named {
                return Err(nowhere.error(EMPTY));
            }
            let (mut header, data, counts) = if named {
                let header = names(path, &record, count, lines + 1)?;
                lines += line_ends(&chunk[begin..end]);
                (header, end, "the header")
            } else {
                (Header::numbered(path, count, "line"), begin, "the first line")
            };
            header.hint = hint(&header, separator, named);
            taken += data as u64;
            chunk.drain(..data);
            let layout = Layout { header, separator, counts };
            return Ok(File { layout, chunks, ahead: Some(chunk), stop: None, lines, taken });
        }
    }
}

impl Source for File {
    fn header(&self) -> &Header {
        &self.layout.header
    }

    fn parts(&mut self, plan: &Plan) -> Result<Vec<Part>> {
        if let Some(stop) = self.stop.take() {
            return Err(stop.after(self.lines, &self.layout.header.path));
        }
        let (layout, threads) = (&self.layout, rayon::current_num_threads());
        let takes = layout.takes(plan);
        let only_numbers = takes.iter().all(|take| matches!(take, Take::Number(_)));
        let round = Mutex::new(Round {
            chunks: &mut self.chunks,
            separator: layout.separator,
            ahead: self.ahead.take(),
            stop: None,
            count: 0,
            numbers: 0,
            threads,
        });
        let work = |_| {
            let (mut done, mut used, mut numbers) = (Vec::new(), Vec::new(), 0);
            loop {
                // By itself, so that the others can read while this chunk is taken apart.
                let next = round.lock().expect("no thread has panicked").next(used, numbers);
                let Some((place, chunk)) = next else { return done };
                let apart = best(TakeApart { layout, plan, takes: &takes, only_numbers, chunk: &chunk });
                numbers = apart.0.values.len();
                done.push((place, chunk.len(), apart));
                used = chunk;
            }
        };
        let mut done: Vec<_> = (0..threads).into_par_iter().with_max_len(1).flat_map_iter(work).collect();
        done.sort_unstable_by_key(|(place, ..)| *place);
        self.stop = round.into_inner().expect("no thread has panicked").stop;
        if done.is_empty() && self.stop.is_some() {
            return self.parts(plan);
        }
        let mut parts = Vec::with_capacity(done.len());
        for (_, bytes, (mut part, lines)) in done {
            part.move_on(self.lines + 1);
            self.lines += lines;
            self.taken += bytes as u64;
            parts.push(part);
        }
        Ok(parts)
    }

    fn left(&self) -> f64 {
        self.chunks.left(self.taken)
    }
}

/// Takes the lines of a chunk apart: gives the rows, with line numbers from 0 in it, and its lines.
struct TakeApart<'a> {
    layout: &'a Layout,
    plan: &'a Plan,
    takes: &'a [Take],
    /// Whether each field is a number.
    only_numbers: bool,
    chunk: &'a [u8],
}

impl Work for TakeApart<'_> {
    type Output = (Part, u64);

    #[inline(always)]
    fn run(self, instructions: impl Instructions) -> (Part, u64) {
        let TakeApart { layout, plan, chunk, .. } = self;
        let mut part = Part::new(plan);
        let mut ends = Ends::new(chunk, layout.separator, instructions);
        let mut record = None;
        let (mut at, mut lines) = (0, 0);
        loop {
            let (blank, begin) = blank_lines(chunk, at);
            lines += blank;
            if begin == chunk.len() {
                return (part, lines);
            }
            if begin > at {
                ends.skip(begin);
            }
            at = match self.short(begin, &mut ends, &mut part) {
                Some(end) => end,
                None => {
                    let record = record.get_or_insert_with(|| Record::new(layout.separator));
                    let (count, end) = record.read(chunk, begin);
                    if let Err(problem) = layout.long(plan, record, count, lines, &mut part) {
                        part.bad = Some(Bad { at: lines, problem });
                        return (part, lines);
                    }
                    // The last one is counted below, as those of the short way are.
                    lines += line_ends(&chunk[begin..end]).saturating_sub(1);
                    ends.skip(end);
                    end
                }
            };
            lines += 1;
        }
    }
}

impl TakeApart<'_> {
    /// Adds the line that begins at `begin` to `part` and says where it ends, if all of its fields are plain.
    #[inline(always)]
    fn short<I: Instructions>(&self, begin: usize, ends: &mut Ends<'_, I>, part: &mut Part) -> Option<usize> {
        let TakeApart { layout, plan, takes, only_numbers, chunk } = *self;
        let rows = part.values.len();
        part.values.resize(rows + plan.features(), 0.0);
        let mut y = 0.0;
        let row = &mut part.values[rows..];
        let mut set = |slot: usize, value| *row.get_mut(slot).unwrap_or(&mut y) = value;
        let of_numbers = if only_numbers { takes } else { &[] };
        let end = match numbers(layout.separator, of_numbers, chunk, (begin, ends), &mut set) {
            Some(end) => Some(end),
            None => fields(layout.separator, takes, chunk, (begin, ends), &part.texts, set),
        };
        let Some(end) = end else {
            part.values.truncate(rows);
            return None;
        };
        if plan.target {
            part.y.push(y);
        }
        if rows == 0 {
            // Room for the others, if they are as long.
            let more = (chunk.len() - end) / (end - begin) + 1;
            part.values.reserve(more * plan.features());
            part.y.reserve(if plan.target { more } else { 0 });
        }
        Some(end)
    }
}

impl Layout {
    /// What becomes of each field of a line.
    fn takes(&self, plan: &Plan) -> Vec<Take> {
        let mut takes = vec![Take::Skip; self.header.names.len()];
        for (slot, picked) in plan.picked.iter().enumerate() {
            takes[picked.column] = if picked.text { Take::Text(slot) } else { Take::Number(slot) };
        }
        takes
    }

    /// Adds a line to `part` whatever its fields are, or says what is wrong with them.
    fn long(
        &self,
        plan: &Plan,
        record: &Record,
        count: usize,
        at: u64,
        part: &mut Part,
    ) -> Result<(), String> {
        let columns = self.header.names.len();
        if count != columns {
            return Err(format!(
                " has {count} {}, but {} has {columns}: each line needs one value for each column, separated by {}",
                if count == 1 { "field" } else { "fields" },
                self.counts,
                spoken(self.separator)
            ));
        }
        let mut dropped = false;
        let mut row = Vec::with_capacity(plan.picked.len());
        for picked in &plan.picked {
            let value = self.value(picked, record.field(picked.column))?;
            dropped |= value.is_none();
            row.push(value.unwrap_or_default());
        }
        if dropped {
            part.dropped += 1;
            return Ok(());
        }
        for ((picked, value), texts) in plan.picked.iter().zip(&mut row).zip(&mut part.texts) {
            if picked.text && !value.is_nan() {
                let text = std::str::from_utf8(record.field(picked.column)).expect("looked at above");
                *value = texts.number_or_new(text, at) as f32;
            }
        }
        let (x, y) = row.split_at(plan.features());
        part.values.extend_from_slice(x);
        part.y.extend_from_slice(y);
        Ok(())
    }

    /// The number in a field, 0 for a text, NaN for what is to be filled in, none for what drops the line.
    fn value(&self, picked: &Picked, field: &[u8]) -> Result<Option<f32>, String> {
        let Ok(field) = std::str::from_utf8(field) else {
            return Err(not_utf8(picked.column));
        };
        let absent =
            field.is_empty() || if picked.text { says(&NO_TEXT, field) } else { says(&NO_NUMBER, field) };
        let parsed = field.parse::<f32>();
        match picked.missing {
            Missing::Drop if absent => Ok(None),
            Missing::Mean if absent => Ok(Some(f32::NAN)),
            _ if picked.text && !absent => Ok(Some(0.0)),
            _ => match parsed {
                Ok(value) if value.is_finite() => Ok(Some(value)),
                _ => {
                    let problem = no_number(picked, field, parsed.is_ok());
                    Err(format!(", column {}: {problem}", quoted(&self.header.names[picked.column])))
                }
            },
        }
    }
}

/// Hands the numbers of the line at `begin` to `set`, if it has nothing but plain numbers; says where it ends. Whether they are
/// plain is asked once for all of them, so that none waits for the answer.
#[inline(always)]
fn numbers<I: Instructions>(
    separator: u8,
    takes: &[Take],
    chunk: &[u8],
    (begin, ends): (usize, &mut Ends<'_, I>),
    mut set: impl FnMut(usize, f32),
) -> Option<usize> {
    let instructions = ends.instructions();
    let (stretch, of_line) = ends.of_line(begin, takes.len())?;
    let (mut from, mut doubts, mut last) = (begin, 0, separator);
    for (take, &end) in takes.iter().zip(of_line) {
        let Take::Number(slot) = take else { return None };
        // What ended the field before was no line's end.
        doubts |= u64::from(last ^ separator);
        let to = stretch + usize::from(end);
        let (number, doubt) = instructions.plain(chunk, from, to)?;
        set(*slot, number);
        doubts |= doubt;
        (from, last) = (to + 1, chunk[to]);
    }
    if doubts != 0 || !matches!(last, b'\n' | b'\r') {
        return None;
    }
    ends.pass(takes.len());
    match chunk.get(from) {
        // The other half of the line's end.
        Some(b'\n') if last == b'\r' => Some(ends.next() + 1),
        _ => Some(from),
    }
}

/// Goes through the fields of the line at `at` and hands their values to `set`; says where the line ends. None if one is
/// not plain: in quotation marks, not finite, of a text that is not known yet, missing, or there is one too many or too few.
#[inline(always)]
fn fields<I: Instructions>(
    separator: u8,
    takes: &[Take],
    chunk: &[u8],
    (mut at, ends): (usize, &mut Ends<'_, I>),
    texts: &[Texts],
    mut set: impl FnMut(usize, f32),
) -> Option<usize> {
    let last = takes.len() - 1;
    for (j, take) in takes.iter().enumerate() {
        let end = ends.next();
        if let Take::Number(slot) = take {
            set(*slot, number(ends.instructions(), chunk, at, end)?);
        } else {
            let field = chunk[at..end].trim_ascii();
            if field.first() == Some(&b'"') {
                return None;
            }
            if let Take::Text(slot) = take {
                let text = std::str::from_utf8(field).ok()?;
                set(*slot, texts[*slot].number(text)? as f32);
            }
        }
        let next = chunk.get(end).copied();
        at = match next {
            Some(byte) if j < last && byte == separator => end + 1,
            Some(b'\n') | None if j == last => (end + 1).min(chunk.len()),
            // The other half of the line's end.
            Some(b'\r') if j == last && chunk.get(end + 1) == Some(&b'\n') => ends.next() + 1,
            Some(b'\r') if j == last => end + 1,
            _ => return None,
        };
    }
    Some(at)
}

/// One line at a time, by all the rules of CSV.
struct Record {
    reader: csv_core::Reader,
    /// The fields, one after the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Record {
    fn new(separator: u8) -> Self {
        let mut reader = ReaderBuilder::new().delimiter(separator).build();
        // It would take a mark from the first bytes it sees.
        reader.read_record(b"\n", &mut [], &mut []);
        Record { reader, text: vec![0; 1024], ends: vec![0; 64] }
    }

    /// Reads the line at `at`, which the last byte of `chunk` ends if nothing else does: its number of fields, and where it ends.
    fn read(&mut self, chunk: &[u8], mut at: usize) -> (usize, usize) {
        let (mut length, mut count) = (0, 0);
        loop {
            let (text, ends) = (&mut self.text[length..], &mut self.ends[count..]);
            let (result, read, written, more) = self.reader.read_record(&chunk[at..], text, ends);
            (at, length, count) = (at + read, length + written, count + more);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::End => return (0, at),
                ReadRecordResult::Record => {
                    let halved = at > 0 && chunk[at - 1] == b'\r' && chunk.get(at) == Some(&b'\n');
                    return (count, at + usize::from(halved));
                }
            }
        }
    }

    /// Field `j` of the line that was read last, without blanks around it.
    fn field(&self, j: usize) -> &[u8] {
        let begin = if j == 0 { 0 } else { self.ends[j - 1] };
        self.text[begin..self.ends[j]].trim_ascii()
    }
}

const EMPTY: &str =
    "the file is empty: a line with the columns' names must come first, then a line for each sample";

/// The names in the first line, which is `line`.
fn names(path: &Path, record: &Record, count: usize, line: u64) -> Result<Header> {
    let nowhere = Header::numbered(path, 0, "line");
    let error = |problem: String| nowhere.error(&format!("line {line}{problem}"));
    let name = |j| {
        let name = std::str::from_utf8(record.field(j)).map_err(|_| error(not_utf8(j)))?;
        Ok(name.to_owned())
    };
    let names = (0..count).map(name).collect::<Result<Vec<_>>>()?;
    Header::new(path, names, "line").map_err(|(first, second, name)| {
        let name = quoted(&name);
        error(format!(": columns {} and {} are both named {name}: rename one of them", first + 1, second + 1))
    })
}

/// What may be the reason where a column is not there.
fn hint(header: &Header, separator: u8, named: bool) -> String {
    let first = &header.names[0];
    let other = SEPARATORS.into_iter().find(|other| first.contains(char::from(*other)));
    if let (1, Some(other)) = (header.names.len(), other) {
        format!(
            "; they are separated by {}, but were read as separated by {}",
            spoken(other),
            spoken(separator)
        )
    } else if named && header.names.iter().all(|name| name.parse::<f64>().is_ok()) {
        "; the first line holds numbers, but must hold the columns' names if the file is not read as one without them"
            .to_owned()
    } else {
        String::new()
    }
}

/// The separator that the first line, if it is not blank, has most of outside quotation marks.
fn most_frequent(text: &[u8]) -> u8 {
    let (mut counts, mut quoted) = ([0_usize; SEPARATORS.len()], false);
    let (_, begin) = blank_lines(text, 0);
    for &byte in &text[begin..] {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            _ if quoted => {}
            _ => {
                if let Some(k) = SEPARATORS.iter().position(|separator| *separator == byte) {
                    counts[k] += 1;
                }
            }
        }
    }
    let most = counts.iter().max().copied().unwrap_or_default();
    SEPARATORS[counts.iter().position(|count| *count == most).unwrap_or_default()]
}

/// A separator as a message names it.
fn spoken(separator: u8) -> String {
    match separator {
        b',' => "commas".to_owned(),
        b';' => "semicolons".to_owned(),
        b'\t' => "tabs".to_owned(),
        other => format!("{:?}", char::from(other)),
    }
}

fn not_utf8(column: usize) -> String {
    format!(", column {}: this is not UTF-8 text: save the file as CSV in UTF-8", column + 1)
}

/// Whether a field is one of `words`, in capitals or not.
fn says(words: &[&str], field: &str) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(field))
}

/// Why `field` is not a number that can be used; `parses` if it is one for Rust (`inf`, `nan`, `1e99`).
fn no_number(picked: &Picked, field: &str, parses: bool) -> String {
    let remedy = picked.remedy_for_missing("line");
    let shown = quoted(field);
    if field.is_empty() {
        format!("the value is missing: {remedy}")
    } else if !parses && says(&NO_NUMBER, field) {
        format!("the value is missing ({shown}): {remedy}")
    } else if parses && field.contains(|c: char| c.is_ascii_digit()) {
        format!(
            "{shown} is beyond the largest number of 32-bit floating point ({:e}): use a larger unit",
            f32::MAX
        )
    } else if parses && !field.to_ascii_lowercase().contains("nan") {
        // Infinity is not missing: it is neither dropped nor filled in.
        format!("{shown} is not a finite number: remove the line, or write the number that it stands for")
    } else if parses {
        format!("{shown} is not a finite number: {remedy}")
    } else if field.replacen(',', ".", 1).parse::<f32>().is_ok() {
        format!("{shown} is not a number: write a point before the decimals, and nothing between thousands")
    } else {
        format!("{shown} is not a number: {}", picked.remedy_for_text())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::{Column, Dataset, Encoding, Missing, Reader, Separator, Table};
    use crate::Error;

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

    /// Lines of all lengths, with all that a number can be, many of them where the ends of fields are looked for anew.
    #[test]
    fn what_a_line_ends_with_and_what_is_behind_it_changes_no_number() {
        let number = |i: usize| match i % 7 {
            0 => format!("{}", i % 1000),
            1 => format!("-{}.{:03}", i % 89, i % 997),
            2 => format!("{}.5e-{}", i % 10, i % 9),
            3 => " 1 ".to_owned(),
            4 => format!("0.{}", "1234567".repeat(i % 4 + 1)),
            5 => format!("\"{}.25\"", i % 77),
            _ => format!("{}.{}", i % 10_000, i % 10_000),
        };
        for plain in [true, false] {
            let value = |i: usize| number(if plain { i / 2 * 7 + 6 - 5 * (i % 2) } else { i });
            let lines: Vec<String> = (0..4000)
                .map(|i| format!("{},{},{}", value(3 * i), value(3 * i + 1), value(3 * i + 2)))
                .collect();
            let expected: Vec<f32> = lines
                .iter()
                .flat_map(|line| line.split(','))
                .map(|value| value.trim_matches([' ', '"']).parse().unwrap())
                .collect();
            for end in ["\n", "\r\n", "\r", "\n\n", "\r\n\r\n"] {
                for begin in 0..3 {
                    let text = format!("{}a,b,c{end}{}{end}", end.repeat(begin), lines.join(end));
                    let read = table(text.as_bytes(), &["a", "b", "c"]).unwrap();
                    assert_eq!(read.values(), expected, "{end:?}, {begin}, {plain}");
                    // A column that is not read is passed.
                    let read = table(text.as_bytes(), &["c", "a"]).unwrap();
                    let some: Vec<f32> = expected.chunks(3).flat_map(|row| [row[2], row[0]]).collect();
                    assert_eq!(read.values(), some, "{end:?}, {begin}, {plain}");
                }
            }
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
            (
                b"a,b\n1,-inf\n",
                "line 2, column \"b\": \"-inf\" is not a finite number: remove the line, or write the number that it",
            ),
            (b"a,b\n1,1e39\n", "line 2, column \"b\": \"1e39\" is beyond the largest number"),
            (b"a,b\n1,\"2,5\"\n", "line 2, column \"b\": \"2,5\" is not a number: write a point"),
            (b"a,b\n1,\xff\n", "line 2, column 2: this is not UTF-8 text"),
            (b"\xff\xfea\0,\0b\0\n\0", "line 1, column 1: this is not UTF-8 text"),
            (b"\xef\xbb\xbf\n\na,\xff\n", "line 3, column 2: this is not UTF-8 text"),
            (b"\xef\xbb\xbf\na,b\n1,x\n", "line 3, column \"b\": \"x\" is not a number"),
            (b"a,B\n1,2\n", "there is no column \"b\" (did you mean \"B\"?); the columns are: a, B"),
            (b"a b\n1 2\n", "there is no column \"a\"; the columns are: \"a b\""),
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
            let encoding = Encoding::numbers(&["a", "b"].map(str::to_owned));
            let (room, grown) = Reader::new(file.path()).room(&encoding);
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

    /// The message of a refusal, without the path.
    fn problem<T: std::fmt::Debug>(file: &tempfile::NamedTempFile, read: crate::Result<T>) -> String {
        let text = read.unwrap_err().to_string();
        text.strip_prefix(&format!("{}: ", file.path().display())).unwrap_or(&text).to_owned()
    }

    #[test]
    fn quoted_fields_hold_separators_quotes_and_line_ends() {
        let file = file(
            b"\"a,\"\"b\"\"\",\"two\nlines\",y\r\n\"1\",\"x\ny\",2\r\n 3 ,\"\"\"q\"\", \", 4\n\n5,\"z\",\"6\"\n7,z,oops\n",
        );
        let reader = Reader::new(file.path()).target("y").features(["a,\"b\""]);
        assert!(problem(&file, reader.read()).starts_with("line 8, column \"y\": \"oops\" is not a number"));
        let reader = reader.target("two\nlines").classes(true);
        let read = reader.read().unwrap();
        assert_eq!(read.features().values(), [1.0, 3.0, 5.0, 7.0]);
        assert_eq!(read.classes().unwrap(), ["\"q\",", "x\ny", "z"]);
        assert_eq!(read.y(), [1.0, 0.0, 2.0, 2.0]);
    }

    #[test]
    fn separators_are_found_or_given() {
        for (text, separator) in [
            ("a,b;c,y\n1,2,3\n", b','),
            ("a;\"b,,,\";y\n1;2;3\n", b';'),
            ("a\tb\ty\n1\t2\t3\n", b'\t'),
            ("\n\na | b | y\n1|2|3\n", b'|'),
        ] {
            let file = file(text.as_bytes());
            for separator in [Separator::Auto, Separator::Is(separator)] {
                let read = Reader::new(file.path()).separator(separator).target("y").read().unwrap();
                assert_eq!((read.features().values(), read.y()), (&[1.0, 2.0][..], &[3.0][..]), "{text:?}");
            }
        }
        let file = file(b"a:y\n1:2\n");
        let read = Reader::new(file.path()).separator(Separator::Is(b':')).target("y").read();
        assert_eq!(read.unwrap().y(), [2.0]);
        let read = Reader::new(file.path()).separator(Separator::Is(b';')).target("y").read();
        assert!(problem(&file, read).starts_with("there is no column \"y\"; the columns are: a:y"));
        for separator in *b"a1.-+\" \n\0\xe9" {
            let read = Reader::new(file.path()).separator(Separator::Is(separator)).target("y").read();
            assert!(matches!(read, Err(Error::Setting(text)) if text.contains("cannot separate values")));
        }
        let commas = self::file(b"a,y\n1,2\n");
        let read = Reader::new(commas.path()).separator(Separator::Is(b';')).target("y").read();
        assert!(
            problem(&commas, read)
                .contains("they are separated by commas, but were read as separated by semicolons")
        );
    }

    #[test]
    fn a_file_without_a_header_has_columns_by_number() {
        let file = file(b"\n1,2,3\n4,5,6\n7,8\n");
        let reader = Reader::new(file.path()).header(false).target("c3");
        assert_eq!(
            problem(&file, reader.read()),
            "line 4 has 2 fields, but the first line has 3: each line needs one value for each column, separated by commas"
        );
        let file = self::file(b"1,2,3\n4,5,6");
        let read = Reader::new(file.path()).header(false).target("c3").read().unwrap();
        assert_eq!(read.features().columns(), ["c1", "c2"]);
        assert_eq!((read.features().values(), read.y()), (&[1.0, 2.0, 4.0, 5.0][..], &[3.0, 6.0][..]));
        let text = problem(&file, Reader::new(file.path()).header(false).target("y").read());
        assert!(text.contains("the columns are: c1, c2, c3"), "{text}");
    }

    #[test]
    fn samples_with_a_value_missing_are_refused_dropped_or_filled() {
        let file = file(b"a,c,y\n1,u,10\n,v,20\nNA,u,30\n5,,40\n6,u,\n9,v,50\n");
        let reader = Reader::new(file.path()).target("y").features(["a", "c"]).categorical(["c"]);
        assert!(problem(&file, reader.read()).starts_with("line 3, column \"a\": the value is missing"));
        let dropped = reader.clone().missing(Missing::Drop).read().unwrap();
        assert_eq!((dropped.y(), dropped.dropped()), (&[10.0, 50.0][..], 4));
        assert_eq!(dropped.features().values(), [1.0, 1.0, 0.0, 9.0, 0.0, 1.0]);
        // The target is never made up.
        let mean = reader.clone().missing(Missing::Mean);
        assert!(problem(&file, mean.read()).starts_with("line 6, column \"y\": the value is missing"));

        let file = self::file(b"a,c,y\n1,u,10\n,v,20\nNA,u,30\n5,,40\n9,v,50\n");
        let mean = Reader::new(file.path()).target("y").categorical(["c"]).missing(Missing::Mean);
        let read = mean.read().unwrap();
        let expected = [[1.0, 1.0, 0.0], [5.0, 0.0, 1.0], [5.0, 1.0, 0.0], [5.0, 0.5, 0.5], [9.0, 0.0, 1.0]];
        assert_eq!(read.features().values(), expected.as_flattened());
        assert_eq!(
            read.encoding().columns(),
            [
                Column::Number { name: "a".into(), fill: Some(5.0) },
                Column::Category {
                    name: "c".into(),
                    levels: vec!["u".into(), "v".into()],
                    fill: Some(vec![0.5, 0.5])
                }
            ]
        );
        // What is predicted is filled with the same.
        let new = self::file(b"c,a\nv,\n,2\n");
        let table = Reader::new(new.path()).read_with(read.encoding()).unwrap();
        assert_eq!(table.values(), [5.0, 0.0, 1.0, 2.0, 0.5, 0.5]);
        let none = self::file(b"a,y\n,1\nNaN,2\n");
        let text = problem(&none, Reader::new(none.path()).target("y").missing(Missing::Mean).read());
        assert!(text.contains("the column \"a\" has no value among the training samples"), "{text}");
        let text = problem(&none, Reader::new(none.path()).target("y").missing(Missing::Drop).read());
        assert!(text.contains("a value is missing in each of the 2 samples"), "{text}");
    }

    #[test]
    fn means_are_those_of_the_training_samples() {
        let text: String =
            (0..20).map(|i| if i % 5 == 0 { ",1\n".to_owned() } else { format!("{i},1\n") }).collect();
        let file = file(format!("a,y\n{text}").as_bytes());
        let reader = Reader::new(file.path()).target("y").missing(Missing::Mean);
        let (train, test) = reader.read_split(0.2, 0).unwrap();
        assert_eq!((train.samples(), test.samples()), (16, 4));
        assert_eq!(train.encoding(), test.encoding());
        // Held back by seed 0 are 4, 12, 15 and 18, of which 15 has no value.
        let there: Vec<f32> =
            (0..20).filter(|i| i % 5 != 0 && ![4, 12, 18].contains(i)).map(|i| i as f32).collect();
        let mean = there.iter().sum::<f32>() / there.len() as f32;
        assert_eq!(test.features().values(), [4.0, 12.0, mean, 18.0]);
        assert_eq!(train.features().values()[0], mean);
        // And without missing values, the same samples as of a data set in memory.
        let whole = Reader::new(file.path()).target("y").missing(Missing::Drop);
        assert_eq!(whole.read_split(0.3, 7).unwrap(), whole.read().unwrap().split(0.3, 7).unwrap());
    }

    #[test]
    fn categories_become_a_feature_a_level() {
        let file = file(b"size,colour,y\n1,red,1\n2,blue,2\n3, red ,3\n4,\"dark, green\",4\n");
        let read = Reader::new(file.path()).target("y").categorical(["colour"]).read().unwrap();
        assert_eq!(read.features().columns(), ["size", "colour=blue", "colour=dark, green", "colour=red"]);
        let expected =
            [[1.0, 0.0, 0.0, 1.0], [2.0, 1.0, 0.0, 0.0], [3.0, 0.0, 0.0, 1.0], [4.0, 0.0, 1.0, 0.0]];
        assert_eq!(read.features().values(), expected.as_flattened());

        let new = self::file(b"colour,size\nblue,5\nred,6\npink,7\nred,x\n");
        let text = problem(&new, Reader::new(new.path()).read_with(read.encoding()));
        assert_eq!(
            text,
            "line 4, column \"colour\": \"pink\" is unknown: those learned from are blue, \"dark, green\", red"
        );
        for (categorical, message) in [
            ("y", "the target \"y\" is listed as a category"),
            ("color", "there is no column \"color\" (did you mean"),
        ] {
            let read = Reader::new(file.path()).target("y").categorical([categorical]).read();
            assert!(problem(&file, read).contains(message));
        }
        let ids: String = (0..=10_000).map(|i| format!("id {i},1\n")).collect();
        let ids = self::file(format!("a,y\n{ids}").as_bytes());
        let text = problem(&ids, Reader::new(ids.path()).target("y").categorical(["a"]).read());
        assert!(text.starts_with("line 10002, column \"a\": there are more than 10000 different"), "{text}");
    }

    #[test]
    fn targets_are_classes_where_asked_for() {
        let file = file(b"a,kind\n1,pear\n2,apple\n3,pear\n");
        let reader = Reader::new(file.path()).target("kind");
        assert!(
            problem(&file, reader.read()).starts_with("line 2, column \"kind\": \"pear\" is not a number")
        );
        let read = reader.clone().classes(true).read().unwrap();
        assert_eq!(
            (read.classes().unwrap(), read.y()),
            (&["apple".to_owned(), "pear".to_owned()][..], &[1.0, 0.0, 1.0][..])
        );
        for (cell, remedy) in [
            ("ten", "\"ten\" is not a number: write it as one: the model learned"),
            ("", "the value is missing: remove the line or fill in a value; a model"),
        ] {
            let rows = self::file(format!("a,b\n1,\n{cell},\n").as_bytes());
            let text = problem(&rows, Reader::new(rows.path()).read_with(read.encoding()));
            assert!(text.starts_with(&format!("line 3, column \"a\": {remedy}")), "{text}");
        }
        let known = ["apple", "fig"].map(str::to_owned);
        let text = problem(&file, reader.dataset_with(read.encoding(), Some(&known)));
        assert_eq!(text, "line 2, column \"kind\": \"pear\" is unknown: those learned from are apple, fig");
        let known = ["fig", "pear", "apple"].map(str::to_owned);
        assert_eq!(reader.dataset_with(read.encoding(), Some(&known)).unwrap().y(), [1.0, 2.0, 1.0]);

        let file = self::file(b"a,kind\n1,10\n2,9\n3,1e1\n");
        let read = Reader::new(file.path()).target("kind").classes(true).read().unwrap();
        assert_eq!(
            (read.classes().unwrap(), read.y()),
            (&["9".to_owned(), "10".to_owned()][..], &[1.0, 0.0, 1.0][..])
        );
        let text = problem(&file, Reader::new(file.path()).read());
        assert!(text.starts_with("no target is set"));
    }

    /// A table long enough for many chunks, with quotes that are open across their ends.
    fn long() -> String {
        let mut text = String::from("a,note,y\r\n");
        for i in 0..60_000 {
            let note =
                if i % 97 == 0 { format!("\"{}\nand, {i}\"", "x".repeat(i % 5000)) } else { "n".to_owned() };
            text += &format!("{}.5,{note},{}\r\n", i, i % 7);
        }
        text
    }

    #[test]
    fn chunks_and_threads_change_nothing() {
        let text = long();
        let file = file(text.as_bytes());
        let reader = Reader::new(file.path()).target("y").features(["a"]);
        let read = reader.read().unwrap();
        assert_eq!(read.samples(), 60_000);
        assert!(read.features().values().iter().zip(0..).all(|(value, i)| *value == i as f32 + 0.5));
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(one.install(|| reader.read()).unwrap(), read);
        // The first of two bad lines, whichever thread is faster.
        let lines_before = |at: usize| text[..at].matches('\n').count();
        let (first, second) = (text.rfind("\n50000.5").unwrap() + 1, text.rfind("\n59999.5").unwrap() + 1);
        let mut bad = text.clone().into_bytes();
        (bad[first], bad[second]) = (b'x', b'x');
        let expected = format!("line {}, column \"a\"", lines_before(first) + 1);
        let bad = self::file(&bad);
        for _ in 0..5 {
            let text = problem(&bad, Reader::new(bad.path()).target("y").features(["a"]).read());
            assert!(text.starts_with(&expected), "{text}, not {expected}");
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_read_by_its_contents_in_any_number_of_members() {
        let text = long();
        let (one, two) = text.as_bytes().split_at(text.len() / 3);
        let whole = gzip(text.as_bytes());
        let plain = file(text.as_bytes());
        let read = |bytes: &[u8]| {
            let file = file(bytes);
            let read = Reader::new(file.path()).target("y").features(["a"]).read();
            read.map_err(|error| error.to_string().replace(&file.path().display().to_string(), ""))
        };
        let expected = Reader::new(plain.path()).target("y").features(["a"]).read().unwrap();
        assert_eq!(read(&whole).unwrap(), expected);
        assert_eq!(read(&[gzip(one), gzip(two)].concat()).unwrap(), expected);
        for cut in [3, 12, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            let text = read(&whole[..cut]).unwrap_err();
            assert!(text.contains("compressed by gzip, but is damaged or not all there"), "{cut}: {text}");
        }
        let mut damaged = whole.clone();
        let end = damaged.len() - 6;
        damaged[end] ^= 1;
        assert!(read(&damaged).unwrap_err().contains("damaged"));
        let bad = text.replacen("\n50000.5", "\nx", 1);
        let line = bad[..bad.find("\nx,").unwrap()].matches('\n').count() + 2;
        assert!(
            read(&gzip(bad.as_bytes())).unwrap_err().starts_with(&format!(": line {line}, column \"a\""))
        );
    }

    #[test]
    fn numbers_are_the_nearest_to_what_is_written() {
        // Halfway between two `f32`, a little more and less than that by what an `f64` does not show, and the ends of the range.
        let texts = [
            "1.00000005960464477539062500000000000001",
            "1.000000059604644775390625",
            "1.00000005960464477539062499999999999999",
            "16777217",
            "16777219",
            "3.4028235e38",
            "1.17549435e-38",
            "1e-45",
            "7.0064923216240853e-46",
            "7.0064923216240854e-46",
            "-0",
            ".5",
            "5.",
            "+1E+2",
            "0.1",
            "123456789012345678901234567890",
            "1e-400",
        ];
        let file = file(format!("a\n{}\n", texts.join("\n")).as_bytes());
        let read = Table::read_csv(file.path(), &["a".to_owned()]).unwrap();
        for (value, text) in read.values().iter().zip(texts) {
            assert_eq!(value.to_bits(), text.parse::<f32>().unwrap().to_bits(), "{text}");
        }
    }

    #[test]
    fn blocks_are_the_file_again_and_again() {
        let text: String = (0..50_000)
            .map(|i| {
                let number = if i % 10 == 3 { String::new() } else { (i % 1000).to_string() };
                format!("{number},{},{}\n", ["u", "v", "w"][i % 3], ["no", "yes"][i % 2])
            })
            .collect();
        let file = file(format!("a,c,y\n{text}").as_bytes());
        let numbers = Reader::new(file.path()).target("c").features(["a"]).classes(true);
        for (reader, size) in [
            (numbers.clone().missing(Missing::Mean), 7_000),
            (numbers.clone().missing(Missing::Drop), 50_000),
            (numbers.target("y").features(["a", "c"]).categorical(["c"]).missing(Missing::Mean), 999),
        ] {
            let whole = reader.read().unwrap();
            let blocks = reader.blocks(size).unwrap();
            assert_eq!(blocks.encoding(), whole.encoding());
            for _ in 0..2 {
                let (mut x, mut y, mut dropped) = (Vec::new(), Vec::new(), 0);
                for block in &blocks {
                    let block = block.unwrap();
                    assert_eq!((block.encoding(), block.classes()), (whole.encoding(), whole.classes()));
                    assert!(block.samples() == size || y.len() + block.samples() == whole.samples());
                    x.extend_from_slice(block.features().values());
                    y.extend_from_slice(block.y());
                    dropped += block.dropped();
                }
                assert_eq!((&x[..], &y[..]), (whole.features().values(), whole.y()));
                assert_eq!(dropped, whole.dropped());
            }
        }
    }

    #[test]
    fn blocks_end_with_the_first_error() {
        let file = file(format!("a,y\n{}1,x\n", "1,2\n".repeat(10)).as_bytes());
        let blocks = Reader::new(file.path()).target("y").blocks(4).unwrap();
        let read: Vec<_> = blocks.into_iter().map(|block| block.map(|block| block.samples())).collect();
        assert!(read.last().unwrap().as_ref().unwrap_err().to_string().contains("line 12, column \"y\""));
        let empty = self::file(b"a,y\n");
        let blocks = Reader::new(empty.path()).target("y").blocks(4).unwrap();
        let text = blocks.into_iter().next().unwrap().unwrap_err().to_string();
        assert!(text.contains("there is a header but no data"), "{text}");
        assert!(Reader::new(empty.path()).target("y").blocks(0).is_err());
        assert!(Reader::new(std::env::temp_dir()).target("y").blocks(4).is_err());
    }
}
