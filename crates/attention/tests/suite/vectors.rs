//! Against PyTorch in float64; `fixtures/generate.py` writes the vectors.

use attention::{
    Attention, AttentionConfig, AttentionMask, AttentionPooling, AttentionPoolingConfig, CellState,
    DoublyStochasticPenalty, Mechanism, MultiHeadAttention, MultiHeadAttentionConfig, PenaltyReduction, PenaltyTarget,
    Score, Seq2Seq, Seq2SeqConfig, SpatialAttention, SpatialAttentionConfig, Targets, TemporalAttention,
    TemporalAttentionConfig,
};
use ndarray::{Array, Array3, ArrayBase, ArrayD, Data, Dimension, IntoDimension};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;
use tensor_ops::testing::{Fixture, assert_all_close, load_fixture};
use tensor_ops::{Parameters, load_parameters};

const KINDS: [(&str, Score); 6] = [
    ("dot", Score::Dot),
    ("scaled_dot", Score::ScaledDot),
    ("general", Score::General),
    ("additive", Score::Additive),
    ("location", Score::Location),
    ("multiplicative", Score::Multiplicative),
];

/// The arrays of one case.
struct Case {
    fixture: Fixture,
    name: &'static str,
}

impl Case {
    fn new(name: &'static str) -> Self {
        println!("{name}");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pytorch.safetensors");
        Self { fixture: load_fixture(path), name }
    }

    fn contains(&self, key: &str) -> bool {
        self.fixture.contains(&format!("{}.{key}", self.name))
    }

    fn array<D: Dimension>(&self, key: &str) -> Array<f64, D> {
        let array: ArrayD<f64> = self.fixture.array(&format!("{}.{key}", self.name));
        array.into_dimensionality().expect("as many axes")
    }

    fn lengths(&self) -> Option<Vec<usize>> {
        self.contains("lengths").then(|| self.fixture.indices(&format!("{}.lengths", self.name)))
    }

    /// Sets all parameters of `model` to those of the case; none is left over.
    fn load(&self, model: &mut impl Parameters<f64>) {
        let prefix = format!("{}.parameters.", self.name);
        let names = self.fixture.names().into_iter().filter(|name| name.starts_with(&prefix));
        let source: Vec<_> = names.map(|name| (name[prefix.len()..].to_owned(), self.fixture.array(&name))).collect();
        load_parameters(model, &source).unwrap();
    }

    fn check<S: Data<Elem = f64>, D: Dimension>(&self, key: &str, found: &ArrayBase<S, D>) {
        println!("{}: {key}", self.name);
        assert_all_close(found, &self.array::<D>(key), 1e-10, 1e-12);
    }

    fn check_parameters(&self, gradients: &impl Parameters<f64>) {
        for (name, gradient) in gradients.named() {
            self.check(&format!("grad.parameters.{name}"), &gradient);
        }
    }
}

fn sizes<const N: usize>(array: &ArrayD<f64>) -> [usize; N] {
    array.raw_dim().into_dimension().slice().try_into().expect("as many axes")
}

#[test]
fn multi_head() {
    for (name, heads) in [("heads_self", 3), ("heads_causal", 2), ("heads_cross", 4), ("heads_no_bias", 1)] {
        let case = Case::new(name);
        let (q, k, v): (Array3<f64>, Array3<f64>, Array3<f64>) = (case.array("q"), case.array("k"), case.array("v"));
        let apart = case.contains("parameters.q_proj_weight");
        let config = MultiHeadAttentionConfig {
            bias: case.contains("parameters.in_proj_bias"),
            kdim: apart.then_some(k.dim().2),
            vdim: apart.then_some(v.dim().2),
            ..MultiHeadAttentionConfig::new(q.dim().2, heads)
        };
        let mut layer = MultiHeadAttention::<f64>::zeros(config).unwrap();
        case.load(&mut layer);
        let lengths = case.lengths();
        let mask = AttentionMask {
            key_lengths: lengths.as_deref(),
            causal: name == "heads_causal",
            ..AttentionMask::default()
        };
        let (output, trace) = layer.forward_training(q.view(), k.view(), v.view(), &mask).unwrap();
        case.check("output", &output);
        case.check("weights", &trace.weights());
        let grad_output: Array3<f64> = case.array("grad_output");
        let grad_weights = case.array::<ndarray::Ix4>("grad_weights");
        let found = layer.backward(&trace, grad_output.view(), Some(grad_weights.view())).unwrap();
        case.check("grad.q", &found.queries);
        case.check("grad.k", &found.keys);
        case.check("grad.v", &found.values);
        case.check_parameters(&found.parameters);
    }
}

#[test]
fn scores() {
    for (name, score) in KINDS {
        let case = Case::new(name);
        let (q, k, v): (Array3<f64>, Array3<f64>, Array3<f64>) = (case.array("q"), case.array("k"), case.array("v"));
        let config = AttentionConfig {
            attention_size: if case.contains("parameters.weight_score") { 5 } else { 0 },
            locations: if score == Score::Location { 5 } else { 0 },
            temperature: case.array::<ndarray::Ix1>("temperature")[0],
            bias: case.contains("parameters.bias"),
            ..AttentionConfig::new(score, q.dim().2, k.dim().2)
        };
        let mut layer = Attention::<f64>::zeros(config).unwrap();
        case.load(&mut layer);
        let lengths = case.lengths();
        let mask = AttentionMask { key_lengths: lengths.as_deref(), ..AttentionMask::default() };
        let (output, trace) = layer.forward_training(q.view(), k.view(), v.view(), &mask).unwrap();
        case.check("context", &output.context);
        case.check("weights", &output.weights);
        let (grad_context, grad_weights): (Array3<f64>, Array3<f64>) =
            (case.array("grad_context"), case.array("grad_weights"));
        let found = layer.backward(&trace, grad_context.view(), Some(grad_weights.view())).unwrap();
        case.check("grad.q", &found.queries);
        case.check("grad.k", &found.keys);
        case.check("grad.v", &found.values);
        case.check_parameters(&found.parameters);
    }
}

#[test]
fn temporal() {
    for (name, score, window) in [
        ("temporal_window", Score::Multiplicative, Some(3)),
        ("temporal_frames", Score::Additive, Some(2)),
        ("temporal_dot", Score::Dot, Some(4)),
        ("temporal_all", Score::Additive, None),
    ] {
        let case = Case::new(name);
        let x: Array3<f64> = case.array("x");
        let scored = case.contains("parameters.attention.weight_score");
        let config = TemporalAttentionConfig {
            window,
            score,
            attention_bias: scored,
            frame_input: name == "temporal_frames",
            ..TemporalAttentionConfig::new(4, 4, if scored { 5 } else { 0 })
        };
        let mut model = TemporalAttention::<f64>::zeros(config).unwrap();
        case.load(&mut model);
        let initial = CellState { hidden: case.array("h0"), cell: case.array("c0") };
        let (output, trace) = model.forward_training(x.view(), Some(&initial), None).unwrap();
        case.check("output", &output.output);
        case.check("weights", &output.weights);
        case.check("h", &output.state.hidden);
        case.check("c", &output.state.cell);
        let (grad_output, grad_weights): (Array3<f64>, Array3<f64>) =
            (case.array("grad_output"), case.array("grad_weights"));
        let grad_final = CellState { hidden: case.array("grad_h"), cell: case.array("grad_c") };
        let found = model.backward(&trace, grad_output.view(), Some(grad_weights.view()), Some(&grad_final)).unwrap();
        case.check("grad.x", &found.input);
        case.check("grad.h0", &found.initial.hidden);
        case.check("grad.c0", &found.initial.cell);
        case.check_parameters(&found.parameters);
    }
}

#[test]
fn spatial_with_both_penalties() {
    for (name, score) in [
        ("spatial_location", Score::Location),
        ("spatial_additive", Score::Additive),
        ("spatial_general", Score::General),
    ] {
        let case = Case::new(name);
        let x = case.array::<ndarray::Ix5>("x");
        let [_, _, height, width, features] = sizes(&x.view().into_dyn().to_owned());
        let config = SpatialAttentionConfig {
            height,
            width,
            score,
            attention_size: if score == Score::Additive { 6 } else { 0 },
            attention_bias: score != Score::General,
            ..SpatialAttentionConfig::new(1, features, 5)
        };
        let mut model = SpatialAttention::<f64>::zeros(config).unwrap();
        case.load(&mut model);
        let (output, trace) = model.forward_training(x.view(), None, None).unwrap();
        case.check("output", &output.output);
        case.check("weights", &output.weights);
        let penalties = [
            ("penalty_one", 0.3, PenaltyTarget::One, PenaltyReduction::Sum),
            ("penalty_uniform", 0.4, PenaltyTarget::Uniform, PenaltyReduction::RegionMean),
        ];
        let mut grad_weights = output.weights.clone();
        grad_weights.fill(0.0);
        for (key, factor, target, reduction) in penalties {
            let penalty = DoublyStochasticPenalty { factor, target, reduction };
            let (value, gradient) = penalty.forward(output.weights.view(), None).unwrap();
            case.check(key, &ndarray::array![value]);
            grad_weights += &gradient;
        }
        let grad_output: Array3<f64> = case.array("grad_output");
        let found = model.backward(&trace, grad_output.view(), Some(grad_weights.view()), None).unwrap();
        case.check("grad.x", &found.input);
        case.check_parameters(&found.parameters);
    }
}

#[test]
fn pooling() {
    let case = Case::new("pooling");
    let x: Array3<f64> = case.array("x");
    let config = AttentionPoolingConfig { features: 4, attention_size: Some(3) };
    let mut pooling = AttentionPooling::<f64>::zeros(config).unwrap();
    case.load(&mut pooling);
    let (output, trace) = pooling.forward_training(x.view(), case.lengths().as_deref()).unwrap();
    case.check("context", &output.context);
    case.check("weights", &output.weights);
    let found = pooling.backward(&trace, case.array::<ndarray::Ix2>("grad_context").view(), None).unwrap();
    case.check("grad.x", &found.input);
    case.check_parameters(&found.parameters);
}

#[test]
fn sequence_to_sequence() {
    for (name, mechanism, score) in [
        ("seq2seq_luong", Mechanism::Luong { input_feeding: false }, Score::General),
        ("seq2seq_feeding", Mechanism::Luong { input_feeding: true }, Score::Additive),
        ("seq2seq_bahdanau", Mechanism::Bahdanau, Score::Additive),
    ] {
        let case = Case::new(name);
        let x: Array3<f64> = case.array("x");
        let config = Seq2SeqConfig {
            source_features: 3,
            encoder_size: 4,
            vocabulary: 6,
            embedding_size: 3,
            hidden_size: 5,
            mechanism,
            score,
            attention_size: if score == Score::Additive { 4 } else { 0 },
            attention_bias: score == Score::Additive,
            ..Seq2SeqConfig::default()
        };
        let mut model = Seq2Seq::<f64>::zeros(config).unwrap();
        case.load(&mut model);
        let tokens = case.array::<ndarray::Ix2>("tokens").mapv(|token| token as usize);
        let mut rng = StdRng::seed_from_u64(0);
        let (decoded, trace) = model.forward_training(x.view(), None, &Targets::new(tokens.view()), &mut rng).unwrap();
        case.check("logits", &decoded.logits);
        case.check("weights", &decoded.weights);
        let (grad_logits, grad_weights): (Array3<f64>, Array3<f64>) =
            (case.array("grad_logits"), case.array("grad_weights"));
        let found = model.backward(&trace, grad_logits.view(), Some(grad_weights.view())).unwrap();
        case.check("grad.x", &found.source);
        case.check_parameters(&found.parameters);
    }
}
