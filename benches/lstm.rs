//! LSTM, inference, training and streaming, over the shapes of `peers/pytorch.py`.

use std::hint::black_box;

use benches::criterion;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lstm::{Lstm, LstmConfig};
use ndarray::{Array2, Array3};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::Parameters;
use tensor_ops::testing::seeded_array;

/// Name, then batch, time, features, hidden units, layers.
const SHAPES: [(&str, [usize; 5]); 4] = [
    ("snippets-b8", [8, 30, 1024, 512, 5]),
    ("snippets-b1", [1, 30, 1024, 512, 5]),
    ("wide", [32, 120, 1024, 512, 2]),
    ("small", [16, 24, 128, 96, 1]),
];

fn layer(features: usize, hidden: usize, layers: usize) -> Lstm<f32> {
    let config = LstmConfig { layers, ..LstmConfig::new(features, hidden) };
    Lstm::new(config, &mut StdRng::seed_from_u64(1)).expect("a valid configuration")
}

/// Operations of one step of one sequence: a multiplication and an addition for each weight.
fn operations(lstm: &Lstm<f32>) -> usize {
    lstm.named().iter().filter(|(name, _)| name.starts_with("weight")).map(|(_, weight)| 2 * weight.len()).sum()
}

fn sequences(criterion: &mut Criterion) {
    for (name, [batch, time, features, hidden, layers]) in SHAPES {
        let lstm = layer(features, hidden, layers);
        let input: Array3<f32> = seeded_array((batch, time, features), 2);
        let grad_output: Array3<f32> = seeded_array((batch, time, hidden), 3);
        let operations = (batch * time * operations(&lstm)) as u64;
        let mut group = criterion.benchmark_group("lstm/forward");
        group.throughput(Throughput::Elements(operations));
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(lstm.forward(input.view(), None, None).expect("a fitting input")));
        });
        group.finish();
        let mut group = criterion.benchmark_group("lstm/training");
        group.throughput(Throughput::Elements(3 * operations));
        let mut generator = StdRng::seed_from_u64(4);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (output, _, trace) =
                    lstm.forward_training(input.view(), None, None, &mut generator).expect("a fitting input");
                black_box(output);
                black_box(lstm.backward(&trace, grad_output.view(), None).expect("a fitting gradient"));
            });
        });
        group.finish();
    }
}

fn streams(criterion: &mut Criterion) {
    let lstm = layer(1024, 512, 1);
    let mut stream = lstm.stream(1, None).expect("a direction that streams");
    let input: Array2<f32> = seeded_array((1, 1024), 2);
    let mut group = criterion.benchmark_group("lstm/step");
    group.throughput(Throughput::Elements(operations(&lstm) as u64));
    group.bench_function("1024-512", |bencher| {
        bencher.iter(|| {
            black_box(stream.step(input.view()).expect("a fitting input"));
        });
    });
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = sequences, streams }
criterion_main!(benches);
