//! The packed product and the recurrent steps against plain loops, for every instruction set of this CPU.

use ndarray::{Array1, Array2, Axis, s};
use ndarray_rand::rand::rngs::SmallRng;
use ndarray_rand::rand::{Rng, SeedableRng};

use super::*;

fn random<T: Element>(rng: &mut SmallRng, rows: usize, columns: usize) -> Array2<T> {
    Array2::from_shape_simple_fn((rows, columns), || T::from_f64(rng.random_range(-1.0..1.0)))
}

/// A·B + start, with every sum in double precision.
fn naive<T: Element>(a: ArrayView2<'_, T>, b: ArrayView2<'_, T>, start: impl Fn(usize, usize) -> f64) -> Array2<f64> {
    Array2::from_shape_fn((a.nrows(), b.ncols()), |(row, column)| {
        (0..b.nrows()).map(|k| a[[row, k]].to_f64() * b[[k, column]].to_f64()).sum::<f64>() + start(row, column)
    })
}

fn assert_close<T: Element>(actual: ArrayView2<'_, T>, expected: &Array2<f64>, depth: usize, context: &str) {
    let tolerance = 4.0 * T::epsilon().to_f64() * (depth as f64).max(8.0);
    for ((index, actual), expected) in actual.indexed_iter().zip(expected) {
        let error = ((*actual).to_f64() - expected).abs();
        assert!(error <= tolerance, "{context}: at {index:?}: expected {expected}, found {actual}");
    }
}

const ROWS: [usize; 12] = [1, 2, 3, 4, 5, 7, 8, 12, 13, 31, 129, 260];

fn check_product<T: Element>() {
    let mut rng = SmallRng::seed_from_u64(1);
    for isa in Isa::available() {
        for rows in ROWS {
            for (depth, columns) in [(1, 1), (5, 3), (17, 16), (33, 64), (200, 100), (3, 129), (97, 31)] {
                let context = format!("{} {isa} {rows}×{depth}×{columns}", T::NAME);
                let a = random::<T>(&mut rng, rows, depth);
                let b = random::<T>(&mut rng, depth, columns);
                let b_transposed = b.t().as_standard_layout().into_owned();
                let packed = PackedMatrix::with_isa(isa, b.view()).unwrap();
                let from_transposed = PackedMatrix::with_isa(isa, b_transposed.t()).unwrap();
                assert_eq!(packed.panels.as_slice(), from_transposed.panels.as_slice(), "{context}");

                let mut c = Array2::from_elem((rows, columns), T::nan());
                packed.multiply(a.view(), ProductStart::Zero, c.view_mut()).unwrap();
                assert_close(c.view(), &naive(a.view(), b.view(), |_, _| 0.0), depth, &context);
                assert_eq!(packed.product(a.view()).unwrap(), c, "{context}: a new array has the same bits");

                let bias = random::<T>(&mut rng, 1, columns).into_raw_vec_and_offset().0;
                let mut with_bias = Array2::from_elem((rows, columns), T::nan());
                packed.multiply(a.view(), ProductStart::Row(&bias), with_bias.view_mut()).unwrap();
                let expected = naive(a.view(), b.view(), |_, column| bias[column].to_f64());
                assert_close(with_bias.view(), &expected, depth, &context);

                let start = random::<T>(&mut rng, rows, columns);
                let mut sum = start.clone();
                packed.multiply(a.view(), ProductStart::Output, sum.view_mut()).unwrap();
                let expected = naive(a.view(), b.view(), |row, column| start[[row, column]].to_f64());
                assert_close(sum.view(), &expected, depth, &context);
            }
        }
    }
}

#[test]
fn product_of_f32_is_that_of_plain_loops() {
    check_product::<f32>();
}

#[test]
fn product_of_f64_is_that_of_plain_loops() {
    check_product::<f64>();
}

#[test]
fn bits_of_a_row_depend_on_nothing_else() {
    let mut rng = SmallRng::seed_from_u64(2);
    let (depth, columns) = (531, 301);
    let b = random::<f32>(&mut rng, depth, columns);
    let a = random::<f32>(&mut rng, 300, depth);
    for isa in Isa::available() {
        let packed = PackedMatrix::with_isa(isa, b.view()).unwrap();
        let alone: Vec<Array2<f32>> = a
            .axis_iter(Axis(0))
            .map(|row| {
                let mut c = Array2::zeros((1, columns));
                packed.multiply(row.insert_axis(Axis(0)), ProductStart::Zero, c.view_mut()).unwrap();
                c
            })
            .collect();
        for threads in [1, 2, 3, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for rows in [2, 6, 11, 12, 13, 100, 300] {
                let first = 300 - rows;
                let mut c = Array2::zeros((rows, columns));
                pool.install(|| packed.multiply(a.slice(s![first.., ..]), ProductStart::Zero, c.view_mut()).unwrap());
                for (row, alone) in c.axis_iter(Axis(0)).zip(&alone[first..]) {
                    assert_eq!(row, alone.row(0), "{isa}, {rows} rows, {threads} threads");
                }
            }
        }
    }
}

#[test]
fn strides_do_not_change_bits() {
    let mut rng = SmallRng::seed_from_u64(3);
    for isa in Isa::available() {
        for rows in [3, 40] {
            let a = random::<f32>(&mut rng, rows, 50);
            let b = random::<f32>(&mut rng, 50, 70);
            let packed = PackedMatrix::with_isa(isa, b.view()).unwrap();
            let mut expected = Array2::zeros((rows, 70));
            packed.multiply(a.view(), ProductStart::Zero, expected.view_mut()).unwrap();

            let a_columns = a.t().as_standard_layout().into_owned();
            let mut c_columns = Array2::from_elem((70, rows), f32::NAN);
            packed.multiply(a_columns.t(), ProductStart::Zero, c_columns.view_mut().reversed_axes()).unwrap();
            assert_eq!(c_columns.t(), expected, "{isa}, columns first");

            let mut wide = Array2::from_elem((rows * 2, 75), f32::NAN);
            let mut reversed = a.clone();
            reversed.invert_axis(Axis(0));
            let stored = reversed.as_standard_layout().into_owned();
            packed.multiply(stored.slice(s![..;-1, ..]), ProductStart::Zero, wide.slice_mut(s![..;2, 3..73])).unwrap();
            assert_eq!(wide.slice(s![..;2, 3..73]), expected, "{isa}, every second row, rows reversed");
            assert!(wide.slice(s![1..;2, ..]).iter().all(|v| v.is_nan()), "nothing else is written");
            assert!(wide.slice(s![.., ..3]).iter().all(|v| v.is_nan()), "nothing else is written");
            assert!(wide.slice(s![.., 73..]).iter().all(|v| v.is_nan()), "nothing else is written");
        }
    }
}

#[test]
fn runs_place_rows_and_columns() {
    let source = Array2::from_shape_fn((6, 90), |(row, column)| (100 * row + column) as f64);
    let rows = [Run { start: 4, length: 2, padded: 3 }, Run { start: 0, length: 1, padded: 1 }];
    let columns = [Run { start: 50, length: 40, padded: 45 }, Run { start: 7, length: 3, padded: 4 }];
    for isa in Isa::available() {
        for source in [source.view(), source.t().as_standard_layout().t()] {
            let packed = PackedMatrix::from_runs(isa, source, &rows, &columns).unwrap();
            assert_eq!((packed.depth(), packed.columns(), packed.isa()), (4, 49, isa));
            let mut unpacked = Array2::zeros((4, 49));
            packed.multiply(Array2::eye(4).view(), ProductStart::Zero, unpacked.view_mut()).unwrap();
            let mut expected = Array2::zeros((4, 49));
            for (to, from) in [(0, 4), (1, 5), (3, 0)] {
                expected.slice_mut(s![to, ..40]).assign(&source.slice(s![from, 50..]));
                expected.slice_mut(s![to, 45..48]).assign(&source.slice(s![from, 7..10]));
            }
            assert_eq!(unpacked, expected, "{isa}");
        }
    }
}

#[test]
fn a_matrix_used_once_gives_the_same_bits() {
    let mut rng = SmallRng::seed_from_u64(6);
    let parts = |runs: &[(usize, usize, usize)]| -> Vec<Run> {
        runs.iter().map(|&(start, length, padded)| Run { start, length, padded }).collect()
    };
    let in_order = parts(&[(3, 90, 96), (93, 600, 601)]);
    let out_of_order = parts(&[(40, 20, 24), (0, 33, 33)]);
    let columns = parts(&[(100, 8, 8), (0, 8, 8), (108, 5, 8), (8, 60, 64), (70, 1, 3), (20, 0, 2)]);
    let (depth, column_count) = (700, 113);
    let whole = [Run::whole(depth), Run::whole(column_count)];
    let cases =
        [(&whole[..1], &whole[1..]), (&in_order, &columns), (&out_of_order, &columns), (&in_order, &whole[1..])];
    let by_rows = random::<f32>(&mut rng, depth, column_count);
    let by_columns = by_rows.t().as_standard_layout().into_owned();
    for isa in Isa::available() {
        for rows in [1, 3, 8, 9, 31, 64, 65, 130] {
            for (case, (row_runs, column_runs)) in cases.into_iter().enumerate() {
                for source in [by_rows.view(), by_columns.t()] {
                    let packed = PackedMatrix::from_runs(isa, source, row_runs, column_runs).unwrap();
                    let a = random::<f32>(&mut rng, rows, packed.depth());
                    let c = random::<f32>(&mut rng, rows, packed.columns());
                    let bias = random::<f32>(&mut rng, 1, packed.columns()).into_raw_vec_and_offset().0;
                    for start in [ProductStart::Zero, ProductStart::Row(&bias), ProductStart::Output] {
                        let context =
                            format!("{isa}, {rows} rows, case {case}, strides {:?}, {start:?}", source.strides());
                        let (mut expected, mut once, mut standing) = (c.clone(), c.clone(), c.clone().reversed_axes());
                        standing = standing.as_standard_layout().into_owned();
                        packed.multiply(a.view(), start, expected.view_mut()).unwrap();
                        for c in [once.view_mut(), standing.view_mut().reversed_axes()] {
                            multiply_unpacked(isa, a.view(), source, row_runs, column_runs, start, c).unwrap();
                        }
                        assert_eq!(once, expected, "{context}");
                        assert_eq!(standing.t(), expected, "{context}, C by columns");
                    }
                }
            }
        }
    }
}

#[test]
fn misuse_is_an_error() {
    let b = Array2::<f32>::zeros((4, 3));
    let packed = PackedMatrix::new(b.view()).unwrap();
    let (a, mut c) = (Array2::<f32>::zeros((2, 4)), Array2::<f32>::zeros((2, 3)));
    let text = |result: Result<(), TensorError>| result.unwrap_err().to_string();
    assert_eq!(
        text(packed.multiply(Array2::zeros((2, 5)).view(), ProductStart::Zero, c.view_mut())),
        "PackedMatrix: columns of the left operand: expected size 4, found 5"
    );
    assert_eq!(
        text(packed.multiply(a.view(), ProductStart::Zero, Array2::zeros((1, 3)).view_mut())),
        "PackedMatrix: rows of the output: expected size 2, found 1"
    );
    assert_eq!(
        text(packed.multiply(a.view(), ProductStart::Zero, Array2::zeros((2, 4)).view_mut())),
        "PackedMatrix: columns of the output: expected size 3, found 4"
    );
    assert_eq!(
        text(packed.multiply(a.view(), ProductStart::Row(&[0.0; 2]), c.view_mut())),
        "PackedMatrix: columns of the start row: expected size 3, found 2"
    );
    let empty = PackedMatrix::new(Array2::<f32>::zeros((4, 0)).view()).unwrap_err().to_string();
    assert_eq!(empty, "PackedMatrix: columns: expected at least 1 entry, found 0");
    let beyond = [Run { start: 2, length: 3, padded: 3 }];
    let beyond = PackedMatrix::from_runs(Isa::Portable, b.view(), &beyond, &[Run::whole(3)]).unwrap_err();
    assert_eq!(beyond.to_string(), "PackedMatrix: row of item 0: expected less than 4, found 4");
    let short = [Run { start: 0, length: 3, padded: 2 }];
    let short = PackedMatrix::from_runs(Isa::Portable, b.view(), &[Run::whole(4)], &short).unwrap_err();
    assert_eq!(short.to_string(), "PackedMatrix: option `padded` must be at least the length of its run, found 2");
}

/// One step on plain arrays: gate sums in PyTorch's order `[rows, 4 · units]` to (gates, h, c).
fn naive_step(
    sums: &Array2<f64>,
    previous_cell: &Array2<f64>,
    peepholes: &Array2<f64>,
) -> (Array2<f64>, Array2<f64>, Array2<f64>) {
    let (rows, units) = previous_cell.dim();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (mut gates, mut hidden, mut cell) = (sums.clone(), previous_cell.clone(), previous_cell.clone());
    for row in 0..rows {
        for unit in 0..units {
            let at = |gate: usize| [row, gate * units + unit];
            let c = previous_cell[[row, unit]];
            let i = sigmoid(sums[at(INPUT_GATE)] + peepholes[[0, unit]] * c);
            let f = sigmoid(sums[at(FORGET_GATE)] + peepholes[[1, unit]] * c);
            let g = sums[at(CELL_GATE)].tanh();
            let c = f * c + i * g;
            let o = sigmoid(sums[at(OUTPUT_GATE)] + peepholes[[2, unit]] * c);
            (cell[[row, unit]], hidden[[row, unit]]) = (c, o * c.tanh());
            for (gate, value) in [(INPUT_GATE, i), (FORGET_GATE, f), (CELL_GATE, g), (OUTPUT_GATE, o)] {
                gates[at(gate)] = value;
            }
        }
    }
    (gates, hidden, cell)
}

/// `[rows, units]` with zeros up to the padded units.
fn pad<T: Element>(values: &Array2<f64>, layout: &GateLayout) -> Array2<T> {
    let mut padded = Array2::zeros((values.nrows(), layout.padded_units()));
    padded.slice_mut(s![.., ..layout.units()]).assign(&values.mapv(T::from_f64));
    padded
}

/// `[rows, 4 · units]` in the order of the layout.
fn interleave<T: Element>(gates: &Array2<f64>, layout: &GateLayout) -> Array2<T> {
    let mut interleaved = Array2::zeros((gates.nrows(), layout.width()));
    for ((row, column), &value) in gates.indexed_iter() {
        interleaved[[row, layout.column(column / layout.units(), column % layout.units())]] = T::from_f64(value);
    }
    interleaved
}

fn check_steps<T: Element>() {
    let mut rng = SmallRng::seed_from_u64(4);
    for isa in Isa::available() {
        for (rows, units) in [(1, 1), (1, 40), (3, 16), (8, 19), (12, 33), (13, 33), (40, 70)] {
            for with_peepholes in [false, true] {
                let context = format!("{} {isa} {rows}×{units}, peepholes {with_peepholes}", T::NAME);
                let layout = GateLayout::new::<T>(isa, units);
                let weight = random::<f64>(&mut rng, 4 * units, units);
                let [input, h0, c0] = [4 * units, units, units].map(|columns| random::<f64>(&mut rng, rows, columns));
                let mut peepholes = Array2::zeros((3, units));
                if with_peepholes {
                    peepholes = random::<f64>(&mut rng, 3, units);
                }
                let padded_peepholes: Array2<T> = pad(&peepholes, &layout);
                let peephole_slice = with_peepholes.then(|| padded_peepholes.as_slice().unwrap());

                // Forward, compared at the precision of a product followed by smooth functions.
                let sums = &input + &h0.dot(&weight.t());
                let (gates, hidden, cell) = naive_step(&sums, &c0, &peepholes);
                let weight_t = weight.mapv(T::from_f64);
                let packed =
                    PackedMatrix::from_runs(isa, weight_t.t(), &[layout.unit_run()], &layout.gate_runs()).unwrap();
                let mut actual_gates = interleave::<T>(&input, &layout);
                let (h_in, c_in) = (pad::<T>(&h0, &layout), pad::<T>(&c0, &layout));
                let mut h_out = Array2::from_elem(h_in.dim(), T::nan());
                let mut c_out = Array2::from_elem(c_in.dim(), T::nan());
                lstm_step(LstmStep {
                    recurrent: &packed,
                    peepholes: peephole_slice,
                    previous_hidden: h_in.view(),
                    previous_cell: c_in.view(),
                    gates: actual_gates.view_mut(),
                    hidden: h_out.view_mut(),
                    cell: c_out.view_mut(),
                })
                .unwrap();
                assert_close(h_out.slice(s![.., ..units]), &hidden, units, &context);
                assert_close(c_out.slice(s![.., ..units]), &cell, units, &context);
                assert!(h_out.slice(s![.., units..]).iter().all(|v| *v == T::zero()), "{context}: padding stays zero");
                for ((row, column), &expected) in gates.indexed_iter() {
                    let actual = actual_gates[[row, layout.column(column / units, column % units)]].to_f64();
                    let tolerance = 4.0 * T::epsilon().to_f64() * (units as f64).max(8.0);
                    assert!((actual - expected).abs() <= tolerance, "{context}: gate {column} of row {row}");
                }

                // Backward: the gradient of Σ (h·dh + c·dc) by central differences of the plain step, in f64.
                let [grad_h, grad_c] = [(); 2].map(|()| random::<f64>(&mut rng, rows, units));
                let backward =
                    PackedMatrix::from_runs(isa, weight_t.view(), &layout.gate_runs(), &[layout.unit_run()]).unwrap();
                let next = random::<f64>(&mut rng, rows, 4 * units);
                let next_interleaved = interleave::<T>(&next, &layout);
                let (mut dh, mut dc) = (pad::<T>(&grad_h, &layout), pad::<T>(&grad_c, &layout));
                let forward_gates =
                    std::mem::replace(&mut actual_gates, Array2::from_elem((rows, layout.width()), T::nan()));
                lstm_step_backward(LstmStepBackward {
                    recurrent: &backward,
                    peepholes: peephole_slice,
                    next_gradient: Some(next_interleaved.view()),
                    previous_cell: c_in.view(),
                    cell: c_out.view(),
                    gates: forward_gates.view(),
                    grad_gates: actual_gates.view_mut(),
                    grad_hidden: dh.view_mut(),
                    grad_cell: dc.view_mut(),
                })
                .unwrap();
                let total_dh = &grad_h + &next.dot(&weight);
                assert_close(dh.slice(s![.., ..units]), &total_dh, 8 * units, &context);
                let loss = |sums: &Array2<f64>, c0: &Array2<f64>| {
                    let (_, h, c) = naive_step(sums, c0, &peepholes);
                    (h * &total_dh).sum() + (c * &grad_c).sum()
                };
                let step = 1e-5;
                let tolerance = if T::NAME == "f64" { 1e-8 } else { 2e-4 };
                for _ in 0..20 {
                    let (row, column) = (rng.random_range(0..rows), rng.random_range(0..4 * units));
                    let (mut above, mut below) = (sums.clone(), sums.clone());
                    above[[row, column]] += step;
                    below[[row, column]] -= step;
                    let expected = (loss(&above, &c0) - loss(&below, &c0)) / (2.0 * step);
                    let actual = actual_gates[[row, layout.column(column / units, column % units)]].to_f64();
                    assert!((actual - expected).abs() < tolerance, "{context}: {actual}, expected {expected}");

                    let unit = column % units;
                    let (mut above, mut below) = (c0.clone(), c0.clone());
                    above[[row, unit]] += step;
                    below[[row, unit]] -= step;
                    let expected = (loss(&sums, &above) - loss(&sums, &below)) / (2.0 * step);
                    let actual = dc[[row, unit]].to_f64();
                    assert!((actual - expected).abs() < tolerance, "{context}: {actual}, expected {expected}");
                }
                let padding = (units..layout.padded_units())
                    .flat_map(|unit| (0..GATES).map(move |gate| (gate, unit)))
                    .flat_map(|(gate, unit)| actual_gates.column(layout.column(gate, unit)).to_vec());
                assert!(padding.into_iter().all(|v| v == T::zero()), "{context}: padding has no gradient");
            }
        }
    }
}

#[test]
fn steps_of_f32_are_those_of_plain_loops() {
    check_steps::<f32>();
}

#[test]
fn steps_of_f64_are_those_of_plain_loops() {
    check_steps::<f64>();
}

#[test]
fn steps_refuse_shapes_that_do_not_fit() {
    let layout = GateLayout::new::<f32>(Isa::selected(), 5);
    let (units, width) = (layout.padded_units(), layout.width());
    let weight = Array2::<f32>::zeros((20, 5));
    let packed = PackedMatrix::from_runs(layout.isa(), weight.t(), &[layout.unit_run()], &layout.gate_runs()).unwrap();
    let step = |previous: (usize, usize), gates: (usize, usize), peepholes: usize| {
        let peepholes = Array1::zeros(peepholes);
        lstm_step(LstmStep {
            recurrent: &packed,
            peepholes: peepholes.as_slice(),
            previous_hidden: Array2::zeros(previous).view(),
            previous_cell: Array2::zeros((2, units)).view(),
            gates: Array2::zeros(gates).view_mut(),
            hidden: Array2::zeros((2, units)).view_mut(),
            cell: Array2::zeros((2, units)).view_mut(),
        })
    };
    assert_eq!(step((2, units), (2, width), 3 * units), Ok(()));
    let axis = |axis, expected, found| Err(TensorError::AxisSize { operation: "lstm_step", axis, expected, found });
    assert_eq!(step((1, units), (2, width), 3 * units), axis("previous hidden values", 2, 1));
    assert_eq!(step((2, units), (2, width + 1), 3 * units), axis("gates", width, width + 1));
    assert_eq!(step((2, units), (2, width), 3), axis("peepholes", 3 * units, 3));
    let wrong = PackedMatrix::new(Array2::<f32>::zeros((units, width + 1)).view()).unwrap();
    let error = lstm::check_units("lstm_step", &wrong, units, wrong.columns(), None);
    assert_eq!(error, axis("gates of the recurrent matrix", width, width + 1));
}
