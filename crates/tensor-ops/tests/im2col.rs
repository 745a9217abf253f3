//! Tiles of the column matrix against its definition, and `col2im` as the adjoint of `im2col`.

use ndarray::{Array2, Array3, s};
use proptest::prelude::*;
use tensor_ops::{Padding, TensorError, Window, col2im, col2im_reference, im2col, im2col_reference};

fn windows() -> impl Strategy<Value = (Window, [usize; 3])> {
    let pair = |range: std::ops::RangeInclusive<usize>| [range.clone(), range];
    let padding = (0..4_usize, 0..4_usize, 0..4_usize, 0..4_usize);
    (pair(1..=4), pair(1..=4), pair(1..=3), padding, [1..=3_usize, 1..=9, 1..=9]).prop_filter_map(
        "the kernel is larger than the padded input",
        |(kernel, stride, dilation, (top, bottom, left, right), size)| {
            let window = Window { kernel, stride, dilation, padding: Padding { top, bottom, left, right } };
            window.output_size([size[1], size[2]]).ok().map(|_| (window, size))
        },
    )
}

/// Distinct values, so that every misplaced element shows.
fn image_of(size: [usize; 3]) -> Array3<f64> {
    let [_, height, width] = size;
    Array3::from_shape_fn(size, |(c, y, x)| ((c * height + y) * width + x) as f64 + 1.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn tile_equals_reference((window, size) in windows(), cuts in [0.0..1.0_f64, 0.0..1.0, 0.0..1.0, 0.0..1.0]) {
        let image = image_of(size);
        let reference = im2col_reference(image.view(), &window).unwrap();
        let cut = |at: f64, length: usize| (at * (length + 1) as f64) as usize;
        let [a, b] = [cut(cuts[0], size[0]), cut(cuts[1], size[0])];
        let channels = a.min(b)..a.max(b);
        let [a, b] = [cut(cuts[2], reference.ncols()), cut(cuts[3], reference.ncols())];
        let positions = a.min(b)..a.max(b);
        let taps = window.kernel[0] * window.kernel[1];
        let mut tile = Array2::from_elem((channels.len() * taps, positions.len()), f64::NAN);
        im2col(image.view(), &window, channels.clone(), positions.clone(), tile.as_slice_mut().unwrap()).unwrap();
        prop_assert_eq!(tile, reference.slice(s![channels.start * taps..channels.end * taps, positions]));
    }

    #[test]
    fn strided_views_unroll_alike((window, size) in windows()) {
        let [channels, height, width] = size;
        let wide = image_of([channels, 2 * height, 3 * width]);
        let view = wide.slice(s![..;-1, ..;2, ..;-3]);
        let mut tile = im2col_reference(view, &window).unwrap();
        let reference = tile.clone();
        let positions = tile.ncols();
        tile.fill(f64::NAN);
        im2col(view, &window, 0..channels, 0..positions, tile.as_slice_mut().unwrap()).unwrap();
        prop_assert_eq!(&tile, &reference);

        let mut gradient = Array3::<f64>::zeros((channels, 2 * height, 3 * width));
        let part = gradient.slice_mut(s![..;-1, ..;2, ..;-3]);
        col2im(tile.as_slice().unwrap(), &window, 0..channels, 0..positions, part).unwrap();
        let part = gradient.slice(s![..;-1, ..;2, ..;-3]);
        prop_assert_eq!(part, col2im_reference(reference.view(), &window, size).unwrap());
    }

    /// ⟨im2col(x), y⟩ = ⟨x, col2im(y)⟩, in integers, so exactly.
    #[test]
    fn col2im_is_the_adjoint((window, size) in windows(), seed in 1..1000_usize) {
        let image = image_of(size);
        let columns = im2col_reference(image.view(), &window).unwrap();
        let weights = Array2::from_shape_fn(columns.dim(), |(row, position)| ((row * 31 + position * 7) * seed % 97) as f64);
        let mut sums = Array3::zeros(size);
        let split = columns.ncols() / 2;
        for positions in [0..split, split..columns.ncols()] {
            let tile = weights.slice(s![.., positions.clone()]).as_standard_layout().into_owned();
            col2im(tile.as_slice().unwrap(), &window, 0..size[0], positions, sums.view_mut()).unwrap();
        }
        prop_assert_eq!((&columns * &weights).sum(), (&image * &sums).sum());
        prop_assert_eq!(sums, col2im_reference(weights.view(), &window, size).unwrap());
    }
}

#[test]
fn wrong_tiles_are_errors() {
    let image = image_of([2, 4, 4]);
    let window = Window::new([3, 3]);
    let mut columns = vec![0.0; 2 * 9 * 4];
    let mut unroll = |channels, positions, window: &Window, length: usize| {
        im2col(image.view(), window, channels, positions, &mut columns[..length]).unwrap_err().to_string()
    };
    assert_eq!(unroll(0..3, 0..4, &window, 72), "im2col: channel of item 0: expected less than 2, found 3");
    assert_eq!(unroll(0..2, 0..5, &window, 72), "im2col: output position of item 0: expected less than 4, found 5");
    assert_eq!(unroll(0..2, 0..4, &window, 71), "im2col: columns: expected size 72, found 71");
    let large = Window::new([5, 1]);
    assert_eq!(
        unroll(0..2, 0..4, &large, 72),
        "im2col: option `kernel height` must be at most the padded input, dilation included, found 5 for a padded input of 4"
    );
    let error = col2im_reference(Array2::<f32>::zeros((18, 3)).view(), &window, [2, 4, 4]).unwrap_err();
    let expected =
        TensorError::AxisSize { operation: "col2im", axis: "positions of the columns", expected: 4, found: 3 };
    assert_eq!(error, expected);
}
