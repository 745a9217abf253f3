//! A step of a stream allocates nothing.

use lstm::{Lstm, LstmConfig};
use ndarray::Array2;
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;
use tensor_ops::testing::{CountingAllocator, allocations_of_steps};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Steps of a small LSTM, which one thread takes, and of a large one, which several share.
#[test]
fn a_warm_step_allocates_nothing() {
    for (features, hidden, batch, threads) in [(8, 16, 1, 1), (20, 33, 3, 2), (512, 512, 1, 2), (256, 300, 20, 3)] {
        let config = LstmConfig { layers: 2, peepholes: true, ..LstmConfig::new(features, hidden) };
        let lstm = Lstm::<f32>::new(config, &mut StdRng::seed_from_u64(1)).unwrap();
        let mut stream = lstm.stream(batch, None).unwrap();
        let input = Array2::ones((batch, features));
        let allocations = allocations_of_steps(threads, 50, || {
            let output = lstm.step(input.view(), &mut stream).unwrap();
            assert!(output[[0, 0]].is_finite());
        });
        assert_eq!(allocations, 0, "{features} features, {hidden} units, batch {batch}, {threads} threads");
    }
}
