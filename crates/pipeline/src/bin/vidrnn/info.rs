//! `vidrnn info`

use std::path::{Path, PathBuf};

use pipeline::features::EfficientNetLite0;
use pipeline::forecasting::ForecastDescription;
use pipeline::model::ActionModel;
use pipeline::recipe::RecipeKind;
use pipeline::run::{RunDirectory, load_model, read_kind, read_model_description};
use pipeline::units::{Bytes, Count, Magnitude};
use pipeline::videos::{InputKind, VideoModel};
use tensor_ops::Parameters;

use crate::arguments::InfoArguments;

pub(crate) fn run(arguments: &InfoArguments) -> anyhow::Result<()> {
    let path = model_file(&arguments.run)?;
    let kind = read_kind(&path)?;
    println!("file           {}", path.display());
    println!("recipe         {}", kind.name());
    match kind {
        RecipeKind::Actions => {
            let (description, model) = load_model(&path)?;
            let size = description.input_size;
            // The bundled clips are ten to thirty frames long.
            let steps = description.preprocessing.steps(30);
            classifier(
                &description.labels,
                &model,
                steps,
                size,
                [description.preprocessing.channels(), size[0], size[1]],
            )
        }
        RecipeKind::Videos => {
            let model = VideoModel::load(&path)?;
            let description = &model.description;
            let [channels, height, width] = description.input.step_shape();
            let steps = description.sampling.length();
            classifier(&description.labels, &model.model, steps, [height, width], [channels, height, width])?;
            println!("stream         looks back on {} frames", description.window);
            if description.input.kind != InputKind::Pixels {
                println!(
                    "features       EfficientNet-Lite0: {} more parameters, {} more multiply-adds per frame",
                    Count(EfficientNetLite0::parameter_count() as u64),
                    Magnitude(EfficientNetLite0::multiply_adds(EfficientNetLite0::INPUT_SIZE)),
                );
            }
            Ok(())
        }
        RecipeKind::Nowcast | RecipeKind::MovingMnist => {
            let description: ForecastDescription = read_model_description(&path)?;
            let layers = description.network.encoder_forecaster();
            let ForecastDescription { context, horizon, frame_size, .. } = description;
            println!(
                "frames         {context} read, {horizon} forecast, of {}×{} pixels",
                frame_size[0], frame_size[1]
            );
            println!(
                "multiply-adds  {} per sequence, forward",
                Magnitude(layers.multiply_adds(context, horizon, frame_size)?)
            );
            let memory = layers.training_memory::<f32>(1, context, horizon, frame_size)?;
            println!("memory         {} to train on one sequence", Bytes(memory));
            Ok(())
        }
        RecipeKind::Comparison | RecipeKind::Task => anyhow::bail!("{}: holds no model", path.display()),
    }
}

/// The file of a run directory, or the file itself.
fn model_file(path: &Path) -> anyhow::Result<PathBuf> {
    Ok(if path.is_file() { path.to_owned() } else { RunDirectory::open(path)?.existing_model()? })
}

fn classifier(
    labels: &[String],
    model: &ActionModel<f32>,
    steps: usize,
    size: [usize; 2],
    shape: [usize; 3],
) -> anyhow::Result<()> {
    let parameters = model.parameter_count() as u64;
    let values = shape.iter().map(|&size| size as u64).product::<u64>() * steps as u64;
    println!("classes        {}: {}", labels.len(), labels.join(", "));
    println!("input          clips of {steps} steps of {} × {} × {} values", shape[0], shape[1], shape[2]);
    println!("parameters     {}", Count(parameters));
    println!("multiply-adds  {} per clip, forward", Magnitude(model.multiply_adds(steps, size)?));
    println!("memory         {} of weights, {} of a clip", Bytes(4 * parameters), Bytes(4 * values));
    Ok(())
}
