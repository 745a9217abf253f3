//! The ConvLSTM's gates and states (Shi et al., "Convolutional LSTM network", 2015, equation 3).

use ndarray::{ArrayView2, ArrayView3, ArrayViewMut2, Axis};

use super::{check_maps, for_each_vector, row, row_mut, slope, split_maps, tanh_slope};
use crate::packed::GATES;
use crate::simd::{Kernel, Simd};
use crate::vecmath::{sigmoid_vector, tanh_vector};
use crate::{Element, TensorError, check_axis};

const PEEPHOLES: usize = 3;

/// The weights with which i, f and o see the cell values, in this order on the first axis.
#[derive(Clone, Copy, Debug)]
pub enum MapPeepholes<'a, T> {
    /// They do not see them.
    None,
    /// One weight per channel: `[3, channels]`.
    PerChannel(ArrayView2<'a, T>),
    /// One weight per value: `[3, channels, positions]`, the positions side by side.
    PerPosition(ArrayView3<'a, T>),
}

/// The arguments of [`lstm_maps`], for C channels and P positions.
#[derive(Debug)]
pub struct LstmMaps<'a, T> {
    /// The peepholes.
    pub peepholes: MapPeepholes<'a, T>,
    /// c', the cell values of the previous step: `[C, P]`.
    pub previous_cell: ArrayView2<'a, T>,
    /// a, the sums of both convolutions and the biases: `[4C, P]`.
    pub sums: ArrayView2<'a, T>,
    /// i, f, g and o, where they are wanted: `[4C, P]`.
    pub gates: Option<ArrayViewMut2<'a, T>>,
    /// c: `[C, P]`.
    pub cell: ArrayViewMut2<'a, T>,
    /// h: `[C, P]`.
    pub hidden: ArrayViewMut2<'a, T>,
}

/// Computes gates and states from the sums before the gates. Allocates nothing.
///
/// ```text
/// i = σ(aᵢ + pᵢ∘c')     f = σ(a_f + p_f∘c')     g = tanh(a_g)     c = f∘c' + i∘g     o = σ(aₒ + pₒ∘c)     h = o∘tanh(c)
/// ```
///
/// # Errors
/// [`TensorError::AxisSize`] if the shapes do not fit together, [`TensorError::InvalidOption`] if the positions of a view do
/// not lie side by side.
pub fn lstm_maps<T: Element>(maps: LstmMaps<'_, T>) -> Result<(), TensorError> {
    const NAME: &str = "lstm_maps";
    let (channels, positions) = maps.previous_cell.dim();
    let shape = [channels, positions];
    check_maps(NAME, ["channels of previous cell values", "positions"], &maps.previous_cell, shape)?;
    check_maps(NAME, ["channels of sums", "positions of sums"], &maps.sums, [GATES * channels, positions])?;
    if let Some(gates) = &maps.gates {
        check_maps(NAME, ["gate channels", "gate positions"], &gates.view(), [GATES * channels, positions])?;
    }
    check_maps(NAME, ["cell channels", "cell positions"], &maps.cell.view(), shape)?;
    check_maps(NAME, ["hidden channels", "hidden positions"], &maps.hidden.view(), shape)?;
    maps.peepholes.check(NAME, shape)?;
    T::run_lstm_maps(LstmForward(maps));
    Ok(())
}

/// The arguments of [`lstm_maps_backward`], for C channels and P positions.
#[derive(Debug)]
pub struct LstmMapsBackward<'a, T> {
    /// The peepholes.
    pub peepholes: MapPeepholes<'a, T>,
    /// c': `[C, P]`.
    pub previous_cell: ArrayView2<'a, T>,
    /// c: `[C, P]`.
    pub cell: ArrayView2<'a, T>,
    /// i, f, g and o: `[4C, P]`.
    pub gates: ArrayView2<'a, T>,
    /// δh: `[C, P]`.
    pub grad_hidden: ArrayView2<'a, T>,
    /// On entry the gradient of c from the step that follows; on return that of c': `[C, P]`.
    pub grad_cell: ArrayViewMut2<'a, T>,
    /// On return the gradient of the sums before the gates: `[4C, P]`; its values are not used.
    pub grad_gates: ArrayViewMut2<'a, T>,
}

/// Takes the gradients of gates and states one step back. Allocates nothing.
///
/// ```text
/// δo = δh∘tanh(c)∘o(1−o)        δc += δh∘o∘(1−tanh²(c)) + pₒ∘δo
/// δi = δc∘g∘i(1−i)              δf = δc∘c'∘f(1−f)                 δg = δc∘i∘(1−g²)
/// δc' = δc∘f + pᵢ∘δi + p_f∘δf
/// ```
///
/// # Errors
/// As [`lstm_maps`].
pub fn lstm_maps_backward<T: Element>(maps: LstmMapsBackward<'_, T>) -> Result<(), TensorError> {
    const NAME: &str = "lstm_maps_backward";
    let (channels, positions) = maps.previous_cell.dim();
    let (shape, gates) = ([channels, positions], [GATES * channels, positions]);
    check_maps(NAME, ["channels of previous cell values", "positions"], &maps.previous_cell, shape)?;
    check_maps(NAME, ["cell channels", "cell positions"], &maps.cell, shape)?;
    check_maps(NAME, ["gate channels", "gate positions"], &maps.gates, gates)?;
    check_maps(NAME, ["hidden gradient channels", "hidden gradient positions"], &maps.grad_hidden, shape)?;
    check_maps(NAME, ["cell gradient channels", "cell gradient positions"], &maps.grad_cell.view(), shape)?;
    check_maps(NAME, ["gate gradient channels", "gate gradient positions"], &maps.grad_gates.view(), gates)?;
    maps.peepholes.check(NAME, shape)?;
    T::run_lstm_maps_backward(LstmBackward(maps));
    Ok(())
}

impl<'a, T: Element> MapPeepholes<'a, T> {
    fn check(&self, operation: &'static str, [channels, positions]: [usize; 2]) -> Result<(), TensorError> {
        match self {
            Self::None => Ok(()),
            Self::PerChannel(weights) => {
                check_axis(operation, "peephole gates", PEEPHOLES, weights.nrows())?;
                check_axis(operation, "peephole channels", channels, weights.ncols())
            }
            Self::PerPosition(weights) => {
                check_axis(operation, "peephole gates", PEEPHOLES, weights.dim().0)?;
                weights.outer_iter().try_for_each(|gate| {
                    check_maps(operation, ["peephole channels", "peephole positions"], &gate, [channels, positions])
                })
            }
        }
    }

    /// The weights of a channel for every position.
    fn per_position(weights: &ArrayView3<'a, T>, channel: usize) -> [&'a [T]; PEEPHOLES] {
        std::array::from_fn(|gate| row(&weights.index_axis_move(Axis(0), gate), channel))
    }
}

/// The kernel of [`lstm_maps`].
pub(crate) struct LstmForward<'a, T>(pub(super) LstmMaps<'a, T>);

impl<T: Element> Kernel<T> for LstmForward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let LstmMaps { peepholes, previous_cell, sums, gates, mut cell, mut hidden } = self.0;
        let channels = previous_cell.nrows();
        let mut gates = gates.map(split_maps::<T, GATES>);
        for channel in 0..channels {
            let before = row(&previous_cell, channel);
            let [i, f, g, o] = std::array::from_fn(|gate| row(&sums, gate * channels + channel));
            let states = [row_mut(&mut cell, channel), row_mut(&mut hidden, channel)];
            let gates = gates.as_mut().map(|gates| gates.each_mut().map(|gate| row_mut(gate, channel)));
            match &peepholes {
                MapPeepholes::None => run_channel(
                    simd,
                    [before, i, f, g, o],
                    gates,
                    states,
                    #[inline(always)]
                    |[before, i, f, g, o]| advance(simd, None, before, [i, f, g, o]),
                ),
                MapPeepholes::PerChannel(weights) => {
                    let weights: [S::Vector; PEEPHOLES] =
                        std::array::from_fn(|gate| simd.splat(weights[[gate, channel]]));
                    run_channel(
                        simd,
                        [before, i, f, g, o],
                        gates,
                        states,
                        #[inline(always)]
                        |[before, i, f, g, o]| advance(simd, Some(weights), before, [i, f, g, o]),
                    );
                }
                MapPeepholes::PerPosition(weights) => {
                    let [p, q, r] = MapPeepholes::per_position(weights, channel);
                    run_channel(
                        simd,
                        [before, i, f, g, o, p, q, r],
                        gates,
                        states,
                        #[inline(always)]
                        |[before, i, f, g, o, p, q, r]| advance(simd, Some([p, q, r]), before, [i, f, g, o]),
                    );
                }
            }
        }
    }
}

/// Computes the states of a channel, and its gates where they are wanted.
#[inline(always)]
fn run_channel<T: Element, S: Simd<T>, const R: usize>(
    simd: S,
    sources: [&[T]; R],
    gates: Option<[&mut [T]; GATES]>,
    states: [&mut [T]; 2],
    step: impl Fn([S::Vector; R]) -> [S::Vector; GATES + 2],
) {
    let [cell, hidden] = states;
    match gates {
        Some([i, f, g, o]) => for_each_vector(
            simd,
            sources,
            [i, f, g, o, cell, hidden],
            #[inline(always)]
            |values, _| step(values),
        ),
        None => for_each_vector(
            simd,
            sources,
            [cell, hidden],
            #[inline(always)]
            |values, _| {
                let [_, _, _, _, cell, hidden] = step(values);
                [cell, hidden]
            },
        ),
    }
}

/// `[i, f, g, o, c, h]` from the previous cell value and the sums before the gates.
#[inline(always)]
fn advance<T: Element, S: Simd<T>>(
    simd: S,
    peepholes: Option<[S::Vector; PEEPHOLES]>,
    before: S::Vector,
    [mut input, mut forget, candidate, mut output]: [S::Vector; GATES],
) -> [S::Vector; GATES + 2] {
    if let Some([of_input, of_forget, _]) = peepholes {
        input = simd.mul_add(of_input, before, input);
        forget = simd.mul_add(of_forget, before, forget);
    }
    let input = sigmoid_vector::<T, S>(simd, input);
    let forget = sigmoid_vector::<T, S>(simd, forget);
    let candidate = tanh_vector::<T, S>(simd, candidate);
    let cell = simd.mul_add(forget, before, simd.mul(input, candidate));
    if let Some([_, _, of_output]) = peepholes {
        output = simd.mul_add(of_output, cell, output);
    }
    let output = sigmoid_vector::<T, S>(simd, output);
    let hidden = simd.mul(output, tanh_vector::<T, S>(simd, cell));
    [input, forget, candidate, output, cell, hidden]
}

/// The kernel of [`lstm_maps_backward`].
pub(crate) struct LstmBackward<'a, T>(LstmMapsBackward<'a, T>);

impl<T: Element> Kernel<T> for LstmBackward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, simd: S) {
        let LstmMapsBackward { peepholes, previous_cell, cell, gates, grad_hidden, mut grad_cell, grad_gates } = self.0;
        let channels = previous_cell.nrows();
        let [mut input, mut forget, mut candidate, mut output] = split_maps::<T, GATES>(grad_gates);
        for channel in 0..channels {
            let [i, f, g, o] = std::array::from_fn(|gate| row(&gates, gate * channels + channel));
            let (before, cell) = (row(&previous_cell, channel), row(&cell, channel));
            let values = [i, f, g, o, before, cell, row(&grad_hidden, channel)];
            let maps = [&mut input, &mut forget, &mut candidate, &mut output, &mut grad_cell];
            let targets = maps.map(|maps| row_mut(maps, channel));
            match &peepholes {
                MapPeepholes::None => for_each_vector(
                    simd,
                    values,
                    targets,
                    #[inline(always)]
                    |values, [_, _, _, _, grad_cell]| retreat(simd, None, values, grad_cell),
                ),
                MapPeepholes::PerChannel(weights) => {
                    let weights: [S::Vector; PEEPHOLES] =
                        std::array::from_fn(|gate| simd.splat(weights[[gate, channel]]));
                    for_each_vector(
                        simd,
                        values,
                        targets,
                        #[inline(always)]
                        |values, [_, _, _, _, grad_cell]| retreat(simd, Some(weights), values, grad_cell),
                    );
                }
                MapPeepholes::PerPosition(weights) => {
                    let [i, f, g, o, before, cell, grad_hidden] = values;
                    let [p, q, r] = MapPeepholes::per_position(weights, channel);
                    for_each_vector(
                        simd,
                        [i, f, g, o, before, cell, grad_hidden, p, q, r],
                        targets,
                        #[inline(always)]
                        |[i, f, g, o, before, cell, grad_hidden, p, q, r], [_, _, _, _, grad_cell]| {
                            let values = [i, f, g, o, before, cell, grad_hidden];
                            retreat(simd, Some([p, q, r]), values, grad_cell)
                        },
                    );
                }
            }
        }
    }
}

/// `[δi, δf, δg, δo, δc']` from gates, cell values, δh and the part of δc from the step that follows.
#[inline(always)]
fn retreat<T: Element, S: Simd<T>>(
    simd: S,
    peepholes: Option<[S::Vector; PEEPHOLES]>,
    [input, forget, candidate, output, before, cell, grad_hidden]: [S::Vector; GATES + 3],
    grad_cell: S::Vector,
) -> [S::Vector; GATES + 1] {
    let squashed = tanh_vector::<T, S>(simd, cell);
    let grad_output = simd.mul(simd.mul(grad_hidden, squashed), slope(simd, output));
    let through_hidden = simd.mul(simd.mul(grad_hidden, output), tanh_slope(simd, squashed));
    let mut grad_cell = simd.add(grad_cell, through_hidden);
    if let Some([_, _, of_output]) = peepholes {
        grad_cell = simd.mul_add(of_output, grad_output, grad_cell);
    }
    let grad_input = simd.mul(simd.mul(grad_cell, candidate), slope(simd, input));
    let grad_forget = simd.mul(simd.mul(grad_cell, before), slope(simd, forget));
    let grad_candidate = simd.mul(simd.mul(grad_cell, input), tanh_slope(simd, candidate));
    let mut grad_before = simd.mul(grad_cell, forget);
    if let Some([of_input, of_forget, _]) = peepholes {
        grad_before = simd.mul_add(of_input, grad_input, grad_before);
        grad_before = simd.mul_add(of_forget, grad_forget, grad_before);
    }
    [grad_input, grad_forget, grad_candidate, grad_output, grad_before]
}
