//! Sequence to sequence taken back: the decoder step by step, then the encoder.

use lstm::LstmState;
use ndarray::{Array2, Array3, ArrayView3, s};
use tensor_ops::{Element, PackedMatrix, ProductStart, TensorError, gemm, linear_backward, on_pool, vecmath};

use super::decoder::PackedDecoder;
use super::forward::check_gradient;
use super::{Mechanism, Seq2Seq, Seq2SeqTrace};
use crate::AttentionError;
use crate::cell::{CellState, recurrent_gradients};
use crate::error::invalid;
use crate::layer::{row_of, slice_mut};
use crate::packed::ScoreBackward;
use crate::recurrence::cell_backward;
use crate::row::{Operands, RowGradients};
use crate::vector::{add_rows, weight_gradient};

const NAME: &str = "Seq2Seq::backward";

/// The gradients that [`Seq2Seq::backward`] returns.
#[derive(Clone, Debug)]
pub struct Seq2SeqGradients<T> {
    /// Of the source, `[batch, source time, features]`; zero beyond the lengths.
    pub source: Array3<T>,
    /// Of the parameters.
    pub parameters: Seq2Seq<T>,
}

/// The gradients of the decoder; rows are steps.
struct DecoderGradients<T> {
    gates: Array2<T>,
    /// Of W q.
    forms: Array2<T>,
    /// Of W [c; s] + b.
    combined: Array2<T>,
    keys: Array2<T>,
    memory: Array2<T>,
    vectors: Array2<T>,
    /// Of s₀, in the order of the steps.
    initial_hidden: Array2<T>,
    initial_cell: Array2<T>,
}

impl<T: Element> Seq2Seq<T> {
    /// The gradients of a loss, from those of the logits `[batch, target time, vocabulary]` and, where the loss has a term
    /// of them, of the weights `[batch, target time, source time]`. Gradients beyond the lengths are not used.
    ///
    /// # Errors
    /// [`AttentionError`] for wrong shapes, or a trace of another configuration.
    pub fn backward(
        &self,
        trace: &Seq2SeqTrace<T>,
        grad_logits: ArrayView3<'_, T>,
        grad_weights: Option<ArrayView3<'_, T>>,
    ) -> Result<Seq2SeqGradients<T>, AttentionError> {
        self.check()?;
        let (config, clips, steps) = (&self.config, &trace.clips, &trace.steps);
        if trace.config != *config {
            let requirement = "that of a forward pass with the same configuration";
            return Err(invalid(NAME, "trace", requirement, "another configuration").into());
        }
        let [batch, time, columns] = [clips.batch(), clips.time, trace.encoded.clips.time];
        let axes = ["logit gradient batch", "logit gradient time", "logit gradient tokens"];
        check_gradient(axes, [batch, time, config.vocabulary], grad_logits)?;
        if let Some(grad) = grad_weights {
            let axes = ["weight gradient batch", "weight gradient target time", "weight gradient source time"];
            check_gradient(axes, [batch, time, columns], grad)?;
        }
        let packed = PackedDecoder::new(self)?;
        let back = ScoreBackward::new(&self.attention, &packed.score)?;
        let grad_logits = clips.steps(grad_logits, config.vocabulary);
        let output = linear_backward(steps.attentional.view(), self.output.weight.view(), true, grad_logits.view())?;
        let grad_weights = grad_weights.map(|grad| clips.steps(grad, columns));
        let mut found = on_pool(self.multiply_adds(clips), || {
            self.decoder_backward(trace, &packed, &back, output.input, grad_weights.as_ref())
        })?;

        let mut parameters = Self::zeros(config.clone())?;
        parameters.output = output.parameters;
        let memory = config.memory_size();
        let units = s![.., ..config.hidden_size];
        let of_combine = &mut parameters.combine;
        weight_gradient(found.combined.view(), steps.contexts.view(), of_combine.weight.slice_mut(s![.., ..memory]))?;
        let target = of_combine.weight.slice_mut(s![.., memory..]);
        weight_gradient(found.combined.view(), steps.hidden.slice(units), target)?;
        if let Some(bias) = &mut of_combine.bias {
            add_rows(found.combined.view(), bias.as_slice_mut().expect("a new array"));
        }
        let before = clips.before(&steps.hidden, &steps.initial_hidden);
        self.cell_gradients(trace, &packed, &found.gates, &before, &mut parameters)?;
        let queries =
            if config.mechanism == Mechanism::Bahdanau { before.slice(units) } else { steps.hidden.slice(units) };
        let mut vector = vec![T::zero(); found.vectors.ncols()];
        add_rows(clips.unsorted(found.vectors.view(), vector.len()).view(), &mut vector);
        parameters.attention = back.finish(
            trace.encoded.memory.view(),
            trace.encoded.key_forms.view(),
            found.keys,
            found.memory.view_mut(),
            queries,
            found.forms.view(),
            &vector,
        )?;
        let initial = CellState {
            hidden: clips.unsorted(found.initial_hidden.view(), config.hidden_size),
            cell: clips.unsorted(found.initial_cell.view(), config.hidden_size),
        };
        let grad_final = self.bridge_backward(trace, &initial, &mut parameters)?;
        let grad_memory = trace.encoded.clips.pad(found.memory);
        let encoder = self.encoder.backward(&trace.encoder, grad_memory.view(), Some(&grad_final))?;
        parameters.encoder = encoder.parameters;
        Ok(Seq2SeqGradients { source: encoder.input, parameters })
    }

    /// Takes the steps of the decoder back; `grad_attentional` is the gradient of s̃ from the logits.
    fn decoder_backward(
        &self,
        trace: &Seq2SeqTrace<T>,
        packed: &PackedDecoder<T>,
        back: &ScoreBackward<'_, T>,
        mut grad_attentional: Array2<T>,
        grad_weights: Option<&Array2<T>>,
    ) -> Result<DecoderGradients<T>, AttentionError> {
        let (config, clips, steps, encoded) = (&self.config, &trace.clips, &trace.steps, &trace.encoded);
        let (cell, weights) = (&packed.cell, &self.decoder.directions[0]);
        let units = config.hidden_size;
        let recurrent = cell.recurrent_backward(weights.weight_hh.view())?;
        let of_extra = weights.weight_ih.slice(s![.., config.embedding_size..]);
        let extra = (config.extra_size() > 0).then(|| cell.input_backward(of_extra)).transpose()?;
        let memory = config.memory_size();
        let combine_context = PackedMatrix::new(self.combine.weight.slice(s![.., ..memory]))?;
        let combine_hidden = PackedMatrix::new(self.combine.weight.slice(s![.., memory..]))?;
        let mut grad = DecoderGradients {
            gates: Array2::zeros(steps.gates.dim()),
            forms: Array2::zeros(steps.forms.dim()),
            combined: Array2::zeros(steps.attentional.dim()),
            keys: Array2::zeros(encoded.key_forms.dim()),
            memory: Array2::zeros(encoded.memory.dim()),
            vectors: Array2::zeros((clips.batch(), packed.score.scorer.vector.len())),
            initial_hidden: Array2::zeros(steps.initial_hidden.dim()),
            initial_cell: Array2::zeros(steps.initial_cell.dim()),
        };
        let mut grad_hidden = Array2::<T>::zeros(steps.hidden.dim());
        let mut grad_contexts = Array2::<T>::zeros(steps.contexts.dim());
        for time in (0..clips.active.len()).rev() {
            let rows = clips.step_rows(time);
            let now = s![rows.clone(), ..];
            // Through s̃ = tanh(W [c; s] + b).
            let part = rows.start * units..rows.end * units;
            let of_combined = &mut slice_mut(&mut grad_attentional)[part.clone()];
            let attentional = steps.attentional.as_slice().expect("a new array");
            vecmath::tanh_grad(&attentional[part], of_combined)?;
            grad.combined.slice_mut(now).assign(&grad_attentional.slice(now));
            let combined = grad.combined.slice(now);
            combine_context.multiply(combined, ProductStart::Zero, grad_contexts.slice_mut(now))?;
            let of_hidden = s![rows.clone(), ..units];
            combine_hidden.multiply(combined, ProductStart::Output, grad_hidden.slice_mut(of_hidden))?;
            if config.mechanism != Mechanism::Bahdanau {
                self.attend_backward(trace, packed, time, &mut grad, &grad_contexts, grad_weights)?;
                let forms = steps.forms.slice(now);
                back.queries(forms, grad.forms.slice_mut(now), grad_hidden.slice_mut(of_hidden))?;
            }
            cell_backward(
                clips,
                time,
                [steps.gates.view(), steps.cell.view(), steps.initial_cell.view()],
                &recurrent,
                grad.gates.view_mut(),
                grad_hidden.view_mut(),
                grad.initial_cell.view_mut(),
            )?;
            let previous = time.checked_sub(1).map(|previous| clips.offsets[previous]);
            match (config.mechanism, &extra, previous) {
                (Mechanism::Bahdanau, Some(extra), _) => {
                    extra.multiply(grad.gates.slice(now), ProductStart::Output, grad_contexts.slice_mut(now))?;
                    self.attend_backward(trace, packed, time, &mut grad, &grad_contexts, grad_weights)?;
                }
                (Mechanism::Luong { .. }, Some(extra), Some(row)) => {
                    let target = grad_attentional.slice_mut(s![row..row + rows.len(), ..]);
                    extra.multiply(grad.gates.slice(now), ProductStart::Output, target)?;
                }
                _ => {}
            }
            if previous.is_none() {
                recurrent.multiply(grad.gates.slice(now), ProductStart::Zero, grad.initial_hidden.view_mut())?;
            }
            if config.mechanism == Mechanism::Bahdanau {
                let target = match previous {
                    Some(row) => grad_hidden.slice_mut(s![row..row + rows.len(), ..units]),
                    None => grad.initial_hidden.slice_mut(s![.., ..units]),
                };
                back.queries(steps.forms.slice(now), grad.forms.slice_mut(now), target)?;
            }
        }
        Ok(grad)
    }

    /// The gradients of the attention of the step at `time`; sequences are taken one after another, in the order of the
    /// steps, since they share no gradient.
    fn attend_backward(
        &self,
        trace: &Seq2SeqTrace<T>,
        packed: &PackedDecoder<T>,
        time: usize,
        grad: &mut DecoderGradients<T>,
        grad_contexts: &Array2<T>,
        grad_weights: Option<&Array2<T>>,
    ) -> Result<(), TensorError> {
        let (clips, steps, encoded) = (&trace.clips, &trace.steps, &trace.encoded);
        let (form, key_form, memory) = (packed.score.form_size, grad.keys.ncols(), grad.memory.ncols());
        let mut scores = vec![T::zero(); encoded.clips.time];
        let mut scratch = vec![T::zero(); form];
        for (position, row) in clips.step_rows(time).enumerate() {
            let sequence = clips.order[position];
            let (span, keys, values) = encoded.operands(sequence);
            let first = encoded.clips.starts[sequence];
            let part = |width: usize| first * width..(first + span.count) * width;
            let mut vector = grad.vectors.row_mut(position);
            let gradients = RowGradients {
                context: row_of(grad_contexts.view(), row),
                weights: grad_weights.map(|grad| &row_of(grad.view(), row)[..span.count]),
                form: &mut slice_mut(&mut grad.forms)[row * form..(row + 1) * form],
                keys: &mut slice_mut(&mut grad.keys)[part(key_form)],
                values: Some(&mut slice_mut(&mut grad.memory)[part(memory)]),
                vector: vector.as_slice_mut().expect("a row of a new array"),
                scores: &mut scores[..span.count],
                scratch: &mut scratch,
            };
            let operands = Operands { form: row_of(steps.forms.view(), row), keys, values };
            let weights = &row_of(steps.weights.view(), row)[..span.count];
            packed.score.scorer.attend_backward(operands, weights, gradients)?;
        }
        Ok(())
    }

    /// The gradients of the decoder's cell and of the embedded tokens.
    fn cell_gradients(
        &self,
        trace: &Seq2SeqTrace<T>,
        packed: &PackedDecoder<T>,
        grad_gates: &Array2<T>,
        before: &Array2<T>,
        parameters: &mut Self,
    ) -> Result<(), AttentionError> {
        let (config, clips, steps) = (&self.config, &trace.clips, &trace.steps);
        let token = config.embedding_size;
        let ordered = packed.cell.gate_by_gate(grad_gates);
        let gradients = &mut parameters.decoder.directions[0];
        recurrent_gradients(&ordered, before, gradients)?;
        let target = gradients.weight_ih.slice_mut(s![.., ..token]);
        weight_gradient(ordered.view(), steps.embedded.view(), target)?;
        let target = gradients.weight_ih.slice_mut(s![.., token..]);
        match config.mechanism {
            Mechanism::Bahdanau => weight_gradient(ordered.view(), steps.contexts.view(), target)?,
            Mechanism::Luong { input_feeding: true } => {
                let fed = clips.before(&steps.attentional, &Array2::zeros((clips.batch(), config.hidden_size)));
                weight_gradient(ordered.view(), fed.view(), target)?;
            }
            Mechanism::Luong { input_feeding: false } => {}
        }
        let mut grad_embedded = Array2::zeros(steps.embedded.dim());
        let of_token = self.decoder.directions[0].weight_ih.slice(s![.., ..token]);
        gemm(T::one(), ordered.view(), of_token, T::zero(), grad_embedded.view_mut())?;
        for (&token, grad) in steps.tokens.iter().zip(grad_embedded.rows()) {
            let mut target = parameters.embedding.row_mut(token);
            target += &grad;
        }
        Ok(())
    }

    /// Through the bridge to the encoder's last states.
    fn bridge_backward(
        &self,
        trace: &Seq2SeqTrace<T>,
        initial: &CellState<T>,
        parameters: &mut Self,
    ) -> Result<LstmState<T>, AttentionError> {
        let mut grad_final = LstmState::zeros(self.encoder.config(), trace.encoded.batch());
        let (directions, size) = (self.encoder.config().directions(), self.config.encoder_size);
        let parts = [
            (&self.bridge_hidden, &mut parameters.bridge_hidden, &trace.encoded.state.hidden, &initial.hidden),
            (&self.bridge_cell, &mut parameters.bridge_cell, &trace.encoded.state.cell, &initial.cell),
        ];
        let targets = [&mut grad_final.hidden, &mut grad_final.cell];
        for (((bridge, gradient, output, grad), last), target) in parts.into_iter().zip(&trace.last).zip(targets) {
            let mut grad = grad.clone();
            if let Some(bridge) = bridge {
                vecmath::tanh_grad(output.as_slice().expect("a new array"), slice_mut(&mut grad))?;
                let found = linear_backward(last.view(), bridge.weight.view(), true, grad.view())?;
                *gradient = Some(found.parameters);
                grad = found.input;
            }
            let first = target.dim().0 - directions;
            for direction in 0..directions {
                let source = grad.slice(s![.., direction * size..(direction + 1) * size]);
                target.slice_mut(s![first + direction, .., ..]).assign(&source);
            }
        }
        Ok(grad_final)
    }
}
