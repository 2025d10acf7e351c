//! What is asked of a file's columns, and what becomes of the rows that are read.

use std::collections::HashMap;

use super::classes::{self, label};
use super::encoding::unknown;
use super::names::{Header, quoted};
use super::{Column, Dataset, Encoding, Missing, Table, split};
use crate::memory::{ask_for_huge_pages, give_back_what_is_free};
use crate::{Error, Result};

/// Values up to which room for them is doubled: so little is no burden.
const LITTLE: usize = 1 << 18;
/// Beyond that, room grows by one part in so many at least.
const GROWTH: usize = 32;

/// A column that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Picked {
    pub column: usize,
    pub name: String,
    /// The text is a category or a class, and no number.
    pub text: bool,
    pub missing: Missing,
    pub purpose: Purpose,
}

/// What a column is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// A feature to learn from.
    Learn,
    /// A feature of a model that has learned.
    Predict,
    Target,
}

impl Picked {
    /// What to do about a missing value in a `row` of the file, which may be called a line.
    pub(super) fn remedy_for_missing(&self, row: &str) -> String {
        let others = match self.purpose {
            Purpose::Learn => ", or have such samples dropped or the mean taken",
            Purpose::Predict => "; a model has means to take where it learned with them",
            Purpose::Target => ", or have such samples dropped",
        };
        format!("remove the {row} or fill in a value{others}")
    }

    /// What to do about a text that is no number.
    pub(super) fn remedy_for_text(&self) -> &'static str {
        match self.purpose {
            Purpose::Learn => {
                "write it as one, have the column taken as a category, or leave it out of the features"
            }
            Purpose::Predict => "write it as one: the model learned from numbers here",
            Purpose::Target => "write it as one, or predict another column; classes may be texts",
        }
    }
}

/// What is asked of a file's columns: features, and the target behind them.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub picked: Vec<Picked>,
    /// The last of `picked` is the target.
    pub target: bool,
}

impl Plan {
    /// The features picked.
    pub(super) fn features(&self) -> usize {
        self.picked.len() - usize::from(self.target)
    }
}

/// A row that cannot be used.
#[derive(Debug)]
pub(super) struct Bad {
    /// The line or row, from 1.
    pub at: u64,
    /// What follows "line 7" in the message.
    pub problem: String,
}

/// A text's number in the part, and the line where it is first.
#[derive(Debug, Default)]
pub(super) struct Texts {
    numbers: HashMap<Box<str>, u32>,
    /// In the order of their numbers.
    first: Vec<(Box<str>, u64)>,
}

impl Texts {
    pub(super) fn number(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }

    pub(super) fn number_or_new(&mut self, text: &str, at: u64) -> u32 {
        if let Some(number) = self.number(text) {
            return number;
        }
        let number = self.first.len() as u32;
        self.numbers.insert(text.into(), number);
        self.first.push((text.into(), at));
        number
    }
}

/// Rows that were read together.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// rows × features picked: numbers, of texts their numbers in `texts`; NaN where a value is missing that is to be
    /// filled in.
    pub values: Vec<f32>,
    /// The target's, if there is one.
    pub y: Vec<f32>,
    /// Of each column picked, if it is of text.
    pub texts: Vec<Texts>,
    /// Rows left out because a value is missing.
    pub dropped: usize,
    /// What ended it.
    pub bad: Option<Bad>,
}

impl Part {
    pub(super) fn new(plan: &Plan) -> Self {
        Part { texts: plan.picked.iter().map(|_| Texts::default()).collect(), ..Part::default() }
    }

    /// Adds `before` to the places of its rows.
    pub(super) fn move_on(&mut self, before: u64) {
        self.bad.iter_mut().for_each(|bad| bad.at += before);
        self.texts.iter_mut().flat_map(|texts| &mut texts.first).for_each(|(_, at)| *at += before);
    }
}

/// What a file's rows are read from: parts in their order.
pub(super) trait Source {
    /// The columns.
    fn header(&self) -> &Header;

    /// The parts that come next; none at the end.
    fn parts(&mut self, plan: &Plan) -> Result<Vec<Part>>;

    /// How much of the file is still to be read for each part that has been; not known of a pipe.
    fn left(&self) -> f64;
}

/// Texts of a column, by their number.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// Those met so far, in the order of their first row.
    Growing(HashMap<String, u32>),
    /// All that there may be.
    Given(Vec<String>),
}

impl Known {
    /// Of the column of an encoding; none for numbers.
    fn of(column: &Column) -> Option<Self> {
        match column {
            Column::Category { levels, .. } => Some(Known::Given(levels.clone())),
            Column::Number { .. } => None,
        }
    }
}

/// The columns' texts, and what they are called in messages.
#[derive(Clone, Debug)]
pub(super) struct Vocabulary {
    columns: Vec<Option<Known>>,
    names: Vec<String>,
    target: bool,
}

impl Vocabulary {
    /// Nothing known but which columns are of text.
    pub(super) fn growing(plan: &Plan) -> Self {
        let columns = plan.picked.iter().map(|picked| picked.text.then(|| Known::Growing(HashMap::new())));
        Vocabulary { columns: columns.collect(), names: names(plan), target: plan.target }
    }

    /// Of an encoding, and of the classes of the target if it has any.
    pub(super) fn given(plan: &Plan, encoding: &Encoding, classes: Option<&[String]>) -> Self {
        let mut columns: Vec<_> = encoding.columns().iter().map(Known::of).collect();
        if plan.target {
            columns.push(classes.map(|classes| Known::Given(classes.to_vec())));
        }
        Vocabulary { columns, names: names(plan), target: plan.target }
    }

    /// Turns the texts' numbers in `part` into their numbers here. Which row is the first with an unknown one does not
    /// depend on how rows are put into parts.
    fn translate(&mut self, part: &mut Part) -> Result<(), Bad> {
        let width = self.columns.len();
        let features = width - usize::from(self.target);
        let mut bad: Option<Bad> = None;
        for (j, known) in self.columns.iter_mut().enumerate() {
            let Some(known) = known else { continue };
            let target = self.target && j + 1 == width;
            let mut numbers = Vec::with_capacity(part.texts[j].first.len());
            for (text, at) in &part.texts[j].first {
                match find(known, text, target) {
                    Ok(number) => numbers.push(number as f32),
                    Err(problem) => {
                        let problem = format!(", column {}: {problem}", quoted(&self.names[j]));
                        if bad.as_ref().is_none_or(|bad| *at < bad.at) {
                            bad = Some(Bad { at: *at, problem });
                        }
                        break;
                    }
                }
            }
            if bad.is_none() {
                let (cells, first, width) =
                    if target { (&mut part.y, 0, 1) } else { (&mut part.values, j, features) };
                let cells = cells.iter_mut().skip(first).step_by(width).filter(|cell| !cell.is_nan());
                cells.for_each(|cell| *cell = numbers[*cell as usize]);
            }
        }
        bad.map_or(Ok(()), Err)
    }

    /// The texts met, sorted.
    pub(super) fn sorted(self) -> Sorted {
        let (mut columns, mut classes, mut orders) = (Vec::new(), None, Vec::new());
        let count = self.names.len();
        for (j, (name, known)) in self.names.into_iter().zip(self.columns).enumerate() {
            let target = self.target && j + 1 == count;
            let (texts, order) = match known {
                None => (None, None),
                Some(Known::Given(texts)) => (Some(texts), None),
                Some(Known::Growing(numbers)) => {
                    let texts: std::collections::BTreeSet<String> = numbers.keys().cloned().collect();
                    let texts = if target { classes::sorted(texts) } else { texts.into_iter().collect() };
                    let mut order = vec![0.0; texts.len()];
                    for (k, text) in texts.iter().enumerate() {
                        order[numbers[text] as usize] = k as f32;
                    }
                    (Some(texts), Some(order))
                }
            };
            orders.push(order);
            match texts {
                texts if target => classes = texts,
                Some(levels) => columns.push(Column::Category { name, levels, fill: None }),
                None => columns.push(Column::Number { name, fill: None }),
            }
        }
        Sorted { columns, classes, orders }
    }
}

/// The texts that were met, in their order.
pub(super) struct Sorted {
    /// The columns of an encoding.
    pub columns: Vec<Column>,
    /// The classes of the target, if it is of text.
    pub classes: Option<Vec<String>>,
    /// For each column, what its texts' numbers become.
    pub orders: Vec<Option<Vec<f32>>>,
}

fn names(plan: &Plan) -> Vec<String> {
    plan.picked.iter().map(|picked| picked.name.clone()).collect()
}

/// The number of `text` among those known.
fn find(known: &mut Known, text: &str, target: bool) -> Result<usize, String> {
    match known {
        Known::Given(texts) if target => classes::class_of(text, texts).ok_or_else(|| unknown(text, texts)),
        Known::Given(texts) => {
            texts.binary_search_by(|level| level.as_str().cmp(text)).map_err(|_| unknown(text, texts))
        }
        Known::Growing(numbers) => {
            let text = if target { label(text) } else { text.into() };
            if let Some(number) = numbers.get(&*text) {
                return Ok(*number as usize);
            }
            if numbers.len() == classes::MOST {
                return Err(classes::TOO_MANY.to_owned());
            }
            let number = numbers.len();
            numbers.insert(text.into_owned(), number as u32);
            Ok(number)
        }
    }
}

/// How many rows there will be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Extent {
    /// Those of the whole file.
    File,
    /// Few at a time.
    Block,
}

/// Rows of a file as they come, before their texts become features.
pub(super) struct Rows {
    pub vocabulary: Vocabulary,
    /// rows × features picked.
    values: Vec<f32>,
    y: Vec<f32>,
    pub dropped: usize,
    extent: Extent,
}

impl Rows {
    pub(super) fn new(vocabulary: Vocabulary, extent: Extent) -> Self {
        Rows { vocabulary, values: Vec::new(), y: Vec::new(), dropped: 0, extent }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.values.capacity()
    }

    /// The number of rows.
    pub(super) fn count(&self, plan: &Plan) -> usize {
        if plan.target { self.y.len() } else { self.values.len() / plan.features() }
    }

    /// Reads what comes next; `false` at the end.
    pub(super) fn read(&mut self, source: &mut dyn Source, plan: &Plan) -> Result<bool> {
        let parts = source.parts(plan)?;
        let more = !parts.is_empty();
        self.add(parts, source.left(), source.header(), plan)?;
        Ok(more)
    }

    /// Reads all that there is: what was read is added while what comes next is read.
    pub(super) fn read_all(&mut self, source: &mut (dyn Source + Send), plan: &Plan) -> Result<()> {
        let header = source.header().clone();
        let mut parts = source.parts(plan)?;
        while !parts.is_empty() {
            let left = source.left();
            let (next, added) = rayon::join(|| source.parts(plan), || self.add(parts, left, &header, plan));
            added?;
            parts = next?;
        }
        give_back_what_is_free();
        Ok(())
    }

    /// Adds rows to those before; as many are left in the file as `left` says: see [`Source::left`].
    fn add(&mut self, parts: Vec<Part>, left: f64, header: &Header, plan: &Plan) -> Result<()> {
        let read: usize = parts.iter().map(|part| part.values.len() / plan.features()).sum();
        let before = self.count(plan);
        let left = if self.extent == Extent::File { left * (before + read) as f64 } else { 0.0 };
        self.make_room(plan, read, left, before).map_err(|_| no_memory(header, before))?;
        for mut part in parts {
            self.vocabulary
                .translate(&mut part)
                .and_then(|()| part.bad.take().map_or(Ok(()), Err))
                .map_err(|bad| refused(header, &bad))?;
            self.dropped += part.dropped;
            self.values.extend_from_slice(&part.values);
            self.y.extend_from_slice(&part.y);
        }
        Ok(())
    }

    /// Room for `rows` more, and for what is left of the file if it is as what has been read, and a little more: a
    /// vector that doubles has up to twice the memory that its values take.
    fn make_room(
        &mut self,
        plan: &Plan,
        rows: usize,
        left: f64,
        before: usize,
    ) -> Result<(), std::collections::TryReserveError> {
        let features = plan.features();
        let estimate =
            if self.values.len() <= LITTLE { before } else { (left * 1.005) as usize + before / GROWTH };
        for (values, width) in [(&mut self.values, features), (&mut self.y, usize::from(plan.target))] {
            if values.capacity() - values.len() >= width * rows {
                continue;
            }
            let made = values.try_reserve_exact(width.saturating_mul(rows.saturating_add(estimate)));
            // What the length of a file promises need not be there.
            made.or_else(|_| values.try_reserve_exact(width * (rows + before / GROWTH)))?;
            ask_for_huge_pages(values);
        }
        Ok(())
    }

    /// Some of the rows, and the rows dropped since the last that were taken. Also how many are to be left out before more are
    /// read. A block that is most of what is there is taken with its memory, so that it is there once.
    pub(super) fn take(&mut self, plan: &Plan, rows: std::ops::Range<usize>) -> (Rows, usize) {
        let (from, to) = (rows.start, rows.end);
        let most = 2 * rows.len() >= self.count(plan);
        let part = |values: &mut Vec<f32>, width: usize| {
            let (from, to) = (from * width, to * width);
            if !most {
                return values[from..to].to_vec();
            }
            let rest = values.split_off(to);
            let mut taken = std::mem::replace(values, rest);
            taken.drain(..from);
            taken.shrink_to_fit();
            taken
        };
        let values = part(&mut self.values, plan.features());
        let y = part(&mut self.y, usize::from(plan.target));
        let dropped = std::mem::take(&mut self.dropped);
        let taken = Rows { vocabulary: self.vocabulary.clone(), values, y, dropped, extent: Extent::Block };
        (taken, if most { 0 } else { to })
    }

    /// Leaves the first `count` rows out.
    pub(super) fn forget(&mut self, plan: &Plan, count: usize) {
        self.values.drain(..count * plan.features());
        self.y.drain(..if plan.target { count } else { 0 });
    }

    /// Adds the rows to `sums` and leaves them out.
    pub(super) fn sum(&mut self, sums: &mut ColumnSums) {
        sums.add(&self.values);
        self.values.clear();
        self.y.clear();
    }

    /// Texts become features.
    ///
    /// # Errors
    /// No rows, a category without levels, features of one name, no memory.
    pub(super) fn encode(self, header: &Header) -> Result<Encoded> {
        let Rows { vocabulary, mut values, mut y, dropped, .. } = self;
        if values.is_empty() {
            return Err(no_rows(header, dropped));
        }
        let Sorted { columns, classes, orders } = vocabulary.sorted();
        if let Some(order) = orders.get(columns.len()).and_then(Option::as_ref) {
            y.iter_mut().for_each(|class| *class = order[*class as usize]);
        }
        check_levels(header, &columns)?;
        expand(&mut values, &columns, &orders).map_err(|_| {
            header.error("there is no memory for the features that the categories become: take fewer samples or categories")
        })?;
        values.shrink_to_fit();
        y.shrink_to_fit();
        let encoding = encoding(header, columns)?;
        Ok(Encoded { encoding, classes, values, y, dropped })
    }
}

/// Rows of features.
pub(super) struct Encoded {
    pub encoding: Encoding,
    pub classes: Option<Vec<String>>,
    values: Vec<f32>,
    y: Vec<f32>,
    dropped: usize,
}

impl Encoded {
    /// Takes samples out for a test: see [`Dataset::split`].
    pub(super) fn split(&mut self, test_share: f64, seed: u64) -> Result<Encoded> {
        let held = split::held_back(self.y.len(), test_share, seed)?;
        let values = split::take_out(&mut self.values, self.encoding.features().len(), &held)?;
        let y = split::take_out(&mut self.y, 1, &held)?;
        self.values.shrink_to_fit();
        let (encoding, classes) = (self.encoding.clone(), self.classes.clone());
        Ok(Encoded { encoding, classes, values, y, dropped: self.dropped })
    }

    /// The encoding with the means of these samples for missing values.
    pub(super) fn means(&self, header: &Header) -> Result<Encoding> {
        let mut means = Means::new(self.encoding.features().len());
        means.add(&self.values);
        means.encoding(header, self.encoding.columns().to_vec())
    }

    /// Fills missing values in with those of `encoding`, which has the same columns.
    pub(super) fn fill(&mut self, encoding: Encoding) {
        let fills = fills(&encoding);
        if fills.iter().any(Option::is_some) {
            for row in self.values.chunks_exact_mut(fills.len()) {
                for (value, fill) in row.iter_mut().zip(&fills).filter(|(value, _)| value.is_nan()) {
                    *value = fill.unwrap_or(f32::NAN);
                }
            }
        }
        self.encoding = encoding;
    }

    pub(super) fn into_dataset(self, target: &str) -> Result<Dataset> {
        let features = Table::new(self.encoding.features().to_vec(), self.values)?;
        let dataset = Dataset::new(features, target, self.y)?;
        Ok(Dataset { classes: self.classes, encoding: self.encoding, dropped: self.dropped, ..dataset })
    }

    pub(super) fn into_table(self) -> Result<Table> {
        Table::new(self.encoding.features().to_vec(), self.values)
    }
}

/// Fails if a category has no levels.
pub(super) fn check_levels(header: &Header, columns: &[Column]) -> Result<()> {
    match columns.iter().find(|column| column.width() == 0) {
        None => Ok(()),
        Some(column) => Err(header.error(&format!(
            "the column {} holds no value: leave it out of the features",
            quoted(column.name())
        ))),
    }
}

/// The encoding of a file's columns.
pub(super) fn encoding(header: &Header, columns: Vec<Column>) -> Result<Encoding> {
    Encoding::new(columns).map_err(|error| header.error(&error.to_string()))
}

/// What stands for a missing value of each feature.
fn fills(encoding: &Encoding) -> Vec<Option<f32>> {
    let of = |column: &Column| -> Vec<Option<f32>> {
        match column {
            Column::Number { fill, .. } => vec![fill.map(|fill| fill as f32)],
            Column::Category { levels, fill: None, .. } => vec![None; levels.len()],
            Column::Category { fill: Some(fill), .. } => fill.iter().map(|fill| Some(*fill as f32)).collect(),
        }
    };
    encoding.columns().iter().flat_map(of).collect()
}

/// Sums of features over the samples that have them, in `f64` and in their order.
pub(super) struct Means {
    sums: Vec<f64>,
    counts: Vec<u64>,
}

impl Means {
    pub(super) fn new(features: usize) -> Self {
        Means { sums: vec![0.0; features], counts: vec![0; features] }
    }

    pub(super) fn add(&mut self, values: &[f32]) {
        for row in values.chunks_exact(self.sums.len()) {
            for ((sum, count), value) in self.sums.iter_mut().zip(&mut self.counts).zip(row) {
                if !value.is_nan() {
                    *sum += f64::from(*value);
                    *count += 1;
                }
            }
        }
    }

    /// `columns` with the means for missing values.
    pub(super) fn encoding(&self, header: &Header, columns: Vec<Column>) -> Result<Encoding> {
        let means: Vec<f32> =
            self.sums.iter().zip(&self.counts).map(|(sum, count)| (sum / *count as f64) as f32).collect();
        let mut rest = &means[..];
        let mut filled = Vec::with_capacity(columns.len());
        for column in columns {
            let (these, others) = rest.split_at(column.width());
            rest = others;
            if these.iter().any(|mean| !mean.is_finite()) {
                return Err(header.error(&format!(
                    "the column {} has no value among the training samples to take the mean of: leave it out of the \
                     features",
                    quoted(column.name())
                )));
            }
            filled.push(column.filled(these));
        }
        encoding(header, filled)
    }
}

/// Sums of columns: of numbers as [`Means`] has them; of texts, how often each is there.
pub(super) struct ColumnSums(Vec<ColumnSum>);

enum ColumnSum {
    Numbers(f64, u64),
    Texts(Vec<u64>),
}

impl ColumnSums {
    pub(super) fn new(plan: &Plan) -> Self {
        let of = |picked: &Picked| match picked.text {
            true => ColumnSum::Texts(Vec::new()),
            false => ColumnSum::Numbers(0.0, 0),
        };
        ColumnSums(plan.picked[..plan.features()].iter().map(of).collect())
    }

    fn add(&mut self, values: &[f32]) {
        for row in values.chunks_exact(self.0.len()) {
            for (sum, value) in self.0.iter_mut().zip(row).filter(|(_, value)| !value.is_nan()) {
                match sum {
                    ColumnSum::Numbers(sum, count) => {
                        *sum += f64::from(*value);
                        *count += 1;
                    }
                    ColumnSum::Texts(counts) => {
                        let number = *value as usize;
                        counts.resize(counts.len().max(number + 1), 0);
                        counts[number] += 1;
                    }
                }
            }
        }
    }

    /// The same of the features that the columns become, by the texts' order.
    pub(super) fn means(&self, orders: &[Option<Vec<f32>>]) -> Means {
        let mut means = Means::new(0);
        for (sum, order) in self.0.iter().zip(orders) {
            match sum {
                ColumnSum::Numbers(sum, count) => {
                    means.sums.push(*sum);
                    means.counts.push(*count);
                }
                ColumnSum::Texts(counts) => {
                    let mut sorted = vec![0.0; counts.len()];
                    for (number, &count) in counts.iter().enumerate() {
                        sorted[order.as_ref().map_or(number, |order| order[number] as usize)] = count as f64;
                    }
                    means.sums.extend(sorted);
                    means.counts.extend(std::iter::repeat_n(counts.iter().sum::<u64>(), counts.len()));
                }
            }
        }
        means
    }
}

/// Turns rows of columns into rows of features where they are: no row becomes shorter, so the last is the first to move.
fn expand(
    values: &mut Vec<f32>,
    columns: &[Column],
    orders: &[Option<Vec<f32>>],
) -> Result<(), std::collections::TryReserveError> {
    if columns.iter().all(|column| matches!(column, Column::Number { .. })) {
        return Ok(());
    }
    let width: usize = columns.iter().map(Column::width).sum();
    let rows = values.len() / columns.len();
    let more = rows.saturating_mul(width).saturating_sub(values.len());
    values.try_reserve_exact(more)?;
    ask_for_huge_pages(values);
    values.resize(rows * width, 0.0);
    let mut row = vec![0.0; columns.len()];
    for i in (0..rows).rev() {
        row.copy_from_slice(&values[i * columns.len()..][..columns.len()]);
        let mut to = &mut values[i * width..][..width];
        for ((column, order), &value) in columns.iter().zip(orders).zip(&row) {
            let (these, others) = to.split_at_mut(column.width());
            to = others;
            match column {
                Column::Number { .. } => these[0] = value,
                Column::Category { .. } if value.is_nan() => these.fill(f32::NAN),
                Column::Category { .. } => {
                    these.fill(0.0);
                    these[order.as_ref().map_or(value, |order| order[value as usize]) as usize] = 1.0;
                }
            }
        }
    }
    Ok(())
}

/// The error for a row that cannot be used.
fn refused(header: &Header, bad: &Bad) -> Error {
    header.error(&format!("{} {}{}", header.place, bad.at, bad.problem))
}

fn no_memory(header: &Header, rows: usize) -> Error {
    header.error(&format!("there is no memory for more than {rows} samples: take fewer samples or features"))
}

pub(super) fn no_rows(header: &Header, dropped: usize) -> Error {
    header.error(&match dropped {
        0 if header.place == "line" => {
            "there is a header but no data: a line for each sample must follow it".to_owned()
        }
        0 => "there are no rows: one for each sample is needed".to_owned(),
        dropped => format!("a value is missing in each of the {dropped} samples: none is left to learn from"),
    })
}
