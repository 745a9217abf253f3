//! The bundled digits and the reader of their files.

use std::collections::HashSet;
use std::io::{self, Read};
use std::iter;

use pipeline::data::{DigitPart, Digits, DigitsError};
use proptest::prelude::*;

/// An IDX file of bytes with these axes, then `elements`.
fn idx(axes: &[u32], elements: &[u8]) -> Vec<u8> {
    let header = iter::once(0x800 + axes.len() as u32).chain(axes.iter().copied());
    header.flat_map(u32::to_be_bytes).chain(elements.iter().copied()).collect()
}

/// The files of three digits whose pixels all differ from digit to digit.
fn three() -> (Vec<u8>, Vec<u8>) {
    let pixels: Vec<u8> = (0..3 * 784_usize).map(|index| (index / 784 * 100 + index % 97) as u8).collect();
    (idx(&[3, 28, 28], &pixels), idx(&[3], &[7, 0, 9]))
}

fn read(images: &[u8], labels: &[u8]) -> Result<Digits, DigitsError> {
    Digits::from_idx(DigitPart::Test, images, labels)
}

#[test]
fn bundled_digits_are_the_published_ones() {
    let cases = [
        (DigitPart::Training, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], 0.1307),
        (DigitPart::Test, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], 0.1325),
    ];
    for (part, counts, brightness) in cases {
        let digits = Digits::bundled(part).unwrap();
        assert_eq!(digits.part(), part);
        let mut found = [0; 10];
        digits.labels().iter().for_each(|&label| found[usize::from(label)] += 1);
        assert_eq!(found, counts, "{part}");
        assert_eq!(digits.images().dim(), (counts.iter().sum(), 28, 28));
        let sum: u64 = digits.images().iter().map(|&pixel| u64::from(pixel)).sum();
        let mean = sum as f64 / 255.0 / digits.images().len() as f64;
        assert!((mean - brightness).abs() < 5e-5, "{part}: mean brightness {mean}");
    }
}

#[test]
fn no_digit_is_in_both_parts() {
    let (training, test) = (Digits::bundled(DigitPart::Training).unwrap(), Digits::bundled(DigitPart::Test).unwrap());
    let (training, test) = (training.images(), test.images());
    let seen: HashSet<&[u8]> = training.as_slice().unwrap().chunks_exact(784).collect();
    let shared = test.as_slice().unwrap().chunks_exact(784).filter(|image| seen.contains(image)).count();
    assert_eq!(shared, 0);
}

#[test]
fn files_are_read_as_they_are_stored() {
    let (images, labels) = three();
    let digits = read(&images, &labels).unwrap();
    assert_eq!(digits.labels(), [7, 0, 9]);
    assert_eq!(digits.images().iter().copied().collect::<Vec<u8>>(), images[16..]);
    assert_eq!(digits.image(2)[[3, 4]], images[16 + 2 * 784 + 3 * 28 + 4]);
}

#[test]
fn damaged_files_are_refused() {
    let (images, labels) = three();
    let mut too_long = images.clone();
    too_long.push(0);
    let cases: &[(&[u8], &[u8], &str)] = &[
        (&[], &labels, "test images: expected 16 bytes, found 0: the file is truncated"),
        (&images[..3], &labels, "test images: expected 16 bytes, found 3: the file is truncated"),
        (&images[..11], &labels, "test images: expected 16 bytes, found 11: the file is truncated"),
        (&images[..16], &labels, "test images: expected 2368 bytes, found 16: the file is truncated"),
        (&images[..2367], &labels, "test images: expected 2368 bytes, found 2367: the file is truncated"),
        (&too_long, &labels, "test images: expected 2368 bytes, found more"),
        (&labels, &labels, "test images: expected the magic number 0x00000803, found 0x00000801"),
        (b"\x1f\x8b\x08\x00gzip", &labels, "test images: expected the magic number 0x00000803, found 0x1f8b0800"),
        (&images, &images, "test labels: expected the magic number 0x00000801, found 0x00000803"),
        (&idx(&[3, 28, 27], &[]), &labels, "test images: expected images of 28×28 pixels, found 28×27"),
        (&idx(&[3, 0, 28], &[]), &labels, "test images: expected images of 28×28 pixels, found 0×28"),
        (&idx(&[0, 28, 28], &[]), &labels, "test images: expected at least 1 digit, found 0"),
        (
            &idx(&[u32::MAX, 28, 28], &[5; 100]),
            &labels,
            "test images: expected 3367254359296 bytes, found 116: the file is truncated",
        ),
        (
            &idx(&[u32::MAX; 3], &[]),
            &labels,
            "test images: expected images of 28×28 pixels, found 4294967295×4294967295",
        ),
        (&images, &idx(&[2], &[1, 2]), "test digits: 3 images, but 2 labels"),
        (&images, &idx(&[u32::MAX], &[1, 2]), "test digits: 3 images, but 4294967295 labels"),
        (&images, &labels[..10], "test labels: expected 11 bytes, found 10: the file is truncated"),
        (&images, &idx(&[3], &[1, 10, 2]), "test labels: label of item 1: expected a digit from 0 to 9, found 10"),
    ];
    for (images, labels, message) in cases {
        assert_eq!(read(images, labels).unwrap_err().to_string(), *message);
    }
    let training = Digits::from_idx(DigitPart::Training, &images[..3], &labels[..]).unwrap_err();
    assert_eq!(training.to_string(), "training images: expected 16 bytes, found 3: the file is truncated");
}

#[test]
fn a_failing_reader_is_named() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the cable is out"))
        }
    }
    let (images, labels) = three();
    let error = Digits::from_idx(DigitPart::Test, images[..700].chain(Failing), &labels[..]).unwrap_err();
    assert_eq!(error.to_string(), "test images: the cable is out");
}

/// Counts what is asked of an endless file.
struct Endless<'a>(&'a mut u64);

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        *self.0 += buffer.len() as u64;
        Ok(buffer.len())
    }
}

#[test]
fn no_more_is_read_than_announced() {
    let (images, labels) = three();
    let mut taken = 0;
    let error = Digits::from_idx(DigitPart::Test, images.chain(Endless(&mut taken)), &labels[..]).unwrap_err();
    assert_eq!(error.to_string(), "test images: expected 2368 bytes, found more");
    assert!(taken <= 1, "{taken} bytes");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_change_of_a_file_is_an_error_or_other_digits(
        position in 0_usize..2379, bits in 1_u8..=255, length in 0_usize..2379,
    ) {
        let (images, labels) = three();
        let intact = read(&images, &labels).unwrap();
        let mut both = [&images[..], &labels].concat();
        both[position] ^= bits;
        // Both changed and cut short at once.
        for both in [&both[..], &both[..length.max(images.len())]] {
            let (images, labels) = both.split_at(images.len());
            if let Ok(digits) = read(images, labels) {
                prop_assert_ne!(&digits, &intact);
            }
        }
        let cut = read(&images[..length.min(images.len() - 1)], &labels);
        let truncated = matches!(cut, Err(DigitsError::Truncated { .. }));
        prop_assert!(truncated);
    }
}
