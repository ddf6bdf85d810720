//! A chart as SVG: curves over a logarithmic axis, in panels side by side, readable on light and on dark pages.

use std::fmt::{self, Write as _};

/// A whole chart.
pub(crate) struct Chart {
    pub(crate) title: String,
    /// Below the title: when and where it was measured.
    pub(crate) caption: String,
    /// What lies to the right.
    pub(crate) x_label: String,
    pub(crate) panels: Vec<Panel>,
}

/// Curves over one pair of axes, both logarithmic.
pub(crate) struct Panel {
    /// Says what is above, with its unit.
    pub(crate) title: String,
    pub(crate) curves: Vec<Curve>,
}

/// One curve through its points, which ascend.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;
/// What the title and the axis below need.
const TOP: f64 = 104.0;
const BOTTOM: f64 = 62.0;
/// What the numbers to the left of a panel need, and the names to its right.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 78.0;
/// The least distance between the names of two curves.
const NAME_HEIGHT: f64 = 15.0;

/// Colours that differ for most eyes, on white and, lighter, on black.
const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}
.title{font-size:17px;font-weight:600}.quiet{fill:#59636e}.number{font-size:12px;fill:#59636e}
.page{fill:#fff}.grid{stroke:#d1d9e0;stroke-width:1}.curve{fill:none;stroke-width:2.25;stroke-linejoin:round}
.c0{stroke:#0969da;fill:#0969da}.c1{stroke:#bc4c00;fill:#bc4c00}.c2{stroke:#1a7f37;fill:#1a7f37}.c3{stroke:#8250df;fill:#8250df}
text.name{stroke:none;font-weight:600}.curve.c0,.curve.c1,.curve.c2,.curve.c3{fill:none}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.quiet,.number{fill:#9198a1}.page{fill:#0d1117}.grid{stroke:#3d444d}
.c0{stroke:#4493f8;fill:#4493f8}.c1{stroke:#f0883e;fill:#f0883e}.c2{stroke:#3fb950;fill:#3fb950}.c3{stroke:#bc8cff;fill:#bc8cff}}
";

impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (title, caption) = (escaped(&self.title), escaped(&self.caption));
        writeln!(
            f,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{title}">"#
        )?;
        writeln!(f, "<title>{title}</title>\n<desc>{caption}</desc>\n<style>{STYLE}</style>")?;
        writeln!(f, r#"<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="6"/>"#)?;
        writeln!(f, r#"<text class="title" x="24" y="34">{title}</text>"#)?;
        writeln!(f, r#"<text class="quiet" x="24" y="55">{caption}</text>"#)?;
        let width = WIDTH / self.panels.len().max(1) as f64;
        for (number, panel) in self.panels.iter().enumerate() {
            let left = number as f64 * width + LEFT;
            let frame = Frame { left, right: left + width - LEFT - RIGHT, top: TOP, bottom: HEIGHT - BOTTOM };
            panel.draw(f, &frame, &self.x_label)?;
        }
        writeln!(f, "</svg>")
    }
}

/// Where a panel's axes stand.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// A logarithmic axis from one power of ten to another.
struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    /// One that has room for these values.
    fn around(values: impl Iterator<Item = f64> + Clone) -> Self {
        let logs = values.map(f64::log10);
        let (least, most) = (logs.clone().fold(f64::MAX, f64::min), logs.fold(f64::MIN, f64::max));
        let from = (least + 0.02).floor();
        Self { from, to: (most - 0.02).ceil().max(from + 1.0) }
    }

    /// Where a value lies, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        (value.log10() - self.from) / (self.to - self.from)
    }

    fn powers(&self) -> impl Iterator<Item = f64> {
        let (from, to) = (self.from as i32, self.to as i32);
        (from..=to).map(|power| 10_f64.powi(power))
    }
}

impl Panel {
    fn draw(&self, f: &mut fmt::Formatter<'_>, frame: &Frame, x_label: &str) -> fmt::Result {
        let points = || self.curves.iter().flat_map(|curve| curve.points.iter());
        let least_x = points().map(|(x, _)| *x).fold(f64::MAX, f64::min);
        let most_x = points().map(|(x, _)| *x).fold(f64::MIN, f64::max);
        let x_axis = Axis { from: least_x.log10(), to: most_x.log10() };
        let y_axis = Axis::around(points().map(|(_, y)| *y));
        let x = |value: f64| frame.left + x_axis.share(value) * (frame.right - frame.left);
        let y = |value: f64| frame.bottom - y_axis.share(value) * (frame.bottom - frame.top);
        writeln!(f, r#"<text x="{:.1}" y="{:.1}">{}</text>"#, frame.left, frame.top - 18.0, escaped(&self.title))?;
        for power in y_axis.powers() {
            let (at, left, right) = (y(power), frame.left, frame.right);
            writeln!(f, r#"<line class="grid" x1="{left:.1}" y1="{at:.1}" x2="{right:.1}" y2="{at:.1}"/>"#)?;
            let (x, y) = (left - 8.0, at + 4.0);
            writeln!(f, r#"<text class="number" text-anchor="end" x="{x:.1}" y="{y:.1}">{power}</text>"#)?;
        }
        // The points of the first curve, which are those of all.
        for (value, _) in self.curves.first().iter().flat_map(|curve| curve.points.iter()) {
            let (at, top, bottom) = (x(*value), frame.top, frame.bottom);
            writeln!(f, r#"<line class="grid" x1="{at:.1}" y1="{top:.1}" x2="{at:.1}" y2="{bottom:.1}"/>"#)?;
            let (below, number) = (bottom + 18.0, count(*value));
            writeln!(f, r#"<text class="number" text-anchor="middle" x="{at:.1}" y="{below:.1}">{number}</text>"#)?;
        }
        let (middle, below) = (f64::midpoint(frame.left, frame.right), frame.bottom + 42.0);
        writeln!(f, r#"<text class="quiet" text-anchor="middle" x="{middle:.1}" y="{below:.1}">{x_label}</text>"#)?;
        for (number, curve) in self.curves.iter().enumerate() {
            let line: Vec<String> = curve.points.iter().map(|(a, b)| format!("{:.1},{:.1}", x(*a), y(*b))).collect();
            writeln!(f, r#"<polyline class="curve c{number}" points="{}"/>"#, line.join(" "))?;
            for (a, b) in &curve.points {
                writeln!(f, r#"<circle class="c{number}" cx="{:.1}" cy="{:.1}" r="3"/>"#, x(*a), y(*b))?;
            }
        }
        let ends = self.curves.iter().map(|curve| curve.points.last().map_or(frame.bottom, |(_, last)| y(*last)));
        for (number, (curve, at)) in self.curves.iter().zip(apart(ends.collect())).enumerate() {
            let (x, y, name) = (frame.right + 9.0, at + 4.5, escaped(&curve.name));
            writeln!(f, r#"<text class="name c{number}" x="{x:.1}" y="{y:.1}">{name}</text>"#)?;
        }
        Ok(())
    }
}

/// Moves what lies too close together apart, keeping its order.
fn apart(mut places: Vec<f64>) -> Vec<f64> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    for _ in 0..32 {
        order.sort_by(|a, b| places[*a].total_cmp(&places[*b]));
        for pair in order.windows(2) {
            let (above, below) = (pair[0], pair[1]);
            let lacks = NAME_HEIGHT - (places[below] - places[above]);
            if lacks > 0.0 {
                places[above] -= lacks / 2.0;
                places[below] += lacks / 2.0;
            }
        }
    }
    places
}

/// A number of events as people say it.
pub(crate) fn count(value: f64) -> String {
    match value {
        1e6.. => format!("{} M", value / 1e6),
        1e3.. => format!("{} k", value / 1e3),
        _ => format!("{value}"),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.write_char(character).expect("text takes everything"),
        }
    }
    escaped
}
