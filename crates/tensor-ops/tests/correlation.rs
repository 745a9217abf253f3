//! Correlations against their definition, and what they refuse; `conv2d` tests them over many more shapes.

use ndarray::{Array3, Array4, ArrayView3, s};
use tensor_ops::testing::{assert_all_close, seeded_array};
use tensor_ops::{Correlation, CorrelationWeights, Isa, PhaseTaps, Start, Taps, Window, winograd_from_environment};

/// Offsets in no order, with gaps, partly outside of the source.
fn taps() -> Taps {
    Taps { source: [11, 19], output: [5, 18], stride: [2, 1], rows: vec![3, -2], columns: vec![1, -4, 2] }
}

fn pixel(source: ArrayView3<'_, f64>, k: usize, y: isize, x: isize) -> f64 {
    let inside = y >= 0 && x >= 0 && y < source.dim().1 as isize && x < source.dim().2 as isize;
    if inside { source[[k, y as usize, x as usize]] } else { 0.0 }
}

fn reference(taps: &Taps, weights: &Array4<f64>, source: ArrayView3<'_, f64>) -> Array3<f64> {
    let [height, width] = taps.output;
    Array3::from_shape_fn((weights.dim().0, height, width), |(m, i, j)| {
        let mut sum = 0.0;
        for ((row, k, a, b), weight) in weights.indexed_iter() {
            if row == m {
                let y = (i * taps.stride[0]) as isize + taps.rows[a];
                let x = (j * taps.stride[1]) as isize + taps.columns[b];
                sum += weight * pixel(source, k, y, x);
            }
        }
        sum
    })
}

#[test]
fn products_equal_the_definition() {
    let taps = taps();
    let source: Array3<f64> = seeded_array((3, 11, 19), 1);
    for rows in 1..=17 {
        let weights: Array4<f64> = seeded_array((rows, 3, 2, 3), 2);
        let expected = reference(&taps, &weights, source.view());
        for isa in Isa::available() {
            let plan = Correlation::new(isa, taps.clone(), 3, rows, 1);
            let offsets: Vec<usize> = (0..6).collect();
            let packed = CorrelationWeights::pack(&plan, rows, weights.as_slice().unwrap(), 18, 6, &offsets).unwrap();
            let bias: Vec<f64> = (0..rows).map(|row| row as f64 - 4.0).collect();
            let starts = [(Start::Zero, 0.0, 0.0), (Start::Bias(&bias), 1.0, 0.0), (Start::Existing, 0.0, 1.0)];
            for (start, with_bias, with_existing) in starts {
                let before: Array3<f64> = seeded_array(expected.dim(), 3);
                let mut output =
                    if with_existing > 0.0 { before.clone() } else { Array3::from_elem(before.dim(), f64::NAN) };
                for first_row in (0..5).step_by(plan.band_rows()) {
                    let end = 5.min(first_row + plan.band_rows());
                    let band = output.slice_mut(s![.., first_row..end, ..]);
                    plan.multiply(&packed, source.view(), first_row, start, Some([-3.0, 2.0]), band).unwrap();
                }
                let expected = Array3::from_shape_fn(expected.dim(), |(m, i, j)| {
                    let start = with_bias * bias[m] + with_existing * before[[m, i, j]];
                    (expected[[m, i, j]] + start).clamp(-3.0, 2.0)
                });
                assert_all_close(&output, &expected, 1e-12, 1e-12);
            }
        }
    }
}

#[test]
fn transposed_products_equal_the_definition() {
    let taps = taps();
    let source: Array3<f64> = seeded_array((3, 11, 19), 1);
    for rows in [1, 2, 3, 5, 8, 13, 30] {
        let gradient: Array3<f64> = seeded_array((rows, 5, 18), 4);
        for isa in Isa::available() {
            // Room for a fourth channel, which the source lacks.
            let plan = Correlation::transposed(isa, taps.clone(), 4, rows);
            let mut sums = vec![0.0; plan.sums_len(rows)];
            plan.multiply_transposed(source.view(), gradient.view(), &mut sums).unwrap();
            plan.multiply_transposed(source.view(), gradient.view(), &mut sums).unwrap();
            let mut actual = Array4::<f64>::ones((rows, 3, 2, 3));
            for (row, mut weights) in actual.outer_iter_mut().enumerate() {
                plan.add_sums(&sums, rows, row, weights.as_slice_mut().unwrap()).unwrap();
            }
            let expected = Array4::from_shape_fn(actual.dim(), |(m, k, a, b)| {
                let products = gradient
                    .slice(s![m, .., ..])
                    .indexed_iter()
                    .map(|((i, j), g)| {
                        g * pixel(source.view(), k, (2 * i) as isize + taps.rows[a], j as isize + taps.columns[b])
                    })
                    .sum::<f64>();
                1.0 + 2.0 * products
            });
            assert_all_close(&actual, &expected, 1e-12, 1e-12);
        }
    }
}

#[test]
fn taps_of_windows() {
    let window = Window { stride: [2, 3], dilation: [1, 2], ..Window::new([3, 2]) };
    let taps = Taps::of_window("test", &window, [7, 9]).unwrap();
    assert_eq!((taps.output, taps.rows, taps.columns), ([3, 3], vec![0, 1, 2], vec![0, 2]));
    // Column 2 of the input is met through kernel column 1 alone, one output column further left.
    let phase = PhaseTaps::of_window("test", &window, [7, 9], [0, 2]).unwrap();
    assert_eq!((phase.kernel_rows, phase.kernel_columns), (vec![0, 2], vec![1]));
    assert_eq!((phase.taps.rows, phase.taps.columns, phase.taps.output), (vec![0, -1], vec![0], [4, 3]));
    let unmet = PhaseTaps::of_window("test", &window, [7, 9], [0, 1]).unwrap();
    assert_eq!(unmet.taps.count(), 0);
}

#[test]
fn wrong_arguments_are_errors() {
    let isa = Isa::selected();
    let plan = Correlation::<f64>::new(isa, taps(), 3, 2, 1);
    let values = vec![0.0; 36];
    let offsets: Vec<usize> = (0..6).collect();
    let packed = CorrelationWeights::pack(&plan, 2, &values, 18, 6, &offsets).unwrap();
    let message = |result: Result<(), tensor_ops::TensorError>| result.unwrap_err().to_string();
    assert_eq!(
        CorrelationWeights::pack(&plan, 3, &values, 18, 6, &offsets).unwrap_err().to_string(),
        "CorrelationWeights: values: expected size 54, found 36"
    );
    assert_eq!(
        CorrelationWeights::pack(&plan, 2, &values, 18, 6, &offsets[1..]).unwrap_err().to_string(),
        "CorrelationWeights: taps: expected size 6, found 5"
    );
    let source = Array3::zeros((3, 11, 19));
    let mut output = Array3::zeros((2, 5, 18));
    let mut multiply = |source: &Array3<f64>, first_row, start, rows: usize| {
        let rows = 0..rows;
        message(plan.multiply(&packed, source.view(), first_row, start, None, output.slice_mut(s![rows, .., ..])))
    };
    assert_eq!(
        multiply(&Array3::zeros((4, 11, 19)), 0, Start::Zero, 2),
        "Correlation: source channels: expected size 3, found 4"
    );
    assert_eq!(
        multiply(&Array3::zeros((3, 11, 18)), 0, Start::Zero, 2),
        "Correlation: source width: expected size 19, found 18"
    );
    assert_eq!(multiply(&source, 0, Start::Zero, 1), "Correlation: output channels: expected size 2, found 1");
    assert_eq!(multiply(&source, 0, Start::Bias(&[0.0]), 2), "Correlation: bias: expected size 2, found 1");
    assert_eq!(
        multiply(&source, 1, Start::Zero, 2),
        "Correlation: output row of item 0: expected less than 5, found 6"
    );
    assert_eq!(
        message(plan.multiply_transposed(source.view(), Array3::zeros((2, 5, 18)).view(), &mut [0.0])),
        format!("Correlation: sums: expected size {}, found 1", plan.sums_len(2))
    );
    let mut sums = vec![0.0; plan.sums_len(2)];
    assert_eq!(
        message(plan.add_sums(&sums, 2, 2, &mut [0.0; 18])),
        "Correlation: row of item 0: expected less than 2, found 2"
    );
    sums.pop();
    assert_eq!(
        message(plan.add_sums(&sums, 2, 0, &mut [0.0; 18])),
        format!("Correlation: sums: expected size {}, found {}", plan.sums_len(2), sums.len())
    );
}

/// Offsets of a square kernel, rising or, as for gradients of inputs, falling.
fn square_taps(kernel: usize, source: [usize; 2], before: [isize; 2], is_falling: bool) -> Taps {
    let offsets = |before: isize| {
        let mut offsets: Vec<isize> = (0..kernel as isize).map(|k| k - before).collect();
        if is_falling {
            offsets.reverse();
        }
        offsets
    };
    let output = [0, 1].map(|axis| (source[axis] as isize + 2 * before[axis] + 1 - kernel as isize) as usize);
    Taps { source, output, stride: [1, 1], rows: offsets(before[0]), columns: offsets(before[1]) }
}

fn square_cases() -> Vec<Taps> {
    let mut cases = Vec::new();
    for (kernel, source, before) in [
        (3, [16, 16], [1, 1]),
        (3, [13, 21], [1, 1]),
        (3, [15, 18], [0, 0]),
        (3, [9, 33], [2, 0]),
        (5, [8, 8], [2, 2]),
        (5, [15, 11], [2, 2]),
        (5, [14, 12], [0, 0]),
        (5, [7, 40], [4, 1]),
        // Chunks of 32 and 64 tiles begin and end in the middle of rows of tiles.
        (3, [6, 140], [1, 1]),
        (5, [5, 70], [2, 2]),
    ] {
        cases.extend([false, true].map(|is_falling| square_taps(kernel, source, before, is_falling)));
    }
    cases
}

/// Whether kernels of `isa` go through tiles where there is enough work.
fn has_tiles(isa: Isa) -> bool {
    isa != Isa::Portable && winograd_from_environment().unwrap()
}

/// 3×3 and 5×5 taps with enough channels go through tiles. Sums of 29 · 25 products of values up to 1.
#[test]
fn tiles_equal_the_definition() {
    for taps in square_cases() {
        let [height, width] = taps.source;
        let source: Array3<f32> = seeded_array((29, height, width), 1);
        let wide = source.mapv(f64::from);
        for rows in [13, 30] {
            let weights: Array4<f32> = seeded_array((rows, 29, taps.rows.len(), taps.columns.len()), 2);
            let bias: Vec<f32> = seeded_array::<f32, _>(rows, 3).to_vec();
            let expected = reference(&taps, &weights.mapv(f64::from), wide.view());
            let tap_offsets: Vec<usize> = (0..taps.count()).collect();
            for isa in Isa::available() {
                let plan = Correlation::new(isa, taps.clone(), 29, rows, 1);
                assert_eq!(plan.row_multiple() > 1, has_tiles(isa), "{isa}: {taps:?}");
                let values = weights.as_slice().unwrap();
                let packed =
                    CorrelationWeights::pack(&plan, rows, values, 29 * taps.count(), taps.count(), &tap_offsets);
                let packed = packed.unwrap();
                let before: Array3<f32> = seeded_array(expected.dim(), 5);
                for (start, clamp) in [(0, None), (1, Some([-3.0, 2.0])), (2, None)] {
                    let [mut whole, mut single] = [before.clone(), before.clone()];
                    let mut turned = before.clone().permuted_axes([0, 2, 1]).as_standard_layout().into_owned();
                    let start_at = || match start {
                        0 => Start::Zero,
                        1 => Start::Bias(&bias),
                        _ => Start::Existing,
                    };
                    for row in (0..taps.output[0]).step_by(plan.band_rows()) {
                        let band = row..taps.output[0].min(row + plan.band_rows());
                        let target = whole.slice_mut(s![.., band.clone(), ..]);
                        plan.multiply(&packed, source.view(), row, start_at(), clamp, target).unwrap();
                        let target = turned.slice_mut(s![.., .., band]).permuted_axes([0, 2, 1]);
                        plan.multiply(&packed, source.view(), row, start_at(), clamp, target).unwrap();
                    }
                    // Bands of another height, which do not begin where tiles do.
                    for row in 0..taps.output[0] {
                        let target = single.slice_mut(s![.., row..row + 1, ..]);
                        plan.multiply(&packed, source.view(), row, start_at(), clamp, target).unwrap();
                    }
                    assert_eq!(whole, single, "{isa}: {taps:?}");
                    assert_eq!(whole, turned.permuted_axes([0, 2, 1]), "{isa}: {taps:?}");
                    let expected = Array3::from_shape_fn(expected.dim(), |(m, i, j)| {
                        let start = [0.0, bias[m], before[[m, i, j]]][start];
                        let value = expected[[m, i, j]] + f64::from(start);
                        clamp.map_or(value, |[low, high]| value.clamp(f64::from(low), f64::from(high)))
                    });
                    assert_all_close(&whole.mapv(f64::from), &expected, 0.0, 1e-4);
                }
            }
        }
    }
}

/// Images with few tiles, in an order of axes of their own, some at a time.
#[test]
fn images_of_a_stack_equal_the_definition_and_themselves() {
    for (kernel, size) in [(3, [7, 7]), (3, [4, 9]), (3, [16, 16]), (5, [4, 4]), (5, [7, 3]), (2, [5, 5])] {
        let taps = square_taps(kernel, size, [kernel as isize / 2; 2], false);
        let [height, width] = taps.output;
        let images: Array4<f32> = seeded_array((11, size[0], size[1], 29), 1);
        let images = images.permuted_axes([0, 3, 1, 2]);
        let weights: Array4<f32> = seeded_array((30, 29, kernel, kernel), 2);
        let bias: Vec<f32> = seeded_array::<f32, _>(30, 3).to_vec();
        let tap_offsets: Vec<usize> = (0..taps.count()).collect();
        for isa in Isa::available() {
            let plan = Correlation::stacked(isa, taps.clone(), 29, 30, 11);
            let has_tiles = has_tiles(isa) && kernel > 2;
            assert_eq!(plan.images_together() > 1, has_tiles, "{isa}: {taps:?}");
            let values = weights.as_slice().unwrap();
            let packed = CorrelationWeights::pack(&plan, 30, values, 29 * taps.count(), taps.count(), &tap_offsets);
            let packed = packed.unwrap();
            let run = |together: usize| {
                let mut outputs =
                    Array4::<f32>::from_elem((11, height, 30, width), f32::NAN).permuted_axes([0, 2, 1, 3]);
                let mut pairs: Vec<_> = images.outer_iter().zip(outputs.outer_iter_mut()).collect();
                for pairs in pairs.chunks_mut(together) {
                    plan.multiply_images(&packed, pairs, Start::Bias(&bias), Some([-3.0, 2.0])).unwrap();
                }
                outputs
            };
            let all = run(11);
            assert_eq!(all, run(1), "{isa}: {taps:?}");
            assert_eq!(all, run(4), "{isa}: {taps:?}");
            for (image, output) in images.outer_iter().zip(all.outer_iter()) {
                let expected = reference(&taps, &weights.mapv(f64::from), image.mapv(f64::from).view());
                let expected = Array3::from_shape_fn(expected.dim(), |(m, i, j)| {
                    (expected[[m, i, j]] + f64::from(bias[m])).clamp(-3.0, 2.0)
                });
                assert_all_close(&output.mapv(f64::from), &expected, 0.0, 1e-4);
            }
            let mut short = Array3::zeros((30, height - 1, width));
            let mut pairs = [(images.index_axis(ndarray::Axis(0), 0), short.view_mut())];
            let found = plan.multiply_images(&packed, &mut pairs, Start::Zero, None).unwrap_err().to_string();
            assert_eq!(found, format!("Correlation: output height: expected size {height}, found {}", height - 1));
            plan.multiply_images(&packed, &mut [], Start::Zero, None).unwrap();
        }
    }
}

/// The bound that the documentation states.
#[test]
fn errors_of_tiles_are_small_beside_the_outputs() {
    for kernel in [3, 5] {
        let before = [kernel as isize / 2; 2];
        let taps = square_taps(kernel, [40, 40], before, false);
        let source: Array3<f32> = seeded_array((29, 40, 40), 1);
        let weights: Array4<f32> = seeded_array((16, 29, kernel, kernel), 2);
        let expected = reference(&taps, &weights.mapv(f64::from), source.mapv(f64::from).view());
        let tap_offsets: Vec<usize> = (0..taps.count()).collect();
        for isa in Isa::available() {
            let plan = Correlation::new(isa, taps.clone(), 29, 16, 1);
            let values = weights.as_slice().unwrap();
            let packed = CorrelationWeights::pack(&plan, 16, values, 29 * taps.count(), taps.count(), &tap_offsets);
            let packed = packed.unwrap();
            let mut output = Array3::zeros(expected.dim());
            for row in (0..40).step_by(plan.band_rows()) {
                let band = row..40.min(row + plan.band_rows());
                let target = output.slice_mut(s![.., band, ..]);
                plan.multiply(&packed, source.view(), row, Start::Zero, None, target).unwrap();
            }
            let error = (output.mapv(f64::from) - &expected).iter().fold(0.0_f64, |worst, e| worst.max(e.abs()));
            let relative = error / expected.std(0.0);
            println!("{isa}, {kernel}x{kernel}: {relative:.1e}");
            assert!(relative < 1e-5, "{isa}, {kernel}x{kernel}: {relative}");
        }
    }
}

#[test]
fn transposed_products_of_tiles_equal_the_definition() {
    for taps in square_cases() {
        let [height, width] = taps.source;
        let kernel = taps.rows.len();
        let source: Array3<f32> = seeded_array((13, height, width), 1);
        for rows in [80, 93] {
            let gradient: Array3<f32> = seeded_array((rows, taps.output[0], taps.output[1]), 4);
            let expected = Array4::from_shape_fn((rows, 13, kernel, kernel), |(m, k, a, b)| {
                let plane = gradient.index_axis(ndarray::Axis(0), m);
                let terms = plane.indexed_iter().map(|((i, j), &g)| {
                    let (y, x) = (i as isize + taps.rows[a], j as isize + taps.columns[b]);
                    let inside = y >= 0 && x >= 0 && y < height as isize && x < width as isize;
                    if inside { f64::from(g) * f64::from(source[[k, y as usize, x as usize]]) } else { 0.0 }
                });
                2.0 * terms.sum::<f64>() + 1.0
            });
            for isa in Isa::available() {
                let is_tiled = Correlation::<f32>::transposed_is_tiled(isa, &taps, 14, rows);
                assert_eq!(is_tiled, has_tiles(isa), "{isa}: {taps:?}");
                // Room for a fourteenth channel, which the source lacks.
                let plan = Correlation::transposed(isa, taps.clone(), 14, rows);
                let mut sums = vec![0.0; plan.sums_len(rows)];
                plan.multiply_transposed(source.view(), gradient.view(), &mut sums).unwrap();
                plan.multiply_transposed(source.view(), gradient.view(), &mut sums).unwrap();
                let mut actual = Array4::<f32>::ones((rows, 13, kernel, kernel));
                for (row, mut weights) in actual.outer_iter_mut().enumerate() {
                    plan.add_sums(&sums, rows, row, weights.as_slice_mut().unwrap()).unwrap();
                }
                assert_all_close(&actual.mapv(f64::from), &expected, 0.0, 1e-3);
            }
        }
    }
}
