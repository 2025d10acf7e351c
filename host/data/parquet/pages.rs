//! The pages of a column, for the crate `parquet` to decode.
//!
//! That crate could read them itself, but allocates what a page's header promises before it looks at the page: a file of
//! some hundred bytes can end the process. Here nothing is allocated that the bytes that are there could not have come
//! from.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use parquet::basic::{Compression, Encoding, Type as Physical};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::ColumnDescPtr;
use ruzstd::decoding::StreamingDecoder;

use super::thrift::{Stop, Thrift};

/// Bytes that are read at first where a header is expected.
const HEADER: u64 = 512;
/// The longest header: it may hold the least and the greatest text of its page.
const LONGEST_HEADER: u64 = 16 << 20;
/// Bytes that one of Snappy makes at most: an element of 3 copies 64.
const SNAPPY: usize = 22;
/// Bytes that one of LZ4 makes at most: one more in a length stands for 255.
const LZ4: usize = 255;
/// Bytes that one of Zstandard makes at most: a block of 4 stands for 128 KiB.
const ZSTD: usize = 1 << 15;
/// Values that a byte of lengths stands for at most: no writer has more to a width, which takes a byte.
const LENGTHS: u64 = 128;
/// How far a page compressed by Zstandard may refer back, if it is no longer.
const WINDOW: u64 = 8 << 20;

/// An open file, read from many places.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<File>>);

impl Shared {
    pub(super) fn new(file: File) -> Self {
        Shared(Arc::new(Mutex::new(file)))
    }

    /// `length` bytes from `from` on, which are known to be there.
    pub(super) fn read(&self, from: u64, length: u64) -> std::io::Result<Vec<u8>> {
        let length = usize::try_from(length).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        bytes.resize(length, 0);
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Whether pages compressed so are read.
pub(super) fn decompresses(compression: Compression) -> bool {
    match compression {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::LZ4_RAW => true,
        Compression::GZIP(_) | Compression::ZSTD(_) => true,
        Compression::LZO | Compression::BROTLI(_) | Compression::LZ4 => false,
    }
}

/// The pages of a column in a group of rows, from the first to the last.
pub(super) struct Pages {
    pub file: Shared,
    /// Where the next one is, and where the last one ends, which is no further than the file does.
    pub at: u64,
    pub end: u64,
    pub compression: Compression,
    pub column: ColumnDescPtr,
}

/// What a page's header says.
#[derive(Debug, Default)]
struct About {
    kind: i64,
    /// Bytes of the page, and of what it becomes.
    stored: i64,
    size: i64,
    values: i64,
    encoding: i64,
    /// The encoding of which values are there.
    levels: i64,
    nulls: i64,
    rows: i64,
    /// Bytes of what says which values are there, which are not compressed.
    definition: i64,
    repetition: i64,
    plain: bool,
}

const DATA: i64 = 0;
const INDEX: i64 = 1;
const DICTIONARY: i64 = 2;
const DATA_2: i64 = 3;

fn about(thrift: &mut Thrift<'_>) -> std::result::Result<About, Stop> {
    let mut about = About::default();
    thrift.fields(|thrift, number, kind| {
        match number {
            1 => about.kind = thrift.integer(kind)?,
            2 => about.size = thrift.integer(kind)?,
            3 => about.stored = thrift.integer(kind)?,
            5 | 7 | 8 => thrift.inner(kind, |thrift, inner, kind| {
                let value = match (number, inner) {
                    (_, 1) => &mut about.values,
                    (5 | 7, 2) | (8, 4) => &mut about.encoding,
                    (5, 3) => &mut about.levels,
                    (8, 2) => &mut about.nulls,
                    (8, 3) => &mut about.rows,
                    (8, 5) => &mut about.definition,
                    (8, 6) => &mut about.repetition,
                    (8, 7) => {
                        about.plain = !Thrift::boolean(kind)?;
                        return Ok(true);
                    }
                    _ => return Ok(false),
                };
                *value = thrift.integer(kind)?;
                Ok(true)
            })?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(about)
}

fn error(problem: impl Into<String>) -> ParquetError {
    ParquetError::General(problem.into())
}

/// A number of a header as what it should be.
fn number<T: TryFrom<i64>>(value: i64) -> Result<T> {
    T::try_from(value).map_err(|_| error("a page's header makes no sense"))
}

fn encoding(number: i64) -> Result<Encoding> {
    Ok(match number {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        // The decoder would allocate as many lengths as the middle of the page claims.
        7 => return Err(error("its encoding DELTA_BYTE_ARRAY is not read: write it with another")),
        number => {
            return Err(error(format!("its encoding, number {number}, is not read: write it with another")));
        }
    })
}

impl Pages {
    /// Reads the header of the next page, and goes on to the page.
    fn header(&mut self) -> Result<About> {
        let mut length = HEADER;
        loop {
            let there = length.min(self.end - self.at);
            let bytes = self.file.read(self.at, there)?;
            let mut thrift = Thrift::new(&bytes);
            match about(&mut thrift) {
                Ok(about) => {
                    self.at += there - thrift.left() as u64;
                    return Ok(about);
                }
                Err(Stop::Cut) if there == length && length < LONGEST_HEADER => length *= 8,
                Err(_) => return Err(error("a page's header is damaged")),
            }
        }
    }

    fn page(&mut self, about: &About) -> Result<Page> {
        let stored = number::<u64>(about.stored)?;
        if stored > self.end - self.at {
            return Err(error("a page is longer than what is there"));
        }
        let bytes = self.file.read(self.at, stored)?;
        self.at += stored;
        let size = number::<usize>(about.size)?;
        let num_values = number(about.values)?;
        let encoding = encoding(about.encoding)?;
        match about.kind {
            DATA => {
                let buf: Bytes = self.decompress(bytes, size)?.into();
                // What was used before 2013 in its place is not known to be used by anyone now.
                if self.column.max_def_level() > 0 && about.levels != 3 {
                    return Err(error("what says which values are there is not in an encoding that is read"));
                }
                let levels = match self.column.max_def_level() {
                    0 => 0,
                    _ => {
                        let length = buf.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
                        length.map_or(usize::MAX, |length| 4 + length as usize)
                    }
                };
                check_lengths(encoding, buf.get(levels..))?;
                let level = Encoding::RLE;
                Ok(Page::DataPage {
                    buf,
                    num_values,
                    encoding,
                    def_level_encoding: level,
                    rep_level_encoding: level,
                    statistics: None,
                })
            }
            DATA_2 => {
                let (definition, repetition) =
                    (number::<u32>(about.definition)?, number::<u32>(about.repetition)?);
                let levels = definition as usize + repetition as usize;
                if levels > bytes.len() || levels > size {
                    return Err(error("a page's header makes no sense"));
                }
                let buf: Bytes = if about.plain {
                    bytes.into()
                } else {
                    let values = self.decompress(bytes[levels..].to_vec(), size - levels)?;
                    [&bytes[..levels], &values].concat().into()
                };
                check_lengths(encoding, buf.get(levels..))?;
                Ok(Page::DataPageV2 {
                    buf,
                    num_values,
                    encoding,
                    num_nulls: number(about.nulls)?,
                    num_rows: number(about.rows)?,
                    def_levels_byte_len: definition,
                    rep_levels_byte_len: repetition,
                    is_compressed: false,
                    statistics: None,
                })
            }
            DICTIONARY => {
                let buf: Bytes = self.decompress(bytes, size)?.into();
                // The bytes of a value; of text, of its length.
                let width = match self.column.physical_type() {
                    Physical::INT64 | Physical::DOUBLE => 8,
                    Physical::INT96 => 12,
                    Physical::FIXED_LEN_BYTE_ARRAY => self.column.type_length().max(1) as u64,
                    _ => 4,
                };
                if u64::from(num_values) * width > buf.len() as u64 {
                    return Err(error("a dictionary is shorter than it claims"));
                }
                Ok(Page::DictionaryPage { buf, num_values, encoding, is_sorted: false })
            }
            _ => Err(error("a page's header makes no sense")),
        }
    }

    /// The `size` bytes that were compressed to `bytes`.
    fn decompress(&self, bytes: Vec<u8>, size: usize) -> Result<Vec<u8>> {
        let damaged = |problem: String| error(format!("a page cannot be decompressed ({problem})"));
        let check = |ratio: usize| {
            let fits = size <= bytes.len().saturating_mul(ratio);
            if fits { Ok(()) } else { Err(damaged("so little cannot become so much".to_owned())) }
        };
        let unpacked = match self.compression {
            _ if size == 0 => Vec::new(),
            Compression::UNCOMPRESSED => return Ok(bytes),
            Compression::SNAPPY => {
                check(SNAPPY)?;
                let mut unpacked = vec![0; size];
                let count = snap::raw::Decoder::new()
                    .decompress(&bytes, &mut unpacked)
                    .map_err(|problem| damaged(problem.to_string()))?;
                unpacked.truncate(count);
                unpacked
            }
            Compression::LZ4_RAW => {
                check(LZ4)?;
                lz4_flex::block::decompress(&bytes, size).map_err(|problem| damaged(problem.to_string()))?
            }
            Compression::GZIP(_) => read(MultiGzDecoder::new(&bytes[..]), size).map_err(damaged)?,
            Compression::ZSTD(_) => {
                check(ZSTD)?;
                let window = WINDOW.max(size as u64);
                let decoder = StreamingDecoder::new_with_max_window_size(&bytes[..], window);
                read(decoder.map_err(|problem| damaged(problem.to_string()))?, size).map_err(damaged)?
            }
            _ => return Err(error("its compression is not read")),
        };
        if unpacked.len() != size {
            return Err(damaged("it becomes less than it should, or more".to_owned()));
        }
        Ok(unpacked)
    }
}

/// Up to one byte more than `size`: memory grows with what comes.
fn read(from: impl Read, size: usize) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    from.take(size as u64 + 1).read_to_end(&mut bytes).map_err(|problem| problem.to_string())?;
    Ok(bytes)
}

/// Fails if `values`, in an encoding that begins with lengths, cannot hold as many as they claim: the decoder allocates
/// so many.
fn check_lengths(encoding: Encoding, values: Option<&[u8]>) -> Result<()> {
    let cut = || error("a page is cut off");
    let values = values.ok_or_else(cut)?;
    if encoding != Encoding::DELTA_LENGTH_BYTE_ARRAY {
        return Ok(());
    }
    // The values of a block, its parts, and all values.
    let mut rest = values.iter();
    let mut count = 0;
    for _ in 0..3 {
        count = 0;
        for shift in (0..64).step_by(7) {
            let byte = rest.next().ok_or_else(cut)?;
            count |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    if count > LENGTHS.saturating_mul(values.len() as u64) {
        return Err(error("a page holds fewer lengths than it claims"));
    }
    Ok(())
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        while self.at < self.end {
            let about = self.header()?;
            if about.kind != INDEX {
                return self.page(&about).map(Some);
            }
            self.at = self.at.saturating_add(number::<u64>(about.stored)?).min(self.end);
        }
        Ok(None)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        Err(error("pages are read from the first to the last"))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        Err(error("pages are read from the first to the last"))
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}
