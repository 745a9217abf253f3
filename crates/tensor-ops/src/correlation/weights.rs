//! Weights in the order in which the register tiles read them.

use rayon::prelude::*;

use super::Correlation;
use crate::{Element, Isa, TensorError, check_axis};

/// The weights of a [`Correlation`], packed: per block of channels, per panel of a few rows, `[channel, tap, row]`.
#[derive(Clone, Debug)]
pub struct CorrelationWeights<T> {
    isa: Isa,
    rows: usize,
    channels: usize,
    block_channels: usize,
    taps: usize,
    values: Vec<T>,
}

/// Fewer values are packed before another thread has begun.
const MIN_PARALLEL_VALUES: usize = 1 << 16;

/// The rows of a register tile.
pub(super) fn panel_rows(isa: Isa) -> usize {
    match isa {
        Isa::Portable | Isa::Avx2 => 4,
        Isa::Avx512 => 8,
    }
}

/// The rows with the zeros that fill the last panel, whose height is a power of 2.
fn padded_rows(isa: Isa, rows: usize) -> usize {
    let full = rows / panel_rows(isa) * panel_rows(isa);
    match rows - full {
        0 => full,
        rest => full + rest.next_power_of_two(),
    }
}

impl<T: Element> CorrelationWeights<T> {
    /// Packs the weights of `rows` output channels for `correlation`.
    ///
    /// The weight of `row`, `channel` and tap `t` is `values[row · row_stride + channel · channel_stride + taps[t]]`,
    /// with the taps in row-major order of row and column offsets.
    ///
    /// # Errors
    /// [`TensorError::AxisSize`] if `taps` has another length than the correlation or `values` is too short.
    pub fn pack(
        correlation: &Correlation<T>,
        rows: usize,
        values: &[T],
        row_stride: usize,
        channel_stride: usize,
        taps: &[usize],
    ) -> Result<Self, TensorError> {
        const NAME: &str = "CorrelationWeights";
        let Correlation { isa, channels, block_channels, .. } = *correlation;
        check_axis(NAME, "taps", correlation.taps.count(), taps.len())?;
        if rows * channels * taps.len() > 0 {
            let last = (rows - 1) * row_stride + (channels - 1) * channel_stride;
            let end = last + taps.iter().max().copied().unwrap_or(0) + 1;
            check_axis(NAME, "values", end.max(values.len()), values.len())?;
        }
        let padded_rows = padded_rows(isa, rows);
        let mut packed = vec![T::zero(); padded_rows * channels * taps.len()];
        let block_len = (padded_rows * block_channels * taps.len()).max(1);
        let pack_block = |(block, target): (usize, &mut [T])| {
            let channels = block * block_channels..channels.min((block + 1) * block_channels);
            let depth = channels.len() * taps.len();
            for row in 0..rows {
                let first = row - row % panel_rows(isa);
                let height = panel_rows(isa).min(padded_rows - first);
                let panel = &mut target[first * depth..][..height * depth];
                let mut places = panel[row - first..].iter_mut().step_by(height);
                for channel in channels.clone() {
                    let kernel = &values[row * row_stride + channel * channel_stride..];
                    for (&tap, place) in taps.iter().zip(&mut places) {
                        *place = kernel[tap];
                    }
                }
            }
        };
        if packed.len() < MIN_PARALLEL_VALUES {
            packed.chunks_mut(block_len).enumerate().for_each(pack_block);
        } else {
            packed.par_chunks_mut(block_len).enumerate().for_each(pack_block);
        }
        Ok(Self { isa, rows, channels, block_channels, taps: taps.len(), values: packed })
    }

    /// The number of output channels.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows with those that fill the last panel.
    pub(super) fn padded_rows(&self) -> usize {
        padded_rows(self.isa, self.rows)
    }

    /// The panels of the block that starts at `first_channel` and has `depth` channels and taps.
    pub(super) fn block(&self, first_channel: usize, depth: usize) -> &[T] {
        let padded_rows = self.padded_rows();
        &self.values[first_channel * self.taps * padded_rows..][..depth * padded_rows]
    }

    pub(super) fn check(&self, operation: &'static str, correlation: &Correlation<T>) -> Result<(), TensorError> {
        check_axis(operation, "packed channels", correlation.channels, self.channels)?;
        check_axis(operation, "packed channels of a block", correlation.block_channels, self.block_channels)?;
        check_axis(operation, "packed taps", correlation.taps.count(), self.taps)?;
        check_axis(operation, "packed panel rows", panel_rows(correlation.isa), panel_rows(self.isa))
    }
}
