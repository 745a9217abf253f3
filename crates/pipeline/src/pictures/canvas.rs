//! A picture of at most 256 colours, and what is drawn on it.

use std::convert::Infallible;

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::{MonoTextStyle, ascii::FONT_6X10};
use embedded_graphics::pixelcolor::{PixelColor, raw::RawU8};
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyle, TextStyleBuilder};
use embedded_graphics::{Drawable, Pixel};
use ndarray::{Array2, ArrayView2, s};

use super::PictureError;
use super::colours::{ColourScale, INK, PAPER};

/// The width of a letter in pixels.
pub(super) const LETTER_WIDTH: usize = 6;
/// The height of a line of text in pixels, with the space below it.
pub(super) const LINE_HEIGHT: usize = 12;
/// The largest height and width of a picture: 16384 pixels.
const MAX_SIZE: usize = 1 << 14;

/// Positions in a palette, `[height, width]`.
#[derive(Clone, Debug)]
pub(super) struct Canvas {
    pub(super) pixels: Array2<u8>,
}

impl Canvas {
    /// An empty picture.
    pub(super) fn new(height: usize, width: usize) -> Result<Self, PictureError> {
        if height > MAX_SIZE || width > MAX_SIZE {
            return Err(PictureError::TooLarge { width, height, limit: MAX_SIZE });
        }
        Ok(Self { pixels: Array2::from_elem((height, width), PAPER) })
    }

    /// Draws `frame`, each of its pixels as a square of `magnification` pixels, with its first pixel at `row`, `column`.
    pub(super) fn frame(&mut self, frame: ArrayView2<'_, f32>, row: usize, column: usize, magnification: usize) {
        for ((y, x), &value) in frame.indexed_iter() {
            let (top, left) = (row + y * magnification, column + x * magnification);
            let square = s![top..top + magnification, left..left + magnification];
            self.pixels.slice_mut(square).fill(ColourScale::index(value));
        }
    }

    /// Writes `text` below `row`, from `column` on; what does not fit is left out.
    pub(super) fn text(&mut self, text: &str, row: usize, column: usize) {
        self.write(text, row, column, TextStyle::with_baseline(Baseline::Top));
    }

    /// Writes `text` below `row`, its middle at `column`; what does not fit is left out.
    pub(super) fn centred_text(&mut self, text: &str, row: usize, column: usize) {
        let style = TextStyleBuilder::new().baseline(Baseline::Top).alignment(Alignment::Center).build();
        self.write(text, row, column, style);
    }

    fn write(&mut self, text: &str, row: usize, column: usize, style: TextStyle) {
        // No canvas is larger than `MAX_SIZE`, and text beyond it is not drawn in any case.
        let place = |position: usize| position.min(2 * MAX_SIZE) as i32;
        let position = Point::new(place(column), place(row));
        let letters = MonoTextStyle::new(&FONT_6X10, Ink);
        match Text::with_text_style(text, position, letters, style).draw(self) {
            Ok(_) => {}
            Err(never) => match never {},
        }
    }
}

/// The one colour of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ink;

impl PixelColor for Ink {
    type Raw = RawU8;
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        let (height, width) = self.pixels.dim();
        Size::new(width as u32, height as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = Ink;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Ink>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(place, Ink) in pixels {
            let (Ok(row), Ok(column)) = (usize::try_from(place.y), usize::try_from(place.x)) else { continue };
            if let Some(pixel) = self.pixels.get_mut([row, column]) {
                *pixel = INK;
            }
        }
        Ok(())
    }
}
