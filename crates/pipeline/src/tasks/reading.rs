//! The task `reading`: digits appear one after the other and are to be said in that order.
//!
//! The source of the models are the features of all frames: one decoder knows the last state of an LSTM only, the others attend.

use std::time::Instant;

use ndarray::{Array3, Axis};
use tensor_ops::Parameters;

use super::drawing::draw_frame_weights;
use super::encoder::TaskEncoder;
use super::grid::Cell;
use super::results::Outcome;
use super::{TaskClip, TaskError};
use crate::training::Fitter;

mod plain;
mod reader;

use reader::{Reader, Reading};

/// The digits, the token that a decoder reads first, and the token that ends a sequence.
const VOCABULARY: usize = 12;
const START: usize = 10;
const END: usize = 11;
/// The number of clips that are read at once in a test.
const TEST_BATCH: usize = 100;

/// Trains the model of `cell` on the features of its clips and tests it.
pub(super) fn train(cell: &Cell<'_>, encoder: &TaskEncoder) -> Result<Outcome, TaskError> {
    let (recipe, start) = (cell.recipe, Instant::now());
    let config = &recipe.training;
    let source = encoder.features(cell.training)?;
    let reader = Reader::new(cell.model, &recipe.model, &mut cell.weights_generator())?;
    let parameters = reader.parameter_count();
    let mut fitter = Fitter::of_config(reader, config, cell.steps() * config.epochs)?;
    let mut records = Vec::new();
    for _ in 0..config.epochs {
        cell.train_epoch(&mut records, |batch, _| {
            let targets: Vec<&[usize]> = batch.iter().map(|&clip| &cell.training[clip].target[..]).collect();
            let source = source.select(Axis(0), batch);
            let (loss, gradients) = fitter.model().loss_gradients(source.view(), &targets, config.label_smoothing)?;
            fitter.step(gradients)?;
            Ok(loss)
        })?;
    }
    let (reader, seconds) = (fitter.into_model(), start.elapsed().as_secs_f64());
    let readings = read(&reader, encoder.features(cell.test)?, cell.test)?;
    draw(cell, &readings)?;
    let mut figures = figures(&readings, cell.test);
    figures.push(("single frames recognised".to_owned(), encoder.accuracy(cell.test)?));
    Ok(Outcome { parameters, seconds, records, figures })
}

/// What the model reads in the clips with the features `source`.
fn read(reader: &Reader, source: Array3<f32>, clips: &[TaskClip]) -> Result<Vec<Reading>, TaskError> {
    // One token more than there should be, so that a reading that does not end is seen.
    let tokens = clips.iter().map(|clip| clip.target.len()).max().unwrap_or(0) + 2;
    let mut readings = Vec::with_capacity(clips.len());
    for part in source.axis_chunks_iter(Axis(0), TEST_BATCH) {
        readings.extend(reader.read(part, tokens)?);
    }
    Ok(readings)
}

/// The part of the clips that are read without a mistake, and that of the digits that stand where they should.
fn figures(readings: &[Reading], clips: &[TaskClip]) -> Vec<(String, f64)> {
    let pairs = || readings.iter().zip(clips);
    let exact = pairs().filter(|(reading, clip)| reading.ended && reading.tokens == clip.target).count();
    let right = |(reading, clip): (&Reading, &TaskClip)| {
        reading.tokens.iter().zip(&clip.target).filter(|(found, expected)| found == expected).count()
    };
    let digits: usize = clips.iter().map(|clip| clip.target.len()).sum();
    vec![
        ("exact match".to_owned(), exact as f64 / clips.len() as f64),
        ("digits in place".to_owned(), pairs().map(right).sum::<usize>() as f64 / digits as f64),
    ]
}

/// Draws the first clips with the weights of every token.
fn draw(cell: &Cell<'_>, readings: &[Reading]) -> Result<(), TaskError> {
    let Some(folder) = &cell.pictures else { return Ok(()) };
    for (position, (reading, clip)) in readings.iter().zip(cell.test).take(cell.recipe.pictures).enumerate() {
        let Some(weights) = &reading.weights else { continue };
        let name = |token: Option<&usize>| token.map_or("end".to_owned(), |token| format!("\"{token}\""));
        let rows: Vec<_> =
            weights.outer_iter().enumerate().map(|(row, weights)| (name(reading.tokens.get(row)), weights)).collect();
        let file = format!("{}-{:03}-frames-{position}.png", cell.model.name(), cell.frames);
        draw_frame_weights(&folder.join(file), clip, &rows)?;
    }
    Ok(())
}
