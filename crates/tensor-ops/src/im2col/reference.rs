//! The definition of the column matrix, element by element.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3};

use crate::{Element, TensorError, Window, check_axis};

/// The whole column matrix of `image`, written as its definition reads: what the tiles are tested against.
///
/// # Errors
/// [`TensorError`] if the window does not fit the image.
pub fn im2col_reference<T: Element>(image: ArrayView3<'_, T>, window: &Window) -> Result<Array2<T>, TensorError> {
    let (channels, height, width) = image.dim();
    let [output_height, output_width] = window.output_size_of("im2col", [height, width])?;
    let [kernel_height, kernel_width] = window.kernel;
    let shape = (channels * kernel_height * kernel_width, output_height * output_width);
    Ok(Array2::from_shape_fn(shape, |(row, position)| {
        let (channel, k_y, k_x) = split(row, kernel_height, kernel_width);
        let (_, i, j) = split(position, output_height, output_width);
        let pixel = pixel(window, [height, width], [i, j], [k_y, k_x]);
        pixel.map_or(T::zero(), |[y, x]| image[[channel, y, x]])
    }))
}

/// The sum of all columns at the pixels they stand for, for an image of `size` = `[channels, height, width]`.
///
/// # Errors
/// [`TensorError`] if the window does not fit the image or `columns` has another shape.
pub fn col2im_reference<T: Element>(
    columns: ArrayView2<'_, T>,
    window: &Window,
    size: [usize; 3],
) -> Result<Array3<T>, TensorError> {
    let [channels, height, width] = size;
    let [output_height, output_width] = window.output_size_of("col2im", [height, width])?;
    let [kernel_height, kernel_width] = window.kernel;
    check_axis("col2im", "rows of the columns", channels * kernel_height * kernel_width, columns.nrows())?;
    check_axis("col2im", "positions of the columns", output_height * output_width, columns.ncols())?;
    let mut image = Array3::zeros(size);
    for ((row, position), &value) in columns.indexed_iter() {
        let (channel, k_y, k_x) = split(row, kernel_height, kernel_width);
        let (_, i, j) = split(position, output_height, output_width);
        if let Some([y, x]) = pixel(window, [height, width], [i, j], [k_y, k_x]) {
            image[[channel, y, x]] += value;
        }
    }
    Ok(image)
}

/// The coordinates of a position in row-major order of `[_, rows, columns]`.
fn split(index: usize, rows: usize, columns: usize) -> (usize, usize, usize) {
    (index / (rows * columns), index / columns % rows, index % columns)
}

/// The pixel that a kernel position sees from an output position; `None` in the padding.
fn pixel(window: &Window, size: [usize; 2], output: [usize; 2], kernel: [usize; 2]) -> Option<[usize; 2]> {
    let before = [window.padding.top, window.padding.left];
    let mut pixel = [0; 2];
    for axis in 0..2 {
        let padded = output[axis] * window.stride[axis] + kernel[axis] * window.dilation[axis];
        pixel[axis] = padded.checked_sub(before[axis]).filter(|&position| position < size[axis])?;
    }
    Some(pixel)
}
