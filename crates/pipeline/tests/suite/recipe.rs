//! Reading and checking recipes.

use pipeline::data::Protocol;
use pipeline::model::{ConvolutionConfig, ReadOut, TemporalConfig};
use pipeline::recipe::{ActionRecipe, RecipeError};
use pipeline::training::ScheduleKind;

#[test]
fn defaults_are_valid_and_survive_writing() {
    let recipe = ActionRecipe::default();
    assert_eq!(recipe.validate(), Ok(()));
    assert_eq!(ActionRecipe::from_toml(&recipe.to_toml()), Ok(recipe.clone()));
    assert_eq!(ActionRecipe::from_toml(""), Ok(recipe));
}

#[test]
fn every_part_can_be_set() {
    let text = r#"
        recipe = "actions"
        seed = 12
        [data]
        protocol = "leave-one-person-out"
        clips_per_person = 9
        [preprocessing]
        temporal_difference = true
        [augmentation]
        max_shift = 2
        [model.encoder]
        convolutions = [{ channels = 4, stride = 2 }, { channels = 6, kernel = 5, padding = 2 }]
        [model.temporal.lstm]
        hidden = 24
        read_out = "linear"
        [model.head]
        dropout = 0.5
        [training]
        schedule = "cosine"
        [evaluation]
        average_symmetries = false
    "#;
    let recipe = ActionRecipe::from_toml(text).unwrap();
    assert_eq!(recipe.validate(), Ok(()));
    assert_eq!((recipe.seed, recipe.data.clips_per_person), (12, Some(9)));
    assert_eq!(recipe.data.protocol, Protocol::LeaveOnePersonOut);
    assert!(recipe.preprocessing.temporal_difference);
    assert_eq!(recipe.augmentation.max_shift, 2);
    let expected = [
        ConvolutionConfig { channels: 4, kernel: 3, stride: 2, padding: 1 },
        ConvolutionConfig { channels: 6, kernel: 5, stride: 1, padding: 2 },
    ];
    assert_eq!(recipe.model.encoder.convolutions, expected);
    let TemporalConfig::Lstm(lstm) = &recipe.model.temporal else { panic!("an LSTM") };
    assert_eq!((lstm.hidden, lstm.read_out), (24, ReadOut::Linear));
    assert_eq!(recipe.training.schedule, ScheduleKind::Cosine);
    assert!(!recipe.evaluation.average_symmetries);
    assert_eq!(ActionRecipe::from_toml(&recipe.to_toml()), Ok(recipe));
}

#[test]
fn wrong_files_say_what_is_wrong_and_where() {
    let cases = [
        ("epoch = 3", "unknown field `epoch`", "epoch = 3"),
        ("[training]\nepoch = 3", "unknown field `epoch`, expected one of `epochs`", "epoch = 3"),
        ("[training]\nepochs = \"many\"", "invalid type: string \"many\", expected usize", "epochs = \"many\""),
        ("[training]\nepochs = -1", "invalid value: integer `-1`, expected usize", "epochs = -1"),
        ("[training]\nepochs = 2.5", "invalid type: floating point `2.5`, expected usize", "epochs = 2.5"),
        ("[data]\nprotocol = \"all\"", "unknown variant `all`, expected `single` or `leave-one-person-out`", "\"all\""),
        ("recipe = \"portraits\"", "unknown variant `portraits`, expected one of `actions`", "\"portraits\""),
        ("[model.temporal.gru]\nhidden = 3", "unknown variant `gru`, expected one of `pooling`, `lstm`", "gru"),
        ("[model.temporal.lstm]\nhiden = 3", "unknown field `hiden`", "hiden = 3"),
        ("[model.encoder]\nconvolutions = [{ kernel = 3 }]", "missing field `channels`", "kernel = 3"),
        ("[model.encoder]\nconvolutions = [{ channels = 3, stryde = 2 }]", "unknown field `stryde`", "stryde"),
        ("seed = 1\nseed = 2", "duplicate key", "seed = 2"),
        ("seed = ", "", "seed = "),
        ("[training", "", "[training"),
    ];
    for (text, reason, place) in cases {
        let error = ActionRecipe::from_toml(text).unwrap_err();
        assert!(matches!(error, RecipeError::Syntax(_)), "{text}: {error:?}");
        let message = error.to_string();
        assert!(message.contains(reason), "{text}: {message}");
        assert!(message.contains("TOML parse error at line") && message.contains(place), "{text}: {message}");
    }
}

#[test]
fn wrong_values_are_named() {
    let cases = [
        ("seed = 9223372036854775807", ""),
        ("recipe = \"nowcast\"", "`recipe` must be `actions`, found nowcast"),
        ("[data]\ntest_person = 0", "`data.test_person` must be a person from 1 to 8, found 0"),
        ("[data]\ntest_person = 9", "`data.test_person` must be a person from 1 to 8, found 9"),
        ("[data]\nvalidation_fraction = 0.6", "`data.validation_fraction` must be a number from 0 to 0.5, found 0.6"),
        ("[data]\nvalidation_fraction = nan", "`data.validation_fraction` must be a number from 0 to 0.5, found NaN"),
        ("[data]\nclips_per_person = 0", "`data.clips_per_person` must be at least 1, found 0"),
        (
            "[preprocessing]\ncelsius_per_unit = 0.0",
            "`preprocessing.celsius_per_unit` must be a number above 0, found 0",
        ),
        ("[preprocessing]\nframe_stride = 0", "`preprocessing.frame_stride` must be 1 to 64 frames, found 0"),
        ("[preprocessing]\nstacked_frames = 0", "`preprocessing.stacked_frames` must be 1 to 64 frames, found 0"),
        ("[augmentation]\nmax_shift = 16", "`augmentation.max_shift` must be at most 15 pixels, found 16"),
        ("[augmentation]\nmax_trim = 0.5", "`augmentation.max_trim` must be a number from 0 to below 0.5, found 0.5"),
        (
            "[augmentation]\nmax_speed_change = -0.1",
            "`augmentation.max_speed_change` must be a number from 0 to 3, found -0.1",
        ),
        (
            "[augmentation]\nmax_zoom_change = 3.5",
            "`augmentation.max_zoom_change` must be a number from 0 to 3, found 3.5",
        ),
        (
            "[augmentation]\nmax_gain_change = inf",
            "`augmentation.max_gain_change` must be a number from 0 to 3, found inf",
        ),
        (
            "[model.encoder]\nconvolutions = [{ channels = 0 }]",
            "`model.encoder.convolutions.channels` must be 1 to 16384, found 0",
        ),
        (
            "[model.encoder]\nconvolutions = [{ channels = 2, stride = 0 }]",
            "`model.encoder.convolutions.stride` must be 1 to 16384, found 0",
        ),
        ("[model.encoder]\ndropout = 1.0", "`model.encoder.dropout` must be a number from 0 to below 1, found 1"),
        ("[model.temporal.lstm]\nfeatures = 0", "`model.temporal.lstm.features` must be 1 to 16384, found 0"),
        ("[model.temporal.pooling]\nunits = [0]", "`model.temporal.pooling.units` must be 1 to 16384, found 0"),
        ("[model.temporal.pooling]\ntop_k = 0", "`model.temporal.pooling.top_k` must be 1 to 16384, found 0"),
        (
            "[model.temporal.pooling]\nsharpness = inf",
            "`model.temporal.pooling.sharpness` must be a finite number, found inf",
        ),
        ("[model.temporal.pooling]\nstride = 0", "`model.temporal.pooling.stride` must be 1 to 16384, found 0"),
        (
            "[model.temporal.convlstm]\nchannels = []",
            "`the number of model.temporal.convlstm.channels` must be 1 to 32, found 0",
        ),
        (
            "[model.temporal.temporal-attention]\nscore = \"location\"\nwindow = 0",
            "`model.temporal.temporal-attention.window` must be above 0 with the score `location`, found 0",
        ),
        (
            "[model.temporal.spatial-attention]\npenalty = -1.0",
            "`model.temporal.spatial-attention.penalty` must be a finite number, not negative, found -1",
        ),
        (
            "[model.temporal.attention-pooling]\nlayers = 33",
            "`model.temporal.attention-pooling.layers` must be 0 to 32, found 33",
        ),
        (
            "[model.temporal.transformer]\nheads = 5",
            "`model.temporal.transformer.heads` must be a divisor of the features, found 5",
        ),
        ("[model.temporal.lstm]\nhidden = 0", "`model.temporal.lstm.hidden` must be 1 to 16384, found 0"),
        ("[model.temporal.lstm]\nlayers = 0", "`model.temporal.lstm.layers` must be 1 to 32, found 0"),
        ("[model.head]\ndropout = -0.5", "`model.head.dropout` must be a number from 0 to below 1, found -0.5"),
        ("[training]\nepochs = 0", "`training.epochs` must be at least 1, found 0"),
        ("[training]\nbatch_size = 0", "`training.batch_size` must be at least 1, found 0"),
        ("[training]\nlearning_rate = 0.0", "`training.learning_rate` must be a number above 0, found 0"),
        ("[training]\nlearning_rate = nan", "`training.learning_rate` must be a number above 0, found NaN"),
        ("[training]\nwarm_up = 1.0", "`training.warm_up` must be a number between 0 and 1, found 1"),
        ("[training]\nweight_decay = -1.0", "`training.weight_decay` must be a finite number, not negative, found -1"),
        ("[training]\nlabel_smoothing = 1.0", "`training.label_smoothing` must be a number from 0 to below 1, found 1"),
        (
            "[training]\nmax_gradient_norm = inf",
            "`training.max_gradient_norm` must be a finite number, not negative, found inf",
        ),
    ];
    for (text, message) in cases {
        let result = ActionRecipe::from_toml(text).unwrap().validate();
        assert_eq!(result.map_or_else(|error| error.to_string(), |()| String::new()), message, "{text}");
    }
    let recipe = ActionRecipe { seed: 1 << 63, ..ActionRecipe::default() };
    assert_eq!(recipe.validate().unwrap_err().to_string(), "`seed` must be below 2^63, found 9223372036854775808");
}
