//! Weights in the order in which the register tiles read them.

use rayon::prelude::*;

use super::{Correlation, has_wide_tiles};
use crate::{Element, Isa, TensorError, check_axis};

/// The weights of a [`Correlation`], packed: per block of channels, per panel of a few rows, `[channel, tap, row]`.
#[derive(Clone, Debug)]
pub struct CorrelationWeights<T> {
    isa: Isa,
    rows: usize,
    channels: usize,
    block_channels: usize,
    taps: usize,
    /// Whether the values are those at the points of tiles.
    is_points: bool,
    panels: Vec<Panel>,
    values: Vec<T>,
}

/// Fewer values are packed before another thread has begun.
const MIN_PARALLEL_VALUES: usize = 1 << 16;

/// A few rows that share a register tile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Panel {
    pub(super) first: usize,
    /// The rows of the tile: 1, 2, 4, 6 or 8. In the last panel some of them may be zeros that fill it.
    pub(super) height: usize,
}

/// Divides `rows` among tiles that fill the registers of `isa`.
fn panels(isa: Isa, rows: usize) -> Vec<Panel> {
    let most = if isa == Isa::Avx512 { 8 } else { 6 };
    let mut panels = Vec::new();
    let mut first = 0;
    while first < rows {
        let height = match rows - first {
            // Two smaller tiles do more at a time than a full one and a small one.
            7 | 8 if most == 6 => 4,
            left if left >= most => most,
            left => [1, 2, 4, 6, 8].into_iter().find(|&height| height >= left).unwrap_or(most),
        };
        panels.push(Panel { first, height });
        first += height;
    }
    panels
}

/// `rows`, and the zeros that fill the last panel.
pub(super) fn padded_rows(isa: Isa, rows: usize) -> usize {
    panels(isa, rows).last().map_or(0, |panel| panel.first + panel.height)
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
        if let Some(grid) = &correlation.winograd {
            let kernel = |row: usize, channel: usize| &values[row * row_stride + channel * channel_stride..];
            let values = grid.transform_kernels([rows, channels], kernel, taps);
            let taps = taps.len();
            return Ok(Self { isa, rows, channels, block_channels, taps, is_points: true, panels: Vec::new(), values });
        }
        let panels = panels(isa, rows);
        let padded_rows = panels.last().map_or(0, |panel| panel.first + panel.height);
        let mut packed = vec![T::zero(); padded_rows * channels * taps.len()];
        let block_len = (padded_rows * block_channels * taps.len()).max(1);
        let pack_block = |(block, target): (usize, &mut [T])| {
            let channels = block * block_channels..channels.min((block + 1) * block_channels);
            let depth = channels.len() * taps.len();
            for panel in &panels {
                let target = &mut target[panel.first * depth..][..panel.height * depth];
                for row in panel.first..rows.min(panel.first + panel.height) {
                    let mut places = target[row - panel.first..].iter_mut().step_by(panel.height);
                    for channel in channels.clone() {
                        let kernel = &values[row * row_stride + channel * channel_stride..];
                        for (&tap, place) in taps.iter().zip(&mut places) {
                            *place = kernel[tap];
                        }
                    }
                }
            }
        };
        if packed.len() < MIN_PARALLEL_VALUES {
            packed.chunks_mut(block_len).enumerate().for_each(pack_block);
        } else {
            packed.par_chunks_mut(block_len).enumerate().for_each(pack_block);
        }
        Ok(Self { isa, rows, channels, block_channels, taps: taps.len(), is_points: false, panels, values: packed })
    }

    /// The number of output channels.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The weights at the points of tiles.
    pub(super) fn points(&self) -> &[T] {
        &self.values
    }

    /// All panels, in the order of their rows.
    pub(super) fn panels(&self) -> &[Panel] {
        &self.panels
    }

    /// The vectors of positions that a tile takes beside its rows.
    pub(super) fn tile_vectors(&self) -> usize {
        if !has_wide_tiles::<T>(self.isa != Isa::Portable) {
            return 1;
        }
        let tallest = self.panels.first().map_or(0, |panel| panel.height);
        if self.isa == Isa::Avx512 || tallest <= 2 { 3 } else { 2 }
    }

    /// The panels of the block that starts at `first_channel` and has `depth` channels and taps.
    pub(super) fn block(&self, first_channel: usize, depth: usize) -> &[T] {
        let padded_rows = self.panels.last().map_or(0, |panel| panel.first + panel.height);
        &self.values[first_channel * self.taps * padded_rows..][..depth * padded_rows]
    }

    pub(super) fn check(&self, operation: &'static str, correlation: &Correlation<T>) -> Result<(), TensorError> {
        check_axis(operation, "packed channels", correlation.channels, self.channels)?;
        check_axis(operation, "packed channels of a block", correlation.block_channels, self.block_channels)?;
        check_axis(operation, "packed taps", correlation.taps.count(), self.taps)?;
        check_axis(
            operation,
            "packed points of tiles",
            usize::from(correlation.winograd.is_some()),
            usize::from(self.is_points),
        )?;
        // Portable and AVX2 panels are alike.
        let wide = |isa| usize::from(isa == Isa::Avx512);
        check_axis(operation, "packed AVX-512 panels", wide(correlation.isa), wide(self.isa))
    }
}
