//! The tasks that classify clips: `reducers`, `order`, `where` and `when`.

use std::time::Instant;

use attention::{SpatialAttention, SpatialAttentionConfig};
use tensor_ops::Parameters;

use super::encoder::TaskEncoder;
use super::grid::Cell;
use super::looking::{hit_rates, pictures};
use super::maps::Maps;
use super::results::Outcome;
use super::sparsity::gradient_shares;
use super::{ClipMaker, TaskError, TaskModel, TaskName, TaskRecipe};
use crate::model::{
    ActionModel, AttentionPoolingPartConfig, AttentionScore, ConvLstmPartConfig, HeadConfig, LstmPartConfig,
    ModelConfig, ModelError, PoolingArchitecture, PoolingPartConfig, PoolingReducer, ReadOut,
    SpatialAttentionPartConfig, Temporal, TemporalAttentionPartConfig, TemporalConfig,
};
use crate::training::{Stepper, largest};

/// The number of training clips whose gradients are looked at.
const GRADIENT_CLIPS: usize = 100;
/// The epochs after which the reducers are tested as well.
const EARLY_EPOCHS: usize = 3;
/// So high a temperature leaves all weights of a softmax equal.
const EVEN: f64 = 1e6;

/// Trains the model of `cell` on its clips and tests it.
pub(super) fn train(cell: &Cell<'_>, encoder: &TaskEncoder) -> Result<Outcome, TaskError> {
    let (recipe, start) = (cell.recipe, Instant::now());
    let config = &recipe.training;
    let (training, test) = (Maps::new(encoder, cell.training)?, Maps::new(encoder, cell.test)?);
    let model = new_model(cell, &mut cell.weights_generator())?;
    let parameters = model.parameter_count();
    let mut stepper = Stepper::new(model, config, cell.steps())?;
    let (mut records, mut figures) = (Vec::new(), Vec::new());
    for epoch in 1..=config.epochs {
        cell.train_epoch(&mut records, |batch, rng| Ok(stepper.step(&training.batch(batch), rng)?.loss))?;
        if recipe.task == TaskName::Reducers && epoch <= EARLY_EPOCHS && epoch < config.epochs {
            figures.push((format!("accuracy after epoch {epoch}"), accuracy(stepper.model(), &test)?));
        }
        if recipe.task == TaskName::Reducers && epoch == 1 {
            let shares = gradient_shares(stepper.model(), &training, GRADIENT_CLIPS)?;
            figures.push(("frames with a gradient after epoch 1".to_owned(), shares.frames));
            figures.push(("gradient on the digit after epoch 1".to_owned(), shares.digit));
        }
    }
    let (model, seconds) = (stepper.into_model(), start.elapsed().as_secs_f64());
    let mut all = vec![("accuracy".to_owned(), accuracy(&model, &test)?)];
    all.append(&mut figures);
    if cell.model.attends() {
        let rates = hit_rates(&model, &test, recipe.data.canvas)?;
        all.push(("largest weight on the digit".to_owned(), rates.hits));
        all.push(("the same by chance".to_owned(), rates.chance));
        pictures(cell, &model, &test)?;
    }
    Ok(Outcome { parameters, seconds, records, figures: all })
}

/// The model of `cell` with random weights.
fn new_model(cell: &Cell<'_>, rng: &mut impl ndarray_rand::rand::Rng) -> Result<ActionModel<f32>, TaskError> {
    let TaskRecipe { task, data, .. } = cell.recipe;
    let config = model_config(cell.recipe, cell.model);
    let mut model = ActionModel::new(&config, 1, [data.canvas; 2], ClipMaker::classes(*task), rng)?;
    // It reads maps: the convolutions that make them are those of the encoder of the task, which does not change.
    model.encoder.convolutions.clear();
    if let (TaskModel::Average, Temporal::SpatialAttention(part)) = (cell.model, &mut model.temporal) {
        let config = SpatialAttentionConfig { temperature: EVEN, ..part.attention.config().clone() };
        part.attention = SpatialAttention::new(config, rng).map_err(ModelError::from)?;
    }
    Ok(model)
}

/// The parts of a model of the task.
fn model_config(recipe: &TaskRecipe, model: TaskModel) -> ModelConfig {
    let (features, hidden) = (recipe.model.features, recipe.model.hidden);
    let pooling = |reducer| {
        let architecture = PoolingArchitecture::Late;
        let part =
            PoolingPartConfig { architecture, reducer, units: vec![features], dropout: 0.0, ..Default::default() };
        TemporalConfig::Pooling(part)
    };
    let spatial = |score| {
        let part = SpatialAttentionPartConfig { hidden, score, read_out: ReadOut::Last, ..Default::default() };
        TemporalConfig::SpatialAttention(part)
    };
    let temporal = match model {
        TaskModel::Max => pooling(PoolingReducer::Max),
        TaskModel::TopK => pooling(PoolingReducer::TopK),
        TaskModel::Softmax => pooling(PoolingReducer::Softmax),
        TaskModel::Sum => pooling(PoolingReducer::Sum),
        // The last three read digits, which no classifier does.
        TaskModel::Mean | TaskModel::WithoutAttention | TaskModel::Luong | TaskModel::Bahdanau => {
            pooling(PoolingReducer::Mean)
        }
        TaskModel::Lstm => {
            let read_out = ReadOut::Last;
            let part = LstmPartConfig { features, hidden, bidirectional: false, read_out, ..Default::default() };
            TemporalConfig::Lstm(part)
        }
        TaskModel::ConvLstm => {
            let part = ConvLstmPartConfig { channels: vec![hidden], read_out: ReadOut::Last, ..Default::default() };
            TemporalConfig::ConvLstm(part)
        }
        TaskModel::Average | TaskModel::SpatialAttention => spatial(AttentionScore::Additive),
        TaskModel::LocationAttention => spatial(AttentionScore::Location),
        TaskModel::TemporalAttention => TemporalConfig::TemporalAttention(TemporalAttentionPartConfig {
            features,
            hidden,
            window: 0,
            score: AttentionScore::Additive,
            frame_input: false,
            read_out: ReadOut::Last,
            ..Default::default()
        }),
        TaskModel::AttentionPooling => {
            let part = AttentionPoolingPartConfig { features, layers: 0, ..Default::default() };
            TemporalConfig::AttentionPooling(part)
        }
    };
    ModelConfig { encoder: recipe.model.encoder.clone(), temporal, head: HeadConfig { dropout: 0.0 } }
}

/// The part of the clips that are taken for what they are.
fn accuracy(model: &ActionModel<f32>, clips: &Maps<'_>) -> Result<f64, TaskError> {
    let mut right = 0;
    for positions in clips.parts() {
        let batch = clips.batch(&positions);
        let scores = model.forward(batch.frames.view(), &batch.lengths)?;
        let labels = scores.outer_iter().zip(&batch.labels);
        right += labels.filter(|(scores, label)| largest(*scores) == **label).count();
    }
    Ok(right as f64 / clips.clips().len() as f64)
}
