//! Where a model with attention looks.

use std::collections::BTreeMap;

use maud::{Markup, html};
use ndarray::{Array3, Axis as ArrayAxis};

use super::ReportError;
use super::axis::Numbers;
use super::chart::{Chart, Line};
use super::clips::{Verdict, surest_of_each_class, verdict_lines, warmth, window, worst_mistakes};
use super::pictures::data_uri;
use crate::actions::FinishedFold;
use crate::data::{Batch, FirActions, NormalizedClips, PreprocessingConfig, Symmetry};
use crate::model::AttentionWeights;
use crate::pictures::encode_overlay;

/// Mistakes, and right clips, that are shown.
const CLIPS: usize = 4;
/// The height and the width in a picture of one pixel of a frame.
const MAGNIFICATION: usize = 4;

/// So many even shares at least are shown as the full colour: weights that hardly differ leave a frame grey.
const FULL: f32 = 2.0;

/// What is attended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attended {
    Steps,
    Places,
}

/// The weights of one clip.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ClipAttention {
    attended: Attended,
    /// Over each step, `[steps, rows, columns]`; one row and column where steps are attended to.
    weights: Array3<f32>,
}

impl ClipAttention {
    /// From 0 for an even share, or less, to 1 for the largest weight of the clip, which is at least [`FULL`] even shares.
    fn shares(&self) -> Array3<f32> {
        let (steps, rows, columns) = self.weights.dim();
        let even = match self.attended {
            Attended::Steps => 1.0 / steps as f32,
            Attended::Places => 1.0 / (rows * columns) as f32,
        };
        let largest = self.weights.iter().copied().fold(FULL * even, f32::max);
        self.weights.mapv(|weight| ((weight - even) / (largest - even)).max(0.0))
    }
}

/// The weights of those clips of a fold that may be shown, by their positions in the data set; empty for a model without
/// attention.
pub(super) fn attention_of(
    fold: &FinishedFold,
    clips: &NormalizedClips,
    verdicts: &[Verdict],
    classes: usize,
) -> Result<BTreeMap<usize, ClipAttention>, ReportError> {
    let mut positions: Vec<usize> = worst_mistakes(verdicts, CLIPS).iter().map(|verdict| verdict.clip).collect();
    positions.extend(surest_of_each_class(verdicts, classes).iter().map(|verdict| verdict.clip));
    if positions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let batch = Batch::recorded(clips, &positions, Symmetry::IDENTITY);
    let weights = fold.model.attention(batch.frames.view(), &batch.lengths)?;
    let of_clips: Vec<ClipAttention> = match weights {
        None => Vec::new(),
        Some(AttentionWeights::Places(places)) => {
            places.into_iter().map(|weights| ClipAttention { attended: Attended::Places, weights }).collect()
        }
        Some(AttentionWeights::Steps(rows)) => rows
            .into_iter()
            .filter_map(|rows| rows.mean_axis(ArrayAxis(0)))
            .map(|mean| {
                let weights = mean.insert_axis(ArrayAxis(1)).insert_axis(ArrayAxis(2));
                ClipAttention { attended: Attended::Steps, weights }
            })
            .collect(),
    };
    Ok(positions.into_iter().zip(of_clips).collect())
}

/// The weights laid over the frames of the surest mistakes and of some right clips; `None` without any.
pub(super) fn attention(
    verdicts: &[Verdict],
    attention: &BTreeMap<usize, ClipAttention>,
    preprocessing: &PreprocessingConfig,
    actions: &FirActions,
    labels: &[String],
) -> Result<Option<Markup>, ReportError> {
    let Some(attended) = attention.values().next().map(|attention| attention.attended) else { return Ok(None) };
    let mut right = surest_of_each_class(verdicts, labels.len());
    right.truncate(CLIPS);
    let groups = [("Mistakes", worst_mistakes(verdicts, CLIPS)), ("Recognised", right)];
    let mut parts = Vec::new();
    for (title, verdicts) in &groups {
        let shown: Vec<_> =
            verdicts.iter().filter_map(|verdict| Some((verdict, attention.get(&verdict.clip)?))).collect();
        if shown.is_empty() {
            continue;
        }
        let clips = shown
            .iter()
            .map(|(verdict, attention)| clip(verdict, attention, preprocessing, actions, labels))
            .collect::<Result<Vec<_>, _>>()?;
        parts.push(html! {
            h3 { (title) }
            ol .attended { @for clip in &clips { li { (clip) } } }
            div .charts { (curves(title, attended, &shown)) }
        });
    }
    let explanation = match attended {
        Attended::Steps => {
            "How much the model looks at each step of a clip: a step is orange if its weight is above an even share of the clip. \
             Where every step has weights of its own for the others, their mean is shown."
        }
        Attended::Places => {
            "Where the model looks at each step of a clip: a place is orange if its weight is above an even share of the frame."
        }
    };
    Ok(Some(html! {
        p { (explanation) " A step is one of the pictures from left to right." }
        @for part in &parts { (part) }
    }))
}

fn clip(
    verdict: &Verdict,
    attention: &ClipAttention,
    preprocessing: &PreprocessingConfig,
    actions: &FirActions,
    labels: &[String],
) -> Result<Markup, ReportError> {
    let frames = warmth(actions, verdict.clip);
    let (time, steps) = (frames.dim().0, attention.weights.dim().0);
    // The last frame of every step, as in `PreprocessingConfig::stack`.
    let stride = preprocessing.frame_stride;
    let last: Vec<usize> = (0..steps).map(|step| (step * stride + stride - 1).min(time - 1)).collect();
    let frames = frames.select(ArrayAxis(0), &last);
    let picture = encode_overlay(frames.view(), attention.shares().view(), MAGNIFICATION)?;
    let address = data_uri("image/png", &picture);
    let alternative = format!("attention over clip {}", verdict.clip);
    // Ten frames a second.
    let tick = 0.115 * stride as f64;
    Ok(html! {
        (window(&address, &alternative, steps, Some(tick)))
        div .detail {
            (verdict_lines(verdict, actions, labels))
            div .scroll tabindex="0" { img src=(address) alt={ (alternative) ", step by step" }; }
        }
    })
}

/// The weights over time, a line per clip.
fn curves(title: &str, attended: Attended, clips: &[(&Verdict, &ClipAttention)]) -> Markup {
    let line = |(colour, (verdict, attention)): (usize, &(&Verdict, &ClipAttention))| {
        let largest = |weights: ndarray::ArrayView2<'_, f32>| f64::from(weights.iter().copied().fold(0.0, f32::max));
        let weights = attention.weights.outer_iter().map(largest).enumerate();
        let points = weights.map(|(step, weight)| [(step + 1) as f64, weight]).collect();
        Line::new(format!("clip {}", verdict.clip), points, colour)
    };
    let what = match attended {
        Attended::Steps => "weight of a step",
        Attended::Places => "largest weight of a place",
    };
    Chart {
        title: format!("{title}: {what}"),
        axes: ["step", "weight"],
        numbers: [Numbers::Whole, Numbers::Plain],
        lines: clips.iter().enumerate().map(line).collect(),
    }
    .figure()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn shares_begin_above_an_even_one() {
        let cases = [
            (Attended::Places, array![[[0.25, 0.25, 0.25, 0.25]]], array![[[0.0, 0.0, 0.0, 0.0]]]),
            (Attended::Places, array![[[0.375, 0.25, 0.25, 0.125]]], array![[[0.5, 0.0, 0.0, 0.0]]]),
            (Attended::Places, array![[[0.75, 0.125, 0.125, 0.0]]], array![[[1.0, 0.0, 0.0, 0.0]]]),
            (Attended::Steps, array![[[0.75]], [[0.25]]], array![[[0.5]], [[0.0]]]),
            (Attended::Steps, array![[[1.0]]], array![[[0.0]]]),
        ];
        for (attended, weights, expected) in cases {
            assert_eq!(ClipAttention { attended, weights }.shares(), expected, "{attended:?}");
        }
    }
}
