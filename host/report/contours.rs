//! Descent's path over the contours of the cost of two features.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::{number, ticks};
use super::canvas::{
    Area, CONTOUR, Drawn, GREEN, INK, MUTED, ORANGE, PIXEL, SMALL, TEXT, THICK, THIN, WIDTH, label, text,
};

/// Heights: of a panel with its axes, and of the lines below it.
const PANEL: i32 = 430 * PIXEL;
const NOTES: i32 = 60 * PIXEL;
/// What is around the axes: left, below, and on the other sides.
const LEFT: i32 = 74 * PIXEL;
const BELOW: i32 = 50 * PIXEL;
const MARGIN: i32 = 20 * PIXEL;
const TICK: i32 = 5 * PIXEL;
/// Points of a contour.
const POINTS: usize = 720;
/// Contours inside the start's, each of half the excess of the next, and outside.
const INSIDE: i32 = 8;
const OUTSIDE: i32 = 6;
/// How much wider the picture is than what it shows.
const SPARE: f64 = 1.3;

/// Descent on the squared error of two features, as it is seen from above: a quadratic cost, and the path over it.
///
/// J(w) = J(w*) + ½ (w − w*)ᵀ A (w − w*): its contours are ellipses around the least cost at w*, whose axes have lengths
/// as 1/√λ, with the eigenvalues λ of A.
#[derive(Clone, Debug)]
pub struct Contours {
    /// The features' names.
    pub features: [String; 2],
    /// Panels side by side: one or two.
    pub panels: Vec<Panel>,
}

/// One picture of [`Contours`].
#[derive(Clone, Debug)]
pub struct Panel {
    /// What stands over it.
    pub title: String,
    /// What stands below it, line by line.
    pub notes: Vec<String>,
    /// A, the matrix of second derivatives, symmetric and positive definite.
    pub curvature: [[f64; 2]; 2],
    /// w*, the weights of least cost.
    pub least: [f64; 2],
    /// The weights before each step, and after the last.
    pub path: Vec<[f64; 2]>,
}

impl Contours {
    pub(super) fn height(&self) -> i32 {
        PANEL + NOTES
    }

    pub(super) fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let mut rest = area.clone();
        for panel in &self.panels {
            let (here, right) = rest.split_horizontally(WIDTH / self.panels.len() as i32);
            panel.draw(&here, &self.features)?;
            rest = right;
        }
        Ok(())
    }
}

impl Panel {
    fn draw<B: DrawingBackend>(&self, area: &Area<B>, features: &[String; 2]) -> Drawn<B> {
        let width = area.dim_in_pixel().0 as i32;
        let centre = |x: i32, y: i32, words: &str, style: TextStyle<'static>| {
            let style = style.pos(Pos::new(HPos::Center, VPos::Top));
            area.draw(&Text::new(words.to_owned(), (x, y), style))
        };
        let (left, right) = (LEFT, width - MARGIN);
        let (top, bottom) = (TEXT + 2 * TICK, PANEL - BELOW);
        centre((left + right) / 2, 0, &self.title, text(TEXT, INK))?;
        for (line, note) in self.notes.iter().enumerate() {
            centre(width / 2, PANEL + (SMALL + TICK) * line as i32, note, text(SMALL, MUTED))?;
        }
        let view = View::of(self, [left, top, right, bottom]);
        area.draw(&Rectangle::new([(left, top), (right, bottom)], MUTED.stroke_width(THIN)))?;
        self.axes(area, &view, features)?;
        for level in self.levels() {
            let pixels: Vec<(f64, f64)> =
                self.ellipse(level).into_iter().map(|point| view.pixel(point)).collect();
            for line in view.inside(&pixels) {
                area.draw(&PathElement::new(line, CONTOUR.stroke_width(THIN)))?;
            }
        }
        let pixels: Vec<(f64, f64)> = self.path.iter().map(|point| view.pixel(*point)).collect();
        for line in view.inside(&pixels) {
            area.draw(&PathElement::new(line, ORANGE.stroke_width(THICK)))?;
        }
        for point in pixels.iter().filter(|point| view.holds(**point)) {
            area.draw(&Circle::new(rounded(*point), 3 * PIXEL, ORANGE.filled()))?;
        }
        let (x, y) = rounded(view.pixel(self.least));
        let arm = 6 * PIXEL;
        for line in [[(x - arm, y - arm), (x + arm, y + arm)], [(x - arm, y + arm), (x + arm, y - arm)]] {
            area.draw(&PathElement::new(line.to_vec(), GREEN.stroke_width(THICK)))?;
        }
        Ok(())
    }

    fn axes<B: DrawingBackend>(&self, area: &Area<B>, view: &View, features: &[String; 2]) -> Drawn<B> {
        let [left, top, right, bottom] = view.frame;
        let below = Pos::new(HPos::Center, VPos::Top);
        for value in ticks(view.least[0], view.most(0), 5) {
            let x = view.pixel([value, 0.0]).0.round() as i32;
            area.draw(&PathElement::new(vec![(x, bottom), (x, bottom + TICK)], MUTED.stroke_width(THIN)))?;
            area.draw(&Text::new(
                number(value),
                (x, bottom + TICK + 3 * PIXEL),
                text(SMALL, INK).pos(below),
            ))?;
        }
        let before = Pos::new(HPos::Right, VPos::Center);
        for value in ticks(view.least[1], view.most(1), 6) {
            let y = view.pixel([0.0, value]).1.round() as i32;
            area.draw(&PathElement::new(vec![(left - TICK, y), (left, y)], MUTED.stroke_width(THIN)))?;
            area.draw(&Text::new(number(value), (left - 2 * TICK, y), text(SMALL, INK).pos(before)))?;
        }
        let name = |feature: &str| format!("weight of {}", label(feature, 24));
        let place = ((left + right) / 2, bottom + SMALL + 3 * TICK);
        area.draw(&Text::new(name(&features[0]), place, text(SMALL + PIXEL, INK).pos(below)))?;
        let upright = text(SMALL + PIXEL, INK).transform(FontTransform::Rotate270).pos(below);
        area.draw(&Text::new(name(&features[1]), (MARGIN / 2, (top + bottom) / 2), upright))
    }

    /// The excess of the cost over its least.
    fn excess(&self, [x, y]: [f64; 2]) -> f64 {
        let (x, y) = (x - self.least[0], y - self.least[1]);
        let [[a, b], [_, d]] = self.curvature;
        0.5 * (a * x * x + 2.0 * b * x * y + d * y * y)
    }

    /// The excess that each contour has: the start's, with halves and doubles of it.
    fn levels(&self) -> impl Iterator<Item = f64> {
        let start = self.path.first().map_or(0.0, |start| self.excess(*start));
        let start = if start > 0.0 { start } else { 1.0 };
        (-INSIDE..=OUTSIDE).map(move |power| start * 2.0_f64.powi(power))
    }

    /// The points where the cost is so much above its least.
    fn ellipse(&self, excess: f64) -> Vec<[f64; 2]> {
        let [[a, b], [_, d]] = self.curvature;
        // The axes' direction, and the eigenvalues.
        let angle = 0.5 * (2.0 * b).atan2(a - d);
        let (sine, cosine) = angle.sin_cos();
        let (middle, half) = (0.5 * (a + d), (0.5 * (a - d)).hypot(b));
        // The smaller one from the determinant: as a difference it would be lost where they are far apart.
        let largest = middle + half;
        let smallest = ((a * d - b * b) / largest).max(f64::MIN_POSITIVE);
        let (long, short) = ((2.0 * excess / smallest).sqrt(), (2.0 * excess / largest).sqrt());
        (0..=POINTS)
            .map(|i| {
                let (t, s) = (2.0 * std::f64::consts::PI * i as f64 / POINTS as f64).sin_cos();
                let (u, v) = (short * s, long * t);
                [self.least[0] + cosine * u - sine * v, self.least[1] + sine * u + cosine * v]
            })
            .collect()
    }
}

/// What part of the plane is seen where: the same unit on both axes, so that ellipses are as long as they are.
struct View {
    frame: [i32; 4],
    least: [f64; 2],
    /// Weights for each pixel.
    unit: f64,
}

impl View {
    fn of(panel: &Panel, frame: [i32; 4]) -> Self {
        let [left, top, right, bottom] = frame;
        let (width, height) = (f64::from(right - left), f64::from(bottom - top));
        let seen = || panel.path.iter().chain([&panel.least]);
        let bounds = |axis: usize| {
            let values = || seen().map(|point| point[axis]).filter(|value| value.is_finite());
            (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
        };
        let (x, y) = (bounds(0), bounds(1));
        let unit = SPARE * ((x.1 - x.0) / width).max((y.1 - y.0) / height);
        let unit = if unit > 0.0 && unit.is_finite() { unit } else { 1.0 };
        let middle = |(least, most): (f64, f64)| 0.5 * least + 0.5 * most;
        View { frame, least: [middle(x) - 0.5 * unit * width, middle(y) - 0.5 * unit * height], unit }
    }

    /// The largest value on an axis.
    fn most(&self, axis: usize) -> f64 {
        self.least[axis] + self.unit * f64::from(self.frame[axis + 2] - self.frame[axis])
    }

    fn pixel(&self, [x, y]: [f64; 2]) -> (f64, f64) {
        let [left, _, _, bottom] = self.frame.map(f64::from);
        (left + (x - self.least[0]) / self.unit, bottom - (y - self.least[1]) / self.unit)
    }

    fn holds(&self, (x, y): (f64, f64)) -> bool {
        let [left, top, right, bottom] = self.frame.map(f64::from);
        (left..=right).contains(&x) && (top..=bottom).contains(&y)
    }

    /// The parts of a line that are seen.
    fn inside(&self, line: &[(f64, f64)]) -> Vec<Vec<(i32, i32)>> {
        let mut parts: Vec<Vec<(i32, i32)>> = Vec::new();
        let mut end = None;
        for ends in line.windows(2) {
            let Some((from, to)) = self.cut(ends[0], ends[1]) else { continue };
            match parts.last_mut().filter(|_| end == Some(from)) {
                Some(part) => part.push(rounded(to)),
                None => parts.push(vec![rounded(from), rounded(to)]),
            }
            end = Some(to);
        }
        parts.iter_mut().for_each(Vec::dedup);
        parts.retain(|part| part.len() > 1);
        parts
    }

    /// The part of a segment within the frame, by Liang and Barsky (1984).
    fn cut(&self, from: (f64, f64), to: (f64, f64)) -> Option<((f64, f64), (f64, f64))> {
        let [left, top, right, bottom] = self.frame.map(f64::from);
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        if !(dx.is_finite() && dy.is_finite()) {
            return None;
        }
        let (mut first, mut last) = (0.0_f64, 1.0_f64);
        for (change, room) in
            [(-dx, from.0 - left), (dx, right - from.0), (-dy, from.1 - top), (dy, bottom - from.1)]
        {
            if change == 0.0 {
                if room < 0.0 {
                    return None;
                }
            } else if change < 0.0 {
                first = first.max(room / change);
            } else {
                last = last.min(room / change);
            }
        }
        let at = |t: f64| (from.0 + t * dx, from.1 + t * dy);
        (first <= last)
            .then(|| (if first == 0.0 { from } else { at(first) }, if last == 1.0 { to } else { at(last) }))
    }
}

fn rounded((x, y): (f64, f64)) -> (i32, i32) {
    (x.round() as i32, y.round() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::canvas::svg;
    use crate::report::{Picture, Plot};

    fn panel(curvature: [[f64; 2]; 2], path: Vec<[f64; 2]>) -> Panel {
        Panel { title: "a".to_owned(), notes: vec!["b".to_owned()], curvature, least: [3.0, -2.0], path }
    }

    #[test]
    fn every_point_of_a_contour_has_its_cost() {
        for curvature in [
            [[2.0, 0.5], [0.5, 1.0]],
            [[1.0, 0.0], [0.0, 1e6]],
            [[1e6, -10.0], [-10.0, 1e-3]],
            [[1.0, 0.0], [0.0, 1.0]],
        ] {
            let panel = panel(curvature, vec![[0.0, 0.0]]);
            for point in panel.ellipse(7.0) {
                let excess = panel.excess(point);
                assert!((excess - 7.0).abs() < 1e-6, "{curvature:?}: {excess}");
            }
        }
    }

    #[test]
    fn what_is_drawn_stays_within_the_frame() {
        let panel = panel([[2.0, 0.5], [0.5, 1.0]], vec![[0.0, 0.0], [2.0, -2.0]]);
        let view = View::of(&panel, [10, 20, 110, 220]);
        let far = [(-1e9, 50.0), (60.0, 100.0), (1e9, 1e9), (f64::NAN, 0.0), (50.0, 50.0), (60.0, 60.0)];
        let parts = view.inside(&far);
        assert!(parts.iter().flatten().all(|(x, y)| (10..=110).contains(x) && (20..=220).contains(y)));
        assert_eq!(parts.last().map(Vec::as_slice), Some(&[(50, 50), (60, 60)][..]));
        assert!(view.holds(view.pixel([0.0, 0.0])) && view.holds(view.pixel([3.0, -2.0])));
    }

    #[test]
    fn whatever_the_numbers_the_contours_are_drawn() {
        for path in [vec![], vec![[3.0, -2.0]], vec![[0.0, 0.0], [f64::NAN, 1e300]], vec![[0.0, 0.0]; 3]] {
            for curvature in
                [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]], [[f64::MAX; 2]; 2], [[0.0; 2]; 2]]
            {
                let features = ["<a>".to_owned(), "b".repeat(99)];
                let panels = vec![panel(curvature, path.clone()), panel(curvature, path.clone())];
                let plot = Plot::Contours(Contours { features, panels });
                assert!(svg(&Picture::new("c", vec![plot])).unwrap().contains("weight of &lt;a&gt;"));
            }
        }
    }
}
