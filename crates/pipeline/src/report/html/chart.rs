//! Charts of lines.

use std::fmt::Write;

use maud::{Markup, html};

use super::axis::{Axis, Numbers};

/// The width and the height of a chart in its own units: those of a narrow telephone, where text must be readable.
const SIZE: [f64; 2] = [400.0, 250.0];
const LEFT: f64 = 62.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 42.0;
/// The number of colours that the style sheet has for lines.
const COLOURS: usize = 8;
/// More points than this along a line are put together: there are no more pixels to show them.
const MAX_POINTS: usize = 400;

/// One line of a chart.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    /// Pairs of x and y, x rising; the line has a gap where one is not finite.
    pub(super) points: Vec<[f64; 2]>,
    /// Which of the colours it has.
    pub(super) colour: usize,
    pub(super) dashed: bool,
}

impl Line {
    pub(super) fn new(name: impl Into<String>, points: Vec<[f64; 2]>, colour: usize) -> Self {
        Self { name: name.into(), points, colour, dashed: false }
    }

    pub(super) fn dashed(self) -> Self {
        Self { dashed: true, ..self }
    }

    /// The class that gives the line its colour.
    fn class(&self) -> String {
        let dashed = if self.dashed { " dashed" } else { "" };
        format!("line c{}{dashed}", self.colour % COLOURS + 1)
    }
}

/// Lines over a common axis.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    /// What is along the axes.
    pub(super) axes: [&'static str; 2],
    pub(super) numbers: [Numbers; 2],
    pub(super) lines: Vec<Line>,
}

impl Chart {
    /// The chart as a figure: its title, the lines, and what each is.
    pub(super) fn figure(&self) -> Markup {
        let lines: Vec<Line> = self.lines.iter().map(thinned).collect();
        let drawn = |line: &&Line| line.points.iter().any(finite);
        let drawn: Vec<&Line> = lines.iter().filter(drawn).collect();
        html! {
            figure .chart {
                figcaption { (self.title) }
                @if drawn.is_empty() {
                    p .none { "No figures were recorded." }
                } @else {
                    (self.picture(&drawn))
                    ul .legend {
                        @for line in &drawn {
                            li {
                                svg viewBox="0 0 24 8" aria-hidden="true" { path class=(line.class()) d="M1 4H23" {} }
                                (line.name)
                            }
                        }
                    }
                }
            }
        }
    }

    fn picture(&self, lines: &[&Line]) -> Markup {
        let points = || lines.iter().flat_map(|line| &line.points).filter(|point| finite(point));
        let x = Axis::new(points().map(|point| point[0]), self.numbers[0], false);
        let values = points().map(|point| point[1]);
        let y = match self.numbers[1] {
            // The whole is always in sight.
            Numbers::Percent => Axis::new(values.chain([0.0, 1.0]), Numbers::Percent, true),
            numbers => Axis::new(values, numbers, true),
        };
        let [width, height] = SIZE;
        let (right, bottom) = (width - RIGHT, height - BOTTOM);
        let column = |value: f64| LEFT + x.place(value) * (right - LEFT);
        let row = |value: f64| bottom - y.place(value) * (bottom - TOP);
        let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        html! {
            svg viewBox={ "0 0 " (width) " " (height) } role="img" aria-label={ (self.title) ": " (names.join(", ")) } {
                @for (value, text) in &y.marks {
                    path .grid d={ "M" (LEFT) " " (number(row(*value))) "H" (right) } {}
                    text .mark x=(LEFT - 6.0) y=(number(row(*value) + 4.0)) text-anchor="end" { (text) }
                }
                @for (value, text) in &x.marks {
                    path .grid d={ "M" (number(column(*value))) " " (bottom) "v5" } {}
                    text .mark x=(number(column(*value))) y=(bottom + 18.0) text-anchor="middle" { (text) }
                }
                path .axis d={ "M" (LEFT) " " (TOP) "V" (bottom) "H" (right) } {}
                text .name x=((LEFT + right) / 2.0) y=(height - 6.0) text-anchor="middle" { (self.axes[0]) }
                text .name x=(11) y=((TOP + bottom) / 2.0) text-anchor="middle"
                    transform={ "rotate(-90 11 " ((TOP + bottom) / 2.0) ")" } { (self.axes[1]) }
                @for line in lines {
                    path class=(line.class()) d=(path(&line.points, &column, &row)) { title { (line.name) } }
                }
            }
        }
    }
}

/// What draws the points: lines between neighbours, and a dot for a point without any.
fn path(points: &[[f64; 2]], column: &dyn Fn(f64) -> f64, row: &dyn Fn(f64) -> f64) -> String {
    let mut path = String::new();
    for run in points.split(|point| !finite(point)).filter(|run| !run.is_empty()) {
        for (position, [x, y]) in run.iter().enumerate() {
            let command = if position == 0 { 'M' } else { 'L' };
            // Writing to a string does not fail.
            let _ = write!(path, "{command}{} {}", number(column(*x)), number(row(*y)));
        }
        if run.len() == 1 {
            // The ends of lines are round, so one without length is a dot.
            path += "h0";
        }
    }
    path
}

/// The line with at most [`MAX_POINTS`] points, each the mean of as many neighbours as it takes.
fn thinned(line: &Line) -> Line {
    let group = line.points.len().div_ceil(MAX_POINTS).max(1);
    let mean = |points: &[[f64; 2]]| {
        let count = points.len() as f64;
        [0, 1].map(|axis| points.iter().map(|point| point[axis] / count).sum())
    };
    let points = if group == 1 { line.points.clone() } else { line.points.chunks(group).map(mean).collect() };
    Line { points, ..line.clone() }
}

fn finite(point: &[f64; 2]) -> bool {
    point.iter().all(|value| value.is_finite())
}

/// A length with one decimal.
fn number(length: f64) -> String {
    format!("{length:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[[f64; 2]]) -> String {
        let lines = vec![Line::new("<loss>", points.to_vec(), 0).dashed()];
        let numbers = [Numbers::Whole, Numbers::Plain];
        Chart { title: "a & b".to_owned(), axes: ["epoch", "loss"], numbers, lines }.figure().into_string()
    }

    /// What draws the one line.
    fn drawn(chart: &str) -> &str {
        let tail = chart.split("d=\"").last().unwrap();
        let path = chart.split("<path class=\"line c1 dashed\" d=\"").nth(1).unwrap_or(tail);
        path.split('"').next().unwrap()
    }

    #[test]
    fn a_line_goes_through_its_points() {
        let text = chart(&[[1.0, 0.0], [2.0, 1.0], [3.0, 0.5]]);
        assert_eq!(drawn(&text), "M62.0 208.0L225.0 10.0L388.0 109.0");
        assert!(text.contains("a &amp; b") && text.contains("&lt;loss&gt;") && !text.contains("<loss>"), "{text}");
    }

    #[test]
    fn odd_points_are_left_out_or_dots() {
        let cases: &[(&[[f64; 2]], &str)] = &[
            (&[[1.0, 2.0]], "M225.0 109.0h0"),
            (&[[1.0, 0.0], [2.0, f64::NAN], [3.0, 1.0]], "M62.0 208.0h0M388.0 10.0h0"),
            (&[[1.0, 0.0], [2.0, 1.0], [3.0, f64::INFINITY]], "M62.0 208.0L388.0 10.0"),
        ];
        for (points, expected) in cases {
            let text = chart(points);
            assert_eq!(drawn(&text), *expected, "{points:?}");
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
        for none in [&[][..], &[[1.0, f64::NAN]]] {
            let text = chart(none);
            assert!(text.contains("No figures were recorded.") && !text.contains("<svg"), "{text}");
        }
    }

    #[test]
    fn long_lines_are_thinned_to_means() {
        let points: Vec<[f64; 2]> = (0..1600).map(|index| [f64::from(index), f64::from(index % 2)]).collect();
        let line = thinned(&Line::new("a", points, 0));
        assert_eq!(line.points.len(), 400);
        assert!(line.points.iter().all(|point| (point[1] - 0.5).abs() < 1e-12));
        assert_eq!(line.points[0][0], 1.5);
    }
}
