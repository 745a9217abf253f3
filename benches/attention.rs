//! Attention, inference, training and streaming, over the shapes of `peers/attention.py`.

use std::hint::black_box;

use attention::{
    AttentionMask, MultiHeadAttention, MultiHeadAttentionConfig, Score, SpatialAttention, SpatialAttentionConfig,
    TemporalAttention, TemporalAttentionConfig,
};
use benches::criterion;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array2, Array3, Array4, Array5};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::testing::seeded_array;

/// Features, hidden units and hidden features of the score.
const FEATURES: usize = 1024;
const HIDDEN: usize = 512;
const ATTENTION: usize = 512;

fn generator() -> StdRng {
    StdRng::seed_from_u64(1)
}

/// Measures a forward pass of `operations` and one with its backward pass.
fn measure(
    criterion: &mut Criterion,
    name: &str,
    operations: usize,
    mut forward: impl FnMut(),
    mut training: impl FnMut(),
) {
    let mut group = criterion.benchmark_group("attention/forward");
    group.throughput(Throughput::Elements(operations as u64));
    group.bench_function(name, |bencher| bencher.iter(&mut forward));
    group.finish();
    let mut group = criterion.benchmark_group("attention/training");
    group.throughput(Throughput::Elements(3 * operations as u64));
    group.bench_function(name, |bencher| bencher.iter(&mut training));
    group.finish();
}

/// Operations of the LSTM on a context for one step of one sequence.
fn cell_operations() -> usize {
    2 * 4 * HIDDEN * (FEATURES + HIDDEN)
}

fn spatial(criterion: &mut Criterion) {
    let (batch, time, size) = (32, 30, 7);
    let regions = size * size;
    for (name, score) in [("spatial", Score::Additive), ("spatial-location", Score::Location)] {
        let attention_size = if score == Score::Additive { ATTENTION } else { 0 };
        let config =
            SpatialAttentionConfig { score, attention_size, ..SpatialAttentionConfig::new(size, FEATURES, HIDDEN) };
        let model = SpatialAttention::<f32>::new(config, &mut generator()).expect("a valid configuration");
        let input: Array5<f32> = seeded_array((batch, time, size, size, FEATURES), 2);
        let grad_output: Array3<f32> = seeded_array((batch, time, HIDDEN), 3);
        let scores = match score {
            Score::Additive => 2 * ATTENTION * (HIDDEN + regions * FEATURES + regions),
            _ => 2 * HIDDEN * regions,
        };
        let operations = batch * time * (scores + 2 * regions * FEATURES + cell_operations());
        measure(
            criterion,
            name,
            operations,
            || drop(black_box(model.forward(input.view(), None, None).expect("a fitting input"))),
            || {
                let (output, trace) = model.forward_training(input.view(), None, None).expect("a fitting input");
                black_box(output);
                black_box(model.backward(&trace, grad_output.view(), None, None).expect("a fitting gradient"));
            },
        );
    }
}

fn temporal(criterion: &mut Criterion) {
    let (batch, time, window) = (8, 120, 16);
    let config =
        TemporalAttentionConfig { window: Some(window), ..TemporalAttentionConfig::new(FEATURES, HIDDEN, ATTENTION) };
    let model = TemporalAttention::<f32>::new(config, &mut generator()).expect("a valid configuration");
    let input: Array3<f32> = seeded_array((batch, time, FEATURES), 2);
    let grad_output: Array3<f32> = seeded_array((batch, time, HIDDEN), 3);
    let scores = 2 * ATTENTION * (HIDDEN + FEATURES + window);
    let operations = batch * time * (scores + 2 * window * FEATURES + cell_operations());
    measure(
        criterion,
        "temporal",
        operations,
        || drop(black_box(model.forward(input.view(), None, None).expect("a fitting input"))),
        || {
            let (output, trace) = model.forward_training(input.view(), None, None).expect("a fitting input");
            black_box(output);
            black_box(model.backward(&trace, grad_output.view(), None, None).expect("a fitting gradient"));
        },
    );
}

fn multi_head(criterion: &mut Criterion) {
    let (batch, time, size, heads) = (8, 128, 512, 8);
    let config = MultiHeadAttentionConfig::new(size, heads);
    let layer = MultiHeadAttention::<f32>::new(config, &mut generator()).expect("a valid configuration");
    let input: Array3<f32> = seeded_array((batch, time, size), 2);
    let grad_output: Array3<f32> = seeded_array((batch, time, size), 3);
    let operations = batch * time * (2 * 4 * size * size + 4 * time * size);
    let (x, mask) = (input.view(), AttentionMask::default());
    measure(
        criterion,
        "multi-head",
        operations,
        || drop(black_box(layer.forward(x, x, x, &mask).expect("a fitting input"))),
        || {
            let (output, trace) = layer.forward_training(x, x, x, &mask).expect("a fitting input");
            black_box(output);
            black_box(layer.backward(&trace, grad_output.view(), None).expect("a fitting gradient"));
        },
    );
}

fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention/step");
    let config =
        TemporalAttentionConfig { window: Some(16), ..TemporalAttentionConfig::new(FEATURES, HIDDEN, ATTENTION) };
    let model = TemporalAttention::<f32>::new(config, &mut generator()).expect("a valid configuration");
    let mut stream = model.stream(1, None).expect("a window");
    let frame: Array2<f32> = seeded_array((1, FEATURES), 2);
    group.bench_function("temporal", |bencher| {
        bencher.iter(|| {
            black_box(stream.step(frame.view()).expect("a fitting frame"));
        });
    });
    let config = SpatialAttentionConfig {
        score: Score::Additive,
        attention_size: ATTENTION,
        ..SpatialAttentionConfig::new(7, FEATURES, HIDDEN)
    };
    let model = SpatialAttention::<f32>::new(config, &mut generator()).expect("a valid configuration");
    let mut stream = model.stream(1, None).expect("a batch");
    let frame: Array4<f32> = seeded_array((1, 7, 7, FEATURES), 2);
    group.bench_function("spatial", |bencher| {
        bencher.iter(|| {
            black_box(stream.step(frame.view()).expect("a fitting frame"));
        });
    });
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = multi_head, temporal, spatial, streams }
criterion_main!(benches);
