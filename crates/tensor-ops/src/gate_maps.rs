//! Recurrent cells whose gates and states are maps: the part of a step that works position by position.
//!
//! The sums before the gates come from convolutions. They, the gates and the states of one image are matrices
//! `[channels, positions]` whose positions lie side by side, so a band of rows of all maps is a range of columns, and it can
//! be advanced while its sums are in the cache.

use ndarray::{ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis};

use crate::simd::{Dispatch, Simd};
use crate::vecmath::{load_part, store_part};
use crate::{Element, TensorError, check_axis};

mod gru;
mod lstm;
#[cfg(test)]
mod tests;

use gru::{GruBackward, GruForward};
pub use gru::{GruMaps, GruMapsBackward, gru_maps, gru_maps_backward, gru_reset_maps, gru_reset_maps_backward};
use lstm::{LstmBackward, LstmForward};
pub use lstm::{LstmMaps, LstmMapsBackward, MapPeepholes, lstm_maps, lstm_maps_backward};

/// Entries per element type: with them the kernels are compiled in this crate, not again in every crate that uses them.
pub(crate) trait GateMapKernels: Sized {
    fn run_lstm_maps(kernel: LstmForward<'_, Self>);
    fn run_lstm_maps_backward(kernel: LstmBackward<'_, Self>);
    fn run_gru_maps(kernel: GruForward<'_, Self>);
    fn run_gru_maps_backward(kernel: GruBackward<'_, Self>);
}

macro_rules! impl_gate_map_kernels {
    ($($element:ty),*) => {$(
        impl GateMapKernels for $element {
            fn run_lstm_maps(kernel: LstmForward<'_, Self>) {
                Self::dispatch(kernel);
            }
            fn run_lstm_maps_backward(kernel: LstmBackward<'_, Self>) {
                Self::dispatch(kernel);
            }
            fn run_gru_maps(kernel: GruForward<'_, Self>) {
                Self::dispatch(kernel);
            }
            fn run_gru_maps_backward(kernel: GruBackward<'_, Self>) {
                Self::dispatch(kernel);
            }
        }
    )*};
}

impl_gate_map_kernels!(f32, f64);

/// Calls `work` on one vector of all slices after the other and writes its results to `targets`, whose values it is given
/// too. What does not fill a vector takes the same instructions.
#[inline(always)]
fn for_each_vector<T: Element, S: Simd<T>, const R: usize, const W: usize>(
    simd: S,
    sources: [&[T]; R],
    targets: [&mut [T]; W],
    work: impl Fn([S::Vector; R], [S::Vector; W]) -> [S::Vector; W],
) {
    let len = targets[0].len();
    let sources = sources.map(
        #[inline(always)]
        |source| &source[..len],
    );
    let targets = targets.map(
        #[inline(always)]
        |target| &mut target[..len],
    );
    let mut read = [simd.splat(T::zero()); R];
    let mut written = [simd.splat(T::zero()); W];
    let whole = len - len % S::LANES;
    let mut start = 0;
    while start < whole {
        for index in 0..R {
            read[index] = simd.load(&sources[index][start..start + S::LANES]);
        }
        for index in 0..W {
            written[index] = simd.load(&targets[index][start..start + S::LANES]);
        }
        written = work(read, written);
        for index in 0..W {
            simd.store(&mut targets[index][start..start + S::LANES], written[index]);
        }
        start += S::LANES;
    }
    if whole < len {
        for index in 0..R {
            read[index] = load_part(simd, &sources[index][whole..], T::zero());
        }
        for index in 0..W {
            written[index] = load_part(simd, &targets[index][whole..], T::zero());
        }
        written = work(read, written);
        for index in 0..W {
            store_part(simd, &mut targets[index][whole..], written[index]);
        }
    }
}

/// `x(1 − x)`, the derivative of σ where x is its value.
#[inline(always)]
fn slope<T: Element, S: Simd<T>>(simd: S, x: S::Vector) -> S::Vector {
    simd.mul(x, simd.sub(simd.splat(T::one()), x))
}

/// `1 − x²`, the derivative of tanh where x is its value.
#[inline(always)]
fn tanh_slope<T: Element, S: Simd<T>>(simd: S, x: S::Vector) -> S::Vector {
    simd.sub(simd.splat(T::one()), simd.mul(x, x))
}

/// The maps of one channel of a matrix that [`check_maps`] has passed.
fn row<'a, T>(maps: &ArrayView2<'a, T>, channel: usize) -> &'a [T] {
    maps.index_axis_move(Axis(0), channel).to_slice().expect("positions lie side by side")
}

fn row_mut<'a, T>(maps: &'a mut ArrayViewMut2<'_, T>, channel: usize) -> &'a mut [T] {
    ArrayViewMut1::into_slice(maps.row_mut(channel)).expect("positions lie side by side")
}

/// Cuts `[N · channels, positions]` into N matrices.
fn split_maps<T, const N: usize>(maps: ArrayViewMut2<'_, T>) -> [ArrayViewMut2<'_, T>; N] {
    let channels = maps.nrows() / N;
    let mut rest = Some(maps);
    std::array::from_fn(|_| {
        let (first, others) = rest.take().expect("N parts").split_at(Axis(0), channels);
        rest = Some(others);
        first
    })
}

/// Checks the shape of maps, and that their positions lie side by side.
fn check_maps<T>(
    operation: &'static str,
    axes: [&'static str; 2],
    maps: &ArrayView2<'_, T>,
    [channels, positions]: [usize; 2],
) -> Result<(), TensorError> {
    check_axis(operation, axes[0], channels, maps.nrows())?;
    check_axis(operation, axes[1], positions, maps.ncols())?;
    if positions < 2 || maps.strides()[1] == 1 {
        return Ok(());
    }
    let requirement = "positions side by side";
    let found = format!("a stride of {}", maps.strides()[1]);
    Err(TensorError::InvalidOption { operation, option: axes[1], requirement, found })
}
