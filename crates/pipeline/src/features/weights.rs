//! Weights from safetensors files, with batch normalisation folded into the convolutions.
//!
//! The arrays have the names of the PyTorch package `efficientnet_lite_pytorch`; each is of type f16 or f32.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use conv2d::Conv2d;
use half::f16;
use ndarray::{Array1, Array2, Array4};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tensor_ops::{BatchNorm, Linear, fold_batch_norm};

use super::FeatureError;
use super::architecture::{CLASSES, ConvolutionPlan, EPSILON, HEAD};

/// Much more than the weights need, in any supported type.
const MAX_BYTES: u64 = 64 << 20;

/// The number of training batches that a normalisation has seen, which inference does not need.
const IGNORED_SUFFIX: &str = ".num_batches_tracked";

/// The arrays of a file.
pub(super) struct WeightReader<'a> {
    file: String,
    tensors: SafeTensors<'a>,
    read: HashSet<String>,
}

/// All bytes of the file `path`, which is read only as far as weights go.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, FeatureError> {
    let unreadable = |source| FeatureError::Io { file: path.display().to_string(), source };
    let found = fs::metadata(path).map_err(unreadable)?.len();
    if found > MAX_BYTES {
        return Err(FeatureError::TooLarge { file: path.display().to_string(), most: MAX_BYTES, found });
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(MAX_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

impl<'a> WeightReader<'a> {
    /// The arrays in `bytes`; `file` names them in errors.
    pub(super) fn new(file: String, bytes: &'a [u8]) -> Result<Self, FeatureError> {
        match SafeTensors::deserialize(bytes) {
            Ok(tensors) => Ok(Self { file, tensors, read: HashSet::new() }),
            Err(source) => Err(FeatureError::Format { file, source }),
        }
    }

    /// The convolution of `plan` with its batch normalisation folded into weight and bias.
    pub(super) fn convolution(&mut self, plan: &ConvolutionPlan) -> Result<Conv2d<f32>, FeatureError> {
        let [name, normalisation] = &plan.names;
        let shape = plan.config.weight_shape()?;
        let values = self.values(format!("{name}.weight"), &shape)?;
        let mut weight = Array4::from_shape_vec(shape, values).expect("as many values as the shape says");
        let channels = plan.config.out_channels;
        let mut vector = |part: &str| self.vector(format!("{normalisation}.{part}"), channels);
        let (gamma, beta) = (vector("weight")?, vector("bias")?);
        let (mean, variance) = (vector("running_mean")?, vector("running_var")?);
        let batch_norm = BatchNorm {
            weight: Some(gamma.view()),
            bias: Some(beta.view()),
            running_mean: mean.view(),
            running_var: variance.view(),
            epsilon: EPSILON,
        };
        let bias = fold_batch_norm(weight.view_mut(), None, &batch_norm).map_err(|source| {
            FeatureError::Normalisation { file: self.file.clone(), name: normalisation.clone(), source }
        })?;
        Ok(Conv2d { config: plan.config.clone(), weight, bias: Some(bias) })
    }

    /// The linear layer that scores the classes.
    pub(super) fn classifier(&mut self) -> Result<Linear<f32>, FeatureError> {
        let values = self.values("_fc.weight".to_owned(), &[CLASSES, HEAD])?;
        let weight = Array2::from_shape_vec((CLASSES, HEAD), values).expect("as many values as the shape says");
        Ok(Linear { weight, bias: Some(self.vector("_fc.bias".to_owned(), CLASSES)?) })
    }

    /// Refuses a file with arrays that nothing has read.
    pub(super) fn finish(self) -> Result<(), FeatureError> {
        let mut names: Vec<&str> = self.tensors.names().into_iter().collect();
        names.sort_unstable();
        let unknown = |name: &&str| !self.read.contains(*name) && !name.ends_with(IGNORED_SUFFIX);
        match names.into_iter().find(unknown).map(str::to_owned) {
            Some(name) => Err(FeatureError::Unexpected { file: self.file, name }),
            None => Ok(()),
        }
    }

    fn vector(&mut self, name: String, len: usize) -> Result<Array1<f32>, FeatureError> {
        Ok(Array1::from(self.values(name, &[len])?))
    }

    /// The values of the array `name`, row by row.
    fn values(&mut self, name: String, shape: &[usize]) -> Result<Vec<f32>, FeatureError> {
        let file = || self.file.clone();
        let Ok(tensor) = self.tensors.tensor(&name) else {
            return Err(FeatureError::Missing { file: file(), name });
        };
        if tensor.shape() != shape {
            let (expected, found) = (shape.to_vec(), tensor.shape().to_vec());
            return Err(FeatureError::Shape { file: file(), name, expected, found });
        }
        let values = match decode(&tensor) {
            Ok(values) => values,
            Err(found) => return Err(FeatureError::ElementType { file: file(), name, found }),
        };
        if let Some(position) = values.iter().position(|value| !value.is_finite()) {
            return Err(FeatureError::NotFinite { file: file(), name, position, found: values[position] });
        }
        self.read.insert(name);
        Ok(values)
    }
}

/// The values of an array of f16 or f32, or the type that it has instead.
fn decode(tensor: &TensorView<'_>) -> Result<Vec<f32>, Dtype> {
    let data = tensor.data();
    match tensor.dtype() {
        Dtype::F16 => Ok(data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()),
        Dtype::F32 => Ok(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        found => Err(found),
    }
}
