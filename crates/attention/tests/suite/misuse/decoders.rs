//! Of multi-head attention and of models from sequence to sequence.

use attention::{
    AttentionMask, BeamConfig, Bridge, MultiHeadAttention, MultiHeadAttentionConfig, Score, Seq2Seq, Seq2SeqConfig,
    Targets,
};
use ndarray::{Array2, Array3, Array4, array};

use super::{generator, message, refuse, zeros};

fn seq2seq_config() -> Seq2SeqConfig {
    Seq2SeqConfig {
        source_features: 3,
        encoder_size: 4,
        vocabulary: 6,
        embedding_size: 2,
        hidden_size: 5,
        ..Seq2SeqConfig::default()
    }
}

fn seq2seq() -> Seq2Seq<f32> {
    Seq2Seq::new(seq2seq_config(), &mut generator()).unwrap()
}

#[test]
fn multi_head_and_sequence_to_sequence() {
    let heads = |embed_dim: usize, num_heads: usize| {
        message(MultiHeadAttention::<f32>::zeros(MultiHeadAttentionConfig::new(embed_dim, num_heads)))
    };
    let layer = MultiHeadAttention::<f32>::new(MultiHeadAttentionConfig::new(4, 2), &mut generator()).unwrap();
    let attend = |q: Array3<f32>, k: Array3<f32>, v: Array3<f32>| {
        message(layer.forward(q.view(), k.view(), v.view(), &AttentionMask::default()))
    };
    let mut changed = layer.clone();
    changed.q_proj_weight = Some(Array2::zeros((4, 4)));
    let x = zeros(1, 2, 4);
    let (_, trace) = layer.forward_training(x.view(), x.view(), x.view(), &AttentionMask::default()).unwrap();
    let refused = |change: &dyn Fn(&mut Seq2SeqConfig)| {
        let mut config = seq2seq_config();
        change(&mut config);
        message(Seq2Seq::<f32>::zeros(config))
    };
    let tokens = array![[2, 3, 1], [2, 1, 9]];
    let train = |source: Array3<f32>, targets: &Targets<'_>| {
        message(seq2seq().forward_training(source.view(), None, targets, &mut generator()))
    };
    let valid = Targets { lengths: Some(&[3, 2]), ..Targets::new(tokens.view()) };
    let source = zeros(2, 4, 3);
    let (_, decoded) = seq2seq().forward_training(source.view(), None, &valid, &mut generator()).unwrap();
    let beam = |change: &dyn Fn(&mut BeamConfig)| {
        let mut config = BeamConfig::new(5);
        change(&mut config);
        message(seq2seq().beam_search(source.view(), None, &config))
    };
    let mut other_encoder = seq2seq();
    other_encoder.encoder = lstm::Lstm::zeros(lstm::LstmConfig::new(3, 4)).unwrap();
    let encoded = || seq2seq().encode(source.view(), None).unwrap();
    let mut stream = seq2seq().decoder_stream(encoded(), vec![0, 1]).unwrap();
    refuse(vec![
        (heads(0, 1), "MultiHeadAttentionConfig: embed_dim: expected at least 1 entry, found 0"),
        (heads(4, 0), "MultiHeadAttentionConfig: num_heads: expected at least 1 entry, found 0"),
        (
            heads(4, 3),
            "MultiHeadAttentionConfig: option `num_heads` must be a divisor of embed_dim, found 3 for 4 features",
        ),
        (
            attend(zeros(1, 2, 3), zeros(1, 2, 4), zeros(1, 2, 4)),
            "MultiHeadAttention: query features: expected size 4, found 3",
        ),
        (
            attend(zeros(1, 2, 4), zeros(2, 2, 4), zeros(1, 2, 4)),
            "MultiHeadAttention: keys batch: expected size 1, found 2",
        ),
        (
            attend(zeros(1, 2, 4), zeros(1, 3, 4), zeros(1, 2, 4)),
            "MultiHeadAttention: values: expected size 3, found 2",
        ),
        (
            attend(zeros(1, 0, 4), zeros(1, 3, 4), zeros(1, 3, 4)),
            "MultiHeadAttention: queries: expected at least 1 entry, found 0",
        ),
        (
            message(changed.forward(x.view(), x.view(), x.view(), &AttentionMask::default())),
            "MultiHeadAttention: q_proj_weight: the configuration asks for no such array",
        ),
        (
            message(layer.backward(&trace, zeros(1, 2, 5).view(), None)),
            "MultiHeadAttention::backward: output gradient features: expected size 4, found 5",
        ),
        (
            message(layer.backward(&trace, x.view(), Some(Array4::zeros((1, 1, 2, 2)).view()))),
            "MultiHeadAttention::backward: weight gradient heads: expected size 2, found 1",
        ),
        (refused(&|c| c.vocabulary = 0), "Seq2SeqConfig: vocabulary: expected at least 1 entry, found 0"),
        (refused(&|c| c.end_token = 6), "Seq2SeqConfig: end_token of item 0: expected less than 6, found 6"),
        (
            refused(&|c| c.start_token = 1),
            "Seq2SeqConfig: option `start_token` must be another than end_token, found 1",
        ),
        (
            refused(&|c| c.bridge = Bridge::Copy),
            "Seq2SeqConfig: option `hidden_size` must be that of the encoder's state with a copied state, found 5",
        ),
        (
            refused(&|c| c.score = Score::Location),
            "Seq2SeqConfig: option `score` must be one that sees the keys, found Location",
        ),
        (
            train(source.clone(), &Targets::new(tokens.view())),
            "Seq2Seq: target token of item 1: expected less than 6, found 9",
        ),
        (train(zeros(3, 4, 3), &valid), "Seq2Seq: target batch: expected size 3, found 2"),
        (train(zeros(2, 4, 2), &valid), "Lstm: input features: expected size 3, found 2"),
        (
            train(source.clone(), &Targets { lengths: Some(&[3, 4]), ..valid }),
            "Seq2Seq: length of sequence 1: expected 1 to 3 time steps, found 4",
        ),
        (
            train(source.clone(), &Targets { sampling: 1.5, ..valid }),
            "Seq2Seq: option `sampling` must be a probability, found 1.5",
        ),
        (
            message(seq2seq().backward(&decoded, zeros(2, 3, 5).view(), None)),
            "Seq2Seq::backward: logit gradient tokens: expected size 6, found 5",
        ),
        (beam(&|config| config.width = 0), "BeamConfig: width: expected at least 1 entry, found 0"),
        (
            beam(&|config| config.width = usize::MAX),
            "BeamConfig: option `width` must be at most 4096, found 18446744073709551615",
        ),
        (beam(&|config| config.max_length = 0), "BeamConfig: max_length: expected at least 1 entry, found 0"),
        (
            beam(&|config| config.length_normalisation = f64::NAN),
            "BeamConfig: option `length_normalisation` must be finite and not negative, found NaN",
        ),
        (
            message(other_encoder.encode(source.view(), None)),
            "Seq2Seq: option `encoder` must be of the configuration of the model, found another configuration",
        ),
        (
            message(seq2seq().decoder_stream(encoded(), vec![])),
            "DecoderStream: rows: expected at least 1 entry, found 0",
        ),
        (
            message(seq2seq().decoder_stream(encoded(), vec![0, 2])),
            "DecoderStream: source of item 1: expected less than 2, found 2",
        ),
        (message(stream.step(&[0]).map(drop)), "DecoderStream: tokens: expected size 2, found 1"),
        (message(stream.step(&[0, 6]).map(drop)), "DecoderStream: token of item 1: expected less than 6, found 6"),
    ]);
}
