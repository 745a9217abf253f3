//! Features of frames, over the shapes of `peers/efficientnet.py`.

use std::hint::black_box;

use benches::criterion;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array4;
use pipeline::features::EfficientNetLite0;
use tensor_ops::testing::seeded_array;

const BATCHES: [usize; 2] = [1, 8];

/// The pooled vectors of a batch of images: frames per second.
fn efficientnet_lite0(criterion: &mut Criterion) {
    let network = EfficientNetLite0::bundled().expect("undamaged weights");
    let size = EfficientNetLite0::INPUT_SIZE;
    let mut group = criterion.benchmark_group("pipeline/efficientnet-lite0");
    for batch in BATCHES {
        let images: Array4<f32> = seeded_array((batch, 3, size, size), 1);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("batch-{batch}"), |bencher| {
            bencher.iter(|| black_box(network.pooled(images.view()).expect("fitting images")));
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = efficientnet_lite0 }
criterion_main!(benches);
