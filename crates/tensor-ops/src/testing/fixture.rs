//! Reference arrays from `.safetensors` files.

use std::path::Path;

use ndarray::ArrayD;
use safetensors::{Dtype, SafeTensors};

use crate::Element;

/// The arrays and the metadata of one `.safetensors` file.
#[derive(Debug)]
pub struct Fixture {
    path: String,
    bytes: Vec<u8>,
}

/// Reads the fixture at `path`; in a test: `load_fixture(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/x.safetensors"))`.
///
/// # Panics
/// If the file cannot be read.
#[track_caller]
pub fn load_fixture(path: impl AsRef<Path>) -> Fixture {
    let path = path.as_ref();
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("fixture {}: {error}", path.display()));
    Fixture { path: path.display().to_string(), bytes }
}

impl Fixture {
    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap_or_else(|error| panic!("fixture {}: {error}", self.path))
    }

    /// The names of all arrays, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.tensors().names().into_iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    /// Whether the file has an array `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors().tensor(name).is_ok()
    }

    /// The array `name`, stored as f32, f64 or i64, converted to `T`.
    ///
    /// # Panics
    /// If there is no such array or it has another element type.
    #[track_caller]
    pub fn array<T: Element>(&self, name: &str) -> ArrayD<T> {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap_or_else(|error| panic!("{}: `{name}`: {error}", self.path));
        let data = tensor.data();
        let values: Vec<T> = match tensor.dtype() {
            Dtype::F32 => chunks(data).map(|bytes| T::from_f64(f64::from(f32::from_le_bytes(bytes)))).collect(),
            Dtype::F64 => chunks(data).map(|bytes| T::from_f64(f64::from_le_bytes(bytes))).collect(),
            Dtype::I64 => chunks(data).map(|bytes| T::from_f64(i64::from_le_bytes(bytes) as f64)).collect(),
            other => panic!("{}: `{name}`: element type {other:?} is not supported", self.path),
        };
        ArrayD::from_shape_vec(tensor.shape(), values).expect("a shape of as many elements")
    }

    /// The array `name` of non-negative integers (stored as i64), flattened: class indices, lengths.
    ///
    /// # Panics
    /// If there is no such array or a value is not such an integer.
    #[track_caller]
    pub fn indices(&self, name: &str) -> Vec<usize> {
        self.array::<f64>(name)
            .iter()
            .map(|&value| {
                assert!(value >= 0.0 && value.fract() == 0.0, "{}: `{name}`: {value} is no index", self.path);
                value as usize
            })
            .collect()
    }

    /// The metadata entry `key`, if the file has one.
    pub fn metadata(&self, key: &str) -> Option<String> {
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes).ok()?;
        metadata.metadata().as_ref()?.get(key).cloned()
    }
}

fn chunks<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    data.chunks_exact(N).map(|chunk| chunk.try_into().expect("chunks of N bytes"))
}
