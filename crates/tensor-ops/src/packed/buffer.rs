//! Memory that starts at a cache line, so that no vector of a panel crosses one.

#![expect(unsafe_code, reason = "what is written at once is not filled with zeros before")]

use std::mem::{ManuallyDrop, MaybeUninit};

use crate::Element;
use crate::simd::LINE_BYTES;

/// A fixed number of elements that start at a cache line.
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

    /// The elements that `write` writes.
    ///
    /// # Safety
    /// `write` must initialise every element.
    pub(crate) unsafe fn written(length: usize, write: impl FnOnce(&mut [MaybeUninit<T>])) -> Self {
        let mut values: Vec<MaybeUninit<T>> = Vec::with_capacity(length + LINE_BYTES / size_of::<T>() - 1);
        values.resize_with(values.capacity(), MaybeUninit::uninit);
        let start = first_of_a_line(&values);
        write(&mut values[start..][..length]);
        // Those around the line's start and its end.
        values[..start].fill(MaybeUninit::new(T::zero()));
        values[start + length..].fill(MaybeUninit::new(T::zero()));
        let mut values = ManuallyDrop::new(values);
        // SAFETY: the parts are those of a vector that is not dropped, and all its elements are initialised: the caller grants
        // those in the middle. `MaybeUninit<T>` has the layout of T.
        let values = unsafe { Vec::from_raw_parts(values.as_mut_ptr().cast(), values.len(), values.capacity()) };
        Self { values, start, length }
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

/// The same elements, to be written without being read.
pub(crate) fn for_writing<T: Copy>(values: &mut [T]) -> &mut [MaybeUninit<T>] {
    let (pointer, length) = (values.as_mut_ptr().cast(), values.len());
    // SAFETY: the layout is the same, the borrow unique. Who writes to it in this crate writes values of T.
    unsafe { std::slice::from_raw_parts_mut(pointer, length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_and_their_copies_start_at_a_line() {
        for length in [0, 1, 15, 16, 1000] {
            let mut zeros = AlignedBuffer::<f32>::zeros(length);
            zeros.as_mut_slice().iter_mut().enumerate().for_each(|(index, value)| *value = index as f32);
            // SAFETY: every element is written.
            let buffer = unsafe {
                AlignedBuffer::<f32>::written(length, |values| {
                    for (index, value) in values.iter_mut().enumerate() {
                        value.write(index as f32);
                    }
                })
            };
            // Moves the copy's memory to another place within a line, if anything does.
            let between = vec![0_u8; 24];
            let copy = buffer.clone();
            drop(between);
            for buffer in [&zeros, &buffer, &copy] {
                assert!((buffer.as_slice().as_ptr() as usize).is_multiple_of(LINE_BYTES), "{length}");
                assert!(buffer.as_slice().iter().enumerate().all(|(index, &value)| value == index as f32));
            }
            assert_eq!(copy.as_slice().len(), length);
        }
    }
}
