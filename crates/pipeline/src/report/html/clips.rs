//! Clips that were tested on, as small films.

use maud::{Markup, html};
use ndarray::Array3;

use super::ReportError;
use super::page::percent;
use super::pictures::data_uri;
use crate::data::{FirActions, PreprocessingConfig};
use crate::pictures::{ColourScale, encode_reel};

/// The temperatures that the colours stand for, in °C above the empty room.
const COLDEST: f32 = -0.1;
const WARMEST: f32 = 1.2;

/// What a model said of one clip.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    /// The clip, as a position in the data set.
    pub(super) clip: usize,
    pub(super) truth: usize,
    pub(super) prediction: usize,
    /// The probabilities of the classes.
    pub(super) probabilities: Vec<f32>,
}

impl Verdict {
    pub(super) fn is_right(&self) -> bool {
        self.truth == self.prediction
    }

    fn confidence(&self) -> f32 {
        self.probabilities[self.prediction]
    }
}

/// The `count` mistakes that the model was surest of, the surest first.
pub(super) fn worst_mistakes(verdicts: &[Verdict], count: usize) -> Vec<Verdict> {
    let mut mistakes: Vec<Verdict> = verdicts.iter().filter(|verdict| !verdict.is_right()).cloned().collect();
    mistakes.sort_by(|a, b| b.confidence().total_cmp(&a.confidence()).then(a.clip.cmp(&b.clip)));
    mistakes.truncate(count);
    mistakes
}

/// The clip of each of `classes` classes that was recognised most surely, where one was.
pub(super) fn surest_of_each_class(verdicts: &[Verdict], classes: usize) -> Vec<Verdict> {
    let mut surest: Vec<Option<&Verdict>> = vec![None; classes];
    for verdict in verdicts.iter().filter(|verdict| verdict.is_right()) {
        let best = &mut surest[verdict.truth];
        if best.is_none_or(|best| verdict.confidence() > best.confidence()) {
            *best = Some(verdict);
        }
    }
    surest.into_iter().flatten().cloned().collect()
}

/// A film of each clip, and what the model said of it.
pub(super) fn films(verdicts: &[Verdict], actions: &FirActions, labels: &[String]) -> Result<Markup, ReportError> {
    let cards = verdicts.iter().map(|verdict| card(verdict, actions, labels)).collect::<Result<Vec<_>, _>>()?;
    Ok(html! { ol .films { @for card in &cards { li { (card) } } } })
}

fn card(verdict: &Verdict, actions: &FirActions, labels: &[String]) -> Result<Markup, ReportError> {
    let clip = &actions.clips()[verdict.clip];
    let alternative = format!("clip {} of person {}: {}", verdict.clip, clip.person, labels[verdict.truth]);
    let frames = warmth(actions, verdict.clip);
    let address = data_uri("image/png", &encode_reel(frames.view(), ColourScale::Heat)?);
    Ok(html! {
        (window(&address, &alternative, frames.dim().0, None))
        (verdict_lines(verdict, actions, labels))
    })
}

/// What the model said, what the clip is, and which clip it is.
pub(super) fn verdict_lines(verdict: &Verdict, actions: &FirActions, labels: &[String]) -> Markup {
    let clip = &actions.clips()[verdict.clip];
    let (truth, prediction) = (&labels[verdict.truth], &labels[verdict.prediction]);
    let said = percent(f64::from(verdict.confidence()));
    let of_truth = percent(f64::from(verdict.probabilities[verdict.truth]));
    html! {
        p .verdict {
            @if verdict.is_right() {
                b .is-right { (prediction) } " " (said)
            } @else {
                b .is-wrong { (prediction) } " " (said)
                br;
                "is " b { (truth) } " " (of_truth)
            }
        }
        p .origin { "person " (clip.person) ", clip " (verdict.clip) ", " (clip.length) " frames" }
    }
}

/// The clip's frames as values from 0 to 1: how warm it is above the empty room and above the middle of the clip, whatever
/// the recipe makes of it.
pub(super) fn warmth(actions: &FirActions, position: usize) -> Array3<f32> {
    let shown = PreprocessingConfig::default();
    let clip = &actions.clips()[position];
    let units = shown.normalize(actions.frames(clip), actions.background(clip));
    units.mapv(|units| (units * shown.celsius_per_unit as f32 - COLDEST) / (WARMEST - COLDEST))
}

/// A window of one frame, under which the reel of `frames` frames at `address` moves on and on; a frame stays for `tick`
/// seconds, or as long as in the recording.
pub(super) fn window(address: &str, alternative: &str, frames: usize, tick: Option<f64>) -> Markup {
    let tick = tick.map(|tick| format!(";--tick:{tick:.3}s")).unwrap_or_default();
    let style = format!("--frames:{frames};--middle:{}{tick}", frames / 2);
    html! { div .film style=(style) { img src=(address) alt=(alternative); } }
}

/// What the colours of the films stand for.
pub(super) fn film_legend() -> Markup {
    let colour = |step: usize| {
        let [red, green, blue] = ColourScale::Heat.colour(step as f32 / 8.0);
        format!("rgb({red} {green} {blue})")
    };
    let stops: Vec<String> = (0..=8).map(colour).collect();
    html! {
        p .scale {
            span { (format!("{COLDEST:+.1} °C")) }
            span .colours style={ "background:linear-gradient(90deg," (stops.join(",")) ")" } {}
            span { (format!("{WARMEST:+.1} °C")) }
            " warmer than the empty room; ten frames a second, as recorded"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(clip: usize, truth: usize, probabilities: [f32; 3]) -> Verdict {
        let prediction = crate::training::largest(ndarray::ArrayView1::from(&probabilities));
        Verdict { clip, truth, prediction, probabilities: probabilities.to_vec() }
    }

    #[test]
    fn mistakes_come_surest_first_and_right_ones_by_class() {
        let verdicts = [
            verdict(3, 0, [0.2, 0.7, 0.1]),
            verdict(4, 0, [0.9, 0.1, 0.0]),
            verdict(5, 1, [0.0, 0.1, 0.9]),
            verdict(6, 0, [0.95, 0.0, 0.05]),
            verdict(7, 2, [0.7, 0.2, 0.1]),
            verdict(8, 2, [0.1, 0.0, 0.9]),
        ];
        let clips = |verdicts: Vec<Verdict>| verdicts.iter().map(|verdict| verdict.clip).collect::<Vec<_>>();
        assert_eq!(clips(worst_mistakes(&verdicts, 10)), [5, 3, 7]);
        assert_eq!(clips(worst_mistakes(&verdicts, 2)), [5, 3]);
        assert_eq!(clips(surest_of_each_class(&verdicts, 3)), [6, 8]);
        assert_eq!(clips(worst_mistakes(&[], 10)), [0; 0]);
    }
}
