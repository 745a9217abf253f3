//! The stated bounds and special values, under every instruction set of the CPU.

use rayon::prelude::*;

use super::*;

/// A function of one variable in single precision, its exact values and the bound that the module states.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    apply: fn(Isa, &mut [f32]),
    exact: fn(f64) -> f64,
    bound: f64,
}

fn cases() -> [Case; 4] {
    [
        Case { name: "exp", apply: |isa, x| map(isa, Exp, x), exact: f64::exp, bound: 1.0 },
        Case { name: "sigmoid", apply: |isa, x| map(isa, Sigmoid, x), exact: exact_sigmoid, bound: 3.0 },
        Case { name: "tanh", apply: |isa, x| map(isa, Tanh, x), exact: f64::tanh, bound: 3.0 },
        Case { name: "softplus", apply: |isa, x| map(isa, Softplus, x), exact: exact_softplus, bound: 3.0 },
    ]
}

fn exact_sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

fn exact_softplus(x: f64) -> f64 {
    if x < 0.0 { x.exp().ln_1p() } else { x + (-x).exp().ln_1p() }
}

/// |actual − exact| in units in the last place of `exact`; infinity counts as 2¹²⁸, the next number if there were one.
fn ulp_error(actual: f32, exact: f64) -> f64 {
    if exact.is_nan() || actual.is_nan() {
        return if exact.is_nan() && actual.is_nan() { 0.0 } else { f64::INFINITY };
    }
    let end = 2.0_f64.powi(128);
    let actual = if actual.is_infinite() { end.copysign(f64::from(actual)) } else { f64::from(actual) };
    let exact = exact.clamp(-end, end);
    let exponent = ((exact.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    (actual - exact).abs() / 2.0_f64.powi(exponent.clamp(-126, 127) - 23)
}

/// The argument and error of the worst of `arguments`.
fn worst(case: Case, isa: Isa, arguments: &[f32]) -> (f32, f64) {
    let mut results = arguments.to_vec();
    (case.apply)(isa, &mut results);
    let errors = arguments.iter().zip(&results).map(|(&x, &y)| (x, ulp_error(y, (case.exact)(f64::from(x)))));
    errors.fold((0.0, 0.0), |worst, next| if next.1 > worst.1 { next } else { worst })
}

#[test]
fn ulp_error_counts_numbers() {
    assert_eq!(ulp_error(1.0 + f32::EPSILON, 1.0), 1.0);
    assert_eq!(ulp_error(f32::from_bits(3), f64::from(f32::from_bits(1))), 2.0);
    assert_eq!(ulp_error(f32::INFINITY, f64::from(f32::MAX)), 1.0);
    assert_eq!(ulp_error(f32::INFINITY, 1e300), 0.0);
    assert_eq!(ulp_error(0.0, f64::NAN), f64::INFINITY);
}

#[test]
fn sampled_arguments_keep_the_bounds() {
    // Of every sign and exponent some two thousand arguments, and all of them near the places where the code decides.
    let mut arguments: Vec<f32> = (0..=u32::MAX).step_by(4093).map(f32::from_bits).collect();
    let thresholds = [0.0, 0.5 * std::f32::consts::LN_2, 1.0, 9.0, 20.0, 87.336_55, 88.722_84, 89.0, 103.972_08, 104.0];
    for threshold in thresholds.into_iter().chain([f32::MIN_POSITIVE, f32::MAX]) {
        let centre = threshold.to_bits();
        let near = centre.saturating_sub(500)..=centre.saturating_add(500);
        arguments.extend(near.flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)]));
    }
    for case in cases() {
        for isa in Isa::available() {
            let (x, error) = worst(case, isa, &arguments);
            assert!(error <= case.bound, "{} of {x:e} ({:#x}) on {isa}: {error} ULP", case.name, x.to_bits());
        }
    }
}

/// Fails where a function breaks its bound on one of all 2³² arguments, on any instruction set.
fn all_arguments_keep_the_bound_of(name: &str) {
    const PART: u32 = 1 << 16;
    let case = cases().into_iter().find(|case| case.name == name).expect("a function of the table");
    for isa in Isa::available() {
        let parts = (0..u32::MAX / PART + 1).into_par_iter().map(|part| {
            let arguments: Vec<f32> = (0..PART).map(|i| f32::from_bits(part * PART + i)).collect();
            worst(case, isa, &arguments)
        });
        let (x, error) = parts.reduce(|| (0.0, 0.0), |a, b| if b.1 > a.1 { b } else { a });
        println!("{name:8} {isa:8} {error:.4} ULP at {x:e} ({:#x})", x.to_bits());
        assert!(error <= case.bound, "{name} of {x:e} ({:#x}) on {isa}: {error} ULP", x.to_bits());
    }
}

/// One test for each function, so that they can be run one by one.
macro_rules! test_all_arguments {
    ($($test:ident: $name:literal),* $(,)?) => {$(
        #[test]
        #[ignore = "takes minutes; run in release mode with --nocapture to see the largest errors"]
        fn $test() {
            all_arguments_keep_the_bound_of($name);
        }
    )*};
}

test_all_arguments! {
    all_arguments_of_exp: "exp",
    all_arguments_of_sigmoid: "sigmoid",
    all_arguments_of_tanh: "tanh",
    all_arguments_of_softplus: "softplus",
}

#[test]
fn special_values() {
    let infinity = f32::INFINITY;
    let tiny = f32::from_bits(1);
    // [argument, exp, sigmoid, tanh, softplus, relu, relu6]
    let ln_2 = std::f32::consts::LN_2;
    let rows = [
        [0.0, 1.0, 0.5, 0.0, ln_2, 0.0, 0.0],
        [-0.0, 1.0, 0.5, -0.0, ln_2, -0.0, -0.0],
        [tiny, 1.0, 0.5, tiny, ln_2, tiny, tiny],
        [-tiny, 1.0, 0.5, -tiny, ln_2, 0.0, 0.0],
        [infinity, infinity, 1.0, 1.0, infinity, infinity, 6.0],
        [-infinity, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0],
        [f32::MAX, infinity, 1.0, 1.0, f32::MAX, f32::MAX, 6.0],
        [f32::MIN, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0],
        // The smallest argument whose exponential overflows, and the largest that gives a subnormal number above zero.
        [f32::from_bits(0x42b1_7218), infinity, 1.0, 1.0, 88.722_84, 88.722_84, 6.0],
        [-103.5, tiny, tiny, -1.0, tiny, 0.0, 0.0],
    ];
    let functions: [fn(Isa, &mut [f32]); 6] = [
        |isa, x| map(isa, Exp, x),
        |isa, x| map(isa, Sigmoid, x),
        |isa, x| map(isa, Tanh, x),
        |isa, x| map(isa, Softplus, x),
        |isa, x| map(isa, Relu, x),
        |isa, x| map(isa, Relu6, x),
    ];
    for isa in Isa::available() {
        for (column, function) in functions.iter().enumerate() {
            for row in rows {
                let mut value = [row[0]];
                function(isa, &mut value);
                let expected = row[column + 1];
                assert_eq!(value[0].to_bits(), expected.to_bits(), "{isa}, {}: column {column}: {value:?}", row[0]);
            }
            for nan in [f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001)] {
                let mut values = [nan; 19];
                function(isa, &mut values);
                assert!(values.iter().all(|value| value.is_nan()), "{isa}: column {column}: NaN gives {values:?}");
            }
        }
    }
}

#[test]
fn results_depend_on_neither_position_nor_length() {
    let arguments: Vec<f32> = (0..67).map(|i| (i as f32 - 33.0) * 0.731).collect();
    for isa in Isa::available() {
        for case in cases() {
            let alone: Vec<u32> = arguments.iter().map(|&x| bits_of(case, isa, &[x])[0]).collect();
            for start in 0..20 {
                for end in start..=arguments.len() {
                    assert_eq!(bits_of(case, isa, &arguments[start..end]), alone[start..end], "{} {isa}", case.name);
                }
            }
        }
    }
}

fn bits_of(case: Case, isa: Isa, arguments: &[f32]) -> Vec<u32> {
    let mut values = arguments.to_vec();
    (case.apply)(isa, &mut values);
    values.into_iter().map(f32::to_bits).collect()
}

/// A function of the module, its derivative from the output, and arguments at which to compare.
#[derive(Clone, Copy)]
struct Slope {
    name: &'static str,
    function: fn(&mut [f64]),
    grad: fn(&[f64], &mut [f64]) -> Result<(), TensorError>,
    grad_single: fn(Isa, &[f32], &mut [f32]),
}

fn slopes() -> [Slope; 6] {
    macro_rules! slope {
        ($name:literal, $function:ident, $grad:ident, $kernel:ident) => {
            Slope {
                name: $name,
                function: $function,
                grad: $grad,
                grad_single: |isa, output, grad| zip_map(isa, $kernel, output, grad),
            }
        };
    }
    [
        slope!("exp", exp, exp_grad, ExpGrad),
        slope!("sigmoid", sigmoid, sigmoid_grad, SigmoidGrad),
        slope!("tanh", tanh, tanh_grad, TanhGrad),
        slope!("relu", relu, relu_grad, ReluGrad),
        slope!("relu6", relu6, relu6_grad, Relu6Grad),
        slope!("softplus", softplus, softplus_grad, SoftplusGrad),
    ]
}

#[test]
fn derivatives_equal_finite_differences() {
    const STEP: f64 = 1e-5;
    // No argument is at a kink of relu or relu6.
    let arguments: Vec<f64> = (0..43).map(|i| (f64::from(i) - 21.0) * 0.37 + 0.013).collect();
    for slope in slopes() {
        let at = |offset: f64| {
            let mut values: Vec<f64> = arguments.iter().map(|x| x + offset).collect();
            (slope.function)(&mut values);
            values
        };
        let (above, below) = (at(STEP), at(-STEP));
        let mut grad: Vec<f64> = (0..arguments.len()).map(|i| 1.0 + 0.1 * i as f64).collect();
        let upstream = grad.clone();
        (slope.grad)(&at(0.0), &mut grad).unwrap();
        for i in 0..arguments.len() {
            let expected = upstream[i] * (above[i] - below[i]) / (2.0 * STEP);
            let difference = (grad[i] - expected).abs();
            assert!(
                difference <= 1e-8 * (1.0 + expected.abs()),
                "{} at {}: {} {expected}",
                slope.name,
                arguments[i],
                grad[i]
            );
        }
    }
}

#[test]
fn single_derivatives_equal_double_ones() {
    let arguments: Vec<f64> = (0..203).map(|i| (f64::from(i) - 101.0) * 0.31).collect();
    for slope in slopes() {
        let mut output = arguments.clone();
        (slope.function)(&mut output);
        let output: Vec<f32> = output.into_iter().map(|y| y as f32).collect();
        let mut expected = vec![1.5; output.len()];
        let exact_output: Vec<f64> = output.iter().map(|&y| f64::from(y)).collect();
        (slope.grad)(&exact_output, &mut expected).unwrap();
        for isa in Isa::available() {
            let mut grad = vec![1.5_f32; output.len()];
            (slope.grad_single)(isa, &output, &mut grad);
            for i in 0..grad.len() {
                let error = ulp_error(grad[i], expected[i]);
                assert!(error <= 4.0, "{} at output {} on {isa}: {error} ULP", slope.name, output[i]);
            }
        }
    }
}

#[test]
fn derivatives_at_kinks_and_of_nan() {
    for isa in Isa::available() {
        let gradients = |slope: &Slope, output: f32| {
            let mut grad = [2.0];
            (slope.grad_single)(isa, &[output], &mut grad);
            grad[0]
        };
        for slope in slopes() {
            assert!(gradients(&slope, f32::NAN).is_nan(), "{} {isa}", slope.name);
        }
        let [_, _, _, relu, relu6, softplus] = slopes();
        assert_eq!([gradients(&relu, 0.0), gradients(&relu, -0.0), gradients(&relu, f32::INFINITY)], [0.0, 0.0, 2.0]);
        assert_eq!([gradients(&relu6, 0.0), gradients(&relu6, 5.0), gradients(&relu6, 6.0)], [0.0, 2.0, 0.0]);
        assert_eq!([gradients(&softplus, 0.0), gradients(&softplus, f32::INFINITY)], [0.0, 2.0]);
    }
}

#[test]
fn lengths_that_differ_are_refused() {
    for slope in slopes() {
        let error = (slope.grad)(&[0.5; 3], &mut [1.0; 4]).unwrap_err();
        assert!(matches!(error, TensorError::AxisSize { axis: "output", expected: 4, found: 3, .. }), "{error}");
        assert!(error.to_string().starts_with(slope.name), "{error}");
        assert_eq!((slope.grad)(&[], &mut []), Ok(()));
    }
}
