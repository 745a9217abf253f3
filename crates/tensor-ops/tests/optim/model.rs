//! A model of two layers, with parameters and gradients of the fixture or seeded.

use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, Axis};
use tensor_ops::testing::{Fixture, load_fixture, seeded_array};
use tensor_ops::{Element, Linear, Parameters, visit_part, visit_part_mut};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Model<T> {
    pub(crate) encoder: Linear<T>,
    pub(crate) head: Linear<T>,
}

impl<T: Element> Parameters<T> for Model<T> {
    fn visit<'a>(&'a self, visitor: &mut dyn FnMut(&str, ArrayViewD<'a, T>)) {
        visit_part("encoder", &self.encoder, visitor);
        visit_part("head", &self.head, visitor);
    }

    fn visit_mut<'a>(&'a mut self, visitor: &mut dyn FnMut(&str, ArrayViewMutD<'a, T>)) {
        visit_part_mut("encoder", &mut self.encoder, visitor);
        visit_part_mut("head", &mut self.head, visitor);
    }
}

impl<T: Element> Model<T> {
    pub(crate) fn from_arrays(array: impl Fn(&str) -> ArrayD<T>) -> Self {
        let linear = |part: &str| Linear {
            weight: array(&format!("{part}.weight")).into_dimensionality().unwrap(),
            bias: Some(array(&format!("{part}.bias")).into_dimensionality().unwrap()),
        };
        Self { encoder: linear("encoder"), head: linear("head") }
    }

    pub(crate) fn seeded(encoder: (usize, usize), head: (usize, usize), seed: u64) -> Self {
        let linear = |(outputs, inputs): (usize, usize), seed| Linear {
            weight: seeded_array((outputs, inputs), seed),
            bias: Some(seeded_array(outputs, seed + 1)),
        };
        Self { encoder: linear(encoder, seed), head: linear(head, seed + 2) }
    }
}

pub(crate) fn fixture() -> Fixture {
    load_fixture("tests/fixtures/optim.safetensors")
}

pub(crate) fn initial<T: Element>(fixture: &Fixture) -> Model<T> {
    Model::from_arrays(|name| fixture.array(&format!("initial.{name}")))
}

pub(crate) fn gradients<T: Element>(fixture: &Fixture, step: usize) -> Model<T> {
    Model::from_arrays(|name| fixture.array(&format!("gradients.{name}")).index_axis_move(Axis(0), step))
}
