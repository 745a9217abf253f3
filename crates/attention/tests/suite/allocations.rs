//! A step of a stream allocates nothing.

use attention::{
    Mechanism, Score, Seq2Seq, Seq2SeqConfig, SpatialAttention, SpatialAttentionConfig, TemporalAttention,
    TemporalAttentionConfig,
};
use ndarray::{Array2, Array3, Array4};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;
use tensor_ops::testing::{CountingAllocator, allocations_of_steps};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn check(name: &str, threads: usize, mut step: impl FnMut() -> f32 + Send) {
    let allocations = allocations_of_steps(threads, 50, || assert!(step().is_finite(), "{name}"));
    assert_eq!(allocations, 0, "{name}, {threads} threads");
}

/// Steps of small models, which one thread takes, and of large ones, which several share.
#[test]
fn a_warm_step_allocates_nothing() {
    let mut rng = StdRng::seed_from_u64(1);
    for (size, batch, threads) in [(12, 1, 1), (256, 8, 2)] {
        let config = TemporalAttentionConfig {
            window: Some(6),
            frame_input: true,
            ..TemporalAttentionConfig::new(size, size, size)
        };
        let mut stream = TemporalAttention::<f32>::new(config, &mut rng).unwrap().stream(batch, None).unwrap();
        let frame = Array2::ones((batch, size));
        check("temporal", threads, || stream.step(frame.view()).unwrap()[[0, 0]]);

        for score in [Score::Location, Score::Additive] {
            let attention_size = if score == Score::Additive { size } else { 0 };
            let config = SpatialAttentionConfig { score, attention_size, ..SpatialAttentionConfig::new(3, size, size) };
            let mut stream = SpatialAttention::<f32>::new(config, &mut rng).unwrap().stream(batch, None).unwrap();
            let frame = Array4::ones((batch, 3, 3, size));
            check("spatial", threads, || stream.step(frame.view()).unwrap()[[0, 0]]);
        }
        for mechanism in [Mechanism::Luong { input_feeding: true }, Mechanism::Bahdanau] {
            let config = Seq2SeqConfig {
                source_features: 5,
                encoder_size: size,
                vocabulary: 9,
                embedding_size: size,
                hidden_size: size,
                mechanism,
                ..Seq2SeqConfig::default()
            };
            let model = Seq2Seq::<f32>::new(config, &mut rng).unwrap();
            let encoded = model.encode(Array3::ones((1, 20, 5)).view(), None).unwrap();
            let mut stream = model.decoder_stream(encoded, vec![0; batch]).unwrap();
            let tokens = vec![3; batch];
            check("decoder", threads, || stream.step(&tokens).unwrap()[[0, 0]]);
        }
    }
}
