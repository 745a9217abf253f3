//! The models of action recognition from frames to scores: clips per second in inference and in training.

use std::hint::black_box;

use benches::criterion;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array2, Array4};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use pipeline::data::PreprocessingConfig;
use pipeline::model::{ActionModel, ModelName};
use tensor_ops::testing::seeded_array;

/// A batch like those of the main job: 64 clips of their mean length.
const CLIPS: usize = 64;
const FRAMES: usize = 23;
const SIZE: [usize; 2] = [16, 16];
const CLASSES: usize = 7;

fn models(criterion: &mut Criterion) {
    let preprocessing = PreprocessingConfig::default();
    let (channels, steps) = (preprocessing.channels(), preprocessing.steps(FRAMES));
    let frames: Array4<f32> = seeded_array((CLIPS * steps, channels, SIZE[0], SIZE[1]), 1);
    let grad_scores: Array2<f32> = seeded_array((CLIPS, CLASSES), 2);
    let lengths = [steps; CLIPS];
    let mut generator = StdRng::seed_from_u64(3);
    for name in [ModelName::Lstm, ModelName::ConvLstm] {
        let model = ActionModel::<f32>::new(&name.config(), channels, SIZE, CLASSES, &mut generator);
        let model = model.expect("a valid configuration");
        let mut group = criterion.benchmark_group("pipeline/actions");
        group.throughput(Throughput::Elements(CLIPS as u64));
        group.bench_function(format!("forward/{name}"), |bencher| {
            bencher.iter(|| black_box(model.forward(frames.view(), &lengths).expect("fitting frames")));
        });
        group.bench_function(format!("training/{name}"), |bencher| {
            bencher.iter(|| {
                let trained = model.forward_training(frames.view(), &lengths, &mut generator);
                let (scores, trace) = trained.expect("fitting frames");
                black_box(scores);
                black_box(model.backward(&trace, grad_scores.view()).expect("a fitting gradient"));
            });
        });
        group.finish();
    }
}

criterion_group! { name = benches; config = criterion(); targets = models }
criterion_main!(benches);
