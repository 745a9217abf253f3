//! How the time of a training step grows with the batch, the sequence and the maps.
//!
//! It should grow linearly in the sequences and the steps, and no faster than the pixels of a map. For its growth with the
//! threads, run it with `RAYON_NUM_THREADS`.

use std::hint::black_box;

use benches::criterion;
use convlstm::{ConvLstm, ConvLstmConfig};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lstm::{Lstm, LstmConfig};
use ndarray::{Array3, Array5};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::testing::seeded_array;

/// Sizes of a ConvLSTM: `[batch, time, height and width]`.
const MAPS: [(&str, [[usize; 3]; 4]); 3] = [
    ("batch", [[1, 10, 32], [2, 10, 32], [4, 10, 32], [8, 10, 32]]),
    ("time", [[1, 10, 32], [1, 20, 32], [1, 40, 32], [1, 80, 32]]),
    ("size", [[1, 10, 16], [1, 10, 32], [1, 10, 64], [1, 10, 128]]),
];

/// Sizes of an LSTM: `[batch, time]`.
const SEQUENCES: [(&str, [[usize; 2]; 4]); 2] =
    [("batch", [[1, 30], [4, 30], [16, 30], [64, 30]]), ("time", [[4, 30], [4, 60], [4, 120], [4, 240]])];

/// 32 channels to 32 hidden ones by 3×3 kernels; pixels per second.
fn convlstm(criterion: &mut Criterion) {
    let config = ConvLstmConfig::new(32, 32, 3);
    let layer = ConvLstm::<f32>::new(config, &mut StdRng::seed_from_u64(1)).expect("a valid configuration");
    for (axis, shapes) in MAPS {
        let mut group = criterion.benchmark_group(format!("scaling/convlstm-{axis}"));
        for shape @ [batch, time, size] in shapes {
            let clips: Array5<f32> = seeded_array((batch, time, 32, size, size), 2);
            let grad_output: Array5<f32> = seeded_array((batch, time, 32, size, size), 3);
            group.throughput(Throughput::Elements((batch * time * size * size) as u64));
            group.bench_function(BenchmarkId::from_parameter(name(&shape)), |bencher| {
                bencher.iter(|| {
                    let (output, _, trace) = layer.forward_training(clips.view(), None, None).expect("fitting clips");
                    black_box(output);
                    black_box(layer.backward(&trace, grad_output.view(), None).expect("a fitting gradient"));
                });
            });
        }
        group.finish();
    }
}

/// 256 features to 256 hidden units; steps per second.
fn lstm(criterion: &mut Criterion) {
    let mut generator = StdRng::seed_from_u64(1);
    let layer = Lstm::<f32>::new(LstmConfig::new(256, 256), &mut generator).expect("a valid configuration");
    for (axis, shapes) in SEQUENCES {
        let mut group = criterion.benchmark_group(format!("scaling/lstm-{axis}"));
        for shape @ [batch, time] in shapes {
            let input: Array3<f32> = seeded_array((batch, time, 256), 2);
            let grad_output: Array3<f32> = seeded_array((batch, time, 256), 3);
            group.throughput(Throughput::Elements((batch * time) as u64));
            group.bench_function(BenchmarkId::from_parameter(name(&shape)), |bencher| {
                bencher.iter(|| {
                    let (output, _, trace) =
                        layer.forward_training(input.view(), None, None, &mut generator).expect("a fitting input");
                    black_box(output);
                    black_box(layer.backward(&trace, grad_output.view(), None).expect("a fitting gradient"));
                });
            });
        }
        group.finish();
    }
}

fn name(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

criterion_group! { name = benches; config = criterion(); targets = convlstm, lstm }
criterion_main!(benches);
