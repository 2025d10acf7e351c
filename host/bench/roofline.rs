//! A roofline: what was timed, under what the machine can do at most.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::row::{Figures, Kind, Row};
use super::{Limits, Report};
use crate::report::canvas::{
    Area, BLUE, Drawing, Drawn, FINE_GRID, GREEN, GRID, INK, MUTED, ORANGE, PIXEL, THICK, THIN, WIDTH, label,
    text,
};
use crate::report::significant;

/// Heights: of the part with the axes, of a line of the list below it.
const PLOT: i32 = 480 * PIXEL;
const LINE: i32 = 16 * PIXEL;
/// Lines above the list, with an empty one.
const HEADINGS: i32 = 4;
/// Columns of the list.
const COLUMNS: usize = 2;
/// Height of letters, in the numbers at the points and in all else.
const SMALL: i32 = 12 * PIXEL;
const TEXT: i32 = 13 * PIXEL;
/// Half of a point.
const POINT: i32 = 4 * PIXEL;

/// What stands for a kind of work: differently shaped, not only differently coloured.
fn colour(kind: Kind) -> RGBColor {
    match kind {
        Kind::Kernel | Kind::Sequence => BLUE,
        Kind::Operation => ORANGE,
        Kind::Peer => GREEN,
    }
}

/// The least time that the limits allow for so much work, over the time that it took.
fn part_of_roof(figures: &Figures, limits: &Limits) -> f64 {
    figures.operations_per_second / roof(figures.intensity(), limits)
}

/// Operations a second that the limits allow at so many operations a byte.
fn roof(intensity: f64, limits: &Limits) -> f64 {
    (limits.bandwidth * intensity).min(limits.arithmetic.unwrap_or(f64::INFINITY))
}

/// A row for each name: the shape at which it comes nearest to the roof.
fn best(report: &Report) -> Vec<(&Row, &Figures)> {
    let mut best: Vec<(&Row, &Figures)> = Vec::new();
    for row in &report.results {
        let Some(figures) = row.figures().filter(|figures| figures.operations > 0) else { continue };
        let part = |figures: &Figures| part_of_roof(figures, &report.limits);
        match best.iter_mut().find(|(other, _)| other.name == row.name && other.kind == row.kind) {
            Some(other) if part(figures) > part(other.1) => *other = (row, figures),
            Some(_) => {}
            None => best.push((row, figures)),
        }
    }
    best
}

/// The picture of a report.
pub(super) struct Roofline<'a> {
    report: &'a Report,
    points: Vec<(&'a Row, &'a Figures)>,
}

impl<'a> Roofline<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        Roofline { report, points: best(report) }
    }
}

impl Drawing for Roofline<'_> {
    fn title(&self) -> String {
        format!("{}: {}", self.report.device, self.report.description)
    }

    fn height(&self) -> i32 {
        PLOT + LINE * (HEADINGS + self.points.len().div_ceil(COLUMNS) as i32 + 1)
    }

    fn draw<B: DrawingBackend>(&self, root: &Area<B>) -> Drawn<B> {
        paint(root, &self.title(), &self.report.limits, &self.points)
    }
}

fn paint<B: DrawingBackend>(
    root: &Area<B>,
    title: &str,
    limits: &Limits,
    points: &[(&Row, &Figures)],
) -> Drawn<B> {
    // Both axes in whole decades around what is drawn.
    let intensities = points.iter().map(|(_, figures)| figures.intensity());
    let rates = points.iter().map(|(_, figures)| figures.operations_per_second);
    let ridge = limits.arithmetic.map(|arithmetic| arithmetic / limits.bandwidth);
    let x = decades(intensities.chain(ridge).chain([0.1, 100.0]));
    let y = decades(rates.chain(limits.arithmetic).chain([roof(x.0, limits)]));

    let (plot, list) = root.split_vertically(PLOT);
    let mut chart = ChartBuilder::on(&plot)
        .margin(12 * PIXEL)
        .margin_right(32 * PIXEL)
        .caption(label(title, 100), text(15 * PIXEL, INK))
        .x_label_area_size(44 * PIXEL)
        .y_label_area_size(64 * PIXEL)
        .build_cartesian_2d(wholly(x).log_scale(), wholly(y).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("operations for each byte that has to be moved")
        .y_desc("operations a second")
        .x_label_formatter(&|x| significant(*x, 1))
        .y_label_formatter(&|y| rate(*y).trim_end_matches("FLOP/s").to_owned())
        .label_style(text(TEXT, INK))
        .axis_desc_style(text(TEXT, INK))
        .axis_style(INK.stroke_width(THIN))
        .set_all_tick_mark_size(5 * PIXEL)
        .light_line_style(FINE_GRID.stroke_width(THIN))
        .bold_line_style(GRID.stroke_width(THIN))
        .draw()?;

    // The slope ends where arithmetic takes over.
    let end = ridge.unwrap_or(x.1).min(x.1);
    let start = (y.0 / limits.bandwidth).max(x.0);
    let slope = [(start, limits.bandwidth * start), (end, roof(end, limits))];
    chart.draw_series(LineSeries::new(slope, INK.stroke_width(THICK)))?;
    if let Some(arithmetic) = limits.arithmetic {
        chart
            .draw_series(LineSeries::new([(end, arithmetic), (x.1, arithmetic)], INK.stroke_width(THICK)))?;
    }

    let at = |x: f64, y: f64| chart.backend_coord(&(x, y));
    let (left, top) = at(x.0, y.1);
    let (right, bottom) = at(x.1, y.0);
    let mut labels = Labels::within([left, top, right, bottom]);
    let centres: Vec<(i32, i32)> =
        points.iter().map(|(_, figures)| at(figures.intensity(), figures.operations_per_second)).collect();
    centres.iter().for_each(|&centre| labels.keep_free(centre));
    for (number, (&centre, (row, _))) in centres.iter().zip(points).enumerate() {
        marker(&plot, centre, row.kind)?;
        let name = (number + 1).to_string();
        let place = labels.place(centre, &name);
        if (place.0 - centre.0).abs().max((place.1 - centre.1).abs()) > 4 * POINT {
            plot.draw(&PathElement::new(vec![centre, place], MUTED.stroke_width(THIN)))?;
        }
        let middle = Pos::new(HPos::Center, VPos::Center);
        plot.draw(&Text::new(name, place, text(SMALL, colour(row.kind)).pos(middle)))?;
    }
    describe(&list, points, limits)
}

/// What the lines are, and the numbers with what they stand for.
fn describe<B: DrawingBackend>(list: &Area<B>, points: &[(&Row, &Figures)], limits: &Limits) -> Drawn<B> {
    let bandwidth = significant(1e-9 * limits.bandwidth, 4);
    let arithmetic = match limits.arithmetic {
        Some(arithmetic) => format!("{}, {}", rate(arithmetic), limits.arithmetic_of),
        None => limits.arithmetic_of.clone(),
    };
    let headings = [
        format!("Slope: {bandwidth} GB/s, {}.", limits.bandwidth_of),
        format!("Level: fp32 arithmetic, {arithmetic}."),
        "● kernel  ○ kernels in a row  ▲ operation of the engine  ■ peer; each at its best shape: operations a second (part of its limit)"
            .to_owned(),
    ];
    for (line, heading) in headings.iter().enumerate() {
        let place = (LINE, line as i32 * LINE);
        list.draw(&Text::new(label(heading, 150), place, text(SMALL, INK)))?;
    }
    let lines = points.len().div_ceil(COLUMNS).max(1);
    for (number, (row, figures)) in points.iter().enumerate() {
        let column = (number / lines) as i32 * WIDTH / COLUMNS as i32;
        let line = HEADINGS as usize + number % lines;
        let entry = format!(
            "{}  {} {}: {} ({:.0} %)",
            number + 1,
            row.name,
            row.shape,
            rate(figures.operations_per_second),
            100.0 * part_of_roof(figures, limits)
        );
        let place = (column + LINE, line as i32 * LINE);
        list.draw(&Text::new(label(&entry, 60), place, text(SMALL, colour(row.kind))))?;
    }
    Ok(())
}

fn marker<B: DrawingBackend>(plot: &Area<B>, (x, y): (i32, i32), kind: Kind) -> Drawn<B> {
    let filled = colour(kind).filled();
    match kind {
        Kind::Kernel => plot.draw(&Circle::new((x, y), POINT, filled)),
        Kind::Sequence => plot.draw(&Circle::new((x, y), POINT, colour(kind).stroke_width(THICK))),
        Kind::Operation => plot.draw(&TriangleMarker::new((x, y), 3 * POINT / 2, filled)),
        Kind::Peer => plot.draw(&Rectangle::new([(x - POINT, y - POINT), (x + POINT, y + POINT)], filled)),
    }
}

/// A range that has both ends on its axis, whatever their rounding.
fn wholly((least, most): (f64, f64)) -> std::ops::Range<f64> {
    least * (1.0 - 1e-9)..most * (1.0 + 1e-9)
}

/// The whole decades around some numbers above 0.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for value in values.filter(|value| value.is_finite() && *value > 0.0) {
        (least, most) = (least.min(value), most.max(value));
    }
    if least > most {
        return (1.0, 10.0);
    }
    (10_f64.powf(least.log10().floor()), 10_f64.powf((1.05 * most).log10().ceil()))
}

/// Operations a second with their unit.
fn rate(rate: f64) -> String {
    // A decade of an axis may lie a rounding below its power of ten.
    let (unit, name) = match 1.000_001 * rate {
        1e12.. => (1e12, "TFLOP/s"),
        1e9.. => (1e9, "GFLOP/s"),
        1e6.. => (1e6, "MFLOP/s"),
        1e3.. => (1e3, "kFLOP/s"),
        _ => (1.0, "FLOP/s"),
    };
    format!("{} {name}", significant(rate / unit, 3))
}

/// Places for the numbers beside the points, none on another or on a point.
struct Labels {
    bounds: [i32; 4],
    taken: Vec<[i32; 4]>,
}

impl Labels {
    fn within(bounds: [i32; 4]) -> Self {
        Labels { bounds, taken: Vec::new() }
    }

    fn keep_free(&mut self, (x, y): (i32, i32)) {
        let half = 5 * PIXEL;
        self.taken.push([x - half, y - half, x + half, y + half]);
    }

    /// The middle of a free place for a text, as near to the point as there is one.
    fn place(&mut self, (x, y): (i32, i32), text: &str) -> (i32, i32) {
        let (half_width, half_height) = ((4 * text.len() as i32 + 1) * PIXEL, SMALL / 2 + PIXEL);
        for ring in 0..40 {
            for direction in 0..16 {
                let angle = f64::from(direction) * std::f64::consts::PI / 8.0;
                let radius = f64::from(PIXEL * (12 + 6 * ring));
                let middle = (x + (radius * angle.cos()) as i32, y - (radius * angle.sin()) as i32);
                let place = [
                    middle.0 - half_width,
                    middle.1 - half_height,
                    middle.0 + half_width,
                    middle.1 + half_height,
                ];
                let [left, top, right, bottom] = self.bounds;
                let inside = place[0] >= left && place[1] >= top && place[2] <= right && place[3] <= bottom;
                if inside && !self.taken.iter().any(|other| overlap(&place, other)) {
                    self.taken.push(place);
                    return middle;
                }
            }
        }
        (x, y)
    }
}

fn overlap(a: &[i32; 4], b: &[i32; 4]) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_one_place_do_not_cover_each_other() {
        let mut labels = Labels::within([0, 0, 400 * PIXEL, 400 * PIXEL]);
        let points: Vec<(i32, i32)> =
            (0..60).map(|i| (PIXEL * (200 + i % 3), PIXEL * (200 + i % 7))).collect();
        points.iter().for_each(|&point| labels.keep_free(point));
        for (number, &point) in points.iter().enumerate() {
            labels.place(point, &number.to_string());
        }
        let placed = &labels.taken[60..];
        assert_eq!(placed.len(), 60);
        for (i, place) in placed.iter().enumerate() {
            let others = labels.taken[..60].iter().chain(&placed[..i]);
            assert!(others.into_iter().all(|other| !overlap(place, other)), "{i}");
        }
    }

    #[test]
    fn axes_have_whole_decades() {
        assert_eq!(decades([0.3, 20.0].into_iter()), (0.1, 100.0));
        assert_eq!(decades([5.0, 99.0, f64::NAN, 0.0].into_iter()), (1.0, 1000.0));
        assert_eq!(decades(std::iter::empty()), (1.0, 10.0));
    }

    #[test]
    fn rates_have_units() {
        for (value, text) in [
            (51.2e12, "51.2 TFLOP/s"),
            (3e9, "3.00 GFLOP/s"),
            (2.5e6, "2.50 MFLOP/s"),
            (999.9999, "1.00 kFLOP/s"),
            (7.0, "7.00 FLOP/s"),
        ] {
            assert_eq!(rate(value), text);
        }
    }
}
