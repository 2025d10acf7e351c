//! Pictures of training and of predictions.

use plotters::coord::ranged1d::{AsRangedCoord, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::{Ticked, decades, numbers, ticks};
use super::canvas::{
    Area, BLUE, Drawing, Drawn, Format, GRID, INK, MUTED, ORANGE, PAPER, PIXEL, SMALL, TEXT, THICK, THIN,
    WIDTH, label, text,
};
use super::contours::Contours;
use crate::Result;

/// Heights: of the title, and of plots.
const TITLE: i32 = 40 * PIXEL;
const HISTORY: i32 = 350 * PIXEL;
const PREDICTIONS: i32 = 520 * PIXEL;
/// What a plot has around its axes.
const MARGIN: i32 = 14 * PIXEL;
const LEFT_LABELS: i32 = 76 * PIXEL;
const BOTTOM_LABELS: i32 = 46 * PIXEL;
/// The room of a heading.
const HEADING: i32 = 24 * PIXEL;
const TICK: i32 = 5 * PIXEL;

/// Points that a line or a cloud of points is drawn with at most: more cannot be told apart.
const MOST_POINTS: usize = 2000;
/// Numbers beyond this are left out: axes of such are not computed.
const LARGEST: f64 = 1e100;
/// What an axis shows at least, of the largest number on it.
const LEAST_RANGE: f64 = 0.1;
/// The largest cost over the least from which on the axis has decades.
const DECADES: f64 = 20.0;
/// Side of a confusion matrix' cells: at most; at least where they have numbers; at least where they have names.
const CELL: i32 = 56 * PIXEL;
const NUMBERED_CELL: i32 = 24 * PIXEL;
const NAMED_CELL: i32 = 13 * PIXEL;
/// The room of a matrix, and of what is left of it.
const ROWS: i32 = 190 * PIXEL;
const MATRIX: i32 = WIDTH - ROWS - 2 * MARGIN;
/// How opaque a cell is that has all samples of its class, so that its number can still be read.
const OPAQUE: f64 = 0.55;
/// How opaque one is that has hardly any.
const FAINT: f64 = 0.1;
/// The most classes that are shown: the cells of more could not be told apart.
const MOST_CLASSES: usize = 200;
/// Characters of a title.
const TITLE_LENGTH: usize = 80;
/// The room of a class's name: what a matrix leaves, less the words beside it.
const NAME: i32 = ROWS - BESIDE;
/// The room of the words beside the names.
const BESIDE: i32 = 2 * MARGIN + TEXT;
/// The width of most small letters.
const NARROW: i32 = 65 * SMALL / 100;

/// Pictures one below the other, 800 pixels wide.
///
/// The same contents give the same bytes.
///
/// ```
/// use tilegrad::report::{Format, Picture, Plot};
///
/// let costs = Plot::CostHistory { training: vec![9.0, 4.0, 1.0], validation: vec![], step: "iteration" };
/// let picture = Picture::new("marks by hours", vec![costs]);
/// assert!(picture.bytes(Format::Svg)?.starts_with(b"<svg "));
/// assert!(picture.bytes(Format::Png)?.starts_with(b"\x89PNG"));
/// # Ok::<(), tilegrad::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Picture {
    title: String,
    plots: Vec<Plot>,
}

/// One of the plots of a [`Picture`].
#[derive(Clone, Debug)]
pub enum Plot {
    /// The cost by step.
    CostHistory {
        /// The cost of the training share before each step, and after the last; of an epoch the mean of its batches' costs,
        /// each before its step.
        training: Vec<f64>,
        /// The cost of the validation share after each step; empty where there is none.
        validation: Vec<f64>,
        /// What a step is: "iteration" or "epoch".
        step: &'static str,
    },
    /// Predictions by the values that they are predictions of.
    Predictions {
        /// What is predicted.
        target: String,
        /// The samples, in words: "test share, 89 samples".
        samples: String,
        /// The true values, one for each sample.
        actual: Vec<f64>,
        /// The predicted ones.
        predicted: Vec<f64>,
    },
    /// How many samples of each class were predicted to be of which.
    ConfusionMatrix {
        /// What is predicted.
        target: String,
        /// The samples, in words.
        samples: String,
        /// The classes' names.
        classes: Vec<String>,
        /// Samples of each class (row), by the class that was predicted (column).
        counts: Vec<Vec<usize>>,
    },
    /// Descent's path over the cost of two features.
    Contours(Contours),
}

impl Picture {
    /// `plots` below a title.
    pub fn new(title: impl Into<String>, plots: Vec<Plot>) -> Self {
        Picture { title: title.into(), plots }
    }

    /// The file with the picture.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub fn bytes(&self, format: Format) -> Result<Vec<u8>> {
        format.bytes(self)
    }
}

impl Picture {
    fn title_height(&self) -> i32 {
        if self.title.is_empty() { MARGIN } else { TITLE }
    }
}

impl Drawing for Picture {
    fn title(&self) -> String {
        let plots = self.plots.iter().map(Plot::title);
        [self.title.clone()]
            .into_iter()
            .filter(|title| !title.is_empty())
            .chain(plots)
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn height(&self) -> i32 {
        self.title_height() + self.plots.iter().map(Plot::height).sum::<i32>()
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let middle = Pos::new(HPos::Center, VPos::Center);
        let place = (WIDTH / 2, TITLE / 2);
        let title = label(&self.title, TITLE_LENGTH);
        area.draw(&Text::new(title, place, text(TEXT + 3 * PIXEL, INK).pos(middle)))?;
        let (_, mut below) = area.split_vertically(self.title_height());
        for plot in &self.plots {
            let (here, rest) = below.split_vertically(plot.height());
            plot.draw(&here)?;
            below = rest;
        }
        Ok(())
    }
}

impl Plot {
    /// What it shows.
    fn title(&self) -> String {
        match self {
            Plot::CostHistory { step: "epoch", .. } => {
                "mean cost of each epoch's batches before their steps, and cost at the end".to_owned()
            }
            Plot::CostHistory { step, .. } => format!("cost before each {step}, and after the last"),
            Plot::Predictions { target, samples, .. } => {
                format!("predicted against actual {}: {samples}", label(target, 30))
            }
            Plot::ConfusionMatrix { target, samples, classes, .. } => {
                let shown = match classes.len() {
                    count if count > MOST_CLASSES => format!(", the first {MOST_CLASSES} of {count} classes"),
                    _ => String::new(),
                };
                format!("confusion matrix of {}: {samples}{shown}", label(target, 30))
            }
            Plot::Contours(_) => "descent's path over the contours of the cost".to_owned(),
        }
    }

    fn height(&self) -> i32 {
        match self {
            Plot::CostHistory { .. } => HISTORY,
            Plot::Predictions { .. } => PREDICTIONS,
            Plot::ConfusionMatrix { classes, .. } => Matrix::of(classes).height(),
            Plot::Contours(contours) => contours.height(),
        }
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        if !matches!(self, Plot::Contours(_)) {
            heading(area, &self.title())?;
        }
        match self {
            Plot::CostHistory { training, validation, step } => history(area, training, validation, step),
            Plot::Predictions { target, actual, predicted, .. } => {
                predictions(area, target, actual, predicted)
            }
            Plot::ConfusionMatrix { classes, counts, .. } => Matrix::of(classes).draw(area, counts),
            Plot::Contours(contours) => contours.draw(area),
        }
    }
}

/// A heading over a plot.
pub(super) fn heading<B: DrawingBackend>(area: &Area<B>, words: &str) -> Drawn<B> {
    let middle = Pos::new(HPos::Center, VPos::Top);
    let place = (area.dim_in_pixel().0 as i32 / 2, 0);
    area.draw(&Text::new(label(words, TITLE_LENGTH), place, text(TEXT, INK).pos(middle)))
}

/// An axis: its name, and the numbers on it.
struct Axis<'a> {
    name: &'a str,
    ticks: Vec<f64>,
}

/// Something to draw in, by the numbers on its axes.
type Chart<'a, B, X, Y> = ChartContext<
    'a,
    B,
    Cartesian2d<Ticked<<X as AsRangedCoord>::CoordDescType>, Ticked<<Y as AsRangedCoord>::CoordDescType>>,
>;

/// A chart below a heading: its axes and their grid.
fn chart<'a, B, X, Y>(
    area: &'a Area<B>,
    (x, y): (X, Y),
    [below, beside]: [Axis<'_>; 2],
) -> Result<Chart<'a, B, X, Y>, DrawingAreaErrorKind<B::ErrorType>>
where
    B: DrawingBackend,
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64>,
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64>,
{
    let (x_text, y_text) = (numbers(&below.ticks), numbers(&beside.ticks));
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .margin_top(HEADING)
        .margin_right(2 * MARGIN)
        .x_label_area_size(BOTTOM_LABELS)
        .y_label_area_size(LEFT_LABELS)
        .build_cartesian_2d(
            Ticked { axis: x.into(), ticks: below.ticks },
            Ticked { axis: y.into(), ticks: beside.ticks },
        )?;
    chart
        .configure_mesh()
        .x_desc(below.name)
        .y_desc(beside.name)
        .x_label_formatter(&|x| x_text(*x))
        .y_label_formatter(&|y| y_text(*y))
        .label_style(text(SMALL, INK))
        .axis_desc_style(text(TEXT, INK))
        .axis_style(MUTED.stroke_width(THIN))
        .bold_line_style(GRID.stroke_width(THIN))
        .set_all_tick_mark_size(TICK)
        .draw()?;
    Ok(chart)
}

/// A line's name and what it looks like.
struct Line<'a> {
    name: &'a str,
    colour: RGBColor,
    costs: &'a [f64],
    /// The number of steps before the first cost.
    first: usize,
}

fn history<B: DrawingBackend>(area: &Area<B>, training: &[f64], validation: &[f64], step: &str) -> Drawn<B> {
    let lines = [
        Line { name: "training", colour: BLUE, costs: training, first: 0 },
        Line { name: "validation", colour: ORANGE, costs: validation, first: 1 },
    ];
    let lines: Vec<Line<'_>> = lines.into_iter().filter(|line| !line.costs.is_empty()).collect();
    let costs = || lines.iter().flat_map(|line| line.costs).copied().filter(|cost| drawable(*cost));
    let (least, most) = (costs().fold(f64::INFINITY, f64::min), costs().fold(f64::NEG_INFINITY, f64::max));
    if least > most {
        return Ok(());
    }
    if least > 1.0 / LARGEST && most / least > DECADES {
        let (least, most) = (least / 1.1, most * 1.1);
        return curves(area, &lines, step, (least..most).log_scale(), decades(least, most));
    }
    let margin = 0.05 * (most - least).max(LEAST_RANGE * most.abs()).max(1.0 / LARGEST);
    let (least, most) = (least - margin, most + margin);
    curves(area, &lines, step, least..most, ticks(least, most, 7))
}

fn curves<B, Y>(area: &Area<B>, lines: &[Line<'_>], step: &str, y: Y, costs: Vec<f64>) -> Drawn<B>
where
    B: DrawingBackend,
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64>,
{
    let steps =
        lines.iter().map(|line| line.first + line.costs.len()).max().unwrap_or(0).saturating_sub(1).max(1);
    // There is nothing between two steps.
    let whole = ticks(0.0, steps as f64, steps.min(8));
    let axes = [Axis { name: step, ticks: whole }, Axis { name: "cost J", ticks: costs }];
    let mut chart = chart(area, (0.0..steps as f64, y), axes)?;
    for Line { name, colour, costs, first } in lines {
        let colour = *colour;
        let points = thinned(costs).into_iter().map(|(step, cost)| (step + *first as f64, cost));
        let series = LineSeries::new(points, colour.stroke_width(THICK));
        chart.draw_series(series)?.label(*name).legend(move |(x, y)| {
            PathElement::new(vec![(x, y), (x + 24 * PIXEL, y)], colour.stroke_width(THICK))
        });
    }
    if lines.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .legend_area_size(32 * PIXEL)
            .margin(10 * PIXEL)
            .background_style(PAPER)
            .border_style(GRID.stroke_width(THIN))
            .label_font(text(SMALL, INK))
            .draw()?;
    }
    Ok(())
}

/// Whether a number can be shown.
fn drawable(value: f64) -> bool {
    value.abs() <= LARGEST
}

/// At most [`MOST_POINTS`] points of a line, with the least and the largest value of what lies between.
fn thinned(values: &[f64]) -> Vec<(f64, f64)> {
    let point = |i: usize| (i as f64, values[i]);
    if values.len() <= MOST_POINTS {
        return (0..values.len()).map(point).filter(|(_, value)| drawable(*value)).collect();
    }
    let length = values.len().div_ceil(MOST_POINTS / 2 - 1);
    let mut kept = vec![0, values.len() - 1];
    for start in (0..values.len()).step_by(length) {
        let here = start..(start + length).min(values.len());
        let order = |a: &usize, b: &usize| values[*a].total_cmp(&values[*b]);
        kept.extend(here.clone().min_by(order));
        kept.extend(here.max_by(order));
    }
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().map(point).filter(|(_, value)| drawable(*value)).collect()
}

fn predictions<B: DrawingBackend>(
    area: &Area<B>,
    target: &str,
    actual: &[f64],
    predicted: &[f64],
) -> Drawn<B> {
    let target = label(target, 30);
    let every = actual.len().div_ceil(MOST_POINTS).max(1);
    let values = || actual.iter().chain(predicted).copied().filter(|value| drawable(*value));
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if least > most {
        return Ok(());
    }
    let margin = 0.04 * (most - least).max(LEAST_RANGE * most.abs()).max(1.0 / LARGEST);
    let range = least - margin..most + margin;
    let names = [format!("actual {target}"), format!("predicted {target}")];
    let axes = names.each_ref().map(|name| Axis { name, ticks: ticks(range.start, range.end, 8) });
    let mut chart = chart(area, (range.clone(), range.clone()), axes)?;
    let points = actual.iter().zip(predicted).step_by(every);
    let points = points.filter(|(x, y)| drawable(**x) && drawable(**y));
    chart.draw_series(points.map(|(x, y)| Circle::new((*x, *y), 3 * PIXEL, BLUE.mix(0.5).filled())))?;
    let equal = [(range.start, range.start), (range.end, range.end)];
    chart.draw_series(LineSeries::new(equal, ORANGE.stroke_width(THICK)))?;
    let corner = chart.backend_coord(&(range.end, range.start));
    let (x0, y0) = area.get_base_pixel();
    let place = (corner.0 - x0 - 2 * TICK, corner.1 - y0 - 2 * TICK);
    let style = text(SMALL, ORANGE).pos(Pos::new(HPos::Right, VPos::Bottom));
    let shown = match every {
        1 => String::new(),
        _ => format!("one sample of {every} is shown; "),
    };
    area.draw(&Text::new(format!("{shown}line: predicted = actual"), place, style))
}

/// A confusion matrix as it is laid out.
struct Matrix<'a> {
    classes: &'a [String],
    /// Side of a cell, and of all of them.
    cell: i32,
    side: i32,
    left: i32,
    /// Names that are wider than a column stand upright.
    upright: bool,
    /// Width of the widest name.
    names: i32,
}

impl<'a> Matrix<'a> {
    fn of(classes: &'a [String]) -> Self {
        let classes = &classes[..classes.len().min(MOST_CLASSES)];
        let count = i32::try_from(classes.len()).unwrap_or(i32::MAX).max(1);
        let cell = (MATRIX / count).clamp(1, CELL);
        let side = cell.saturating_mul(count).min(MATRIX);
        let widest = || classes.iter().map(|class| width(&named(class))).max().unwrap_or(0);
        let names = if cell < NAMED_CELL { 0 } else { widest() };
        // In the middle, with the words beside it.
        let beside = names + BESIDE;
        let left = (WIDTH - side - beside) / 2 + beside;
        Matrix { classes, cell, side, left, upright: names > cell, names }
    }

    fn height(&self) -> i32 {
        self.names_below() + 2 * MARGIN + TEXT
    }

    /// Where the columns' names end.
    fn names_below(&self) -> i32 {
        HEADING + self.side + 2 * TICK + if self.upright { self.names } else { SMALL }
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>, counts: &[Vec<usize>]) -> Drawn<B> {
        for (row, line) in counts.iter().enumerate().take(MOST_CLASSES) {
            let of_class = line.iter().sum::<usize>().max(1);
            for (column, &count) in line.iter().enumerate().take(MOST_CLASSES) {
                let colour = if row == column { BLUE } else { ORANGE };
                let share = count as f64 / of_class as f64;
                self.cell(area, (row, column), count, colour.mix(FAINT + (OPAQUE - FAINT) * share.sqrt()))?;
            }
        }
        let Matrix { left, side, .. } = *self;
        let everything = [(left, HEADING), (left + side, HEADING + side)];
        area.draw(&Rectangle::new(everything, MUTED.stroke_width(THIN)))?;
        if self.cell >= NAMED_CELL {
            self.name(area)?;
        }
        let style = text(TEXT, INK).pos(Pos::new(HPos::Center, VPos::Top));
        let below = (left + side / 2, self.names_below() + MARGIN / 2);
        area.draw(&Text::new("predicted class", below, style.clone()))?;
        let beside = (left - self.names - BESIDE, HEADING + side / 2);
        area.draw(&Text::new("actual class", beside, style.transform(FontTransform::Rotate270)))
    }

    fn cell<B: DrawingBackend>(
        &self,
        area: &Area<B>,
        (row, column): (usize, usize),
        count: usize,
        colour: RGBAColor,
    ) -> Drawn<B> {
        let cell = self.cell;
        let at = |i: usize| i32::try_from(i).map_or(i32::MAX, |i| i.saturating_mul(cell));
        if at(row) >= self.side || at(column) >= self.side {
            return Ok(());
        }
        let (x, y) = (self.left + at(column), HEADING + at(row));
        let here = [(x, y), (x + cell, y + cell)];
        if count > 0 {
            area.draw(&Rectangle::new(here, colour.filled()))?;
        }
        if cell >= NAMED_CELL {
            area.draw(&Rectangle::new(here, GRID.stroke_width(THIN)))?;
        }
        if cell >= NUMBERED_CELL {
            let number = count.to_string();
            let size = (3 * cell / 2 / number.len().max(2) as i32).min(TEXT);
            let colour = if count > 0 { INK } else { MUTED };
            let style = text(size, colour).pos(Pos::new(HPos::Center, VPos::Center));
            area.draw(&Text::new(number, (x + cell / 2, y + cell / 2), style))?;
        }
        Ok(())
    }

    /// The classes' names, left of the rows and below the columns.
    fn name<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let before = text(SMALL, INK).pos(Pos::new(HPos::Right, VPos::Center));
        let below = match self.upright {
            true => before.clone().transform(FontTransform::Rotate270),
            false => text(SMALL, INK).pos(Pos::new(HPos::Center, VPos::Top)),
        };
        for (i, class) in self.classes.iter().enumerate() {
            let middle = self.cell * i as i32 + self.cell / 2;
            let name = named(class);
            area.draw(&Text::new(name.clone(), (self.left - 2 * TICK, HEADING + middle), before.clone()))?;
            area.draw(&Text::new(name, (self.left + middle, HEADING + self.side + 2 * TICK), below.clone()))?;
        }
        Ok(())
    }
}

/// A class's name as it stands at its row and column: cut where there is no more room.
fn named(class: &str) -> String {
    let most = (NAME / NARROW) as usize;
    let start: String = class.chars().take(most + 1).collect();
    let fits = |length: &usize| width(&label(&start, *length)) <= NAME;
    label(&start, (0..=most).rev().find(fits).unwrap_or(0))
}

/// The width of small letters, or somewhat more: DejaVu Sans has none wider, and few narrow ones that are as wide as this.
fn width(text: &str) -> i32 {
    let of = |letter: char| match letter {
        'm' | 'w' | '%' | '@' => SMALL,
        ' '..='?' | 'a'..='z' => NARROW,
        'A'..='L' | 'N'..='V' | 'X'..='Z' => 79 * SMALL / 100,
        _ => SMALL,
    };
    text.chars().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::canvas::svg;

    #[test]
    fn a_thinned_line_keeps_its_ends_and_its_peaks() {
        let mut costs: Vec<f64> = (0..100_000).map(|i| 1.0 / f64::from(i + 1)).collect();
        costs[77_777] = 5.0;
        costs[66_666] = -5.0;
        let thin = thinned(&costs);
        assert!(thin.len() <= MOST_POINTS, "{}", thin.len());
        assert_eq!((thin[0], thin[thin.len() - 1].0), ((0.0, 1.0), 99_999.0));
        assert!(thin.contains(&(77_777.0, 5.0)) && thin.contains(&(66_666.0, -5.0)));
        assert!(thin.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn names_of_classes_stay_in_their_room() {
        for (class, shown) in [
            ("setosa", "setosa"),
            ("", ""),
            ("a very long name of a class", "a very long nam…"),
            ("WWWWWWWWWWWWWWWWWWWWWWW", "WWWWWWWWWW…"),
        ] {
            assert_eq!(named(class), shown);
        }
        let long = "x".repeat(1000);
        for count in [1, 2, 10, 40, 44, 45, 200, 1000] {
            let classes = vec![long.clone(); count];
            let matrix = Matrix::of(&classes);
            let (first, last) = (matrix.left - matrix.names - BESIDE, matrix.left + matrix.side);
            assert!(first >= 0 && last <= WIDTH, "{count}: from {first} to {last}");
        }
    }

    #[test]
    fn whatever_the_numbers_a_picture_is_drawn() {
        let odd = [f64::NAN, f64::INFINITY, 0.0, -1.0, 1e300, 1e-300, f64::MAX, f64::MIN];
        let names = ["<&\"'>", "", "\u{1}\u{ffff}", "ein sehr langer Name, der nicht passt", "日本"];
        let classes: Vec<String> = names.iter().map(ToString::to_string).collect();
        let confusion = |classes: Vec<String>| {
            let counts =
                (0..classes.len()).map(|i| (0..classes.len()).map(|j| i * j * 1000).collect()).collect();
            Plot::ConfusionMatrix { target: names[0].to_owned(), samples: "all".to_owned(), classes, counts }
        };
        let history = |training: &[f64], validation: &[f64]| Plot::CostHistory {
            training: training.to_vec(),
            validation: validation.to_vec(),
            step: "epoch",
        };
        let cloud = |actual: &[f64]| Plot::Predictions {
            target: names[2].to_owned(),
            samples: String::new(),
            actual: actual.to_vec(),
            predicted: actual.iter().rev().copied().collect(),
        };
        for plot in [
            history(&[], &[]),
            history(&[f64::NAN], &[]),
            history(&[1.0], &[1.0]),
            history(&[0.0, 0.0], &[]),
            history(&odd, &odd),
            history(&[1e300, 1e-300], &[]),
            cloud(&[]),
            cloud(&[3.0]),
            cloud(&odd),
            confusion(classes),
            confusion((0..3000).map(|i| i.to_string()).collect()),
        ] {
            let picture = Picture::new(names[2], vec![plot]);
            let drawn = svg(&picture).unwrap();
            assert!(!drawn.contains("<&") && !drawn.contains('\u{1}'), "{drawn}");
            assert_eq!(drawn, svg(&picture).unwrap());
        }
    }
}
