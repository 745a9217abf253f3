//! ConvLSTM, inference, training and streams, over the shapes of `peers/convlstm.py`.

use std::hint::black_box;

use benches::criterion;
use convlstm::{ConvLstm, ConvLstmConfig};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array5, ArrayView5, Axis};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::testing::seeded_array;

struct Shape {
    name: &'static str,
    batch: usize,
    time: usize,
    channels: [usize; 2],
    kernel: usize,
    size: usize,
}

const SHAPES: [Shape; 4] = [
    Shape { name: "moving-mnist", batch: 8, time: 10, channels: [16, 64], kernel: 5, size: 16 },
    Shape { name: "frame-64", batch: 4, time: 10, channels: [1, 64], kernel: 3, size: 64 },
    Shape { name: "deep-64", batch: 1, time: 10, channels: [64, 64], kernel: 3, size: 64 },
    Shape { name: "edge", batch: 1, time: 10, channels: [1, 16], kernel: 3, size: 64 },
];

impl Shape {
    fn layer(&self) -> ConvLstm<f32> {
        let config = ConvLstmConfig::new(self.channels[0], self.channels[1], self.kernel);
        ConvLstm::new(config, &mut StdRng::seed_from_u64(1)).expect("a valid configuration")
    }

    fn clips(&self) -> Array5<f32> {
        seeded_array((self.batch, self.time, self.channels[0], self.size, self.size), 2)
    }

    fn operations(&self) -> u64 {
        let config = ConvLstmConfig::new(self.channels[0], self.channels[1], self.kernel);
        let products = config.multiply_adds([self.size; 2]).expect("a valid configuration");
        2 * products * (self.batch * self.time) as u64
    }
}

fn training_step(layer: &ConvLstm<f32>, clips: ArrayView5<'_, f32>, grad_output: ArrayView5<'_, f32>) {
    let (output, _, trace) = layer.forward_training(clips, None, None).expect("fitting clips");
    black_box(output);
    black_box(layer.backward(&trace, grad_output, None).expect("a fitting gradient"));
}

fn layers(criterion: &mut Criterion) {
    for shape in &SHAPES {
        let (layer, clips) = (shape.layer(), shape.clips());
        let (output, _) = layer.forward(clips.view(), None, None).expect("fitting clips");
        let mut group = criterion.benchmark_group("convlstm/forward");
        group.throughput(Throughput::Elements(shape.operations()));
        group.bench_function(shape.name, |bencher| {
            bencher.iter(|| black_box(layer.forward(clips.view(), None, None).expect("fitting clips")));
        });
        group.finish();
        let mut group = criterion.benchmark_group("convlstm/training");
        group.throughput(Throughput::Elements(3 * shape.operations()));
        group.bench_function(shape.name, |bencher| {
            bencher.iter(|| training_step(&layer, clips.view(), output.view()));
        });
        group.finish();
    }
}

fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("convlstm/step");
    for shape in SHAPES.iter().filter(|shape| shape.batch == 1) {
        let (layer, clips) = (shape.layer(), shape.clips());
        let mut stream = layer.stream(1, [shape.size; 2], None).expect("one direction");
        group.throughput(Throughput::Elements(shape.operations() / shape.time as u64));
        group.bench_function(shape.name, |bencher| {
            bencher.iter(|| black_box(stream.step(clips.index_axis(Axis(1), 0)).expect("a fitting frame")).len());
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = layers, streams }
criterion_main!(benches);
