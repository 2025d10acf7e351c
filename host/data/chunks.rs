//! A text file in chunks that end with a line.

use std::io::{Cursor, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv_core::{ReadRecordResult, ReaderBuilder};
use flate2::read::MultiGzDecoder;

use crate::{Error, Result};

/// Bytes without a whole line at which reading ends: what has no lines might have no end either.
pub(super) const LONGEST_LINE: usize = 64 << 20;
/// What a file compressed by gzip begins with.
pub(super) const GZIP: &[u8] = b"\x1f\x8b";

/// Bytes that say what kind of file it is.
const MAGIC: u64 = 8;

/// A file's bytes, of which none is lost though the first have been looked at.
pub(super) struct Bytes {
    pub file: std::fs::File,
    /// The first of them, that are read from the file already.
    pub start: Vec<u8>,
}

impl Bytes {
    /// Opens the file at `path`.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let unreadable = |source| Error::unreadable(path, source);
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut start = Vec::new();
        (&file).take(MAGIC).read_to_end(&mut start).map_err(unreadable)?;
        Ok(Bytes { file, start })
    }
}

/// A text file in chunks that end with a line.
pub(super) struct Chunks {
    input: Box<dyn Read + Send>,
    /// What of it is read, and not handed out: so many bytes. What is behind them may be overwritten: it is there so that
    /// it need not be set to zero again.
    rest: Vec<u8>,
    filled: usize,
    ended: bool,
    /// Bytes that were read from the file.
    from_file: Arc<AtomicU64>,
    /// Bytes of text that came of them.
    text: u64,
    /// The file's length, if it has one.
    length: Option<u64>,
    compressed: bool,
}

/// Why there is no next chunk.
pub(super) enum Stop {
    /// No line ends within so many bytes; so many blank lines are before it.
    Endless(u64),
    /// The file cannot be read.
    Unreadable(std::io::Error),
    /// The file is no whole gzip file.
    Damaged(std::io::Error),
}

impl Stop {
    /// The error, after so many lines.
    pub(super) fn after(self, lines: u64, path: &Path) -> Error {
        let problem = match self {
            Stop::Unreadable(source) => return Error::unreadable(path, source),
            Stop::Endless(blank) => format!(
                "line {}: there is no end of the line within {} MiB: a quotation mark that is not closed, or no CSV file",
                lines + blank + 1,
                LONGEST_LINE >> 20
            ),
            Stop::Damaged(source) => format!(
                "the file is compressed by gzip, but is damaged or not all there{} ({source}): get it again",
                if lines == 0 { String::new() } else { format!(" behind some {lines} lines") }
            ),
        };
        Error::Data(format!("{}: {problem}", path.display()))
    }
}

/// Counts what is read.
struct Counted {
    file: std::fs::File,
    count: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Chunks {
    /// Of a file that is open; compressed by gzip if it begins so.
    pub(super) fn new(bytes: Bytes) -> Self {
        let Bytes { file, start } = bytes;
        let length = file.metadata().ok().filter(|about| about.is_file()).map(|about| about.len());
        let from_file = Arc::new(AtomicU64::new(start.len() as u64));
        let compressed = start.starts_with(GZIP);
        let input = Cursor::new(start).chain(Counted { file, count: Arc::clone(&from_file) });
        let input: Box<dyn Read + Send> =
            if compressed { Box::new(MultiGzDecoder::new(input)) } else { Box::new(input) };
        Chunks { input, rest: Vec::new(), filled: 0, ended: false, from_file, text: 0, length, compressed }
    }

    /// Reads `size` bytes more, or what there is.
    fn read(&mut self, size: usize) -> Result<(), Stop> {
        let (before, wanted) = (self.filled, self.filled + size);
        if self.rest.len() < wanted {
            self.rest.reserve_exact(wanted - self.rest.len());
            self.rest.resize(wanted, 0);
        }
        while self.filled < wanted && !self.ended {
            match self.input.read(&mut self.rest[self.filled..wanted]) {
                Ok(count) => (self.filled, self.ended) = (self.filled + count, count == 0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if self.compressed => return Err(Stop::Damaged(error)),
                Err(error) => return Err(Stop::Unreadable(error)),
            }
        }
        self.text += (self.filled - before) as u64;
        Ok(())
    }

    /// The beginning of what is left: `size` bytes, or all that there are.
    pub(super) fn beginning(&mut self, size: usize) -> Result<&[u8], Stop> {
        while self.filled < size && !self.ended {
            self.read(size - self.filled)?;
        }
        Ok(&self.rest[..self.filled])
    }

    /// Leaves out the first `count` bytes of the beginning.
    pub(super) fn leave_out(&mut self, count: usize) {
        self.rest.drain(..count);
        self.filled -= count;
    }

    /// The next chunk: some `size` bytes, or one line that is longer. None at the end. What follows is read to the room of
    /// `used`, which a chunk had before.
    pub(super) fn next(
        &mut self,
        size: usize,
        separator: u8,
        mut used: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, Stop> {
        let mut more = size;
        loop {
            if !self.ended && (self.filled < size || more > size) {
                self.read(more)?;
            }
            if self.ended {
                let mut chunk = std::mem::take(&mut self.rest);
                chunk.truncate(std::mem::take(&mut self.filled));
                return Ok(Some(chunk).filter(|chunk| !chunk.is_empty()));
            }
            if let Some(end) = last_end(&self.rest[..self.filled], separator) {
                let rest = &self.rest[end..self.filled];
                self.filled = rest.len();
                if used.len() < rest.len() {
                    used.resize(rest.len(), 0);
                }
                used[..rest.len()].copy_from_slice(rest);
                self.rest.truncate(end);
                return Ok(Some(std::mem::replace(&mut self.rest, used)));
            }
            if self.filled >= LONGEST_LINE {
                return Err(Stop::Endless(blank_lines(&self.rest[..self.filled], 0).0));
            }
            more = self.filled.max(size + 1).min(LONGEST_LINE);
        }
    }

    /// How much of the file is left for each part of it whose text is `taken` bytes; 0 if that is not known.
    pub(super) fn left(&self, taken: u64) -> f64 {
        let Some(length) = self.length else { return 0.0 };
        let from_file = self.from_file.load(Ordering::Relaxed).max(1);
        let all = length as f64 * (self.text as f64 / from_file as f64);
        (all / taken.max(1) as f64 - 1.0).max(0.0)
    }
}

/// Behind the last line that is whole for sure: one that ends with the last byte might go on, with the other
/// half of its end.
fn last_end(bytes: &[u8], separator: u8) -> Option<usize> {
    let plain = |bytes: &[u8], all: bool| {
        let returns = if all { bytes.len() } else { bytes.len() - 1 };
        memchr::memrchr(b'\n', bytes).or_else(|| memchr::memrchr(b'\r', &bytes[..returns])).map(|end| end + 1)
    };
    match memchr::memchr(b'"', bytes) {
        None if bytes.is_empty() => None,
        None => plain(bytes, false),
        Some(quote) => {
            let begin = plain(&bytes[..quote], true);
            let end = last_end_outside_quotes(&bytes[begin.unwrap_or(0)..], separator);
            end.map(|end| end + begin.unwrap_or(0)).or(begin)
        }
    }
}

fn last_end_outside_quotes(bytes: &[u8], separator: u8) -> Option<usize> {
    let mut reader = ReaderBuilder::new().delimiter(separator).build();
    // It would take a mark from the first bytes it sees.
    reader.read_record(b"\n", &mut [], &mut []);
    let (mut text, mut ends) = ([0; 4096], [0; 256]);
    let (mut at, mut last) = (0, None);
    loop {
        let (result, count, _, _) = reader.read_record(&bytes[at..], &mut text, &mut ends);
        at += count;
        match result {
            ReadRecordResult::Record => {
                if bytes[at - 1] == b'\r' && bytes.get(at) == Some(&b'\n') {
                    at += 1;
                }
                if at < bytes.len() || bytes[at - 1] == b'\n' {
                    last = Some(at);
                }
                if at == bytes.len() {
                    return last;
                }
            }
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
            ReadRecordResult::InputEmpty | ReadRecordResult::End => return last,
        }
    }
}

/// The blank lines from `at` on, and where they end.
pub(super) fn blank_lines(bytes: &[u8], at: usize) -> (u64, usize) {
    let count = bytes[at..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    (line_ends(&bytes[at..at + count]), at + count)
}

/// Line ends in `bytes`: `\n`, `\r` and `\r\n`.
pub(super) fn line_ends(bytes: &[u8]) -> u64 {
    let (mut lines, mut after_return) = (0, false);
    for &byte in bytes {
        lines += u64::from(byte == b'\r' || (byte == b'\n' && !after_return));
        after_return = byte == b'\r';
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_end_outside_quotes_and_never_between_the_halves_of_a_line_end() {
        for (bytes, end) in [
            (&b""[..], None),
            (b"a,b", None),
            (b"a\nb", Some(2)),
            (b"a\nb\n", Some(4)),
            (b"a\rb\r", Some(2)),
            (b"a\r", None),
            (b"a\r\n", Some(3)),
            (b"a\n\"b\nc\"", Some(2)),
            (b"a\n\"b\nc\"\n", Some(8)),
            (b"a\n\"b\nc\"\r", Some(2)),
            (b"a\n\"b\nc\"\r\nd", Some(9)),
            (b"\"a\nb", None),
            (b"5\" pipe\n6", Some(8)),
            (b"a,\"b\"\"\n\"\"\"\nc", Some(11)),
        ] {
            assert_eq!(last_end(bytes, b','), end, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn line_ends_of_all_kinds_are_counted() {
        assert_eq!(line_ends(b"a\nb\r\nc\rd\n\r"), 5);
        assert_eq!(blank_lines(b"x\r\n\n\ry", 1), (3, 5));
    }
}
