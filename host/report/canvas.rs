//! What pictures are drawn on: SVG and PNG from the same drawing.
//!
//! A drawing takes its colours from here. In SVG each has another one for dark pages, by attribute selectors in a style
//! sheet, which win over the attributes; where style sheets are not followed, the picture is as on a light page. Widths
//! of texts are those of DejaVu Sans, which is wider than what browsers take for sans-serif.

use std::fmt::Write;
use std::path::Path;
use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::Pos;
use plotters::style::{FontStyle, register_font};
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, DrawingErrorKind};

use crate::{Error, Result};

/// Parts of a pixel that drawings are measured in: plotters takes whole numbers, and curves need more than pixels.
pub(crate) const PIXEL: i32 = 4;
/// Width of every picture: 800 pixels.
pub(crate) const WIDTH: i32 = 800 * PIXEL;
/// Height of letters.
pub(crate) const TEXT: i32 = 15 * PIXEL;
/// Height of letters where there are many.
pub(crate) const SMALL: i32 = 13 * PIXEL;
/// Widths of lines.
pub(crate) const THIN: u32 = PIXEL as u32;
pub(crate) const THICK: u32 = 2 * PIXEL as u32;

/// The colours of the paper, of letters and axes, of what explains, and of the lines behind.
pub(crate) const PAPER: RGBColor = RGBColor(255, 255, 255);
pub(crate) const INK: RGBColor = RGBColor(0, 0, 0);
pub(crate) const MUTED: RGBColor = RGBColor(110, 110, 110);
pub(crate) const GRID: RGBColor = RGBColor(215, 215, 215);
pub(crate) const FINE_GRID: RGBColor = RGBColor(240, 240, 240);
pub(crate) const CONTOUR: RGBColor = RGBColor(150, 190, 225);
/// The colours of what is shown, which differ for colour-blind eyes too.
pub(crate) const BLUE: RGBColor = RGBColor(0, 90, 181);
pub(crate) const ORANGE: RGBColor = RGBColor(200, 80, 0);
pub(crate) const GREEN: RGBColor = RGBColor(20, 120, 60);

/// Each colour with the one that takes its place on dark pages.
const ON_DARK: [(RGBColor, RGBColor); 9] = [
    (PAPER, RGBColor(22, 24, 29)),
    (INK, RGBColor(235, 235, 235)),
    (MUTED, RGBColor(160, 165, 172)),
    (GRID, RGBColor(62, 66, 74)),
    (FINE_GRID, RGBColor(38, 41, 47)),
    (CONTOUR, RGBColor(58, 92, 130)),
    (BLUE, RGBColor(98, 170, 255)),
    (ORANGE, RGBColor(255, 150, 70)),
    (GREEN, RGBColor(95, 200, 130)),
];

/// Parts of a pixel that become one of a PNG's: two for each of the picture's are sharp on fine screens, and the mean of
/// the parts smooths edges.
const SMOOTHING: usize = 2;

/// Where a picture is drawn.
pub(crate) type Area<B> = DrawingArea<B, Shift>;
/// What becomes of drawing.
pub(crate) type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// A picture that knows how to draw itself, [`WIDTH`] wide.
pub(crate) trait Drawing {
    /// What it shows, for those who cannot see it.
    fn title(&self) -> String;

    /// Its height, in parts of a pixel.
    fn height(&self) -> i32;

    /// Draws it on paper.
    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B>;
}

/// A kind of picture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines and letters, for light and dark pages; takes the browser's letters.
    Svg,
    /// Pixels: on white, 1600 wide, two for each of the picture's 800, so that it is sharp on fine screens. Letters are
    /// DejaVu Sans; what that has not, such as Chinese, is an empty box.
    Png,
}

impl Format {
    /// The kind that a file's name asks for by its end: `.svg` or `.png`.
    ///
    /// # Errors
    /// Another end.
    pub fn of(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("svg") => Ok(Format::Svg),
            Some("png") => Ok(Format::Png),
            _ => Err(Error::Output {
                path: path.to_owned(),
                problem: "a picture is an SVG or a PNG file: end its name in .svg or .png".to_owned(),
            }),
        }
    }

    /// The file with a picture.
    pub(crate) fn bytes(self, drawing: &impl Drawing) -> Result<Vec<u8>> {
        match self {
            Format::Svg => svg(drawing).map(String::into_bytes),
            Format::Png => png(drawing),
        }
    }
}

/// A picture's size, in parts of a pixel.
fn size(drawing: &impl Drawing) -> (u32, u32) {
    (WIDTH as u32, drawing.height().max(1) as u32)
}

/// The picture as SVG, for light and dark pages.
pub(crate) fn svg(drawing: &impl Drawing) -> Result<String> {
    let (width, height) = size(drawing);
    let mut svg = String::new();
    draw(drawing, SVGBackend::with_string(&mut svg, (width, height)))?;
    let (pixels_wide, pixels_high) = (width / PIXEL as u32, height / PIXEL as u32);
    let head = format!(
        "<svg class=\"tilegrad\" role=\"img\" width=\"{pixels_wide}\" height=\"{pixels_high}\" \
         viewBox=\"0 0 {width} {height}\" xmlns=\"http://www.w3.org/2000/svg\">\n<title>{}</title>\n{}",
        escaped(&drawing.title()),
        style_sheet()
    );
    let drawn = svg.split_once('>').map_or("", |(_, drawn)| drawn);
    Ok(head + drawn)
}

fn png(drawing: &impl Drawing) -> Result<Vec<u8>> {
    let (width, height) = size(drawing);
    let mut pixels = vec![255; 3 * width as usize * height as usize];
    draw(drawing, Pixels(BitMapBackend::with_buffer(&mut pixels, (width, height))))?;
    let smooth = smoothed(&pixels, width as usize);

    let side = SMOOTHING as u32;
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width / side, height / side);
    encoder.set_color(png::ColorType::Rgb);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&smooth))
        .map_err(|reason| cannot(&reason))?;
    Ok(file)
}

fn draw<B: DrawingBackend>(drawing: &impl Drawing, backend: B) -> Result<()> {
    static FONT: OnceLock<bool> = OnceLock::new();
    let register = || register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular()).is_ok();
    if !FONT.get_or_init(register) {
        return Err(cannot(&"the font is damaged"));
    }
    let area = backend.into_drawing_area();
    area.fill(&PAPER)
        .and_then(|()| drawing.draw(&area))
        .and_then(|()| area.present())
        .map_err(|reason| cannot(&reason))
}

fn cannot(reason: &dyn std::fmt::Display) -> Error {
    Error::Setting(format!("the picture cannot be drawn: {reason}; leave it out"))
}

fn style_sheet() -> String {
    let mut rules = String::new();
    for (light, dark) in ON_DARK {
        let (light, dark) = (hexadecimal(light), hexadecimal(dark));
        for property in ["fill", "stroke"] {
            let _ = writeln!(rules, "  .tilegrad [{property}=\"{light}\"] {{ {property}: {dark} }}");
        }
    }
    format!("<style>@media (prefers-color-scheme: dark) {{\n{rules}}}</style>")
}

/// A colour as plotters writes it.
fn hexadecimal(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// Letters `size` high.
pub(crate) fn text(size: i32, colour: RGBColor) -> TextStyle<'static> {
    let font = ("sans-serif", size).into_font();
    TextStyle { font, color: colour.to_backend_color(), pos: Pos::default() }
}

/// `text` as it can stand in a picture: at most `most` characters, without control characters.
pub(crate) fn label(text: &str, most: usize) -> String {
    let visible = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    if text.chars().count() <= most {
        return text.chars().map(visible).collect();
    }
    text.chars().take(most.saturating_sub(1)).map(visible).chain(['…']).collect()
}

/// `text` for HTML and XML: nothing in it is markup, or a character that they do not allow.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ if character.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Means of squares of [`SMOOTHING`]² pixels of an image `width` wide.
fn smoothed(pixels: &[u8], width: usize) -> Vec<u8> {
    let side = SMOOTHING;
    let mut smooth = Vec::with_capacity(pixels.len() / (side * side));
    for rows in pixels.chunks_exact(3 * width * side) {
        for x in 0..width / side {
            for channel in 0..3 {
                let at = |dx: usize, dy: usize| rows[3 * (dy * width + side * x + dx) + channel];
                let sum: usize = (0..side * side).map(|i| usize::from(at(i % side, i / side))).sum();
                smooth.push((sum / (side * side)) as u8);
            }
        }
    }
    smooth
}

/// Pixels, on which wide lines have round joints. Plotters' own end in spikes where a line turns sharply.
struct Pixels<'a>(BitMapBackend<'a>);

type PixelError = <BitMapBackend<'static> as DrawingBackend>::ErrorType;
type Done = Result<(), DrawingErrorKind<PixelError>>;

impl DrawingBackend for Pixels<'_> {
    type ErrorType = PixelError;

    fn get_size(&self) -> (u32, u32) {
        self.0.get_size()
    }

    fn ensure_prepared(&mut self) -> Done {
        self.0.ensure_prepared()
    }

    fn present(&mut self) -> Done {
        self.0.present()
    }

    fn draw_pixel(&mut self, point: BackendCoord, colour: BackendColor) -> Done {
        self.0.draw_pixel(point, colour)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Done {
        match fill {
            true => self.0.draw_rect(from, to, style, true),
            false => self.draw_path([from, (to.0, from.1), to, (from.0, to.1), from], style),
        }
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Done {
        let mut last = None;
        for point in path {
            if let Some(last) = last {
                self.0.draw_path([last, point], style)?;
                // A joint is round, and so is an end.
                self.0.draw_circle(point, style.stroke_width() / 2, &style.color(), true)?;
            }
            last = Some(point);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_holds_is_no_markup() {
        assert_eq!(
            escaped("<b a=\"1\" c='2'>&\u{1}"),
            "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\u{fffd}"
        );
        assert_eq!(label("a\u{1b}b", 9), "a\u{fffd}b");
        assert_eq!(label("äöüß", 3), "äö…");
    }

    #[test]
    fn a_files_name_says_what_it_is() {
        assert_eq!(Format::of("a.b/c.SVG").unwrap(), Format::Svg);
        assert_eq!(Format::of("c.png").unwrap(), Format::Png);
        for name in ["c", "c.jpg", ".svg", "svg"] {
            assert!(
                Format::of(name).unwrap_err().to_string().contains("end its name in .svg or .png"),
                "{name}"
            );
        }
    }

    #[test]
    fn pixels_are_the_mean_of_squares() {
        let pixels: Vec<u8> = [0, 10, 20, 30, 2, 12, 22, 32].iter().flat_map(|v| [*v, 0, 200]).collect();
        assert_eq!(smoothed(&pixels, 4), [6, 0, 200, 26, 0, 200]);
    }

    #[test]
    fn every_colour_differs_from_every_other() {
        for (i, (light, _)) in ON_DARK.iter().enumerate() {
            assert!(ON_DARK[i + 1..].iter().all(|(other, _)| other != light), "{light:?}");
        }
    }
}
