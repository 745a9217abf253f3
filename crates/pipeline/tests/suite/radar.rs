//! The bundled radar and its rain rates.

use ndarray::{Array4, Axis};
use pipeline::data::{Radar, RadarSplit, rain_rate, rain_value};

#[test]
fn bundled_radar_is_complete() {
    let radar = Radar::bundled().unwrap();
    assert_eq!(radar.frames().dim(), (149, 36, 64, 64));
    assert_eq!(radar.sequences().len(), 149);
    let count = |split| radar.positions(split).len();
    assert_eq!([RadarSplit::Train, RadarSplit::Test, RadarSplit::Guard].map(count), [105, 32, 12]);
    // The splits are strips of longitude, the guard between the two.
    let range = |split| {
        let longitudes = radar.positions(split).into_iter().map(|position| radar.sequences()[position].longitude);
        longitudes.fold((f64::MAX, f64::MIN), |(low, high), longitude| (low.min(longitude), high.max(longitude)))
    };
    let (train, guard, test) = (range(RadarSplit::Train), range(RadarSplit::Guard), range(RadarSplit::Test));
    assert!(train.1 < guard.0 && guard.1 < test.0, "{train:?}, {guard:?}, {test:?}");
    // The largest rate of each sequence is stated, rounded, beside its position; the first and its neighbours share one.
    let largest = radar.frames().index_axis(Axis(0), 0).iter().copied().max().unwrap();
    assert!((rain_rate(f32::from(largest) / 255.0) - 102.9).abs() < 1.5, "{largest}");
    let test = radar.part(RadarSplit::Test);
    let first = radar.positions(RadarSplit::Test)[0];
    let expected = radar.frames().index_axis(Axis(0), first).mapv(|byte| f32::from(byte) / 255.0);
    assert_eq!(test.window(0, 0, 36), expected);
}

#[test]
fn rates_follow_their_formula() {
    for byte in 1..=255_u8 {
        let value = f32::from(byte) / 255.0;
        let expected = 0.1 * 10_f64.powf((f64::from(byte) - 1.0) / 80.0);
        let rate = rain_rate(value);
        assert!((rate / expected - 1.0).abs() < 1e-5, "byte {byte}: {rate}, expected {expected}");
        assert!((rain_value(expected) - value).abs() < 1e-6, "byte {byte}: {}", rain_value(expected));
    }
    for (rate, byte) in [(0.1, 1.0_f32), (1.0, 81.0), (10.0, 161.0), (100.0, 241.0)] {
        assert_eq!(rain_value(rate), byte / 255.0, "{rate} mm/h");
    }
    assert_eq!([0.0, -1.0, 0.099, f64::NAN].map(rain_value), [0.0; 4]);
    assert_eq!([0.0, -1.0, 0.5 / 255.0].map(rain_rate), [0.0; 3]);
}

#[test]
fn inconsistent_radar_files_are_refused() {
    let frames = || Array4::<u8>::zeros((2, 3, 4, 4));
    let header = "seq,lat_centre,lon_centre,split\n";
    let good = format!("{header}0,30.5,-99.5,train\n1,30.5,-80.5,test\n");
    assert!(Radar::from_parts(frames(), &good).is_ok());
    let cases = [
        (format!("{header}0,30.5,-99.5,train\n"), "sequences.csv has 1 rows, sequences_u8.npy.gz has 2 sequences"),
        (format!("{header}1,30.5,-99.5,train\n"), "sequences.csv: row 1: expected sequence 0, found `1`"),
        (format!("{header}0,30.5,-99.5,both\n"), "sequences.csv: row 1: unknown split `both`"),
        (format!("{header}0,north,-99.5,test\n"), "sequences.csv: row 1: `north` is not a number"),
        (format!("{header}0,30.5,NaN,test\n"), "sequences.csv: row 1: `NaN` is not a number"),
        ("seq,split\n".to_owned(), "sequences.csv: no column `lat_centre`"),
    ];
    for (table, message) in cases {
        assert_eq!(Radar::from_parts(frames(), &table).unwrap_err().to_string(), message);
    }
    let error = Radar::from_parts(frames(), &format!("{header}0,30.5\n")).unwrap_err().to_string();
    assert!(error.starts_with("sequences.csv: CSV error"), "{error}");
}
