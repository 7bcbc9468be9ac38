//! Plots as SVG text, a few kilobytes each.

use core::fmt::Write;

use crate::report::{Plot, Series, show};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// Left, right, top, bottom.
const MARGIN: [f64; 4] = [64.0, 190.0, 36.0, 48.0];
/// Told apart also by those who see no red or no green (Okabe and Ito's palette).
const COLORS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#333333"];
/// More points than this on a line are not seen.
const MAX_POINTS: usize = 240;

struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    fn over(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let (mut from, mut to) = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        if from > to {
            (from, to) = (0.0, 1.0);
        }
        if to - from < 1e-12 {
            (from, to) = (from - 0.5, to + 0.5);
        }
        Self { from, to, start, end }
    }

    fn at(&self, value: f64) -> f64 {
        self.start + (value - self.from) / (self.to - self.from) * (self.end - self.start)
    }

    /// Five or so round numbers.
    fn ticks(&self) -> Vec<f64> {
        let raw = (self.to - self.from) / 5.0;
        let magnitude = 10_f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|round| round * magnitude)
            .find(|step| *step >= raw)
            .unwrap_or(raw);
        let first = (self.from / step).ceil();
        (0..12)
            .map(|n| (first + f64::from(n)) * step)
            .take_while(|v| *v <= self.to + 1e-9)
            .collect()
    }
}

/// Draws a plot.
#[must_use]
pub fn draw(plot: &Plot) -> String {
    let [left, right, top, bottom] = MARGIN;
    let value = |y: f64| if plot.log { y.max(1e-6).log10() } else { y };
    let points = || plot.series.iter().flat_map(|series| series.points.iter());
    let x = Scale::over(points().map(|point| point.0), left, WIDTH - right);
    let y = Scale::over(points().map(|point| value(point.1)), HEIGHT - bottom, top);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{left}\" y=\"20\" font-size=\"14\">{}</text>\n",
        escape(&plot.title)
    );
    for tick in x.ticks() {
        let (at, base) = (x.at(tick), HEIGHT - bottom);
        let _infallible = writeln!(
            svg,
            "<path d=\"M{at:.1} {base}V{top}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{}\" \
             text-anchor=\"middle\">{}</text>",
            base + 16.0,
            label(tick)
        );
    }
    for tick in y.ticks() {
        let (at, end) = (y.at(tick), WIDTH - right);
        let shown = if plot.log { 10_f64.powf(tick) } else { tick };
        let _infallible = writeln!(
            svg,
            "<path d=\"M{left} {at:.1}H{end}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\">{}</text>",
            left - 6.0,
            at + 4.0,
            label(shown)
        );
    }
    let _infallible = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
         <text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        (left + WIDTH - right) / 2.0,
        HEIGHT - 10.0,
        escape(&plot.x),
        HEIGHT / 2.0,
        escape(&plot.y)
    );
    for (index, series) in plot.series.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        line(&mut svg, series, color, |point| (x.at(point.0), y.at(value(point.1))));
        let _infallible = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" fill=\"{color}\">{}</text>",
            WIDTH - right + 10.0,
            top + 12.0 + 16.0 * index as f64,
            escape(&series.name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn line(svg: &mut String, series: &Series, color: &str, place: impl Fn(&(f64, f64)) -> (f64, f64)) {
    let every = series.points.len().div_ceil(MAX_POINTS).max(1);
    let mut path = String::new();
    for point in series.points.iter().step_by(every).filter(|point| point.1.is_finite()) {
        let (x, y) = place(point);
        let _infallible = write!(path, "{x:.1},{y:.1} ");
    }
    let _infallible = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.6\"/>",
        path.trim_end()
    );
}

fn label(value: f64) -> String {
    let shown = show(value);
    if shown.contains('.') && !shown.contains('e') {
        shown.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        shown
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_well_formed_whatever_its_numbers() {
        let mut plot = Plot::new("a < b & c", "hours", "ratio");
        plot.line("flat", vec![(0.0, 1.0), (1.0, 1.0)]);
        plot.line("odd", vec![(0.0, f64::NAN), (1.0, f64::INFINITY), (2.0, 1e300)]);
        plot.line("none", Vec::new());
        for log in [false, true] {
            plot.log = log;
            let svg = draw(&plot);
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
            assert!(svg.contains("a &lt; b &amp; c"));
            assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }
        assert!(draw(&Plot::default()).contains("</svg>"));
    }
}
