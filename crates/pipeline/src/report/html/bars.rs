//! Bars for parts of a whole.

use maud::{Markup, html};

use super::page::percent;

/// One bar.
#[derive(Clone, Debug)]
pub(super) struct Bar<'a> {
    pub(super) name: &'a str,
    /// The part of the whole; `None` where there is nothing to measure.
    pub(super) part: Option<f64>,
    /// How far the part spreads around its mean, if it is one.
    pub(super) spread: Option<f64>,
}

/// Bars below each other; the spread of a part is a line over the end of its bar.
pub(super) fn bars(caption: &str, bars: &[Bar<'_>]) -> Markup {
    html! {
        figure .bars {
            figcaption { (caption) }
            dl {
                @for bar in bars {
                    dt { (bar.name) }
                    @match bar.part.filter(|part| part.is_finite()) {
                        Some(part) => dd {
                            span .track {
                                span .bar style={ "width:" (share(part)) } {}
                                @if let Some(spread) = bar.spread {
                                    @let (from, to) = ((part - spread).clamp(0.0, 1.0), (part + spread).clamp(0.0, 1.0));
                                    span .spread style={ "left:" (share(from)) ";width:" (share(to - from)) } {}
                                }
                            }
                            span .figure {
                                (percent(part))
                                @if let Some(spread) = bar.spread { " ± " (percent(spread)) }
                            }
                        },
                        None => dd { "no clips" },
                    }
                }
            }
        }
    }
}

fn share(part: f64) -> String {
    format!("{:.1}%", part.clamp(0.0, 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_parts() {
        let bar = |part, spread| Bar { name: "a<b", part, spread };
        let cases: &[(Bar<'_>, &[&str])] = &[
            (bar(Some(0.5), None), &["width:50.0%", "50.0 %", "a&lt;b"]),
            (bar(Some(0.9), Some(0.2)), &["width:90.0%", "left:70.0%;width:30.0%", "90.0 % ± 20.0 %"]),
            (bar(None, None), &["no clips"]),
            (bar(Some(f64::NAN), Some(0.1)), &["no clips"]),
            (bar(Some(7.0), None), &["width:100.0%"]),
        ];
        for (bar, parts) in cases {
            let text = bars("c", std::slice::from_ref(bar)).into_string();
            for part in *parts {
                assert!(text.contains(part), "`{part}` in {text}");
            }
            assert!(!text.contains("NaN"), "{text}");
        }
    }
}
