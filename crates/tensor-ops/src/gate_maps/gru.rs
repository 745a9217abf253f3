//! The ConvGRU's gates and states (Ballas et al., "Delving deeper into convolutional networks for learning video
//! representations", 2016; gated recurrent unit of Cho et al., 2014), with the reset gate before or after the state's
//! convolution.
//!
//! A step has four maps per channel, in this order: the reset gate r, the update gate z, the candidate n, and m. With the
//! reset gate after the convolution, m is the state's part of the candidate, W∗h' + b; with the reset gate before it, m is
//! the state that the convolution sees, r∘h'.

use ndarray::{ArrayView2, ArrayViewMut2};

use super::{check_maps, for_each_vector, row, row_mut, slope, split_maps, tanh_slope};
use crate::simd::{Kernel, Simd};
use crate::vecmath::{sigmoid_vector, tanh_vector};
use crate::{Element, TensorError};

/// The maps r, z, n and m.
const MAPS: usize = 4;

/// The arguments of [`gru_reset_maps`] and [`gru_maps`], for C channels and P positions.
#[derive(Debug)]
pub struct GruMaps<'a, T> {
    /// Whether the reset gate acts on the state's part of the candidate, after its convolution.
    pub reset_after: bool,
    /// h', the state of the previous step: `[C, P]`.
    pub previous_hidden: ArrayView2<'a, T>,
    /// r, z, n and m: `[4C, P]`.
    pub maps: ArrayViewMut2<'a, T>,
    /// h: `[C, P]`.
    pub hidden: ArrayViewMut2<'a, T>,
}

/// The gates r and z from their sums, and m = r∘h' if the reset gate comes before the convolution. Allocates nothing.
///
/// ```text
/// r = σ(a_r)     z = σ(a_z)     m = r∘h'
/// ```
///
/// # Errors
/// [`TensorError::AxisSize`] if the shapes do not fit together, [`TensorError::InvalidOption`] if the positions of a view do
/// not lie side by side.
pub fn gru_reset_maps<T: Element>(maps: GruMaps<'_, T>) -> Result<(), TensorError> {
    maps.check("gru_reset_maps")?;
    T::run_gru_maps(GruForward { maps, stage: Stage::Reset });
    Ok(())
}

/// The candidate and the state, where r, z and m are known and n holds the candidate's sum. Allocates nothing.
///
/// ```text
/// n = tanh(a_n + r∘m), or tanh(a_n) if the reset gate comes before the convolution     h = (1 − z)∘n + z∘h'
/// ```
///
/// # Errors
/// As [`gru_reset_maps`].
pub fn gru_maps<T: Element>(maps: GruMaps<'_, T>) -> Result<(), TensorError> {
    maps.check("gru_maps")?;
    T::run_gru_maps(GruForward { maps, stage: Stage::State });
    Ok(())
}

impl<T: Element> GruMaps<'_, T> {
    fn check(&self, operation: &'static str) -> Result<(), TensorError> {
        let (channels, positions) = self.previous_hidden.dim();
        let shape = [channels, positions];
        check_maps(operation, ["channels of the previous state", "positions"], &self.previous_hidden, shape)?;
        let maps = [MAPS * channels, positions];
        check_maps(operation, ["map channels", "map positions"], &self.maps.view(), maps)?;
        check_maps(operation, ["hidden channels", "hidden positions"], &self.hidden.view(), shape)
    }
}

/// The arguments of [`gru_maps_backward`] and [`gru_reset_maps_backward`], for C channels and P positions.
#[derive(Debug)]
pub struct GruMapsBackward<'a, T> {
    /// Whether the reset gate acts on the state's part of the candidate, after its convolution.
    pub reset_after: bool,
    /// h': `[C, P]`.
    pub previous_hidden: ArrayView2<'a, T>,
    /// r, z, n and m: `[4C, P]`.
    pub maps: ArrayView2<'a, T>,
    /// For [`gru_maps_backward`] δh; for [`gru_reset_maps_backward`] δm, the gradient of r∘h': `[C, P]`.
    pub gradient: ArrayView2<'a, T>,
    /// The part of δh' that does not pass through a convolution: written by the first function, added to by the second;
    /// `[C, P]`.
    pub grad_previous: ArrayViewMut2<'a, T>,
    /// The gradients of the sums before r, z, n and, with the reset gate after the convolution, of m: `[4C, P]`.
    pub grad_maps: ArrayViewMut2<'a, T>,
}

/// Takes the gradient of the state back to the sums of z and n, and to those of r and m if the reset gate comes after the
/// convolution. Allocates nothing.
///
/// ```text
/// δn = δh∘(1−z)∘(1−n²)     δz = δh∘(h'−n)∘z(1−z)     δh' = δh∘z
/// δm = δn∘r                δr = δn∘m∘r(1−r)
/// ```
///
/// # Errors
/// As [`gru_reset_maps`].
pub fn gru_maps_backward<T: Element>(maps: GruMapsBackward<'_, T>) -> Result<(), TensorError> {
    maps.check("gru_maps_backward")?;
    T::run_gru_maps_backward(GruBackward { maps, stage: Stage::State });
    Ok(())
}

/// Takes the gradient of m = r∘h' back, where the reset gate comes before the convolution. Allocates nothing.
///
/// ```text
/// δr = δm∘h'∘r(1−r)     δh' += δm∘r
/// ```
///
/// # Errors
/// As [`gru_reset_maps`].
pub fn gru_reset_maps_backward<T: Element>(maps: GruMapsBackward<'_, T>) -> Result<(), TensorError> {
    maps.check("gru_reset_maps_backward")?;
    T::run_gru_maps_backward(GruBackward { maps, stage: Stage::Reset });
    Ok(())
}

impl<T: Element> GruMapsBackward<'_, T> {
    fn check(&self, operation: &'static str) -> Result<(), TensorError> {
        let (channels, positions) = self.previous_hidden.dim();
        let (shape, maps) = ([channels, positions], [MAPS * channels, positions]);
        check_maps(operation, ["channels of the previous state", "positions"], &self.previous_hidden, shape)?;
        check_maps(operation, ["map channels", "map positions"], &self.maps, maps)?;
        check_maps(operation, ["gradient channels", "gradient positions"], &self.gradient, shape)?;
        let grad_previous = self.grad_previous.view();
        check_maps(operation, ["state gradient channels", "state gradient positions"], &grad_previous, shape)?;
        check_maps(operation, ["map gradient channels", "map gradient positions"], &self.grad_maps.view(), maps)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// The gates r and z, and what the reset gate does before the convolution.
    Reset,
    /// The candidate and the state.
    State,
}

/// The kernel of [`gru_reset_maps`] and [`gru_maps`].
pub(crate) struct GruForward<'a, T> {
    maps: GruMaps<'a, T>,
    stage: Stage,
}

impl<T: Element> Kernel<T> for GruForward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { maps: GruMaps { reset_after, previous_hidden, maps, mut hidden }, stage } = self;
        let [mut reset, mut update, mut candidate, mut state] = split_maps::<T, MAPS>(maps);
        for channel in 0..previous_hidden.nrows() {
            let before = row(&previous_hidden, channel);
            let maps = [&mut reset, &mut update, &mut candidate, &mut state, &mut hidden];
            let targets = maps.map(|maps| row_mut(maps, channel));
            match stage {
                Stage::Reset => for_each_vector(
                    simd,
                    [before],
                    targets,
                    #[inline(always)]
                    |[before], [reset, update, candidate, state, hidden]| {
                        let reset = sigmoid_vector::<T, S>(simd, reset);
                        let update = sigmoid_vector::<T, S>(simd, update);
                        let state = if reset_after { state } else { simd.mul(reset, before) };
                        [reset, update, candidate, state, hidden]
                    },
                ),
                Stage::State => for_each_vector(
                    simd,
                    [before],
                    targets,
                    #[inline(always)]
                    |[before], [reset, update, candidate, state, _]| {
                        let sum = if reset_after { simd.mul_add(reset, state, candidate) } else { candidate };
                        let candidate = tanh_vector::<T, S>(simd, sum);
                        let hidden = simd.mul_add(update, simd.sub(before, candidate), candidate);
                        [reset, update, candidate, state, hidden]
                    },
                ),
            }
        }
    }
}

/// The kernel of [`gru_maps_backward`] and [`gru_reset_maps_backward`].
pub(crate) struct GruBackward<'a, T> {
    maps: GruMapsBackward<'a, T>,
    stage: Stage,
}

impl<T: Element> Kernel<T> for GruBackward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let Self { maps: arguments, stage } = self;
        let GruMapsBackward { reset_after, previous_hidden, maps, gradient, mut grad_previous, grad_maps } = arguments;
        let channels = previous_hidden.nrows();
        let one = simd.splat(T::one());
        let [mut reset, mut update, mut candidate, mut state] = split_maps::<T, MAPS>(grad_maps);
        for channel in 0..channels {
            let [r, z, n, m] = std::array::from_fn(|map| row(&maps, map * channels + channel));
            let values = [r, z, n, m, row(&previous_hidden, channel), row(&gradient, channel)];
            let targets = [&mut reset, &mut update, &mut candidate, &mut state, &mut grad_previous];
            let targets = targets.map(|maps| row_mut(maps, channel));
            match stage {
                Stage::State => for_each_vector(
                    simd,
                    values,
                    targets,
                    #[inline(always)]
                    |[r, z, n, m, before, grad_hidden], [grad_reset, _, _, grad_state, _]| {
                        let share = simd.mul(grad_hidden, simd.sub(one, z));
                        let grad_candidate = simd.mul(share, tanh_slope(simd, n));
                        let grad_update = simd.mul(simd.mul(grad_hidden, simd.sub(before, n)), slope(simd, z));
                        let grad_previous = simd.mul(grad_hidden, z);
                        if reset_after {
                            let grad_reset = simd.mul(simd.mul(grad_candidate, m), slope(simd, r));
                            let grad_state = simd.mul(grad_candidate, r);
                            [grad_reset, grad_update, grad_candidate, grad_state, grad_previous]
                        } else {
                            [grad_reset, grad_update, grad_candidate, grad_state, grad_previous]
                        }
                    },
                ),
                Stage::Reset => for_each_vector(
                    simd,
                    values,
                    targets,
                    #[inline(always)]
                    |[r, _, _, _, before, grad_state], [_, grad_update, grad_candidate, unused, grad_previous]| {
                        let grad_reset = simd.mul(simd.mul(grad_state, before), slope(simd, r));
                        let grad_previous = simd.mul_add(grad_state, r, grad_previous);
                        [grad_reset, grad_update, grad_candidate, unused, grad_previous]
                    },
                ),
            }
        }
    }
}
