//! Model files: what is written comes back, and everything else is refused with a reason.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use pipeline::model::ActionModel;
use pipeline::random::{Purpose, generator};
use pipeline::run::{ModelDescription, WeightsError, load_model, save_model};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tensor_ops::Parameters;

use crate::common::{description, tiny_recipe};

fn tiny() -> (ModelDescription, ActionModel<f32>) {
    let description = description(&tiny_recipe());
    let model = description.initial_model(&mut generator(3, Purpose::Weights, 0, 0)).unwrap();
    (description, model)
}

/// A file with a tiny model.
fn saved(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("model.safetensors");
    let (description, model) = tiny();
    save_model(&path, &description, &model).unwrap();
    path
}

/// The arrays and the metadata of a file, changed by `change` and written again.
fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<Array>, &mut HashMap<String, String>)) {
    let bytes = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut metadata = header.metadata().clone().unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut arrays: Vec<Array> = tensors
        .iter()
        .map(|(name, tensor)| (name.to_owned(), tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec()))
        .collect();
    change(&mut arrays, &mut metadata);
    let views = arrays
        .iter()
        .map(|(name, dtype, shape, data)| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    fs::write(path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
}

type Change<'a> = dyn Fn(&mut Vec<Array>, &mut HashMap<String, String>) + 'a;
type Array = (String, Dtype, Vec<usize>, Vec<u8>);

#[test]
fn models_come_back_bit_for_bit() {
    let directory = tempfile::tempdir().unwrap();
    let path = saved(directory.path());
    let (expected_description, expected) = tiny();
    let (description, model) = load_model(&path).unwrap();
    assert_eq!(description, expected_description);
    assert_eq!(model.named(), expected.named());
    let names: Vec<String> = model.named().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names[..4],
        [
            "encoder.convolutions.0.weight",
            "encoder.convolutions.0.bias",
            "encoder.convolutions.1.weight",
            "encoder.convolutions.1.bias"
        ]
    );
    assert!(names.contains(&"temporal.lstm.weight_hh_l0_reverse".to_owned()), "{names:?}");
    assert_eq!(names[names.len() - 2..], ["head.weight", "head.bias"]);
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let [first, second] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    assert_eq!(fs::read(saved(first.path())).unwrap(), fs::read(saved(second.path())).unwrap());
}

#[test]
fn any_truncation_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = saved(directory.path());
    let bytes = fs::read(&path).unwrap();
    for length in (0..bytes.len()).step_by(bytes.len() / 97 + 1).chain([bytes.len() - 1]) {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = load_model(&path).unwrap_err();
        assert!(matches!(error, WeightsError::Format { .. }), "{length} bytes: {error}");
        assert!(error.to_string().contains("model.safetensors: not a complete safetensors file"), "{error}");
    }
    fs::write(&path, [&bytes[..], b"more"].concat()).unwrap();
    assert!(matches!(load_model(&path), Err(WeightsError::Format { .. })));
}

#[test]
fn foreign_and_newer_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let reason = |change: &Change<'_>| {
        let path = saved(directory.path());
        rewrite(&path, |arrays, metadata| change(arrays, metadata));
        let message = load_model(&path).unwrap_err().to_string();
        message.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&message).to_owned()
    };
    let metadata = |from: &'static str, to: &'static str| {
        reason(&move |_, metadata| {
            let text = metadata.get_mut("vidrnn").unwrap();
            assert!(text.contains(from), "{text}");
            *text = text.replace(from, to);
        })
    };
    assert_eq!(reason(&|_, metadata| metadata.clear()), "a safetensors file without the metadata of a vidrnn model");
    assert_eq!(
        metadata("\"format_version\":1", "\"format_version\":2,\"future\":true"),
        "format version 2; this program reads versions up to 1"
    );
    assert!(
        metadata("\"format_version\":1", "\"format_version\":1,\"future\":true").contains("unknown field `future`")
    );
    assert!(metadata("\"format_version\":1,", "").contains("missing field `format_version`"));
    assert!(metadata("\"actions\"", "\"portraits\"").contains("unknown variant `portraits`"));
    assert_eq!(metadata("\"actions\"", "\"nowcast\""), "a model of the recipe `nowcast`, expected one of `actions`");
    assert!(metadata("{\"format_version\"", "\"format_version\"").starts_with("metadata: "));
    assert_eq!(
        metadata("\"features\":6", "\"features\":0"),
        "`model.temporal.lstm.features` must be 1 to 16384, found 0"
    );
    assert_eq!(
        metadata("\"features\":6", "\"features\":9"),
        "parameter `temporal.projection.weight`: expected shape [9, 64], found [6, 64]"
    );
    assert!(metadata("\"kernel\":4", "\"kernel\":40").contains("kernel"));
    assert_eq!(
        metadata("\"input_size\":[16,16]", "\"input_size\":[0,16]"),
        "Conv2d: input height: expected at least 1 entry, found 0"
    );
}

#[test]
fn wrong_arrays_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let reason = |change: &dyn Fn(&mut Vec<Array>)| {
        let path = saved(directory.path());
        rewrite(&path, |arrays, _| change(arrays));
        let message = load_model(&path).unwrap_err().to_string();
        message.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&message).to_owned()
    };
    let find = |arrays: &mut Vec<Array>| arrays.iter().position(|(name, ..)| name == "head.bias").unwrap();
    assert_eq!(
        reason(&|arrays| {
            let index = find(arrays);
            arrays.remove(index);
        }),
        "parameter `head.bias`: not found in the source"
    );
    assert_eq!(
        reason(&|arrays| {
            let index = find(arrays);
            arrays[index].0 = "head.offset".to_owned();
        }),
        "parameter `head.bias`: not found in the source"
    );
    assert_eq!(
        reason(&|arrays| arrays.push(("more".to_owned(), Dtype::F32, vec![1], vec![0; 4]))),
        "parameter `more`: the model has no parameter of this name"
    );
    assert_eq!(
        reason(&|arrays| {
            let index = find(arrays);
            (arrays[index].1, arrays[index].2) = (Dtype::F16, vec![14]);
        }),
        "parameter `head.bias`: expected type F32, found F16"
    );
    assert_eq!(
        reason(&|arrays| {
            let index = find(arrays);
            arrays[index].2 = vec![1, 7];
        }),
        "parameter `head.bias`: expected shape [7], found [1, 7]"
    );
    assert_eq!(
        reason(&|arrays| {
            let index = find(arrays);
            arrays[index].3[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
        }),
        "parameter `head.bias`: the value at position 2 is not finite"
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = load_model(Path::new("no/such/model.safetensors")).unwrap_err();
    assert!(matches!(error, WeightsError::Io { .. }));
    assert!(error.to_string().starts_with("no/such/model.safetensors: "), "{error}");
}

#[test]
fn loading_does_not_change_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = saved(directory.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&path, &bytes).unwrap();
    load_model(&path).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}
