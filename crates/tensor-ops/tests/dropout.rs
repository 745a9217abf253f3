//! Dropout: rate, scale, mask, gradients, edges and errors.

use ndarray::{Array1, Array2, Array3, Axis, array};
use ndarray_rand::rand::rngs::StdRng;
use ndarray_rand::rand::{Rng, SeedableRng};
use tensor_ops::testing::{assert_all_close, assert_bits_equal, numeric_gradient, seeded_array};
use tensor_ops::{Dropout, TensorError};

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

#[test]
fn values_are_dropped_at_the_rate_and_the_others_scaled() {
    for probability in [0.1, 0.5, 0.9] {
        let dropout = Dropout::new(probability).unwrap();
        let input = Array2::<f64>::from_elem((200, 300), 3.0);
        let (output, _) = dropout.forward_training(input.view(), &mut rng(1));
        let dropped = output.iter().filter(|&&v| v == 0.0).count() as f64 / 6e4;
        let error = (probability * (1.0 - probability) / 6e4).sqrt();
        assert!((dropped - probability).abs() < 5.0 * error, "{dropped} dropped, not {probability}");
        assert!(output.iter().all(|&v| v == 0.0 || v == 3.0 * (1.0 / (1.0 - probability))));
        assert!((output.mean().unwrap() / 3.0 - 1.0).abs() < 5.0 * error / (1.0 - probability));
    }
}

#[test]
fn the_mask_depends_on_generator_and_shape_alone() {
    let dropout = Dropout::new(0.4).unwrap();
    let single: Array3<f32> = seeded_array((4, 5, 6), 1);
    let double = single.mapv(f64::from);
    let (output, trace) = dropout.forward_training(single.view(), &mut rng(7));
    let (output_double, trace_double) = dropout.forward_training(double.view(), &mut rng(7));
    assert_eq!(trace, trace_double);
    assert_all_close(&output.mapv(f64::from), &output_double, 1e-6, 0.0);

    let mut other_order = Array3::zeros((6, 5, 4));
    other_order.swap_axes(0, 2);
    other_order.assign(&single);
    let (output_other_order, _) = dropout.forward_training(other_order.view(), &mut rng(7));
    assert_bits_equal(&output_other_order, &output);
    dropout.forward_training_in_place(other_order.view_mut(), &mut rng(7));
    assert_bits_equal(&other_order, &output);

    let (output_other_seed, _) = dropout.forward_training(single.view(), &mut rng(8));
    assert_ne!(output_other_seed, output);
}

#[test]
fn gradients_equal_finite_differences() {
    let dropout = Dropout::new(0.3).unwrap();
    let input: Array2<f64> = seeded_array((6, 7), 1);
    let weights: Array2<f64> = seeded_array((6, 7), 2);
    let (_, trace) = dropout.forward_training(input.view(), &mut rng(3));
    let gradient = dropout.backward(&trace, weights.view()).unwrap();
    let numeric =
        numeric_gradient(&input, |input| (&dropout.forward_training(input.view(), &mut rng(3)).0 * &weights).sum());
    assert_all_close(&gradient, &numeric, 1e-7, 1e-9);
    let mut in_place = weights.t().to_owned().reversed_axes();
    dropout.backward_in_place(&trace, in_place.view_mut()).unwrap();
    assert_bits_equal(&in_place, &gradient);
}

#[test]
fn probabilities_zero_and_one() {
    let input = array![1.0_f32, f32::INFINITY, f32::NAN, -2.0];
    for (probability, expected) in [(0.0, input.clone()), (1.0, Array1::zeros(4))] {
        let dropout = Dropout::new(probability).unwrap();
        let mut generator = rng(1);
        let (output, trace) = dropout.forward_training(input.view(), &mut generator);
        assert_bits_equal(&output, &expected);
        assert_bits_equal(&dropout.backward(&trace, input.view()).unwrap(), &expected);
        assert_eq!(generator.random::<u64>(), rng(1).random::<u64>(), "nothing is drawn");
    }
    assert_eq!(Dropout::default().probability(), 0.0);
}

#[test]
fn a_dropped_value_is_zero_whatever_it_was() {
    let dropout = Dropout::new(0.5).unwrap();
    let (output, _) = dropout.forward_training(Array1::from_elem(1_000, f32::NAN).view(), &mut rng(1));
    assert!(output.iter().any(|v| v.to_bits() == 0) && output.iter().any(|v| v.is_nan()));
}

#[test]
fn misuse_is_refused() {
    for probability in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let error = TensorError::InvalidOption {
            operation: "Dropout",
            option: "probability",
            requirement: "in 0..=1",
            found: probability.to_string(),
        };
        assert_eq!(Dropout::new(probability), Err(error));
    }
    let dropout = Dropout::new(0.5).unwrap();
    let input: Array2<f32> = seeded_array((2, 3), 1);
    let (_, trace) = dropout.forward_training(input.view(), &mut rng(1));
    let axis = |axis, expected, found| TensorError::AxisSize { operation: "Dropout", axis, expected, found };
    assert_eq!(dropout.backward(&trace, input.t()), Err(axis("output gradient", 2, 3)));
    let (_, trace) = dropout.forward_training(input.view().into_dyn(), &mut rng(1));
    let other_rank = input.clone().insert_axis(Axis(0)).into_dyn();
    assert_eq!(dropout.backward(&trace, other_rank.view()), Err(axis("rank of the output gradient", 2, 3)));
}
