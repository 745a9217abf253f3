//! Against PyTorch's `nn.LSTM` and ONNX Runtime's `LSTM`; `fixtures/generate.py` writes the vectors.

use lstm::{Lstm, LstmConfig, LstmState, OnnxLstm};
use ndarray::{Array2, Array3, ArrayD, Ix2, Ix3};
use ndarray_rand::rand::SeedableRng;
use ndarray_rand::rand::rngs::StdRng;
use tensor_ops::testing::{Fixture, assert_all_close, load_fixture};
use tensor_ops::{Element, Parameters};

fn fixture(name: &str) -> Fixture {
    load_fixture(format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR")))
}

/// The arrays of one case of a fixture.
struct Case<'a> {
    fixture: &'a Fixture,
    name: &'a str,
}

impl Case<'_> {
    fn contains(&self, key: &str) -> bool {
        self.fixture.contains(&format!("{}.{key}", self.name))
    }

    fn array<T: Element>(&self, key: &str) -> ArrayD<T> {
        self.fixture.array(&format!("{}.{key}", self.name))
    }

    fn array2<T: Element>(&self, key: &str) -> Array2<T> {
        self.array(key).into_dimensionality::<Ix2>().expect("two axes")
    }

    fn array3<T: Element>(&self, key: &str) -> Array3<T> {
        self.array(key).into_dimensionality::<Ix3>().expect("three axes")
    }

    fn state<T: Element>(&self, hidden: &str, cell: &str) -> LstmState<T> {
        LstmState { hidden: self.array3(hidden), cell: self.array3(cell) }
    }

    fn lengths(&self) -> Option<Vec<usize>> {
        self.contains("lengths").then(|| self.fixture.indices(&format!("{}.lengths", self.name)))
    }
}

const PYTORCH_CASES: [&str; 10] = [
    "single",
    "wide",
    "no_bias",
    "stacked",
    "bidirectional",
    "stacked_bidirectional",
    "ragged",
    "ragged_bidirectional",
    "ragged_no_bias",
    "many",
];

fn check_pytorch<T: Element>(file: &str, rtol: f64, atol: f64) {
    let fixture = fixture(file);
    for name in PYTORCH_CASES {
        println!("{file}: {name}");
        let case = Case { fixture: &fixture, name };
        let input = case.array3::<T>("x");
        let layers = (0..).take_while(|layer| case.contains(&format!("weights.weight_ih_l{layer}"))).count();
        let config = LstmConfig {
            layers,
            bidirectional: case.contains("weights.weight_ih_l0_reverse"),
            bias: case.contains("weights.bias_ih_l0"),
            ..LstmConfig::new(input.dim().2, case.array3::<T>("h0").dim().2)
        };
        let mut lstm = Lstm::<T>::zeros(config).unwrap();
        let names: Vec<String> = lstm.named().into_iter().map(|(name, _)| name).collect();
        let weights: Vec<_> = names.iter().map(|name| (name.clone(), case.array(&format!("weights.{name}")))).collect();
        let prefix = format!("{name}.weights.");
        let stored = fixture.names().into_iter().filter(|name| name.starts_with(&prefix)).count();
        assert_eq!(weights.len(), stored, "{name}: every parameter of PyTorch has its place");
        lstm.load_pytorch(&weights).unwrap();
        assert_eq!(lstm.to_pytorch(), weights);

        let (initial, lengths) = (case.state("h0", "c0"), case.lengths());
        let mut rng = StdRng::seed_from_u64(0);
        let (output, state, trace) =
            lstm.forward_training(input.view(), Some(&initial), lengths.as_deref(), &mut rng).unwrap();
        let inference = lstm.forward(input.view(), Some(&initial), lengths.as_deref()).unwrap();
        assert_eq!(inference, (output.clone(), state.clone()), "{name}: inference has the bits of training");
        assert_all_close(&output, &case.array3("output"), rtol, atol);
        assert_all_close(&state.hidden, &case.array3("h"), rtol, atol);
        assert_all_close(&state.cell, &case.array3("c"), rtol, atol);

        let grad_final = case.state("grad_h", "grad_c");
        let gradients = lstm.backward(&trace, case.array3("grad_output").view(), Some(&grad_final)).unwrap();
        assert_all_close(&gradients.input, &case.array3("grad.x"), rtol, atol);
        assert_all_close(&gradients.initial.hidden, &case.array3("grad.h0"), rtol, atol);
        assert_all_close(&gradients.initial.cell, &case.array3("grad.c0"), rtol, atol);
        for (name, gradient) in gradients.parameters.named() {
            println!("gradient of {name}");
            assert_all_close(&gradient, &case.array(&format!("grad.{name}")), rtol, atol);
        }
    }
}

#[test]
fn pytorch_in_double_precision() {
    check_pytorch::<f64>("pytorch_f64", 1e-10, 1e-11);
}

#[test]
fn pytorch_in_single_precision() {
    check_pytorch::<f32>("pytorch_f32", 2e-5, 1e-5);
}

#[test]
fn single_precision_vectors_in_double_precision() {
    check_pytorch::<f64>("pytorch_f32", 2e-5, 1e-5);
}

#[test]
fn onnx_runtime_with_peepholes() {
    let fixture = fixture("onnx");
    for name in ["forward", "forward_ragged", "bidirectional", "bidirectional_ragged", "no_bias"] {
        println!("{name}");
        let case = Case { fixture: &fixture, name };
        let input = case.array3::<f32>("x");
        let onnx = OnnxLstm {
            w: case.array3("w"),
            r: case.array3("r"),
            b: case.contains("b").then(|| case.array2("b")),
            p: Some(case.array2("p")),
        };
        let config = LstmConfig {
            bidirectional: onnx.w.dim().0 == 2,
            bias: onnx.b.is_some(),
            peepholes: true,
            ..LstmConfig::new(input.dim().2, onnx.r.dim().2)
        };
        let mut lstm = Lstm::<f32>::zeros(config).unwrap();
        lstm.load_onnx(0, &onnx).unwrap();
        assert_eq!(lstm.to_onnx(0).unwrap(), onnx);
        let initial = case.state("h0", "c0");
        let (output, state) = lstm.forward(input.view(), Some(&initial), case.lengths().as_deref()).unwrap();
        assert_all_close(&output, &case.array3("output"), 2e-5, 2e-6);
        assert_all_close(&state.hidden, &case.array3("h"), 2e-5, 2e-6);
        assert_all_close(&state.cell, &case.array3("c"), 2e-5, 2e-6);
    }
}
