//! The LSTM and convolution shapes of the benchmarks in candle, under the same names.
//!
//! ```sh
//! RUSTFLAGS="-C target-cpu=native" cargo run --release -- [--rounds N] [NAME …]
//! ```
//!
//! prints one JSON object per benchmark: name and median seconds. NAME selects the benchmarks whose name contains it.
//! `RAYON_NUM_THREADS` sets the number of threads.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::rnn::{LSTM, LSTMConfig, RNN, lstm};
use candle_nn::{Conv2dConfig, Module, VarBuilder, VarMap, conv2d};

/// Name, then batch, time, features, hidden units, layers.
const LSTMS: [(&str, [usize; 5]); 4] = [
    ("snippets-b8", [8, 30, 1024, 512, 5]),
    ("snippets-b1", [1, 30, 1024, 512, 5]),
    ("wide", [32, 120, 1024, 512, 2]),
    ("small", [16, 24, 128, 96, 1]),
];

/// Name, then batch, input channels, output channels, kernel, stride, groups, height and width of the maps.
const CONVOLUTIONS: [(&str, [usize; 7]); 6] = [
    ("3x3-56", [8, 64, 192, 3, 1, 1, 56]),
    ("7x7-224", [8, 3, 64, 7, 2, 1, 224]),
    ("1x1-28", [8, 192, 64, 1, 1, 1, 28]),
    ("3x3-28", [8, 256, 256, 3, 1, 1, 28]),
    ("depthwise-112", [8, 32, 32, 3, 1, 32, 112]),
    ("thermal-16", [512, 16, 32, 3, 1, 1, 16]),
];

type Forward = Box<dyn Fn(&Tensor) -> candle_core::Result<Tensor>>;

/// A model and its input.
struct Shape {
    /// With `{}` for the operation.
    name: String,
    input: Vec<usize>,
    /// The model with the parameters of a builder.
    model: Box<dyn Fn(VarBuilder<'_>) -> candle_core::Result<Forward>>,
}

fn lstm_shape(name: &str, [batch, time, features, hidden, layers]: [usize; 5]) -> Shape {
    let model = move |builder: VarBuilder<'_>| {
        let layers = (0..layers).map(|layer| {
            let inputs = if layer == 0 { features } else { hidden };
            lstm(inputs, hidden, LSTMConfig::default(), builder.pp(layer))
        });
        let layers = layers.collect::<candle_core::Result<Vec<LSTM>>>()?;
        let forward = move |input: &Tensor| {
            let mut values = input.clone();
            for layer in &layers {
                values = layer.states_to_tensor(&layer.seq(&values)?)?;
            }
            Ok(values)
        };
        Ok(Box::new(forward) as Forward)
    };
    Shape { name: format!("lstm/{{}}/{name}"), input: vec![batch, time, features], model: Box::new(model) }
}

fn convolution(name: &str, [batch, inputs, outputs, kernel, stride, groups, size]: [usize; 7]) -> Shape {
    let model = move |builder: VarBuilder<'_>| {
        let config = Conv2dConfig { padding: kernel / 2, stride, groups, ..Conv2dConfig::default() };
        let layer = conv2d(inputs, outputs, kernel, config, builder)?;
        Ok(Box::new(move |input: &Tensor| layer.forward(input)) as Forward)
    };
    Shape { name: format!("conv2d/{{}}/{name}"), input: vec![batch, inputs, size, size], model: Box::new(model) }
}

/// The median seconds of `rounds` calls after one that is not counted.
fn measure(rounds: usize, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    call()?;
    let mut seconds = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        call()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[rounds / 2])
}

fn main() -> Result<()> {
    let (mut rounds, mut names) = (9, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--rounds" {
            let count = arguments.next().context("--rounds: expected a number, found nothing")?;
            rounds = count.parse().with_context(|| format!("--rounds: expected a number, found `{count}`"))?;
        } else {
            names.push(argument);
        }
    }
    if rounds == 0 {
        bail!("--rounds: expected at least 1, found 0");
    }
    let lstms = LSTMS.iter().map(|&(name, sizes)| lstm_shape(name, sizes));
    let convolutions = CONVOLUTIONS.iter().map(|&(name, sizes)| convolution(name, sizes));
    for shape in lstms.chain(convolutions) {
        let asked = |operation: &str| {
            let name = shape.name.replace("{}", operation);
            (names.is_empty() || names.iter().any(|part| name.contains(part))).then_some(name)
        };
        let (forward, training) = (asked("forward"), asked("training"));
        if forward.is_none() && training.is_none() {
            continue;
        }
        let device = Device::Cpu;
        let variables = VarMap::new();
        let trained = (shape.model)(VarBuilder::from_varmap(&variables, DType::F32, &device))?;
        let input = Var::randn(0_f32, 1.0, shape.input, &device)?;
        if let Some(name) = forward {
            // Without a graph of operations: the parameters and the input are no variables.
            let parameters = variables.data().lock().expect("no other thread").clone();
            let parameters = parameters.into_iter().map(|(name, variable)| (name, variable.as_detached_tensor()));
            let model = (shape.model)(VarBuilder::from_tensors(parameters.collect(), DType::F32, &device))?;
            let input = input.as_detached_tensor();
            report(&name, measure(rounds, || Ok(drop(black_box(model(&input)?))))?);
        }
        if let Some(name) = training {
            // The gradients of the parameters and of the input, for a gradient of 1 of every output.
            let step = || {
                let gradients = trained(input.as_tensor())?.sum_all()?.backward()?;
                for variable in variables.all_vars().iter().chain([&input]) {
                    black_box(gradients.get(variable).context("a variable without gradient")?);
                }
                Ok(())
            };
            report(&name, measure(rounds, step)?);
        }
    }
    Ok(())
}

fn report(name: &str, seconds: f64) {
    println!("{}", serde_json::json!({ "name": name, "seconds": seconds }));
}
