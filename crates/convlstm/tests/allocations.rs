//! What is allocated: nothing by a step of a stream, and by a training pass what its estimate says.

use std::sync::{Mutex, PoisonError};

use convlstm::{
    Cell, ConvRecurrent, GruCell, LayerConfig, LstmCell, MemoryEstimate, Peepholes, RecurrentConfig, TraceMemory,
};
use ndarray::{Array4, Array5};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;
use tensor_ops::Isa;
use tensor_ops::testing::{CountingAllocator, allocations_of_steps};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Held by the test that counts.
static TURN: Mutex<()> = Mutex::new(());

fn check_steps<C: Cell>(config: RecurrentConfig<C>, batch: usize, size: [usize; 2], threads: usize) {
    let layers = ConvRecurrent::<f32, C>::new(config, &mut StdRng::seed_from_u64(1)).unwrap();
    let mut stream = layers.stream(batch, size, None).unwrap();
    let input = Array4::ones((batch, layers.config().input_channels, size[0], size[1]));
    let allocations = allocations_of_steps(threads, 30, || {
        let output = stream.step(input.view()).unwrap();
        assert!(output[[0, 0, 0, 0]].is_finite());
    });
    // On the kernels that every CPU has, `matrixmultiply` takes the buffers of its products anew.
    let expected = if Isa::selected() == Isa::Portable { allocations } else { 0 };
    assert_eq!(allocations, expected, "{:?}, batch {batch}, {size:?}, {threads} threads", layers.config());
}

/// Steps of small maps, which one thread takes, and of large ones, whose bands several share.
#[test]
fn a_warm_step_allocates_nothing() {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let peepholes = LstmCell { peepholes: Peepholes::PerChannel, ..LstmCell::default() };
    let normalised = LstmCell { normalisation_groups: Some(4), ..LstmCell::default() };
    let strided = LayerConfig { input_stride: [2, 2], ..LayerConfig::new(8, 3) };
    for (batch, size, threads) in [(1, [9, 7], 1), (3, [16, 16], 2), (1, [64, 64], 2), (2, [40, 70], 3)] {
        for cell in [peepholes.clone(), normalised.clone()] {
            let layers = vec![LayerConfig { cell, ..LayerConfig::new(16, 5) }, strided.clone()];
            check_steps(
                RecurrentConfig { input_channels: 3, layers, ..RecurrentConfig::default() },
                batch,
                size,
                threads,
            );
        }
        for reset_after in [true, false] {
            let layers = vec![LayerConfig { cell: GruCell { reset_after }, ..LayerConfig::new(16, 3) }];
            check_steps(
                RecurrentConfig { input_channels: 3, layers, ..RecurrentConfig::default() },
                batch,
                size,
                threads,
            );
        }
    }
    drop(turn);
}

/// The most bytes that a training pass has at a time, beside the clip and the gradient that it is given.
fn most_bytes<C: Cell>(config: &RecurrentConfig<C>, shape: [usize; 5]) -> usize {
    let clips = Array5::<f32>::ones(shape);
    let sizes = config.map_sizes([shape[3], shape[4]]).unwrap();
    let [height, width] = sizes[sizes.len() - 1];
    let grad_output = Array5::ones((shape[0], shape[1], config.output_channels(), height, width));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        let before = CountingAllocator::bytes();
        CountingAllocator::take_most_bytes();
        let layers = ConvRecurrent::<f32, C>::new(config.clone(), &mut StdRng::seed_from_u64(1)).unwrap();
        let (output, state, trace) = layers.forward_training(clips.view(), None, None).unwrap();
        let gradients = layers.backward(&trace, grad_output.view(), None).unwrap();
        let most = CountingAllocator::take_most_bytes() - before;
        drop((output, state, gradients));
        most
    })
}

#[test]
fn a_training_pass_takes_the_memory_of_its_estimate() {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let shape = [2, 8, 4, 48, 64];
    let check = |description: &str, estimate: MemoryEstimate, most: usize| {
        let ratio = most as f64 / estimate.total() as f64;
        println!("{description}: {most} bytes, estimate {} ({estimate}), ratio {ratio:.3}", estimate.total());
        assert!((0.9..=1.1).contains(&ratio), "{description}: {most} bytes, estimate {}", estimate.total());
    };
    for memory in [TraceMemory::Full, TraceMemory::RecomputeGates] {
        for bidirectional in [false, true] {
            let lstm = RecurrentConfig::<LstmCell> {
                input_channels: shape[2],
                layers: vec![LayerConfig::new(16, 3), LayerConfig::new(24, 3)],
                bidirectional,
                memory,
                ..RecurrentConfig::default()
            };
            let estimate = lstm.memory_estimate::<f32>(shape[0], shape[1], [shape[3], shape[4]], true).unwrap();
            let description = format!("LSTM, {memory:?}, bidirectional {bidirectional}");
            check(&description, estimate, most_bytes(&lstm, shape));
        }
        let gru = RecurrentConfig { memory, ..RecurrentConfig::<GruCell>::new(shape[2], 24, 3) };
        let estimate = gru.memory_estimate::<f32>(shape[0], shape[1], [shape[3], shape[4]], true).unwrap();
        check(&format!("GRU, {memory:?}"), estimate, most_bytes(&gru, shape));
    }
    drop(turn);
}
