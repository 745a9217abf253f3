//! Memory that starts at a cache line, so that no vector of a panel crosses one.

use crate::Element;

/// One cache line of plain bits.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// A fixed number of elements that start at a cache line; zero at first.
#[derive(Clone, Debug)]
pub(crate) struct AlignedBuffer<T> {
    lines: Vec<Line>,
    length: usize,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> AlignedBuffer<T> {
    pub(crate) fn zeros(length: usize) -> Self {
        let lines = (length * size_of::<T>()).div_ceil(size_of::<Line>());
        Self { lines: vec![Line([0; 8]); lines], length, element: std::marker::PhantomData }
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        // SAFETY: the lines hold at least `length` elements, are aligned for them, and every bit pattern is a value of
        // the sealed element types f32 and f64.
        #[expect(unsafe_code, reason = "elements viewed in aligned lines")]
        unsafe {
            std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length)
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as above; the borrow is unique.
        #[expect(unsafe_code, reason = "elements viewed in aligned lines")]
        unsafe {
            std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length)
        }
    }
}
