//! One harness for all back ends: each computes what the portable one computes, at every edge.

use super::{Backend, Group, Kernel, Rows, portable};
use crate::noise::{Permutation, Permutations};
use crate::panel::{Panel, Recipe, Trace};
use crate::shape::{GROUP, SEGMENT, STRIPE, STRIPES};
use crate::{RightKey, Ticket};

/// Entries that reach every corner.
#[derive(Clone, Copy)]
enum Fill {
    Random,
    Lowest,
    Highest,
}

/// Bytes of a label; B's stay within [−127, 127].
fn fill(bytes: &mut [u8], label: &str, kind: Fill, right: bool) {
    let mut hasher = blake3::Hasher::new();
    hasher.update(label.as_bytes()).finalize_xof().fill(bytes);
    for byte in bytes {
        *byte = match (kind, right) {
            (Fill::Random, true) if *byte == 128 => 127,
            (Fill::Random, _) => *byte,
            (Fill::Lowest, false) => 0,
            (Fill::Lowest, true) => 129,
            (Fill::Highest, false) => 255,
            (Fill::Highest, true) => 127,
        };
    }
}

fn panels(count: usize, label: &str, kind: Fill, right: bool) -> Vec<Panel> {
    let mut panels = vec![Panel::ZERO; count];
    for (place, panel) in panels.iter_mut().enumerate() {
        fill(&mut panel.0, &format!("{label} {place}"), kind, right);
    }
    panels
}

fn traces(count: usize, label: &str, kind: Fill, right: bool) -> Vec<Trace> {
    let mut traces = vec![Trace::ZERO; count];
    for (place, trace) in traces.iter_mut().enumerate() {
        fill(trace.0.as_flattened_mut(), &format!("{label} {place}"), kind, right);
    }
    traces
}

/// A product of some tiles in a wider matrix, whose other values must stay.
fn product(groups: usize, tiles: usize, run: impl FnOnce(&mut Rows<'_>)) -> Vec<i32> {
    let stride = (tiles + 1) * GROUP;
    let mut values: Vec<i32> =
        (0..).take(groups * GROUP * stride).map(|x: i32| x.wrapping_mul(77_777)).collect();
    run(&mut Rows::new(&mut values, stride, groups, tiles).unwrap());
    values
}

/// The processor's back ends and the device.
fn others() -> Vec<(String, Kernel)> {
    let of_processor =
        processors().into_iter().map(|(backend, kernel)| (format!("{backend:?}"), kernel));
    of_processor.chain(devices()).collect()
}

fn processors() -> Vec<(Backend, Kernel)> {
    let available = Backend::ALL.into_iter().filter(|backend| *backend != Backend::Portable);
    available.filter_map(|backend| Some((backend, backend.kernel()?))).collect()
}

#[cfg(not(feature = "cuda"))]
fn devices() -> Vec<(String, Kernel)> {
    Vec::new()
}

/// The device that there is, and in the labs those that the emulated driver makes up.
#[cfg(feature = "cuda")]
fn devices() -> Vec<(String, Kernel)> {
    use super::cuda::pieces::{Installed, kernel};
    let mut devices = Vec::new();
    if let Ok(cuda) = super::cuda::installed() {
        devices.push((format!("{cuda:?}"), kernel::<Installed>()));
    }
    #[cfg(feature = "lab")]
    {
        use super::cuda::pieces::emulated::{Dot, Tensor};
        devices.push(("emulated tensor cores".to_owned(), kernel::<Tensor>()));
        devices.push(("emulated dot products".to_owned(), kernel::<Dot>()));
    }
    devices
}

fn check<T: PartialEq + std::fmt::Debug>(what: &str, run: impl Fn(&Kernel) -> T) {
    let expected = run(&portable::KERNEL);
    for (backend, kernel) in others() {
        assert!(run(&kernel) == expected, "{backend} {what}");
    }
}

const KINDS: [Fill; 3] = [Fill::Random, Fill::Lowest, Fill::Highest];

#[test]
fn m6_back_ends_agree_on_tickets_whatever_the_number_of_tiles() {
    for kind in KINDS {
        for (groups, tiles) in
            [(1, 1), (2, 2), (3, 3), (1, 4), (2, 5), (1, 8), (16, 1), (17, 4), (33, 3)]
        {
            let a = panels(groups, "A", kind, false);
            let b = panels(tiles, "B", kind, true);
            check("mine", |kernel| {
                let mut transcripts = vec![[0; STRIPES]; groups * tiles];
                let values =
                    product(groups, tiles, |rows| (kernel.mine)(&a, &b, rows, &mut transcripts));
                (values, transcripts)
            });
        }
    }
}

#[test]
fn back_ends_agree_on_products_whatever_the_inner_size() {
    for kind in KINDS {
        let a = panels(3, "A", kind, false);
        let b = panels(4, "B", kind, true);
        for quads in [0, 1, 2, 15, 16, 17, 31, 32, 33, 48, 255, 256] {
            check("multiply", |kernel| {
                product(3, 4, |rows| (kernel.multiply)(&a, &b, quads, rows))
            });
        }
    }
}

#[test]
fn m7_back_ends_agree_on_taking_the_noise_out() {
    for kind in KINDS {
        let a = traces(1, "A", kind, false);
        for tiles in 1..=4 {
            let b = traces(tiles, "B", kind, true);
            let corrections: Vec<[i32; GROUP]> =
                (0..tiles).map(|tile| [i32::MAX - i32::try_from(tile).unwrap(); GROUP]).collect();
            check("denoise", |kernel| {
                product(1, tiles, |rows| (kernel.denoise)(&a[0], &b, &corrections, rows))
            });
        }
    }
}

#[test]
fn m5_back_ends_prepare_groups_alike() {
    let orders: Permutations = Permutations::derive(RightKey([5; 32]), 0..24);
    let (pi, rho): (&[Permutation], &[Permutation]) = (&orders.pi, &orders.rho);
    let mut lines = vec![0; GROUP * 3 * SEGMENT];
    fill(&mut lines, "lines", Fill::Random, false);
    let lines: Vec<i8> = lines.iter().map(|byte| i8::try_from(byte % 127).unwrap() - 63).collect();
    let noise = std::array::from_fn(|line| {
        std::array::from_fn(|place| i8::try_from((line * STRIPE + place) * 5 % 128).unwrap() - 64)
    });
    for right in [false, true] {
        let recipe = if right {
            Recipe { raise: 0, noise: rho, places: pi, sum_noisy: true }
        } else {
            Recipe { raise: 128, noise: pi, places: rho, sum_noisy: false }
        };
        let group = Group { lines: &lines, k: 3 * SEGMENT, noise: &noise, recipe, right };
        check("prepare", |kernel| {
            let mut panels = vec![Panel::ZERO; 3];
            let mut places: Vec<&mut Panel> = panels.iter_mut().collect();
            let prepared = (kernel.prepare)(group, &mut places);
            let panels: Vec<u8> = panels.iter().flat_map(|panel| panel.0).collect();
            (panels, prepared.trace.0, prepared.corrections)
        });
    }
}

#[test]
fn m6_sixteen_hashes_at_once_are_blake3() {
    let key = [9; 32];
    let words = key.as_chunks::<4>().0;
    let key_words: [u32; 8] = std::array::from_fn(|place| u32::from_le_bytes(words[place]));
    let ticket = |lane: u32| Ticket {
        i: lane * 3,
        j: lane + 70_000,
        s: lane % 4,
        transcript: std::array::from_fn(|word| {
            lane.wrapping_mul(0x9E37_79B1).rotate_left(u32::try_from(word).unwrap())
        }),
    };
    let mut message = [[0; GROUP]; 11];
    for lane in 0..16 {
        let block = ticket(lane).block();
        for (row, word) in message.iter_mut().zip(block.as_chunks::<4>().0) {
            row[lane as usize] = u32::from_le_bytes(*word);
        }
    }
    for (backend, kernel) in [("Portable".to_owned(), portable::KERNEL)].into_iter().chain(others())
    {
        let tops = (kernel.top_words)(&key_words, &message);
        for lane in 0..16 {
            let value = ticket(lane).value(crate::LeftKey(key));
            let top = u32::from_le_bytes(*value.last_chunk().unwrap());
            assert_eq!(tops[lane as usize], top, "{backend}");
        }
    }
}

#[test]
fn the_best_back_end_is_one_that_the_machine_has() {
    let best = Backend::best();
    assert!(best.is_available());
    assert!(Backend::Portable.is_available());
    if let Some((fastest, _)) = processors().first() {
        assert_eq!(best, *fastest);
    }
}

#[test]
fn rows_that_do_not_reach_are_refused() {
    let mut values = vec![0; GROUP * 32];
    assert!(Rows::new(&mut values, 32, 1, 2).is_some());
    assert!(Rows::new(&mut values, 32, 1, 3).is_none());
    assert!(Rows::new(&mut values, 32, 2, 2).is_none());
    assert!(Rows::new(&mut values, 32, 0, 2).is_none());
    assert!(Rows::new(&mut values[1..], 32, 1, 2).is_none());
}
