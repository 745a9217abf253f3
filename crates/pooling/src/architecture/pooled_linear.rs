//! Windows of frames pooled and read by a fully connected layer, a block of features at a time, so that the pooled maps of
//! all windows never have to be in memory.

use ndarray::{Array2, Array3, s};
use tensor_ops::{Element, Linear, check_axis, gemm};

use super::config::NAME;
use crate::error::zeros;
use crate::temporal::{Clips, Windows, reduce_columns};
use crate::{PoolingError, Reducer};

/// Features of a block: of the pooled maps, and of the rows of the weight that read them.
const BLOCK: usize = 4096;

/// The output `[windows, out_features]` of `layer` without activation.
pub(super) fn forward<T: Element>(
    layer: &Linear<T>,
    reducer: Reducer,
    clips: &Clips<'_, T>,
    windows: &Windows,
) -> Result<Array2<T>, PoolingError> {
    let (rows, features) = (windows.frames.len(), clips.features);
    check_axis(NAME, "features of a window", layer.in_features(), features)?;
    let mut output: Array2<T> = zeros(NAME, "output of a fully connected layer", [rows, layer.out_features()])?;
    if let Some(bias) = &layer.bias {
        output.assign(bias);
    }
    let mut pooled: Array2<T> = zeros(NAME, "pooled maps", [rows, features.min(BLOCK)])?;
    for first in (0..features).step_by(BLOCK) {
        let columns = first..features.min(first + BLOCK);
        let mut pooled = pooled.slice_mut(s![.., ..columns.len()]);
        let mut no_steps = Array3::zeros((rows, 0, columns.len()));
        reduce_columns(reducer, clips, windows, columns.clone(), pooled.view_mut(), no_steps.view_mut());
        gemm(T::one(), pooled.view(), layer.weight.slice(s![.., columns]).t(), T::one(), output.view_mut())?;
    }
    Ok(output)
}
