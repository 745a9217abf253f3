//! Whole layers against plain loops over the equations.

use convlstm::{Cell, ConvGru, ConvLstm, LayerConfig, LayerWeights, RecurrentConfig};
use ndarray::{Array3, Array4, Array5, ArrayView3, Axis, s};
use tensor_ops::testing::assert_all_close;

use crate::common::{gru_configs, lstm_configs, seeded_clips, seeded_layers, seeded_state};

const BATCH: usize = 2;
const TIME: usize = 3;

/// `out[m, y, x] = Σ weight[m, c, k, l] · image[c, y·sy + k·dy − top, x·sx + l·dx − left]`
fn convolve(
    weight: &Array4<f64>,
    image: ArrayView3<'_, f64>,
    stride: [usize; 2],
    dilation: [usize; 2],
    [top, left]: [usize; 2],
    size: [usize; 2],
) -> Array3<f64> {
    let (out_channels, channels, kernel_height, kernel_width) = weight.dim();
    let (_, height, width) = image.dim();
    Array3::from_shape_fn((out_channels, size[0], size[1]), |(m, y, x)| {
        let mut sum = 0.0;
        for c in 0..channels {
            for k in 0..kernel_height {
                for l in 0..kernel_width {
                    let row = (y * stride[0] + k * dilation[0]).checked_sub(top);
                    let column = (x * stride[1] + l * dilation[1]).checked_sub(left);
                    if let (Some(row), Some(column)) = (row, column)
                        && row < height
                        && column < width
                    {
                        sum += weight[[m, c, k, l]] * image[[c, row, column]];
                    }
                }
            }
        }
        sum
    })
}

fn before(kernel: [usize; 2], dilation: [usize; 2]) -> [usize; 2] {
    [0, 1].map(|axis| (kernel[axis] - 1) * dilation[axis] / 2)
}

fn input_part<C: Cell>(
    layer: &LayerConfig<C>,
    weights: &LayerWeights<f64>,
    x: ArrayView3<'_, f64>,
    size: [usize; 2],
) -> Array3<f64> {
    let padding = layer
        .input_padding
        .map_or_else(|| before(layer.input_kernel, layer.input_dilation), |padding| [padding.top, padding.left]);
    convolve(weights.weight_ih.as_ref().unwrap(), x, layer.input_stride, layer.input_dilation, padding, size)
}

fn state_part<C: Cell>(layer: &LayerConfig<C>, weight: &Array4<f64>, h: ArrayView3<'_, f64>) -> Array3<f64> {
    let size = [h.dim().1, h.dim().2];
    let padding = before(layer.state_kernel, layer.state_dilation);
    convolve(weight, h, [1, 1], layer.state_dilation, padding, size)
}

fn add_bias(sums: &mut Array3<f64>, bias: &Option<ndarray::Array1<f64>>) {
    if let Some(bias) = bias {
        *sums += &bias.view().insert_axis(Axis(1)).insert_axis(Axis(2));
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn lstm_step(
    layer: &LayerConfig<convlstm::LstmCell>,
    weights: &LayerWeights<f64>,
    x: ArrayView3<'_, f64>,
    h: &Array3<f64>,
    c: &Array3<f64>,
) -> (Array3<f64>, Array3<f64>) {
    let (channels, height, width) = h.dim();
    let mut sums = input_part(layer, weights, x, [height, width]) + state_part(layer, &weights.weight_hh, h.view());
    add_bias(&mut sums, &weights.bias);
    if let Some(groups) = layer.cell.normalisation_groups {
        let members = 4 * channels / groups;
        for group in 0..groups {
            let mut values = sums.slice_mut(s![group * members..(group + 1) * members, .., ..]);
            let (mean, deviation) = (values.mean().unwrap(), (values.var(0.0) + 1e-5).sqrt());
            values.mapv_inplace(|value| (value - mean) / deviation);
        }
        let (scale, shift) = (weights.norm_weight.as_ref().unwrap(), weights.norm_bias.as_ref().unwrap());
        for (channel, mut values) in sums.outer_iter_mut().enumerate() {
            values.mapv_inplace(|value| value * scale[channel] + shift[channel]);
        }
    }
    let peephole = |gate: usize, channel: usize, y: usize, x: usize| {
        weights.peepholes.as_ref().map_or(0.0, |p| p[[gate, channel, y % p.dim().2, x % p.dim().3]])
    };
    let (mut new_h, mut new_c) = (h.clone(), c.clone());
    for channel in 0..channels {
        for y in 0..height {
            for x in 0..width {
                let at = [channel, y, x];
                let a = |gate: usize| sums[[gate * channels + channel, y, x]];
                let i = sigmoid(a(0) + peephole(0, channel, y, x) * c[at]);
                let f = sigmoid(a(1) + peephole(1, channel, y, x) * c[at]);
                new_c[at] = f * c[at] + i * a(2).tanh();
                let o = sigmoid(a(3) + peephole(2, channel, y, x) * new_c[at]);
                new_h[at] = o * new_c[at].tanh();
            }
        }
    }
    (new_h, new_c)
}

fn gru_step(
    layer: &LayerConfig<convlstm::GruCell>,
    weights: &LayerWeights<f64>,
    x: ArrayView3<'_, f64>,
    h: &Array3<f64>,
) -> Array3<f64> {
    let (channels, height, width) = h.dim();
    let mut of_input = input_part(layer, weights, x, [height, width]);
    add_bias(&mut of_input, &weights.bias);
    let of_state = state_part(layer, &weights.weight_hh, h.view());
    let gate = |gate: usize| {
        let rows = s![gate * channels..(gate + 1) * channels, .., ..];
        (&of_input.slice(rows) + &of_state.slice(rows)).mapv(sigmoid)
    };
    let (r, z) = (gate(0), gate(1));
    let rows = s![2 * channels.., .., ..];
    let of_candidate = if layer.cell.reset_after {
        let mut part = of_state.slice(rows).to_owned();
        add_bias(&mut part, &weights.bias_hn);
        &r * &part
    } else {
        let weight = weights.weight_hh.slice(s![2 * channels.., .., .., ..]).to_owned();
        state_part(layer, &weight, (&r * h).view())
    };
    let n = (&of_input.slice(rows) + &of_candidate).mapv(f64::tanh);
    (1.0 - &z) * n + &z * h
}

/// Runs all layers and directions; `step` advances hidden and cell values.
fn run<C: Cell>(
    config: &RecurrentConfig<C>,
    directions: &[LayerWeights<f64>],
    clips: &Array5<f64>,
    initial: &convlstm::RecurrentState<f64>,
    lengths: &[usize],
    step: impl Fn(&LayerConfig<C>, &LayerWeights<f64>, ArrayView3<'_, f64>, &mut Array3<f64>, &mut Array3<f64>),
) -> Array5<f64> {
    let mut input = clips.clone();
    for (l, layer) in config.layers.iter().enumerate() {
        let (_, channels, height, width) = initial.hidden[l * config.directions()].dim();
        let mut output = Array5::zeros((BATCH, TIME, config.directions() * channels, height, width));
        for (sequence, &length) in lengths.iter().enumerate() {
            for d in 0..config.directions() {
                let index = l * config.directions() + d;
                let mut h = initial.hidden[index].index_axis(Axis(0), sequence).to_owned();
                let mut c =
                    initial.cell.get(index).map_or_else(|| h.clone(), |c| c.index_axis(Axis(0), sequence).to_owned());
                let times: Vec<_> = if d == 0 { (0..length).collect() } else { (0..length).rev().collect() };
                for t in times {
                    step(layer, &directions[index], input.slice(s![sequence, t, .., .., ..]), &mut h, &mut c);
                    output.slice_mut(s![sequence, t, d * channels..(d + 1) * channels, .., ..]).assign(&h);
                }
            }
        }
        input = output;
    }
    input
}

#[test]
fn lstm_equals_its_equations() {
    for (description, config, size) in lstm_configs() {
        println!("{description}");
        let layers: ConvLstm<f64> = seeded_layers(config.clone(), 5);
        let clips = seeded_clips([BATCH, TIME, 2, size[0], size[1]], 6);
        let initial = seeded_state(&config, BATCH, size, 7);
        for lengths in [[3, 3], [1, 3]] {
            let expected = run(&config, &layers.directions, &clips, &initial, &lengths, |layer, weights, x, h, c| {
                (*h, *c) = lstm_step(layer, weights, x, h, c);
            });
            let (output, _) = layers.forward(clips.view(), Some(&initial), Some(&lengths)).unwrap();
            assert_all_close(&output, &expected, 1e-12, 1e-13);
        }
    }
}

#[test]
fn gru_equals_its_equations() {
    for (description, config, size) in gru_configs() {
        println!("{description}");
        let layers: ConvGru<f64> = seeded_layers(config.clone(), 5);
        let clips = seeded_clips([BATCH, TIME, 2, size[0], size[1]], 6);
        let initial = seeded_state(&config, BATCH, size, 7);
        for lengths in [[3, 3], [1, 3]] {
            let expected = run(&config, &layers.directions, &clips, &initial, &lengths, |layer, weights, x, h, _| {
                *h = gru_step(layer, weights, x, h);
            });
            let (output, _) = layers.forward(clips.view(), Some(&initial), Some(&lengths)).unwrap();
            assert_all_close(&output, &expected, 1e-12, 1e-13);
        }
    }
}
