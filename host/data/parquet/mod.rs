//! Parquet files: columns in groups of rows.
//!
//! | file | does |
//! |---|---|
//! | thrift.rs | reads the headers' encoding |
//! | schema.rs | the columns, and what their values are |
//! | pages.rs | the pages of a column, decompressed |
//! | column.rs | values of a column |
//!
//! Levels and encodings are decoded by Apache's crate `parquet`. It is not made for files that somebody has damaged on
//! purpose: it trusts lengths, and panics where a page is not what it should be. What it would allocate is looked at
//! before, and its panics are caught: see [`guarded`].

mod column;
mod pages;
mod schema;
mod thrift;

use std::cell::Cell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;

use parquet::file::metadata::{
    ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, ParquetStatisticsPolicy, RowGroupMetaData,
};
use rayon::prelude::*;

use super::cells;
use super::names::{Header, quoted};
use super::plan::{Part, Picked, Plan, Source};
use super::reader::PARQUET;
use crate::{Error, Result};
use column::{Block, Reading};
use pages::{Pages, Shared};
use schema::{Column, Values};

/// What a file begins and ends with, and one whose footer is encrypted.
const MAGIC: &[u8] = PARQUET[0];
const ENCRYPTED: &[u8] = PARQUET[1];
/// The footer's length and the file's end.
const TAIL: u64 = 8;
/// Values that are read at a time, of all columns.
const VALUES: usize = 1 << 20;
/// Rows for each byte of a file, beyond which it is damaged: no data say so little.
const ROWS_IN_A_BYTE: u64 = 1000;
/// Characters of what the decoder says that a message repeats.
const CHARACTERS: usize = 200;
/// What pandas names the columns of an index that has no name.
const INDEX: &str = "__index_level_";

/// An open Parquet file, gone through group by group.
pub(super) struct Groups {
    header: Header,
    file: Shared,
    length: u64,
    metadata: ParquetMetaData,
    columns: Vec<Column>,
    /// The groups of rows that have been begun.
    begun: usize,
    /// The columns that are picked, in the group that was begun last, and its rows that are left.
    reading: Vec<Reading>,
    left: usize,
    rows: u64,
    /// Rows that are read.
    at: u64,
}

impl Groups {
    pub(super) fn open(path: &Path, file: File) -> Result<Self> {
        let nowhere = Header::numbered(path, 0, "row");
        let unreadable = |source| Error::unreadable(path, source);
        let about = file.metadata().map_err(unreadable)?;
        if !about.is_file() {
            return Err(nowhere.error(
                "a Parquet file is read from its end, which this does not have: write what comes from there to a file first",
            ));
        }
        let (file, length) = (Shared::new(file), about.len());
        let footer = footer(&file, length).map_err(unreadable)?.map_err(|problem| nowhere.error(problem))?;
        let (columns, schema) = schema::read(&footer).map_err(|problem| nowhere.error(&problem))?;
        let mut options = ParquetMetaDataOptions::new().with_schema(schema);
        options.set_column_stats_policy(ParquetStatisticsPolicy::SkipAll);
        options.set_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll);
        options.set_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
        let metadata =
            guarded(|| ParquetMetaDataReader::decode_metadata_with_options(&footer, Some(&options)));
        let metadata = metadata.map_err(|problem| {
            nowhere.error(&format!("its list of row groups is damaged ({problem}): get the file again"))
        })?;
        let rows = rows(&metadata, length).map_err(|problem| nowhere.error(&problem))?;
        let name = |column: &Column| {
            let unnamed = column.name.starts_with(INDEX);
            if unnamed { String::new() } else { column.name.clone() }
        };
        let header = Header::new(path, columns.iter().map(name).collect(), "row").map_err(|(.., name)| {
            nowhere.error(&format!("two columns are named {}: rename one", quoted(&name)))
        })?;
        Ok(Groups {
            header,
            file,
            length,
            metadata,
            columns,
            begun: 0,
            reading: Vec::new(),
            left: 0,
            rows,
            at: 0,
        })
    }

    /// Fails if what is asked of a column is not what it holds.
    fn check(&self, plan: &Plan) -> Result<()> {
        for picked in &plan.picked {
            let problem = match &self.columns[picked.column].values {
                Values::Refused(what) => {
                    format!("it holds {what}, which are no numbers: leave it out, or write numbers or text in its place")
                }
                Values::Text if !picked.text => {
                    "it holds text, where numbers are needed: leave it out, or take it as a category (or as a target \
                     of classes)"
                        .to_owned()
                }
                _ => continue,
            };
            return Err(self.header.error(&format!("column {}: {problem}", quoted(&picked.name))));
        }
        Ok(())
    }

    /// Begins the next group of rows that has any; `false` at the end.
    fn begin(&mut self, plan: &Plan) -> Result<bool> {
        while let Some(group) = self.metadata.row_groups().get(self.begun) {
            self.begun += 1;
            self.left = group.num_rows() as usize;
            if self.left > 0 {
                let reading = plan.picked.iter().map(|picked| self.column(group, picked.column));
                self.reading = reading.collect::<Result<_>>()?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A column in a group of rows.
    fn column(&self, group: &RowGroupMetaData, column: usize) -> Result<Reading> {
        let column = &self.columns[column];
        let wrong = |problem: &str| {
            self.header.error(&format!(
                "column {}, from row {} on: {problem}",
                quoted(&column.name),
                self.at + 1
            ))
        };
        let chunk =
            group.columns().get(column.leaf).ok_or_else(|| wrong("it is not there: get the file again"))?;
        if chunk.file_path().is_some() {
            return Err(wrong("its values are in another file: read those files that hold rows"));
        }
        if !pages::decompresses(chunk.compression()) {
            let problem = format!(
                "its compression, {}, is not read: write it with snappy, gzip, zstd, lz4_raw or none",
                chunk.compression()
            );
            return Err(wrong(&problem));
        }
        // Some programs write 0 where there is no dictionary.
        let dictionary = chunk.dictionary_page_offset().filter(|begin| *begin > 0);
        let begin = u64::try_from(dictionary.unwrap_or(i64::MAX).min(chunk.data_page_offset()));
        let end =
            begin.ok().and_then(|begin| begin.checked_add(u64::try_from(chunk.compressed_size()).ok()?));
        match (begin, end) {
            (Ok(at), Some(end)) if end <= self.length && chunk.num_values() == group.num_rows() => {
                let (compression, column_type) = (chunk.compression(), chunk.column_descr_ptr());
                let pages = Pages { file: self.file.clone(), at, end, compression, column: column_type };
                Ok(Reading::new(column, pages))
            }
            _ => Err(wrong("what the file says of it makes no sense: get the file again")),
        }
    }

    /// The next `rows` values of each column that is picked.
    fn blocks(&mut self, plan: &Plan, rows: usize) -> Result<Vec<Block>> {
        let blocks: Vec<_> =
            self.reading.par_iter_mut().map(|reading| guarded(|| reading.read(rows))).collect();
        let named = |(block, picked): (std::result::Result<Block, String>, &Picked)| {
            block.map_err(|problem| {
                self.header.error(&format!(
                    "column {}, behind row {}: {problem}; if the file is damaged, get it again",
                    quoted(&picked.name),
                    self.at
                ))
            })
        };
        blocks.into_iter().zip(&plan.picked).map(named).collect()
    }
}

impl Source for Groups {
    fn header(&self) -> &Header {
        &self.header
    }

    fn parts(&mut self, plan: &Plan) -> Result<Vec<Part>> {
        if self.begun == 0 {
            self.check(plan)?;
        }
        if self.left == 0 && !self.begin(plan)? {
            return Ok(Vec::new());
        }
        let rows = (VALUES / plan.picked.len()).max(1).min(self.left);
        let blocks = self.blocks(plan, rows)?;
        let parts = cells::parts(plan, &blocks, rows, self.at + 1);
        self.left -= rows;
        self.at += rows as u64;
        Ok(parts)
    }

    fn left(&self) -> f64 {
        (self.rows - self.at) as f64 / self.at.max(1) as f64
    }
}

/// The footer: all that is said of the file's columns.
fn footer(file: &Shared, length: u64) -> std::io::Result<std::result::Result<Vec<u8>, &'static str>> {
    const CUT: &str = "the file is cut off: it does not end as a Parquet file does; get it again";
    let Some(end) = length.checked_sub(TAIL).filter(|end| *end >= MAGIC.len() as u64) else {
        return Ok(Err(CUT));
    };
    let tail = file.read(end, TAIL)?;
    let (size, magic) = tail.split_at(4);
    if magic == ENCRYPTED {
        return Ok(Err("the file is encrypted, which is not read: write it without"));
    }
    let size = u64::from(u32::from_le_bytes([size[0], size[1], size[2], size[3]]));
    match end.checked_sub(size).filter(|begin| *begin >= MAGIC.len() as u64) {
        Some(begin) if magic == MAGIC => file.read(begin, size).map(Ok),
        _ => Ok(Err(CUT)),
    }
}

/// The rows of all groups.
fn rows(metadata: &ParquetMetaData, length: u64) -> std::result::Result<u64, String> {
    let mut rows = 0_u64;
    for group in metadata.row_groups() {
        let more = u64::try_from(group.num_rows()).ok().and_then(|count| rows.checked_add(count));
        rows = more.ok_or("the numbers of rows that the file gives make no sense: get it again")?;
    }
    if rows > length.saturating_mul(ROWS_IN_A_BYTE) {
        return Err(format!("the file promises {rows} rows, but has {length} bytes: get it again"));
    }
    Ok(rows)
}

thread_local! {
    /// Whether this thread decodes what may make the decoder panic.
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// What `decode` gives; its error, or its panic, as a message of bounded length.
///
/// The crate `parquet` has assertions and `unwrap`s where a page is not what its header says (its issues 7806 and 9742,
/// still open, collect them). A damaged file is no fault of this program, so such a panic is an error like any other, and
/// nothing of it is printed. What was decoded with is not used again.
fn guarded<T>(decode: impl FnOnce() -> parquet::errors::Result<T>) -> std::result::Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !DECODING.get() {
                before(panic);
            }
        }));
    });
    DECODING.set(true);
    let result = catch_unwind(AssertUnwindSafe(decode));
    DECODING.set(false);
    let problem = match result {
        Ok(Ok(decoded)) => return Ok(decoded),
        Ok(Err(error)) => error.to_string(),
        Err(_) => return Err("a page is not what it should be".to_owned()),
    };
    Err(problem.chars().take(CHARACTERS).collect())
}

#[cfg(test)]
mod tests;
