//! Sequence to sequence without attention.
//!
//! With `h_S` the last hidden and `c_S` the last cell values of the encoder, both directions' one after the other, and y the
//! embedded previous token:
//!
//! ```text
//! s₀ = tanh(W_h h_S + b_h), its cell values tanh(W_c c_S + b_c)
//! s_t = LSTM(y, s_{t−1})
//! s̃_t = tanh(W s_t + b)
//! output = W_o s̃_t + b_o
//! ```
//!
//! Sutskever, Vinyals and Le, "Sequence to sequence learning with neural networks", 2014. But for the context, which it
//! lacks, it is the decoder of [`attention::Seq2Seq`] with a tanh bridge.

use lstm::{Lstm, LstmConfig, LstmState, LstmTrace};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewD, ArrayViewMutD, Axis, s};
use ndarray_rand::rand::Rng;
use tensor_ops::{Linear, LinearConfig, LinearTrace, Parameters, init, visit_part, visit_part_mut};

use super::{START, VOCABULARY};
use crate::tasks::TaskError;

/// The model, and the gradient of one.
#[derive(Clone, Debug)]
pub(super) struct PlainReader {
    encoder: Lstm<f32>,
    bridge_hidden: Linear<f32>,
    bridge_cell: Linear<f32>,
    /// `[tokens, embedding size]`
    embedding: Array2<f32>,
    decoder: Lstm<f32>,
    combine: Linear<f32>,
    output: Linear<f32>,
}

/// What [`PlainReader::backward`] needs of a forward pass.
#[derive(Debug)]
pub(super) struct PlainTrace {
    time: usize,
    encoder: LstmTrace<f32>,
    bridges: [LinearTrace<f32>; 2],
    initial: LstmState<f32>,
    inputs: Array2<usize>,
    decoder: LstmTrace<f32>,
    combine: LinearTrace<f32>,
    attentional: Array2<f32>,
    output: LinearTrace<f32>,
}

impl PlainReader {
    pub(super) fn new(
        features: usize,
        encoder_size: usize,
        embedding_size: usize,
        hidden_size: usize,
        rng: &mut impl Rng,
    ) -> Result<Self, TaskError> {
        let encoder = LstmConfig { bidirectional: true, ..LstmConfig::new(features, encoder_size) };
        let linear = |in_features, out_features| LinearConfig { in_features, out_features, bias: true };
        let bridge = linear(encoder.output_size(), hidden_size);
        Ok(Self {
            encoder: Lstm::new(encoder, rng)?,
            bridge_hidden: Linear::new(bridge, rng)?,
            bridge_cell: Linear::new(bridge, rng)?,
            embedding: init::normal((VOCABULARY, embedding_size), 0.0, 1.0, rng)?,
            decoder: Lstm::new(LstmConfig::new(embedding_size, hidden_size), rng)?,
            combine: Linear::new(linear(hidden_size, hidden_size), rng)?,
            output: Linear::new(linear(hidden_size, VOCABULARY), rng)?,
        })
    }

    /// The scores `[clips · tokens, vocabulary]` of what comes after each of the tokens `inputs` `[clips, tokens]`.
    pub(super) fn forward_training(
        &self,
        source: ArrayView3<'_, f32>,
        inputs: Array2<usize>,
        rng: &mut impl Rng,
    ) -> Result<(Array2<f32>, PlainTrace), TaskError> {
        let (_, state, encoder) = self.encoder.forward_training(source, None, None, rng)?;
        let (hidden, bridge_hidden) = self.bridge_hidden.forward_training(side_by_side(&state.hidden).view())?;
        let (cell, bridge_cell) = self.bridge_cell.forward_training(side_by_side(&state.cell).view())?;
        let initial = LstmState { hidden: squashed(hidden), cell: squashed(cell) };
        let embedded = self.embed(inputs.view());
        let (states, _, decoder) = self.decoder.forward_training(embedded.view(), Some(&initial), None, rng)?;
        let (mut attentional, combine) = self.combine.forward_training(rows(states).view())?;
        attentional.mapv_inplace(f32::tanh);
        let (scores, output) = self.output.forward_training(attentional.view())?;
        let (time, bridges) = (source.len_of(Axis(1)), [bridge_hidden, bridge_cell]);
        Ok((scores, PlainTrace { time, encoder, bridges, initial, inputs, decoder, combine, attentional, output }))
    }

    /// The gradients of the parameters for those `[clips · tokens, vocabulary]` of the scores.
    pub(super) fn backward(&self, trace: &PlainTrace, grad_scores: ArrayView2<'_, f32>) -> Result<Self, TaskError> {
        let (clips, tokens) = trace.inputs.dim();
        let output = self.output.backward(&trace.output, grad_scores)?;
        let mut grad_attentional = output.input;
        grad_attentional.zip_mut_with(&trace.attentional, |gradient, value| *gradient *= 1.0 - value * value);
        let combine = self.combine.backward(&trace.combine, grad_attentional.view())?;
        let shape = (clips, tokens, combine.input.ncols());
        let grad_states = combine.input.into_shape_with_order(shape).expect("a row for every clip and token");
        let decoder = self.decoder.backward(&trace.decoder, grad_states.view(), None)?;

        let mut embedding = Array2::zeros(self.embedding.raw_dim());
        for ((clip, token), &input) in trace.inputs.indexed_iter() {
            let mut row = embedding.row_mut(input);
            row += &decoder.input.slice(s![clip, token, ..]);
        }
        let bridge_back = |bridge: &Linear<f32>, of_bridge, mut gradient: Array3<f32>, value: &Array3<f32>| {
            gradient.zip_mut_with(value, |gradient, value| *gradient *= 1.0 - value * value);
            bridge.backward(of_bridge, gradient.index_axis(Axis(0), 0))
        };
        let [of_hidden, of_cell] = &trace.bridges;
        let hidden = bridge_back(&self.bridge_hidden, of_hidden, decoder.initial.hidden, &trace.initial.hidden)?;
        let cell = bridge_back(&self.bridge_cell, of_cell, decoder.initial.cell, &trace.initial.cell)?;
        let grad_final = LstmState { hidden: by_direction(&hidden.input), cell: by_direction(&cell.input) };
        let no_outputs = Array3::zeros((clips, trace.time, self.encoder.config().output_size()));
        let encoder = self.encoder.backward(&trace.encoder, no_outputs.view(), Some(&grad_final))?;
        Ok(Self {
            encoder: encoder.parameters,
            bridge_hidden: hidden.parameters,
            bridge_cell: cell.parameters,
            embedding,
            decoder: decoder.parameters,
            combine: combine.parameters,
            output: output.parameters,
        })
    }

    /// The most probable token at every step, `[clips, tokens]`, each read by the step after it.
    pub(super) fn greedy(&self, source: ArrayView3<'_, f32>, tokens: usize) -> Result<Array2<usize>, TaskError> {
        let clips = source.len_of(Axis(0));
        let (_, state) = self.encoder.forward(source, None, None)?;
        let hidden = squashed(self.bridge_hidden.forward(side_by_side(&state.hidden).view())?);
        let cell = squashed(self.bridge_cell.forward(side_by_side(&state.cell).view())?);
        let mut state = LstmState { hidden, cell };
        let mut input = Array2::from_elem((clips, 1), START);
        let mut said = Array2::zeros((clips, tokens));
        for token in 0..tokens {
            let (states, next) = self.decoder.forward(self.embed(input.view()).view(), Some(&state), None)?;
            state = next;
            let attentional = self.combine.forward(rows(states).view())?.mapv(f32::tanh);
            let scores = self.output.forward(attentional.view())?;
            for (clip, scores) in scores.outer_iter().enumerate() {
                said[[clip, token]] = crate::training::largest(scores);
                input[[clip, 0]] = said[[clip, token]];
            }
        }
        Ok(said)
    }

    /// `[clips, tokens, embedding size]`
    fn embed(&self, tokens: ArrayView2<'_, usize>) -> Array3<f32> {
        let (clips, count) = tokens.dim();
        Array3::from_shape_fn((clips, count, self.embedding.ncols()), |(clip, token, feature)| {
            self.embedding[[tokens[[clip, token]], feature]]
        })
    }
}

/// The values of both directions, `[2, clips, units]`, as `[clips, 2 · units]`.
fn side_by_side(values: &Array3<f32>) -> Array2<f32> {
    let (directions, clips, units) = values.dim();
    Array2::from_shape_fn((clips, directions * units), |(clip, unit)| values[[unit / units, clip, unit % units]])
}

/// The reverse of [`side_by_side`].
fn by_direction(values: &Array2<f32>) -> Array3<f32> {
    let (clips, units) = (values.nrows(), values.ncols() / 2);
    Array3::from_shape_fn((2, clips, units), |(direction, clip, unit)| values[[clip, direction * units + unit]])
}

/// tanh of `[clips, units]`, as the state `[1, clips, units]` of one layer.
fn squashed(values: Array2<f32>) -> Array3<f32> {
    values.mapv_into(f32::tanh).insert_axis(Axis(0))
}

/// `[clips, tokens, units]` as `[clips · tokens, units]`.
fn rows(states: Array3<f32>) -> Array2<f32> {
    let (clips, tokens, units) = states.dim();
    let states = states.as_standard_layout().into_owned();
    states.into_shape_with_order((clips * tokens, units)).expect("a contiguous array")
}

impl Parameters<f32> for PlainReader {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, f32>)) {
        visit_part("encoder", &self.encoder, visitor);
        visit_part("bridge_hidden", &self.bridge_hidden, visitor);
        visit_part("bridge_cell", &self.bridge_cell, visitor);
        visitor("embedding.weight", self.embedding.view().into_dyn());
        visit_part("decoder", &self.decoder, visitor);
        visit_part("combine", &self.combine, visitor);
        visit_part("output", &self.output, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, f32>)) {
        visit_part_mut("encoder", &mut self.encoder, visitor);
        visit_part_mut("bridge_hidden", &mut self.bridge_hidden, visitor);
        visit_part_mut("bridge_cell", &mut self.bridge_cell, visitor);
        visitor("embedding.weight", self.embedding.view_mut().into_dyn());
        visit_part_mut("decoder", &mut self.decoder, visitor);
        visit_part_mut("combine", &mut self.combine, visitor);
        visit_part_mut("output", &mut self.output, visitor);
    }
}
