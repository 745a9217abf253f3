//! Memory that starts at a cache line, so that no vector of a panel crosses one.

use crate::Element;
use crate::simd::LINE_BYTES;

/// A fixed number of elements that start at a cache line; zero at first.
#[derive(Debug)]
pub(crate) struct AlignedBuffer<T> {
    /// The elements, after up to a line of others.
    values: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Element> AlignedBuffer<T> {
    /// Zeros that take memory only once they are written.
    pub(crate) fn zeros(length: usize) -> Self {
        let values = vec![T::zero(); length + LINE_BYTES / size_of::<T>() - 1];
        Self { start: first_of_a_line(&values), values, length }
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        &self.values[self.start..][..self.length]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.values[self.start..][..self.length]
    }
}

impl<T: Clone> Clone for AlignedBuffer<T> {
    /// The copy starts at a line too.
    fn clone(&self) -> Self {
        let mut values = self.values.clone();
        let start = first_of_a_line(&values);
        if start >= self.start {
            values.rotate_right(start - self.start);
        } else {
            values.rotate_left(self.start - start);
        }
        Self { values, start, length: self.length }
    }
}

/// The first element that starts a line, among as many as a line has.
fn first_of_a_line<T>(values: &[T]) -> usize {
    values.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES / size_of::<T>() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_and_their_copies_start_at_a_line() {
        for length in [0, 1, 15, 16, 1000] {
            let mut buffer = AlignedBuffer::<f32>::zeros(length);
            buffer.as_mut_slice().iter_mut().enumerate().for_each(|(index, value)| *value = index as f32);
            // Moves the copy's memory to another place within a line, if anything does.
            let between = vec![0_u8; 24];
            let copy = buffer.clone();
            drop(between);
            for buffer in [&buffer, &copy] {
                assert!((buffer.as_slice().as_ptr() as usize).is_multiple_of(LINE_BYTES), "{length}");
                assert!(buffer.as_slice().iter().enumerate().all(|(index, &value)| value == index as f32));
            }
            assert_eq!(copy.as_slice().len(), length);
        }
    }
}
