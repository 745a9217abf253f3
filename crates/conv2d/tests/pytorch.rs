//! Forward and gradients against PyTorch (`fixtures/generate.py`), with every kernel of this CPU.

use conv2d::{Activation, Conv2d, Conv2dConfig};
use ndarray::{Array1, Array4, ArrayD};
use tensor_ops::testing::{Fixture, assert_all_close, load_fixture, run_cases};
use tensor_ops::{Element, Isa, Padding};

fn images<T: Element>(fixture: &Fixture, name: &str) -> Array4<T> {
    fixture.array::<T>(name).into_dimensionality().expect("an array of four axes")
}

fn layer<T: Element>(fixture: &Fixture, case: &str) -> Conv2d<T> {
    let weight: Array4<T> = images(fixture, &format!("{case}.weight"));
    let bias = format!("{case}.bias");
    let bias: Option<Array1<T>> =
        fixture.contains(&bias).then(|| fixture.array::<T>(&bias).into_dimensionality().expect("an array of one axis"));
    let options: [usize; 10] =
        fixture.indices(&format!("{case}.options")).try_into().expect("the options that the script writes");
    let [stride_y, stride_x, top, bottom, left, right, dilation_y, dilation_x, groups, activation] = options;
    let (out_channels, group_in, height, width) = weight.dim();
    let config = Conv2dConfig {
        in_channels: group_in * groups,
        out_channels,
        kernel: [height, width],
        stride: [stride_y, stride_x],
        padding: Padding { top, bottom, left, right },
        dilation: [dilation_y, dilation_x],
        groups,
        bias: bias.is_some(),
        activation: [Activation::None, Activation::Relu, Activation::Relu6][activation],
    };
    Conv2d { config, weight, bias }
}

fn compare<T: Element>(fixture: &Fixture, case: &str, isa: Isa, tolerance: f64) {
    let layer: Conv2d<T> = layer(fixture, case);
    let input: Array4<T> = images(fixture, &format!("{case}.input"));
    let grad_output: Array4<T> = images(fixture, &format!("{case}.grad_output"));
    let close = |actual: ArrayD<T>, name: &str| {
        let expected: ArrayD<T> = fixture.array(&format!("{case}.{name}"));
        eprintln!("case {case}, {isa}, {}: {name}", T::NAME);
        assert_all_close(&actual, &expected, tolerance, tolerance * 20.0);
    };
    close(layer.forward_on(isa, input.view()).unwrap().into_dyn(), "output");
    let (_, trace) = layer.forward_training(input.view()).unwrap();
    let gradients = layer.backward_on(isa, &trace, grad_output.view()).unwrap();
    close(gradients.input.into_dyn(), "grad_input");
    close(gradients.parameters.weight.into_dyn(), "grad_weight");
    assert_eq!(gradients.parameters.bias.is_some(), layer.bias.is_some());
    if let Some(bias) = gradients.parameters.bias {
        close(bias.into_dyn(), "grad_bias");
    }
}

#[test]
fn outputs_and_gradients_equal_pytorch() {
    let fixture = load_fixture(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pytorch.safetensors"));
    let options = fixture.names().into_iter().filter_map(|name| name.strip_suffix(".options").map(str::to_owned));
    let cases: Vec<String> = options.collect();
    assert!(cases.len() >= 30, "{} cases", cases.len());
    for isa in Isa::available() {
        run_cases(&cases, |case| {
            compare::<f64>(&fixture, case, isa, 1e-12);
            compare::<f32>(&fixture, case, isa, 2e-5);
        });
    }
}
