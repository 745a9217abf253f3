//! Options as they stand in a file.

use video_input::{Crop, OnError, OpenOptions, Sampling, open};

use crate::common::data;

#[test]
fn options_are_read_from_text() {
    let options: OpenOptions = serde_json::from_str(r#"{"on_error": "keep", "colour_matrix": "bt709"}"#).unwrap();
    assert_eq!(options.on_error, OnError::Keep);
    assert_eq!(options.frame_rate_of_images, 25.0);
    let text = serde_json::to_string(&options).unwrap();
    assert_eq!(serde_json::from_str::<OpenOptions>(&text).unwrap(), options);
    let crop: Crop = serde_json::from_str(r#"{"centre": {"ratio": 0.875}}"#).unwrap();
    assert_eq!(crop, Crop::Centre { ratio: 0.875 });
    assert_eq!(serde_json::from_str::<Crop>(r#""letterbox""#).unwrap(), Crop::Letterbox);
    let sampling: Sampling = serde_json::from_str(r#"{"dense": {"frames": 16, "stride": 2}}"#).unwrap();
    assert_eq!(sampling, Sampling::Dense { frames: 16, stride: 2 });
    assert!(serde_json::from_str::<OpenOptions>(r#"{"on_error": "keep", "colour": 1}"#).is_err());
    assert!(serde_json::from_str::<Sampling>(r#"{"dense": {"frames": 16, "stride": 2, "step": 1}}"#).is_err());
}

#[test]
fn values_without_meaning_are_refused() {
    let rate = |rate| OpenOptions { frame_rate_of_images: rate, ..OpenOptions::default() };
    let pixels = |max_pixels| OpenOptions { max_pixels, ..OpenOptions::default() };
    for options in [rate(0.0), rate(-1.0), rate(f64::INFINITY), pixels(0), pixels(usize::MAX)] {
        let error = open(&data("good/yuv420.y4m"), &options).err().expect("it is refused").to_string();
        assert!(error.starts_with("frame_rate_of_images: ") || error.starts_with("max_pixels: "), "{error}");
    }
}
