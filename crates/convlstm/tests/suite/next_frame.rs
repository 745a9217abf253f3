//! The model of the next frame: what it equals, its gradients, its schedule, and what is refused.

use convlstm::{
    Cell, ConvLstmError, Feedback, GruCell, LayerConfig, LstmCell, NextFrame, NextFrameConfig, OutputMaps, Peepholes,
    ScheduledSampling, patchify, unpatchify,
};
use ndarray::{Array2, Array5, Axis, concatenate, s};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use tensor_ops::testing::{
    assert_all_close, assert_bits_equal, assert_independent_of_threads, check_parameter_gradients, numeric_gradient,
    seeded_array,
};
use tensor_ops::{Element, Parameters};

/// Five columns are no whole patches.
const FRAMES: [usize; 5] = [2, 4, 1, 4, 5];

fn config<C: Cell>(cell: C, output_maps: OutputMaps, feedback: Feedback) -> NextFrameConfig<C> {
    let layers = vec![LayerConfig { cell, ..LayerConfig::new(3, 3) }, LayerConfig::new(2, 3)];
    NextFrameConfig { patch: 2, layers, output_maps, feedback, ..NextFrameConfig::default() }
}

fn model<T: Element, C: Cell>(config: NextFrameConfig<C>) -> NextFrame<T, C> {
    NextFrame::new(config, &mut StdRng::seed_from_u64(1)).unwrap()
}

fn frames<T: Element>(seed: u64) -> Array5<T> {
    seeded_array(ndarray::Dim(FRAMES), seed)
}

/// True frames and said ones in turns, another turn for each sequence, and two said ones in a row.
fn mixed() -> Array2<bool> {
    ndarray::array![[true, false, false, true], [false, true, false, false]]
}

const KINDS: [(OutputMaps, Feedback); 4] = [
    (OutputMaps::AllLayers, Feedback::Linear),
    (OutputMaps::AllLayers, Feedback::Sigmoid),
    (OutputMaps::LastLayer, Feedback::Linear),
    (OutputMaps::LastLayer, Feedback::Sigmoid),
];

#[test]
fn with_true_frames_alone_it_is_the_stack_and_the_convolution() {
    for (output_maps, feedback) in KINDS {
        let model = model::<f32, _>(config(LstmCell::default(), output_maps, feedback));
        let clips = frames::<f32>(2);
        let (said, trace) = model.forward_training(clips.view(), Array2::from_elem((2, 4), true).view()).unwrap();
        let patches = patchify(clips.view(), 2).unwrap();
        let (_, _, of_layers) = model.layers.forward_training(patches.view(), None, None).unwrap();
        let views: Vec<_> = match output_maps {
            OutputMaps::AllLayers => of_layers.outputs().collect(),
            OutputMaps::LastLayer => of_layers.outputs().skip(1).collect(),
        };
        let maps = concatenate(Axis(2), &views).unwrap();
        let (batch, time, channels, height, width) = maps.dim();
        let images = maps.as_standard_layout().into_owned();
        let images = images.into_shape_with_order((batch * time, channels, height, width)).unwrap();
        let (output, of_output) = model.output.forward_training(images.view()).unwrap();
        let expected = output.into_shape_with_order((batch, time, 4, height, width)).unwrap();
        assert_bits_equal(&said, &unpatchify(expected.view(), 2, [4, 5]).unwrap());
        assert_bits_equal(&model.forward(clips.view(), 1).unwrap(), &said);

        let gradient = frames::<f32>(3);
        let (grad_frames, parameters) = model.backward(&trace, gradient.view()).unwrap();
        let patches = patchify(gradient.view(), 2).unwrap().into_shape_with_order((batch * time, 4, height, width));
        let gradients = model.output.backward(&of_output, patches.unwrap().view()).unwrap();
        assert_bits_equal(&parameters.output.weight, &gradients.parameters.weight);
        let maps = gradients.input.into_shape_with_order((batch, time, channels, height, width)).unwrap();
        let of_layers_grad = match output_maps {
            OutputMaps::AllLayers => {
                vec![Some(maps.slice(s![.., .., ..3, .., ..])), Some(maps.slice(s![.., .., 3.., .., ..]))]
            }
            OutputMaps::LastLayer => vec![None, Some(maps.view())],
        };
        let gradients = model.layers.backward_layers(&of_layers, &of_layers_grad, None, true).unwrap();
        let expected = unpatchify(gradients.input.unwrap().view(), 2, [4, 5]).unwrap();
        assert_all_close(&grad_frames, &expected, 1e-5, 1e-6);
        for ((name, found), (_, expected)) in parameters.layers.named().iter().zip(gradients.parameters.named()) {
            println!("{name}");
            assert_all_close(found, &expected, 1e-5, 1e-6);
        }
    }
}

fn check_gradients<C: Cell>(cell: C, output_maps: OutputMaps, feedback: Feedback, truth: &Array2<bool>) {
    let mut model = model::<f64, C>(config(cell, output_maps, feedback));
    model.visit_mut(&mut |name, mut values| {
        if name.contains("peepholes") || name.contains("norm") {
            let drawn = seeded_array::<f64, _>(values.raw_dim(), 9);
            values.assign(&drawn);
        }
    });
    let (clips, gradient) = (frames::<f64>(2), frames::<f64>(3));
    let (_, trace) = model.forward_training(clips.view(), truth.view()).unwrap();
    let loss = |model: &NextFrame<f64, C>, clips: &Array5<f64>| {
        (model.forward_training(clips.view(), truth.view()).unwrap().0 * &gradient).sum()
    };
    let (grad_frames, parameters) = model.backward(&trace, gradient.view()).unwrap();
    assert_all_close(&grad_frames, &numeric_gradient(&clips, |clips| loss(&model, clips)), 1e-6, 1e-8);
    check_parameter_gradients(&model, &parameters, |model| loss(model, &clips));
}

#[test]
fn gradients_are_those_of_central_differences() {
    for (output_maps, feedback) in KINDS {
        let cell = LstmCell { peepholes: Peepholes::PerChannel, ..LstmCell::default() };
        check_gradients(cell, output_maps, feedback, &mixed());
    }
    let (all, sigmoid) = (OutputMaps::AllLayers, Feedback::Sigmoid);
    check_gradients(LstmCell::default(), all, sigmoid, &Array2::from_elem((2, 4), false));
    check_gradients(LstmCell::default(), all, sigmoid, &Array2::from_elem((2, 4), true));
    check_gradients(LstmCell { normalisation_groups: Some(3), ..LstmCell::default() }, all, sigmoid, &mixed());
    check_gradients(GruCell { reset_after: true }, all, Feedback::Linear, &mixed());
    check_gradients(GruCell { reset_after: false }, all, sigmoid, &mixed());
}

#[test]
fn a_roll_out_reads_what_was_said() {
    for (output_maps, feedback) in KINDS {
        let model = model::<f64, _>(config(LstmCell::default(), output_maps, feedback));
        let clips = frames::<f64>(2);
        let (known, horizon) = (2, 3);
        let rolled = model.forward(clips.slice(s![.., ..known, .., .., ..]), horizon).unwrap();
        assert_eq!(rolled.dim(), (2, known + horizon - 1, 1, 4, 5));
        // Frame by frame: what was said becomes a true frame of a longer clip.
        let mut longer = clips.slice(s![.., ..known, .., .., ..]).to_owned();
        while longer.len_of(Axis(1)) < known + horizon - 1 {
            let said = model.forward(longer.view(), 1).unwrap();
            let last = said.slice(s![.., longer.len_of(Axis(1)) - 1.., .., .., ..]);
            let read = match feedback {
                Feedback::Linear => last.to_owned(),
                Feedback::Sigmoid => last.mapv(|value| 1.0 / (1.0 + (-value).exp())),
            };
            longer = concatenate(Axis(1), &[longer.view(), read.view()]).unwrap();
        }
        assert_all_close(&model.forward(longer.view(), 1).unwrap(), &rolled, 1e-12, 1e-14);
        // The same with a mask, where the frames that are not read hold no numbers.
        let mut unread = clips.clone();
        unread.slice_mut(s![.., known.., .., .., ..]).fill(f64::NAN);
        let truth = Array2::from_shape_fn((2, 4), |(_, step)| step < known);
        let (said, trace) = model.forward_training(unread.view(), truth.view()).unwrap();
        assert_bits_equal(&said, &rolled);
        let (grad_frames, parameters) = model.backward(&trace, frames::<f64>(3).view()).unwrap();
        assert!(grad_frames.slice(s![.., known.., .., .., ..]).iter().all(|&value| value == 0.0));
        assert!(grad_frames.slice(s![.., ..known, .., .., ..]).iter().all(|&value| value.is_finite() && value != 0.0));
        parameters.visit(&mut |name, values| assert!(values.iter().all(|value| value.is_finite()), "{name}"));
    }
}

#[test]
fn results_do_not_depend_on_threads_nor_on_the_batch() {
    let model = model::<f32, _>(NextFrameConfig {
        layers: vec![LayerConfig::<LstmCell>::new(16, 3), LayerConfig::new(8, 5)],
        patch: 2,
        feedback: Feedback::Sigmoid,
        ..NextFrameConfig::default()
    });
    let clips: Array5<f32> = seeded_array((3, 5, 1, 40, 33), 2);
    let truth = ScheduledSampling::default().mask(25_000, [3, 5], 2, &mut StdRng::seed_from_u64(4)).unwrap();
    let results = || {
        let (said, trace) = model.forward_training(clips.view(), truth.view()).unwrap();
        let (grad_frames, parameters) = model.backward(&trace, clips.view()).unwrap();
        let mut results = vec![said.into_dyn(), grad_frames.into_dyn()];
        parameters.visit(&mut |_, values| results.push(values.to_owned()));
        results
    };
    assert_independent_of_threads(results);
    let all = results();
    for sequence in 0..3 {
        let one = s![sequence..=sequence, .., .., .., ..];
        let (said, trace) = model.forward_training(clips.slice(one), truth.slice(s![sequence..=sequence, ..])).unwrap();
        let (grad_frames, _) = model.backward(&trace, clips.slice(one)).unwrap();
        assert_bits_equal(&said.into_dyn(), &all[0].slice_axis(Axis(0), (sequence..=sequence).into()));
        assert_bits_equal(&grad_frames.into_dyn(), &all[1].slice_axis(Axis(0), (sequence..=sequence).into()));
    }
}

#[test]
fn the_schedule_falls_to_nothing() {
    let schedule = ScheduledSampling::default();
    for (iteration, expected) in [(0, 1.0), (1, 1.0 - 2e-5), (25_000, 0.5), (50_000, 0.0), (u64::MAX, 0.0)] {
        assert!((schedule.probability(iteration).unwrap() - expected).abs() < 1e-12, "{iteration}");
    }
    let early = ScheduledSampling { start: 0.4, decrease: 0.1, ..schedule };
    assert_eq!(early.probability(7).unwrap(), 0.0);
    let mask = |iteration, seed| schedule.mask(iteration, [200, 50], 10, &mut StdRng::seed_from_u64(seed)).unwrap();
    assert!(mask(0, 1).iter().all(|&truth| truth));
    for iteration in [12_500, 40_000, 50_000] {
        let drawn = mask(iteration, 1);
        assert_eq!(drawn, mask(iteration, 1), "the same generator state gives the same mask");
        assert!(drawn.slice(s![.., ..10]).iter().all(|&truth| truth), "the context is true");
        let rest = drawn.slice(s![.., 10..]);
        let (share, probability) = (
            rest.iter().filter(|&&truth| truth).count() as f64 / rest.len() as f64,
            schedule.probability(iteration).unwrap(),
        );
        let deviation = (probability * (1.0 - probability) / rest.len() as f64).sqrt();
        assert!((share - probability).abs() <= 4.0 * deviation, "{iteration}: {share} of {probability}");
    }
    assert_ne!(mask(25_000, 1), mask(25_000, 2));
}

fn text<V>(result: Result<V, ConvLstmError>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn what_does_not_fit_is_refused() {
    let config = config(LstmCell::default(), OutputMaps::AllLayers, Feedback::Linear);
    let rng = &mut StdRng::seed_from_u64(1);
    let strided = LayerConfig { input_stride: [2, 2], ..LayerConfig::new(2, 3) };
    let mut new = |config: &NextFrameConfig<LstmCell>| text(NextFrame::<f32, _>::new(config.clone(), rng));
    let table = [
        (
            new(&NextFrameConfig { channels: 0, ..config.clone() }),
            "NextFrame: channels: expected at least 1 entry, found 0",
        ),
        (new(&NextFrameConfig { patch: 0, ..config.clone() }), "NextFrame: patch: expected at least 1 entry, found 0"),
        (
            new(&NextFrameConfig { layers: Vec::new(), ..config.clone() }),
            "ConvLstm: layers: expected at least 1 entry, found 0",
        ),
        (
            new(&NextFrameConfig { layers: vec![strided], ..config.clone() }),
            "ConvLstm: option `input_stride of a next-frame model` must be [1, 1] with the padding that keeps the size, found \
             [2, 2], padding None",
        ),
    ];
    for (found, expected) in table {
        assert_eq!(found, expected);
    }
    assert!(!new(&NextFrameConfig { patch: usize::MAX / 2, ..config.clone() }).is_empty());

    let model = model::<f32, _>(config.clone());
    let forward = |shape: [usize; 5], horizon| text(model.forward(Array5::zeros(shape).view(), horizon));
    let training = |shape: [usize; 5], truth: [usize; 2]| {
        text(model.forward_training(Array5::zeros(shape).view(), Array2::from_elem(truth, true).view()))
    };
    let (_, trace) = model.forward_training(frames::<f32>(1).view(), mixed().view()).unwrap();
    let backward = |shape: [usize; 5]| text(model.backward(&trace, Array5::zeros(shape).view()));
    let narrow = self::model::<f32, _>(NextFrameConfig { layers: vec![LayerConfig::new(2, 3); 2], ..config });
    let schedule = |start, decrease| text(ScheduledSampling { start, decrease, end: 9 }.probability(0));
    let mask =
        |shape, context| text(ScheduledSampling::default().mask(0, shape, context, &mut StdRng::seed_from_u64(1)));
    let table = [
        (forward(FRAMES, 0), "NextFrame: horizon: expected at least 1 entry, found 0"),
        (forward([0, 4, 1, 4, 5], 1), "patchify: batch: expected at least 1 entry, found 0"),
        (forward([2, 0, 1, 4, 5], 1), "patchify: time: expected at least 1 entry, found 0"),
        (forward([2, 4, 2, 4, 5], 1), "NextFrame: frames channels: expected size 1, found 2"),
        (forward([2, 4, 1, 0, 5], 1), "patchify: height: expected at least 1 entry, found 0"),
        (forward(FRAMES, usize::MAX), "convlstm: frames: no memory for shape [2, 18446744073709551615]"),
        (training(FRAMES, [1, 4]), "NextFrame: truth batch: expected size 2, found 1"),
        (training(FRAMES, [2, 5]), "NextFrame: truth time: expected size 4, found 5"),
        (backward([1, 4, 1, 4, 5]), "NextFrame: gradient batch: expected size 2, found 1"),
        (backward([2, 3, 1, 4, 5]), "NextFrame: gradient time: expected size 4, found 3"),
        (backward([2, 4, 4, 4, 5]), "NextFrame: gradient channels: expected size 1, found 4"),
        (backward([2, 4, 1, 5, 5]), "NextFrame: gradient height: expected size 4, found 5"),
        (backward([2, 4, 1, 4, 6]), "NextFrame: gradient width: expected size 5, found 6"),
        (
            text(narrow.backward(&trace, frames::<f32>(1).view())),
            "ConvLstm: option `trace` must be that of a forward pass with the same configuration, found another configuration",
        ),
        (schedule(1.5, 0.1), "ScheduledSampling: option `start` must be from 0 to 1, found 1.5"),
        (schedule(f64::NAN, 0.1), "ScheduledSampling: option `start` must be from 0 to 1, found NaN"),
        (schedule(1.0, -0.1), "ScheduledSampling: option `decrease` must be at least 0 and finite, found -0.1"),
        (mask([0, 4], 1), "ScheduledSampling: batch: expected at least 1 entry, found 0"),
        (mask([2, 0], 1), "ScheduledSampling: time: expected at least 1 entry, found 0"),
        (mask([2, 4], 0), "ScheduledSampling: context: expected at least 1 entry, found 0"),
    ];
    for (found, expected) in table {
        assert_eq!(found, expected);
    }
}
