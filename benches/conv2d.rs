//! 2-D convolution, inference and training, over the shapes of `peers/pytorch.py`.

use std::hint::black_box;

use benches::criterion;
use conv2d::{Conv2d, Conv2dConfig};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array4, ArrayView4};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::Padding;
use tensor_ops::testing::seeded_array;

struct Shape {
    name: &'static str,
    batch: usize,
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
    size: usize,
}

const SHAPES: [Shape; 6] = [
    Shape { name: "3x3-56", batch: 8, channels: [64, 192], kernel: 3, stride: 1, groups: 1, size: 56 },
    Shape { name: "7x7-224", batch: 8, channels: [3, 64], kernel: 7, stride: 2, groups: 1, size: 224 },
    Shape { name: "1x1-28", batch: 8, channels: [192, 64], kernel: 1, stride: 1, groups: 1, size: 28 },
    Shape { name: "3x3-28", batch: 8, channels: [256, 256], kernel: 3, stride: 1, groups: 1, size: 28 },
    Shape { name: "depthwise-112", batch: 8, channels: [32, 32], kernel: 3, stride: 1, groups: 32, size: 112 },
    Shape { name: "thermal-16", batch: 512, channels: [16, 32], kernel: 3, stride: 1, groups: 1, size: 16 },
];

impl Shape {
    fn layer(&self) -> Conv2d<f32> {
        let config = Conv2dConfig {
            in_channels: self.channels[0],
            out_channels: self.channels[1],
            kernel: [self.kernel; 2],
            stride: [self.stride; 2],
            padding: Padding::symmetric(self.kernel / 2, self.kernel / 2),
            groups: self.groups,
            ..Conv2dConfig::default()
        };
        Conv2d::new(config, &mut StdRng::seed_from_u64(1)).expect("a valid configuration")
    }

    fn input(&self) -> Array4<f32> {
        seeded_array((self.batch, self.channels[0], self.size, self.size), 2)
    }
}

fn training_step(layer: &Conv2d<f32>, input: ArrayView4<'_, f32>, grad_output: ArrayView4<'_, f32>) {
    let (output, trace) = layer.forward_training(input).expect("a fitting input");
    black_box(output);
    black_box(layer.backward(&trace, grad_output).expect("a fitting gradient"));
}

fn convolutions(criterion: &mut Criterion) {
    for shape in &SHAPES {
        let (layer, input) = (shape.layer(), shape.input());
        let output = layer.forward(input.view()).expect("a fitting input");
        let operations = layer.config.operations(shape.batch, [shape.size; 2]).expect("a fitting input");
        let mut group = criterion.benchmark_group("conv2d/forward");
        group.throughput(Throughput::Elements(operations));
        group.bench_function(shape.name, |bencher| {
            bencher.iter(|| black_box(layer.forward(input.view()).expect("a fitting input")));
        });
        group.finish();
        let mut group = criterion.benchmark_group("conv2d/training");
        group.throughput(Throughput::Elements(3 * operations));
        group.bench_function(shape.name, |bencher| {
            bencher.iter(|| training_step(&layer, input.view(), output.view()));
        });
        group.finish();
    }
}

criterion_group! { name = benches; config = criterion(); targets = convolutions }
criterion_main!(benches);
