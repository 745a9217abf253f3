//! The step that all optimisers share: checks, then one pass over values, gradients and state.

use std::borrow::Cow;

use ndarray::ArrayViewD;
use rayon::prelude::*;

use super::error::check_not_negative;
use super::group::{Options, ParameterGroup, options_of};
use super::{OptimizerError, OptimizerState};
use crate::simd::{Kernel, Simd};
use crate::{Element, Parameters};

/// Values that one task updates: their arrays fit in the L2 cache together.
const CHUNK: usize = 1 << 14;

/// Below this many values in all, tasks cost more than they gain.
pub(super) const PARALLEL_VALUES: usize = 1 << 16;

/// Values that are updated together, in registers.
const LANES: usize = 16;

/// How one value changes by its gradient and its state: the same at every position.
pub(super) trait Rule<T, const KINDS: usize>: Copy + Send + Sync {
    /// The kinds of state the rule has; those it lacks are passed as 0.
    const USED: [bool; KINDS];

    /// The new value and the new state. Must be `#[inline(always)]`.
    fn apply(self, value: T, gradient: T, state: [T; KINDS]) -> (T, [T; KINDS]);
}

/// What a step of any optimiser is given.
pub(super) struct Step<'a, T> {
    pub(super) model: &'a mut dyn Parameters<T>,
    pub(super) gradients: &'a dyn Parameters<T>,
    pub(super) learning_rate: f64,
    pub(super) groups: &'a [ParameterGroup],
    pub(super) weight_decay: f64,
}

impl<T: Element> Step<'_, T> {
    /// Checks everything, then applies the rule of each parameter's options and learning rate, and counts the step.
    pub(super) fn apply<R: Rule<T, KINDS>, const KINDS: usize>(
        self,
        state: &mut OptimizerState<T>,
        rule: impl Fn(Options, f64) -> R,
    ) -> Result<(), OptimizerError> {
        let Self { model, gradients, learning_rate, groups, weight_decay } = self;
        check_not_negative(state.operation(), "learning_rate", learning_rate)?;
        let gradients = gradients.named();
        let parameters = model.named();
        check_gradients(&parameters, &gradients)?;
        let options = options_of(parameters.iter().map(|(name, _)| name.as_str()), groups, weight_decay)?;
        state.prepare(&parameters)?;
        let rules = options.into_iter().map(|o| rule(o, learning_rate * o.learning_rate_multiplier));
        update(model, &gradients, state, rules);
        state.count_step();
        Ok(())
    }
}

fn check_gradients<T: Element>(
    parameters: &[(String, ArrayViewD<'_, T>)],
    gradients: &[(String, ArrayViewD<'_, T>)],
) -> Result<(), OptimizerError> {
    for (position, ((name, values), (gradient_name, gradient))) in parameters.iter().zip(gradients).enumerate() {
        if name != gradient_name {
            let (expected, found) = (name.clone(), gradient_name.clone());
            return Err(OptimizerError::GradientName { position, expected, found });
        }
        if values.shape() != gradient.shape() {
            let (expected, found) = (values.shape().to_vec(), gradient.shape().to_vec());
            return Err(OptimizerError::GradientShape { name: name.clone(), expected, found });
        }
    }
    if parameters.len() != gradients.len() {
        return Err(OptimizerError::GradientCount { expected: parameters.len(), found: gradients.len() });
    }
    check_finite(gradients)
}

/// Checks that every gradient is finite.
pub(super) fn check_finite<T: Element>(gradients: &[(String, ArrayViewD<'_, T>)]) -> Result<(), OptimizerError> {
    for (name, gradient) in gradients {
        let values = row_major(gradient);
        let all_finite = |chunk: &[T]| T::dispatch(AllFinite(chunk));
        let chunk = if values.len() < PARALLEL_VALUES {
            values.chunks(CHUNK).position(|chunk| !all_finite(chunk))
        } else {
            values.par_chunks(CHUNK).position_first(|chunk| !all_finite(chunk))
        };
        if let Some(chunk) = chunk {
            let rest = &values[chunk * CHUNK..];
            let within = rest.iter().position(|v| !v.is_finite()).expect("the chunk has such a value");
            return Err(OptimizerError::GradientNotFinite { name: name.clone(), position: chunk * CHUNK + within });
        }
    }
    Ok(())
}

/// The values in row-major order.
pub(super) fn row_major<'a, T: Element>(values: &'a ArrayViewD<'_, T>) -> Cow<'a, [T]> {
    match values.as_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(values.iter().copied().collect()),
    }
}

struct AllFinite<'a, T>(&'a [T]);

impl<T: Element> Kernel<T> for AllFinite<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd<T>>(self, _: S) -> bool {
        self.0.iter().fold(true, |finite, value| finite & value.is_finite())
    }
}

fn update<T: Element, R: Rule<T, KINDS>, const KINDS: usize>(
    model: &mut dyn Parameters<T>,
    gradients: &[(String, ArrayViewD<'_, T>)],
    state: &mut OptimizerState<T>,
    rules: impl Iterator<Item = R>,
) {
    let gradients: Vec<_> = gradients.iter().map(|(_, gradient)| row_major(gradient)).collect();
    let mut parameters = model.named_mut();
    // Parameters in another memory order are updated in a row-major copy: the order of gradients and state.
    let mut copies: Vec<Option<Vec<T>>> = parameters
        .iter()
        .map(|(_, values)| (!values.is_standard_layout()).then(|| values.iter().copied().collect()))
        .collect();
    let mut passes = Vec::new();
    let targets = parameters.iter_mut().zip(&mut copies);
    let sources = gradients.iter().zip(state.arrays_mut()).zip(rules);
    for (((_, values), copy), ((gradient, arrays), rule)) in targets.zip(sources) {
        let values = match copy {
            Some(copy) => copy.as_mut_slice(),
            None => values.as_slice_mut().expect("standard layout was found above"),
        };
        let mut arrays = arrays.into_iter();
        let mut state: [_; KINDS] = std::array::from_fn(|_| arrays.next().unwrap_or_default().chunks_mut(CHUNK));
        for (values, gradient) in values.chunks_mut(CHUNK).zip(gradient.chunks(CHUNK)) {
            let state = state.each_mut().map(|chunks| chunks.next().unwrap_or_default());
            passes.push(Pass { rule, values, gradient, state });
        }
    }
    if gradients.iter().map(|gradient| gradient.len()).sum::<usize>() < PARALLEL_VALUES {
        passes.into_iter().for_each(T::dispatch);
    } else {
        passes.into_par_iter().for_each(T::dispatch);
    }
    for ((_, values), copy) in parameters.iter_mut().zip(copies) {
        if let Some(copy) = copy {
            values.iter_mut().zip(copy).for_each(|(value, new)| *value = new);
        }
    }
}

/// The update of some values; slices of state that the rule lacks are empty.
struct Pass<'a, T, R, const KINDS: usize> {
    rule: R,
    values: &'a mut [T],
    gradient: &'a [T],
    state: [&'a mut [T]; KINDS],
}

impl<T: Element, R: Rule<T, KINDS>, const KINDS: usize> Kernel<T> for Pass<'_, T, R, KINDS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, _: S) {
        let Self { rule, values, gradient, mut state } = self;
        let whole = values.len() / LANES * LANES;
        for start in (0..whole).step_by(LANES) {
            update_lanes(rule, start, LANES, values, gradient, &mut state);
        }
        if whole < values.len() {
            update_lanes(rule, whole, values.len() - whole, values, gradient, &mut state);
        }
    }
}

/// Updates `count` values from `start` on, at most `LANES`.
#[inline(always)]
fn update_lanes<T: Element, R: Rule<T, KINDS>, const KINDS: usize>(
    rule: R,
    start: usize,
    count: usize,
    values: &mut [T],
    gradient: &[T],
    state: &mut [&mut [T]; KINDS],
) {
    let read = |source: &[T]| {
        let mut lanes = [T::zero(); LANES];
        lanes[..count].copy_from_slice(&source[start..start + count]);
        lanes
    };
    let mut value_lanes = read(values);
    let gradient_lanes = read(gradient);
    let mut state_lanes = [[T::zero(); LANES]; KINDS];
    for kind in 0..KINDS {
        if R::USED[kind] {
            state_lanes[kind] = read(state[kind]);
        }
    }
    for lane in 0..LANES {
        let lane_state = std::array::from_fn(|kind| state_lanes[kind][lane]);
        let (value, lane_state) = rule.apply(value_lanes[lane], gradient_lanes[lane], lane_state);
        value_lanes[lane] = value;
        for kind in 0..KINDS {
            state_lanes[kind][lane] = lane_state[kind];
        }
    }
    values[start..start + count].copy_from_slice(&value_lanes[..count]);
    for kind in 0..KINDS {
        if R::USED[kind] {
            state[kind][start..start + count].copy_from_slice(&state_lanes[kind][..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::simd::Dispatch;

    /// A rule with every operation that the optimisers use.
    #[derive(Clone, Copy)]
    struct Sample;

    impl Rule<f32, 2> for Sample {
        const USED: [bool; 2] = [true, false];

        #[inline(always)]
        fn apply(self, value: f32, gradient: f32, [mean_square, unused]: [f32; 2]) -> (f32, [f32; 2]) {
            assert_eq!(unused, 0.0, "a kind that is not used");
            let mean_square = 0.9 * mean_square + 0.1 * (gradient * gradient);
            (value - 0.01 * (gradient / (mean_square.sqrt() + 1e-8)), [mean_square, unused])
        }
    }

    #[test]
    fn every_instruction_set_and_length_gives_the_same_bits() {
        let sample = |scale: f32| -> Vec<f32> { (0..67).map(|i| scale * (i as f32 * 0.7).sin()).collect() };
        let gradient = sample(3.0);
        let step = |isa: Isa, range: std::ops::Range<usize>| {
            let (mut values, mut mean_square) = (sample(1.0), sample(1.0).iter().map(|v| v.abs()).collect::<Vec<_>>());
            let state = [&mut mean_square[range.clone()], &mut []];
            let pass =
                Pass { rule: Sample, values: &mut values[range.clone()], gradient: &gradient[range.clone()], state };
            f32::dispatch_on(isa, pass);
            let bits = |array: &[f32]| array[range.clone()].iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            (bits(&values), bits(&mean_square))
        };
        let (values, mean_square) = step(Isa::Portable, 0..67);
        for isa in Isa::available() {
            for range in [0..67, 0..16, 3..20, 30..31, 66..67, 5..5] {
                let (part, mean_square_part) = step(isa, range.clone());
                assert_eq!(part, values[range.clone()], "{isa} {range:?}");
                assert_eq!(mean_square_part, mean_square[range.clone()], "{isa} {range:?}");
            }
        }
    }
}
