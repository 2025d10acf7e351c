//! A page of results: one HTML file that needs no other.

use std::fmt::Write;

use super::canvas::{escaped, svg};
use super::{Picture, Plot};
use crate::Result;

/// Colours and sizes, for light and dark, wide and narrow.
const STYLE: &str = "
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1a1a1a; --muted: #595f69; --line: #d7d7d7; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181d; --ink: #ebebeb; --muted: #a0a5ac; --line: #3e424a; }
}
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 800px; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
p { color: var(--muted); overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem 1.2rem .2rem 0; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
table.pairs th { white-space: nowrap; }
table.pairs td { text-align: left; overflow-wrap: anywhere; }
th { color: var(--muted); font-weight: normal; }
tr + tr > * { border-top: 1px solid var(--line); }
figure { margin: 1rem 0; }
svg { display: block; height: auto; max-width: 100%; }
";

/// A page of sections with tables and pictures. It has its own style and pictures in it, for light and dark, and fetches
/// nothing. All text is escaped: nothing that a file holds becomes markup.
///
/// ```
/// use tilegrad::report::Page;
///
/// let mut page = Page::new("marks <by> hours");
/// page.section("Settings").pairs([("learning rate", "0.1")]);
/// assert!(page.html().contains("<h1>marks &lt;by&gt; hours</h1>"));
/// ```
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// An empty page.
    pub fn new(title: impl Into<String>) -> Self {
        Page { title: title.into(), body: String::new() }
    }

    /// Begins a section.
    pub fn section(&mut self, title: &str) -> &mut Self {
        let _ = writeln!(self.body, "<h2>{}</h2>", escaped(title));
        self
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) -> &mut Self {
        let _ = writeln!(self.body, "<p>{}</p>", escaped(text));
        self
    }

    /// Names with their values.
    pub fn pairs<A: AsRef<str>, B: AsRef<str>>(
        &mut self,
        pairs: impl IntoIterator<Item = (A, B)>,
    ) -> &mut Self {
        self.body.push_str("<table class=\"pairs\">\n");
        for (name, value) in pairs {
            let (name, value) = (escaped(name.as_ref()), escaped(value.as_ref()));
            let _ = writeln!(self.body, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>");
        }
        self.body.push_str("</table>\n");
        self
    }

    /// A table: the first column aligned left, the others right.
    pub fn table<A: AsRef<str>, B: AsRef<str>>(
        &mut self,
        titles: impl IntoIterator<Item = A>,
        rows: impl IntoIterator<Item = Vec<B>>,
    ) -> &mut Self {
        self.body.push_str("<div class=\"wide\"><table>\n<tr>");
        for title in titles {
            let _ = write!(self.body, "<th scope=\"col\">{}</th>", escaped(title.as_ref()));
        }
        self.body.push_str("</tr>\n");
        for row in rows {
            self.body.push_str("<tr>");
            for cell in row {
                let _ = write!(self.body, "<td>{}</td>", escaped(cell.as_ref()));
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</table></div>\n");
        self
    }

    /// A picture of one plot.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub fn plot(&mut self, plot: Plot) -> Result<&mut Self> {
        let svg = svg(&Picture::new("", vec![plot]))?;
        let _ = writeln!(self.body, "<figure>\n{svg}</figure>");
        Ok(self)
    }

    /// The page.
    pub fn html(&self) -> String {
        let title = escaped(&self.title);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"generator\" content=\"tilegrad {version}\">\n<title>{title}</title>\n\
             <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
             <p>Made by tilegrad {version}.</p>\n{body}</body>\n</html>\n",
            version = env!("CARGO_PKG_VERSION"),
            body = self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_holds_is_text_wherever_it_stands() {
        let hostile = "</title><script>alert(1)</script>\"'&";
        let mut page = Page::new(hostile);
        page.section(hostile).text(hostile).pairs([(hostile, hostile)]);
        page.table([hostile], [vec![hostile]]);
        let plot = Plot::Predictions {
            target: hostile.to_owned(),
            samples: hostile.to_owned(),
            actual: vec![1.0, 2.0],
            predicted: vec![1.0, 3.0],
        };
        page.plot(plot).unwrap();
        let html = page.html();
        assert!(!html.contains("<script") && !html.contains("'&"), "{html}");
        assert_eq!(html.matches("</title>").count(), 2, "the page's and the picture's");
        for address in ["http://", "https://", "url(", "@import", "src=", "href="] {
            let elsewhere = html.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains(address), "{address}");
        }
    }
}
