//! How much memory a pass takes, before it is taken.

use std::fmt;

use tensor_ops::Element;

use crate::cell::MAPS;
use crate::{Cell, ConvLstmError, RecurrentConfig, TraceMemory};

/// The bytes of the arrays of a pass. Buffers of threads, a few hundred kilobytes each, are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// The parameters; their gradients and each moment of an optimiser take as much again.
    pub parameters: u64,
    /// The parameters in the order of the kernels.
    pub packed: u64,
    /// The outputs of all layers, which the trace keeps, or of two layers where there is none, and the final states.
    pub outputs: u64,
    /// Cell values and gates that the trace keeps, or that a forward pass needs to go on.
    pub trace: u64,
    /// What a backward pass needs beside the trace; 0 for inference.
    pub backward: u64,
}

impl MemoryEstimate {
    /// All of it.
    pub fn total(&self) -> u64 {
        let Self { parameters, packed, outputs, trace, backward } = *self;
        [parameters, packed, outputs, trace, backward].into_iter().fold(0, u64::saturating_add)
    }
}

impl fmt::Display for MemoryEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let Self { parameters, packed, outputs, trace, backward } = *self;
        write!(
            f,
            "{:.1} MiB (parameters {:.1}, packed {:.1}, outputs {:.1}, trace {:.1}, backward {:.1})",
            mib(self.total()),
            mib(parameters),
            mib(packed),
            mib(outputs),
            mib(trace),
            mib(backward)
        )
    }
}

impl<C: Cell> RecurrentConfig<C> {
    /// The memory of a pass over `batch` sequences of `time` steps on inputs of height and width `size`, with elements `T`.
    ///
    /// ```
    /// use convlstm::{ConvLstmConfig, TraceMemory};
    ///
    /// let full = ConvLstmConfig::new(16, 64, 5);
    /// let again = ConvLstmConfig { memory: TraceMemory::RecomputeGates, ..full.clone() };
    /// let memory = |config: &ConvLstmConfig| config.memory_estimate::<f32>(8, 10, [16, 16], true);
    /// assert!(memory(&again)?.trace < memory(&full)?.trace / 4);
    /// # Ok::<(), convlstm::ConvLstmError>(())
    /// ```
    ///
    /// # Errors
    /// As [`RecurrentConfig::map_sizes`].
    pub fn memory_estimate<T: Element>(
        &self,
        batch: usize,
        time: usize,
        size: [usize; 2],
        training: bool,
    ) -> Result<MemoryEstimate, ConvLstmError> {
        let sizes = self.map_sizes(size)?;
        let bytes = |factors: &[usize]| {
            factors.iter().fold(size_of::<T>() as u64, |product, &factor| product.saturating_mul(factor as u64))
        };
        let mut estimate = MemoryEstimate::default();
        let (mut states, mut read_size) = (0_u64, size);
        for (index, (layer, &[height, width])) in self.layers.iter().zip(&sizes).enumerate() {
            let (channels, directions) = (layer.hidden_channels, self.directions());
            let inputs = self.layer_input_channels(index);
            let input_weights = inputs * layer.input_kernel[0] * layer.input_kernel[1];
            let state_weights = channels * layer.state_kernel[0] * layer.state_kernel[1];
            let weights = bytes(&[directions, C::GATES, channels, input_weights + state_weights]);
            let maps = |slots: usize, maps: usize| bytes(&[batch, slots, directions, maps, channels, height, width]);
            let cell = usize::from(C::HAS_CELL);
            let normalised = if layer.cell.normalisation_groups() > 0 { C::GATES } else { 0 };
            let needed = if layer.cell.needs_maps() { MAPS + normalised } else { 0 };
            estimate.parameters = estimate.parameters.saturating_add(weights);
            let convolutions = [
                (layer.input_convolution(inputs), read_size),
                (layer.state_convolution(C::GATES - C::separate_gates()), [height, width]),
                (layer.state_convolution(C::separate_gates()), [height, width]),
            ];
            let [mut packed, mut packed_backward, mut sums] = [0_usize; 3];
            for (convolution, size) in convolutions {
                if convolution.in_channels > 0 && convolution.out_channels > 0 {
                    let memory = convolution.working_memory::<T>(size, batch.saturating_mul(time))?;
                    packed = memory.packed.saturating_add(packed);
                    packed_backward = memory.packed_backward.saturating_add(packed_backward);
                    // Those of one convolution at a time, over all steps.
                    sums = memory.sums.max(sums);
                }
            }
            estimate.packed = estimate.packed.saturating_add(bytes(&[directions, packed]));
            let (output, state) = (maps(time, 1), maps(1, 1 + cell));
            let below = bytes(&[batch, time, inputs, read_size[0], read_size[1]]);
            read_size = [height, width];
            states = states.saturating_add(state);
            if !training {
                // The layer below is let go once the one above is done.
                let below = if index == 0 { 0 } else { below };
                estimate.outputs = estimate.outputs.max(output.saturating_add(below));
                estimate.trace = estimate.trace.max(maps(2, cell).saturating_add(maps(1, needed)));
                continue;
            }
            estimate.outputs = estimate.outputs.saturating_add(output);
            let kept = match self.memory {
                TraceMemory::Full => maps(time, cell + MAPS + normalised),
                TraceMemory::RecomputeGates => maps(time, cell).saturating_add(maps(1, needed)),
            };
            estimate.trace = estimate.trace.saturating_add(kept);
            let section = {
                let step = [batch, MAPS, channels, height, width];
                crate::backward::section_steps(step.into_iter().fold(1, usize::saturating_mul), time)
            };
            let again = if self.memory == TraceMemory::RecomputeGates { MAPS + normalised + cell + 1 } else { 0 };
            let working = packed_backward.saturating_add(sums);
            // One direction at a time, between the gradients of the output and of what the layer read.
            let direction = maps(section, MAPS + again).saturating_add(state) / directions as u64;
            let direction = direction.saturating_add(bytes(&[working]));
            estimate.backward = estimate.backward.max(direction.saturating_add(output).saturating_add(below));
        }
        estimate.outputs = estimate.outputs.saturating_add(states);
        if training {
            // The copy of the input, the copy of the output for the caller, and the gradients of parameters and initial states.
            let input = bytes(&[batch, time, self.input_channels, size[0], size[1]]);
            let last = sizes.last().copied().unwrap_or(size);
            let output = bytes(&[batch, time, self.output_channels(), last[0], last[1]]);
            estimate.outputs = estimate.outputs.saturating_add(input).saturating_add(output);
            estimate.backward = estimate.backward.saturating_add(estimate.parameters).saturating_add(states);
        }
        Ok(estimate)
    }
}
