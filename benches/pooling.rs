//! Pooling over time and its architectures, inference and training, over the shapes of `peers/pooling.py`.

use std::hint::black_box;

use benches::criterion;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array2, Array4, Array5};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use pooling::{FeaturePooling, FeaturePoolingConfig, Reducer, TemporalWindow};
use tensor_ops::Parameters;
use tensor_ops::testing::seeded_array;

const BATCH: usize = 8;
const FRAMES: usize = 120;
const MAPS: [usize; 3] = [1024, 7, 7];
/// Maps that the convolution over time reads.
const NARROW_MAPS: [usize; 3] = [64, 7, 7];
const UNITS: usize = 256;
const CLASSES: usize = 101;

fn clips([channels, height, width]: [usize; 3]) -> Array5<f32> {
    seeded_array((BATCH, FRAMES, channels, height, width), 2)
}

/// The maximum over all frames: a comparison for each value.
fn temporal_max(criterion: &mut Criterion) {
    let clips = clips(MAPS);
    let mut group = criterion.benchmark_group("pooling");
    group.throughput(Throughput::Elements(clips.len() as u64));
    group.bench_function("forward/temporal-max", |bencher| {
        bencher.iter(|| black_box(Reducer::Max.forward(clips.view(), None).expect("fitting clips")));
    });
    let grad_output: Array4<f32> = seeded_array((BATCH, MAPS[0], MAPS[1], MAPS[2]), 3);
    group.bench_function("training/temporal-max", |bencher| {
        bencher.iter(|| {
            let (output, trace) = Reducer::Max.forward_training(clips.view(), None).expect("fitting clips");
            black_box(output);
            black_box(Reducer::backward(&trace, grad_output.view()).expect("a fitting gradient"));
        });
    });
    group.finish();
}

/// The architectures, and the multiplications and additions of a clip.
fn architectures() -> [(&'static str, [usize; 3], FeaturePoolingConfig, u64); 3] {
    let windows = TemporalWindow::PAPER.count(FRAMES);
    let units = || vec![UNITS];
    let slow = FeaturePoolingConfig { shared: units(), hidden: units(), ..FeaturePoolingConfig::slow(MAPS, CLASSES) };
    let local = FeaturePoolingConfig { shared: vec![UNITS; 2], ..FeaturePoolingConfig::local(MAPS, CLASSES, FRAMES) };
    let time_domain =
        FeaturePoolingConfig { hidden: units(), ..FeaturePoolingConfig::time_domain(NARROW_MAPS, CLASSES) };
    [("slow", MAPS, slow), ("local", MAPS, local), ("time-domain", NARROW_MAPS, time_domain)].map(
        |(name, maps, config)| {
            let model = FeaturePooling::<f32>::zeros(config.clone()).expect("a valid configuration");
            let operations =
                model.named().into_iter().filter(|(name, _)| name.ends_with("weight")).map(|(name, weight)| {
                    let times = match name.split('.').next() {
                        Some("convolution") => windows * maps[1] * maps[2],
                        Some("shared") => windows,
                        _ => 1,
                    };
                    2 * (times * weight.len()) as u64
                });
            let operations = operations.sum();
            (name, maps, config, operations)
        },
    )
}

fn models(criterion: &mut Criterion) {
    for (name, maps, config, operations) in architectures() {
        let mut generator = StdRng::seed_from_u64(1);
        let model = FeaturePooling::<f32>::new(config, &mut generator).expect("a valid configuration");
        let clips = clips(maps);
        let grad_scores: Array2<f32> = seeded_array((BATCH, CLASSES), 3);
        let mut group = criterion.benchmark_group("pooling");
        group.throughput(Throughput::Elements(BATCH as u64 * operations));
        group.bench_function(BenchmarkId::new("forward", name), |bencher| {
            bencher.iter(|| black_box(model.forward(clips.view(), None).expect("fitting clips")));
        });
        group.throughput(Throughput::Elements(3 * BATCH as u64 * operations));
        group.bench_function(BenchmarkId::new("training", name), |bencher| {
            bencher.iter(|| {
                let (scores, trace) =
                    model.forward_training(clips.view(), None, &mut generator).expect("fitting clips");
                black_box(scores);
                black_box(model.backward(&trace, grad_scores.view()).expect("a fitting gradient"));
            });
        });
        group.finish();
    }
}

criterion_group! { name = benches; config = criterion(); targets = temporal_max, models }
criterion_main!(benches);
