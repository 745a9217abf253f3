//! Pictures inside the page.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};

use super::ReportError;
use crate::run::RunDirectory;

/// Sequences that are shown, at most.
const MAX_SEQUENCES: usize = 6;
/// Larger pictures than this, in bytes, are named instead of shown.
const MAX_BYTES: u64 = 2_000_000;

/// The bytes of a picture as the address of it.
pub(super) fn data_uri(media_type: &str, bytes: &[u8]) -> String {
    format!("data:{media_type};base64,{}", STANDARD.encode(bytes))
}

/// The strips and animations that training left in the run directory.
pub(super) fn sequences(directory: &RunDirectory, alternative: &str) -> Result<Markup, ReportError> {
    let folder = directory.path().join("pictures");
    let names = strips(&folder)?;
    if names.is_empty() {
        return Ok(html! { p .none { "The run has no pictures." } });
    }
    let mut figures = Vec::new();
    for name in names.iter().take(MAX_SEQUENCES) {
        let (strip, animation) = (folder.join(format!("{name}.png")), folder.join(format!("{name}.gif")));
        let strip = picture(&strip, "image/png", &format!("{name}: {alternative}"))?;
        let animation = if animation.is_file() {
            picture(&animation, "image/gif", &format!("{name}, moving"))?
        } else {
            html! {}
        };
        figures.push(html! {
            figure .sequence {
                figcaption { (name.replace('-', " ")) }
                div .animation { (animation) }
                div .scroll tabindex="0" { (strip) }
            }
        });
    }
    Ok(html! { @for figure in &figures { (figure) } })
}

/// The names of the strips, without their ending, in order.
fn strips(folder: &Path) -> Result<Vec<String>, ReportError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let failed = |source| ReportError::Io { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".png") {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The picture in the file `path`, or its name if it is too large for a page.
fn picture(path: &Path, media_type: &str, alternative: &str) -> Result<Markup, ReportError> {
    let failed = |source| ReportError::Io { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(html! { p .none { (name) " is too large for this page." } });
    }
    let address = data_uri(media_type, &fs::read(path).map_err(failed)?);
    Ok(html! { img src=(address) alt=(alternative); })
}
