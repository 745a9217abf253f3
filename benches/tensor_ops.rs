//! Matrix products and vector mathematics.

use std::hint::black_box;

use criterion::{Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use tensor_ops::testing::{multiply_add_in_registers, seeded_array};
use tensor_ops::{gemm, vecmath};

/// Name, then m, k, n of `[m, k] · [k, n]`.
const PRODUCTS: [(&str, [usize; 3]); 4] = [
    ("512", [512, 512, 512]),
    ("conv-tile", [64, 576, 256]),
    ("lstm-projection", [240, 1024, 2048]),
    ("weight-gradient", [384, 384, 128]),
];

fn products(criterion: &mut criterion::Criterion) {
    let mut group = criterion.benchmark_group("tensor-ops/gemm");
    for (name, [m, k, n]) in PRODUCTS {
        let a: Array2<f32> = seeded_array((m, k), 1);
        let b: Array2<f32> = seeded_array((k, n), 2);
        let mut c = Array2::zeros((m, n));
        group.throughput(Throughput::Elements(2 * (m * k * n) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| gemm(1.0, a.view(), b.view(), 0.0, black_box(c.view_mut())).expect("shapes that fit"));
        });
    }
    group.finish();
}

/// What all threads together multiply and add in registers: the peak that other benchmarks are compared with.
fn peak(criterion: &mut criterion::Criterion) {
    const ROUNDS: usize = 1 << 18;
    let threads = rayon::current_num_threads();
    let operations = multiply_add_in_registers(1).1 * (threads * ROUNDS) as u64;
    let mut group = criterion.benchmark_group("tensor-ops/peak");
    group.throughput(Throughput::Elements(operations));
    group.bench_function("fma", |bencher| {
        bencher.iter(|| rayon::broadcast(|_| multiply_add_in_registers(black_box(ROUNDS))));
    });
    group.finish();
}

type Function = fn(&mut [f32]);

fn vector_mathematics(criterion: &mut criterion::Criterion) {
    const LENGTH: usize = 16 * 1024;
    let functions: [(&str, Function); 4] = [
        ("exp", vecmath::exp::<f32>),
        ("sigmoid", vecmath::sigmoid::<f32>),
        ("tanh", vecmath::tanh::<f32>),
        ("softplus", vecmath::softplus::<f32>),
    ];
    let mut group = criterion.benchmark_group("tensor-ops/vecmath");
    group.throughput(Throughput::Elements(LENGTH as u64));
    let values = seeded_array::<f32, _>(LENGTH, 3).to_vec();
    for (name, function) in functions {
        let mut buffer = values.clone();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                buffer.copy_from_slice(&values);
                function(black_box(&mut buffer));
            });
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = benches::criterion(); targets = peak, products, vector_mathematics }
criterion_main!(benches);
