//! Every misuse has its error.

use ndarray::{Array, Array1, Array2, Array3, Array4, Array5, ArrayD, IxDyn};
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use pooling::{
    AdaptiveAvgPool2d, Architecture, AvgPool2d, FeaturePooling, FeaturePoolingConfig, GlobalPool, MaxPool2d,
    PoolingError, Reducer, TemporalPool, TemporalWindow,
};
use tensor_ops::{Padding, Window};

const WINDOW: TemporalWindow = TemporalWindow { frames: 4, stride: 2 };

fn maximum(pool: MaxPool2d, shape: [usize; 4]) -> String {
    let input = Array4::<f32>::zeros(shape);
    let error = pool.forward(input.view()).unwrap_err();
    assert_eq!(error, pool.forward_training(input.view()).unwrap_err(), "training refuses as inference does");
    error.to_string()
}

fn maximum_of(window: Window, ceil_mode: bool) -> String {
    maximum(MaxPool2d { window, ceil_mode }, [1, 1, 5, 5])
}

fn maximum_gradient(shape: [usize; 4]) -> String {
    let pool = MaxPool2d::new([2, 2]);
    let (_, trace) = pool.forward_training(Array4::<f32>::zeros((2, 3, 4, 6)).view()).unwrap();
    pool.backward(&trace, Array4::<f32>::zeros(shape).view()).unwrap_err().to_string()
}

fn average(pool: AvgPool2d, shape: [usize; 4]) -> String {
    pool.forward(Array4::<f32>::zeros(shape).view()).unwrap_err().to_string()
}

fn average_gradient(input: [usize; 2], shape: [usize; 4]) -> String {
    AvgPool2d::new([2, 2]).backward(input, Array4::<f32>::zeros(shape).view()).unwrap_err().to_string()
}

fn adaptive(output: [usize; 2], shape: [usize; 4]) -> String {
    let pool = AdaptiveAvgPool2d { output };
    pool.forward(Array4::<f32>::zeros(shape).view()).unwrap_err().to_string()
}

fn temporal(reducer: Reducer, window: Option<TemporalWindow>, shape: &[usize], lengths: Option<&[usize]>) -> String {
    let input = ArrayD::<f32>::zeros(IxDyn(shape));
    let pool = TemporalPool { reducer, window };
    let error = pool.forward(input.view(), lengths).unwrap_err();
    assert_eq!(error, pool.forward_training(input.view(), lengths).unwrap_err(), "training refuses as inference does");
    error.to_string()
}

fn lengths(lengths: &[usize]) -> String {
    temporal(Reducer::Max, None, &[2, 5, 3], Some(lengths))
}

fn temporal_gradient(shape: [usize; 3]) -> String {
    let pool = TemporalPool { reducer: Reducer::Mean, window: Some(WINDOW) };
    let input = Array3::<f32>::zeros((2, 8, 3));
    let (_, trace) = pool.forward_training(input.view(), None).unwrap();
    TemporalPool::backward(&trace, Array3::zeros(shape).view()).unwrap_err().to_string()
}

fn config() -> FeaturePoolingConfig {
    let architecture = Architecture::Local { window: WINDOW, windows: 3 };
    let units = || vec![3];
    let conv = FeaturePoolingConfig::conv([2, 3, 4], 5);
    FeaturePoolingConfig { architecture, shared: units(), hidden: units(), ..conv }
}

fn refused_config(change: impl Fn(&mut FeaturePoolingConfig)) -> String {
    let mut config = config();
    change(&mut config);
    FeaturePooling::<f32>::zeros(config).unwrap_err().to_string()
}

fn model() -> FeaturePooling<f32> {
    FeaturePooling::new(config(), &mut StdRng::seed_from_u64(1)).unwrap()
}

fn forward(model: &FeaturePooling<f32>, shape: [usize; 5], lengths: Option<&[usize]>) -> PoolingError {
    let input = Array5::zeros(shape);
    let error = model.forward(input.view(), lengths).unwrap_err();
    let training = model.forward_training(input.view(), lengths, &mut StdRng::seed_from_u64(1)).unwrap_err();
    assert_eq!(error, training, "training refuses as inference does");
    error
}

fn refused(shape: [usize; 5], lengths: Option<&[usize]>) -> String {
    forward(&model(), shape, lengths).to_string()
}

fn refused_parts(change: impl Fn(&mut FeaturePooling<f32>)) -> String {
    let mut changed = model();
    let input = Array5::zeros((1, 8, 2, 3, 4));
    let (_, trace) = changed.forward_training(input.view(), None, &mut StdRng::seed_from_u64(1)).unwrap();
    change(&mut changed);
    let error = forward(&changed, [1, 8, 2, 3, 4], None);
    assert_eq!(error, changed.backward(&trace, Array2::zeros((1, 5)).view()).unwrap_err(), "backward refuses too");
    error.to_string()
}

fn refused_convolution(change: impl Fn(&mut FeaturePooling<f32>)) -> String {
    let architecture = Architecture::TimeDomain { window: WINDOW, kernels: 6, kernel: [3, 3] };
    let config = FeaturePoolingConfig { architecture, shared: vec![], ..config() };
    let mut model = FeaturePooling::zeros(config).unwrap();
    change(&mut model);
    forward(&model, [1, 8, 2, 3, 4], None).to_string()
}

fn refused_gradient(shape: [usize; 2]) -> String {
    let model = model();
    let input = Array5::zeros((2, 8, 2, 3, 4));
    let (_, trace) = model.forward_training(input.view(), None, &mut StdRng::seed_from_u64(1)).unwrap();
    let grad = Array2::zeros(shape);
    let error = model.backward(&trace, grad.view()).unwrap_err();
    assert_eq!(error, model.backward_parameters(&trace, grad.view()).unwrap_err());
    error.to_string()
}

fn foreign_trace() -> String {
    let other = FeaturePoolingConfig { hidden: vec![3, 3], ..config() };
    let other = FeaturePooling::<f32>::zeros(other).unwrap();
    let input = Array5::zeros((1, 8, 2, 3, 4));
    let (_, trace) = other.forward_training(input.view(), None, &mut StdRng::seed_from_u64(1)).unwrap();
    model().backward(&trace, Array2::zeros((1, 5)).view()).unwrap_err().to_string()
}

fn check(table: Vec<(String, &str)>) {
    let wrong: Vec<_> = table.iter().filter(|(found, expected)| found != expected).collect();
    assert!(wrong.is_empty(), "{} of {} messages (found, expected): {wrong:#?}", wrong.len(), table.len());
}

#[test]
fn spatial() {
    let one = Window::new([1, 1]);
    let two = Window::new([2, 2]);
    check(vec![
        (maximum(MaxPool2d::new([2, 2]), [0, 1, 4, 4]), "MaxPool2d: input batch: expected at least 1 entry, found 0"),
        (
            maximum(MaxPool2d::new([2, 2]), [1, 0, 4, 4]),
            "MaxPool2d: input channels: expected at least 1 entry, found 0",
        ),
        (maximum(MaxPool2d::new([2, 2]), [1, 1, 0, 4]), "MaxPool2d: input height: expected at least 1 entry, found 0"),
        (
            maximum_of(Window::new([0, 2]), false),
            "MaxPool2d: option `kernel` must be at least 1 on both axes, found [0, 2]",
        ),
        (
            maximum_of(Window { stride: [1, 0], ..two }, true),
            "MaxPool2d: option `stride` must be at least 1 on both axes, found [1, 0]",
        ),
        (
            maximum_of(Window { dilation: [0, 1], ..two }, false),
            "MaxPool2d: option `dilation` must be at least 1 on both axes, found [0, 1]",
        ),
        (
            maximum_of(Window::new([2, 6]), false),
            "MaxPool2d: option `kernel width` must be at most the padded input, dilation included, found 6 for a padded input of 5",
        ),
        (
            maximum_of(Window { padding: Padding::symmetric(2, 0), ..two }, false),
            "MaxPool2d: option `padding` must be such that every window meets the input, found 2 and 2, where output row 0 meets nothing",
        ),
        (
            maximum_of(Window { padding: Padding { right: 1, ..Padding::ZERO }, ..one }, false),
            "MaxPool2d: option `padding` must be such that every window meets the input, found 0 and 1, where output column 5 meets nothing",
        ),
        (
            maximum_of(Window { padding: Padding::symmetric(3, 0), dilation: [7, 1], ..two }, false),
            "MaxPool2d: option `padding` must be such that every window meets the input, found 3 and 3, where output row 1 meets nothing",
        ),
        (
            maximum_of(Window { padding: Padding { top: usize::MAX, ..Padding::ZERO }, ..two }, true),
            "MaxPool2d: option `padding` must be small enough that the padded input can be addressed, found 18446744073709551615 and 0 around 5",
        ),
        (maximum_gradient([2, 3, 2, 4]), "MaxPool2d: grad_output width: expected size 3, found 4"),
        (maximum_gradient([1, 3, 2, 3]), "MaxPool2d: grad_output batch: expected size 2, found 1"),
        (average(AvgPool2d::new([2, 2]), [1, 1, 4, 0]), "AvgPool2d: input width: expected at least 1 entry, found 0"),
        (
            average(AvgPool2d::new([0, 0]), [1, 1, 4, 4]),
            "AvgPool2d: option `kernel` must be at least 1 on both axes, found [0, 0]",
        ),
        (
            average(AvgPool2d { padding: Padding::symmetric(0, 3), ..AvgPool2d::new([2, 2]) }, [1, 1, 4, 4]),
            "AvgPool2d: option `padding` must be such that every window meets the input, found 3 and 3, where output column 0 meets nothing",
        ),
        (average_gradient([4, 4], [1, 2, 2, 3]), "AvgPool2d: grad_output width: expected size 2, found 3"),
        (average_gradient([4, 0], [1, 2, 2, 2]), "AvgPool2d: input width: expected at least 1 entry, found 0"),
        (average_gradient([4, 4], [1, 0, 2, 2]), "AvgPool2d: input channels: expected at least 1 entry, found 0"),
        (
            adaptive([0, 1], [1, 1, 4, 4]),
            "AdaptiveAvgPool2d: option `output` must be at least 1 on both axes, found [0, 1]",
        ),
        (adaptive([1, 1], [1, 1, 0, 4]), "AdaptiveAvgPool2d: input height: expected at least 1 entry, found 0"),
        (
            adaptive([1 << 40, 1 << 40], [1, 1, 4, 4]),
            "AdaptiveAvgPool2d: output: no memory for shape [1, 1, 1099511627776, 1099511627776]",
        ),
        (
            GlobalPool::Max.forward(Array4::<f32>::zeros((0, 1, 2, 2)).view()).unwrap_err().to_string(),
            "GlobalPool: input batch: expected at least 1 entry, found 0",
        ),
    ]);
}

#[test]
fn over_time() {
    let [max, mean] = [Reducer::Max, Reducer::Mean];
    let softmax = |sharpness| Reducer::SoftmaxWeighted { sharpness };
    let window = |frames, stride| Some(TemporalWindow { frames, stride });
    let shape = [2, 5, 3];
    let whole = {
        let input = Array3::<f32>::zeros((2, 8, 3));
        let pool = TemporalPool { reducer: mean, window: Some(WINDOW) };
        let (_, trace) = pool.forward_training(input.view(), None).unwrap();
        Reducer::backward(&trace, Array2::zeros((2, 3)).view()).unwrap_err().to_string()
    };
    let vector = Reducer::Max.forward(Array1::<f32>::zeros(3).view(), None).unwrap_err().to_string();
    check(vec![
        (temporal(max, None, &[0, 5, 3], None), "TemporalPool: input batch: expected at least 1 entry, found 0"),
        (temporal(max, None, &[2, 0, 3], None), "TemporalPool: input time: expected at least 1 entry, found 0"),
        (temporal(max, None, &[2, 5, 0], None), "TemporalPool: input features: expected at least 1 entry, found 0"),
        (
            temporal(max, None, &[2], None),
            "TemporalPool: option `input` must be an array of batch, time and any further axes, found [2]",
        ),
        (vector, "TemporalPool: option `input` must be an array of batch, time and any further axes, found [3]"),
        (lengths(&[5]), "TemporalPool: lengths: expected size 2, found 1"),
        (lengths(&[5, 0]), "TemporalPool: length of sequence 1: expected 1 to 5 time steps, found 0"),
        (lengths(&[6, 1]), "TemporalPool: length of sequence 0: expected 1 to 5 time steps, found 6"),
        (temporal(mean, window(0, 1), &shape, None), "TemporalWindow: option `frames` must be at least 1, found 0"),
        (temporal(mean, window(1, 0), &shape, None), "TemporalWindow: option `stride` must be at least 1, found 0"),
        (temporal(Reducer::TopKMean(0), None, &shape, None), "Reducer: option `k` must be at least 1, found 0"),
        (temporal(softmax(f64::NAN), None, &shape, None), "Reducer: option `sharpness` must be finite, found NaN"),
        (temporal(softmax(f64::INFINITY), None, &shape, None), "Reducer: option `sharpness` must be finite, found inf"),
        (temporal_gradient([1, 3, 3]), "TemporalPool: grad_output batch: expected size 2, found 1"),
        (temporal_gradient([2, 8, 3]), "TemporalPool: grad_output windows: expected size 3, found 8"),
        (temporal_gradient([2, 3, 4]), "TemporalPool: grad_output features: expected size 3, found 4"),
        (whole, "TemporalPool: grad_output windows: expected size 3, found 1"),
        (
            WINDOW.counts(2, 5, Some(&[5, 6])).unwrap_err().to_string(),
            "TemporalWindow: length of sequence 1: expected 1 to 5 time steps, found 6",
        ),
        (
            WINDOW.counts(0, 5, None).unwrap_err().to_string(),
            "TemporalWindow: batch: expected at least 1 entry, found 0",
        ),
    ]);
}

#[test]
fn configurations() {
    let conv = "FeaturePoolingConfig: option `shared` must be empty, as conv pooling and time-domain convolution have no layers before the last pooling, found [3]";
    let convolution = |kernels, kernel| Architecture::TimeDomain { window: WINDOW, kernels, kernel };
    check(vec![
        (refused_config(|c| c.input[1] = 0), "FeaturePoolingConfig: input height: expected at least 1 entry, found 0"),
        (refused_config(|c| c.classes = 0), "FeaturePoolingConfig: classes: expected at least 1 entry, found 0"),
        (refused_config(|c| c.shared[0] = 0), "FeaturePoolingConfig: shared units: expected at least 1 entry, found 0"),
        (refused_config(|c| c.hidden[0] = 0), "FeaturePoolingConfig: hidden units: expected at least 1 entry, found 0"),
        (
            refused_config(|c| c.dropout = 1.0),
            "FeaturePoolingConfig: option `dropout` must be at least 0 and below 1, found 1",
        ),
        (
            refused_config(|c| c.dropout = f64::NAN),
            "FeaturePoolingConfig: option `dropout` must be at least 0 and below 1, found NaN",
        ),
        (refused_config(|c| c.reducer = Reducer::TopKMean(0)), "Reducer: option `k` must be at least 1, found 0"),
        (refused_config(|c| c.architecture = Architecture::Conv), conv),
        (refused_config(|c| c.architecture = convolution(4, [3, 3])), conv),
        (
            refused_config(|c| (c.architecture, c.shared) = (convolution(0, [3, 3]), vec![])),
            "FeaturePoolingConfig: option `kernels` must be at least 1, found 0",
        ),
        (
            refused_config(|c| (c.architecture, c.shared) = (convolution(4, [3, 0]), vec![])),
            "FeaturePoolingConfig: option `kernel` must be at least 1 on both axes, found [3, 0]",
        ),
        (
            refused_config(|c| c.architecture = Architecture::Local { window: WINDOW, windows: 0 }),
            "FeaturePoolingConfig: option `windows` must be at least 1, found 0",
        ),
        (
            refused_config(|c| c.architecture = Architecture::Slow { window: TemporalWindow { frames: 0, stride: 1 } }),
            "TemporalWindow: option `frames` must be at least 1, found 0",
        ),
        (
            refused_config(|c| c.classes = 1 << 60),
            "FeaturePooling: weight: no memory for shape [1152921504606846976, 3]",
        ),
        (
            refused_config(|c| c.input = [1 << 40, 1 << 40, 1]),
            "FeaturePoolingConfig: weight: no memory for shape [1099511627776, 1099511627776, 1]",
        ),
        (
            refused_config(|c| (c.architecture, c.shared) = (convolution(1 << 60, [3, 3]), vec![])),
            "FeaturePoolingConfig: weight: no memory for shape [1152921504606846976, 2, 4, 3, 3]",
        ),
    ]);
}

#[test]
fn architectures() {
    let shape = [2, 8, 2, 3, 4];
    check(vec![
        (refused([0, 8, 2, 3, 4], None), "FeaturePooling: input batch: expected at least 1 entry, found 0"),
        (refused([2, 0, 2, 3, 4], None), "FeaturePooling: input time: expected at least 1 entry, found 0"),
        (refused([2, 8, 3, 3, 4], None), "FeaturePooling: input channels: expected size 2, found 3"),
        (refused([2, 8, 2, 4, 4], None), "FeaturePooling: input height: expected size 3, found 4"),
        (refused([2, 8, 2, 3, 0], None), "FeaturePooling: input width: expected size 4, found 0"),
        (refused(shape, Some(&[8])), "FeaturePooling: lengths: expected size 2, found 1"),
        (refused(shape, Some(&[8, 9])), "FeaturePooling: length of sequence 1: expected 1 to 8 time steps, found 9"),
        (
            refused([2, 12, 2, 3, 4], None),
            "FeaturePooling: windows of clip 0 with 12 frames: local pooling expected 3, found 5",
        ),
        (
            refused(shape, Some(&[8, 3])),
            "FeaturePooling: windows of clip 1 with 3 frames: local pooling expected 3, found 1",
        ),
        (refused_gradient([1, 5]), "FeaturePooling: grad_scores batch: expected size 2, found 1"),
        (refused_gradient([2, 4]), "FeaturePooling: grad_scores classes: expected size 5, found 4"),
        (foreign_trace(), "FeaturePooling: trace: the configuration asks for a forward pass of its own"),
        (refused_parts(|m| m.shared.clear()), "FeaturePooling: shared: the configuration asks for 1 of them"),
        (
            refused_parts(|m| m.hidden.push(m.classifier.clone())),
            "FeaturePooling: hidden: the configuration asks for 1 of them",
        ),
        (
            refused_parts(|m| m.classifier.bias = None),
            "FeaturePooling: classifier bias: the configuration asks for this array",
        ),
        (
            refused_parts(|m| m.shared[0].weight = Array2::zeros((3, 7))),
            "FeaturePooling: shared weight inputs: expected size 24, found 7",
        ),
        (
            refused_parts(|m| m.hidden[0].weight = Array2::zeros((4, 9))),
            "FeaturePooling: hidden weight outputs: expected size 3, found 4",
        ),
        (
            refused_parts(|m| m.classifier.bias = Some(Array1::zeros(4))),
            "FeaturePooling: classifier bias: expected size 5, found 4",
        ),
        (
            refused_convolution(|m| m.convolution = None),
            "FeaturePooling: convolution: the configuration asks for 1 of them",
        ),
        (
            refused_convolution(|m| {
                let convolution = m.convolution.as_mut().expect("a convolution");
                convolution.weight = Array::zeros((6, 2, 5, 3, 3));
            }),
            "FeaturePooling: convolution weight frames: expected size 4, found 5",
        ),
        (
            refused_convolution(|m| m.convolution.as_mut().expect("a convolution").bias = Array1::zeros(5)),
            "FeaturePooling: convolution bias: expected size 6, found 5",
        ),
    ]);
}
